"""What a run would find in its workdir: nothing, a complete run, or one that would be continued."""

import dataclasses
import errno
import os
from pathlib import Path
from typing import Any

from sdt import experiment as experiments
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.files.workdir import disk_errors, refuse_others_folder
from sdt.run import extension, resume
from sdt.run.identity import Identity
from sdt.run.lifecycle import Experiment
from sdt.run.saved_states import place_in_words
from sdt.run.selection import FILE, FOLDER, is_on
from sdt.run.shared_checkpoints import SharedStore


@dataclasses.dataclass(frozen=True)
class Standing:
  """What a run would find in its workdir.

  Attributes:
    text: the same in words.
    choices: that an earlier start of the run has sealed there; None without one.
    is_complete: whether nothing is left to do.
  """

  text: str
  choices: dict[str, Any] | None = None
  is_complete: bool = False


def _silent(line: str) -> None:
  """Drops a line: only a run that writes has something to say here."""


def find_standing(
  config: Config,
  data: Data,
  identity: Identity,
  *,
  workdir: Path,
  experiment: Experiment = experiments.EXPERIMENT,
) -> Standing:
  """Returns what a run would find in its workdir. Only reads: takes no lock, loads no state.

  Raises:
    ConfigError, DataError: another run lives there. CheckpointError: no checkpoint tells which.
      WorkdirError: it is no directory, or somebody else's.
  """
  with disk_errors(workdir):
    if not workdir.exists():
      return Standing("nothing there yet")
    if not workdir.is_dir():
      raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    refuse_others_folder(workdir)
  found = extension.find(workdir, identity, config) if experiment.part else None
  if found is not None:
    return Standing(
      f"a finished run that would be extended: {found.in_words}; what is there is not trained "
      "again, so it takes less time and work than is told for all"
    )
  store = SharedStore(workdir / "checkpoints", config.checkpoint.keep, _silent, read_only=True)
  choices = resume.check_same_run(identity, workdir, store, log=_silent)
  lacking = resume.missing(workdir, experiment.outputs(config, data))
  if not lacking:
    return Standing("a complete run of this config; nothing would be done", is_complete=True)
  if all(path.suffix in (".html", ".png", ".svg") for path in lacking):
    return Standing("a run of this config, complete but for its report, which would be made again")
  if not store.steps():
    if not (is_on(config) and (workdir / FOLDER).exists()):
      return Standing("nothing to continue; the run would begin", choices)
    is_chosen = (workdir / FILE).exists()
    begun = "the selection is done, the trainings" if is_chosen else "a selection has begun, it"
    return Standing(f"{begun} would go on", choices)
  meta = resume.newest_meta(store)
  where = place_in_words(meta, config.rounds)
  return Standing(
    f"an unfinished run of this config, saved {where}; it would be continued", choices
  )
