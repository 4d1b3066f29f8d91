"""Puts the files of a finished run in place of those of the run that it extends.

The old files stay whole until the new run is complete. From then on a list of what is to be moved
stands beside it (`READY`), and whatever a kill leaves, `finish` completes it.
"""

import os
import shutil
from pathlib import Path

from sdt import files
from sdt.files.workdir import LOCK_NAME, disk_errors

FOLDER = "extension"
WHOLE = "whole"
READY = "ready.json"
_DOOMED = f"{FOLDER}.deleting"
_LAST = "results.json"  # whoever reads it finds the rest in place


def publish(workdir: Path) -> None:
  """Moves the run in extension/whole into the workdir, whose old files go; removes extension/.

  A file that somebody else changed is kept aside, see `files.keep_if_not_ours`. The caller holds
  the workdir.

  Raises:
    WorkdirError: any OSError; the same command goes on.
  """
  new = [name for name in files.sealed_names(workdir / FOLDER / WHOLE) if _is_moved(name)]
  old = [name for name in files.sealed_names(workdir) if _may_go(name) and name not in new]
  moved = sorted(new, key=lambda name: (name == _LAST, name))
  files.write_json(workdir / FOLDER / READY, {"moved": moved, "removed": old})
  finish(workdir)


def _is_moved(name: str) -> bool:
  return not name.startswith("checkpoints/") and Path(name).name != LOCK_NAME


def _may_go(name: str) -> bool:
  """Returns whether a larger run may lack a file by right. No other is removed: the workdir may
  hold exports, predictions, or another run.
  """
  return name.startswith("figures/") or name == "model.safetensors"


def finish(workdir: Path) -> bool:
  """Completes what a kill has cut off; returns whether there was anything. The caller holds the
  workdir.
  """
  with disk_errors(workdir / _DOOMED):
    if (workdir / _DOOMED).is_dir():
      shutil.rmtree(workdir / _DOOMED)
  folder = workdir / FOLDER
  if not files.is_intact(folder / READY):
    return False
  content = files.read_json(folder / READY)
  _swap_checkpoints(workdir, folder / WHOLE)
  for name in content["moved"]:
    if (folder / WHOLE / name).exists():
      files.move(folder / WHOLE / name, workdir / name)
  for name in content["removed"]:
    files.keep_if_not_ours(workdir / name)
    files.remove(workdir / name)
  with disk_errors(folder):
    os.replace(folder, workdir / _DOOMED)
    shutil.rmtree(workdir / _DOOMED)
  return True


def _swap_checkpoints(workdir: Path, whole: Path) -> None:
  """Renames the old checkpoints out of the way and the new ones into their place."""
  name = "checkpoints"
  with disk_errors(workdir / name):
    if not (whole / name).is_dir():
      return
    if (workdir / name).is_dir():
      os.replace(workdir / name, whole / f"{name}-before")
    os.replace(whole / name, workdir / name)
