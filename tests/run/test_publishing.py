"""The files of a run that has grown replace the old ones, whenever the process is killed."""

import os
import shutil

import pytest

from sdt import files
from sdt.files import sealed
from sdt.files.workdir import TMP_PREFIX
from sdt.run import publishing

OLD = {"results.json": "old", "config.json": "old", "figures/gone.png": "old", "same.csv": "same"}
GONE = {"model.safetensors": "old"}  # no network is fit any more
# Of the user, or of another command or run: with a seal, and no file of this run.
OTHERS = {"export.onnx": "exported", "inner/results.json": "another run's"}
NEW = {"results.json": "new", "config.json": "new", "figures/made.png": "new", "same.csv": "same"}


class Killed(BaseException):
  """The process is killed."""


@pytest.fixture
def workdir(tmp_path):
  """Returns a workdir with an old run and a new one in extension/whole."""
  whole = tmp_path / publishing.FOLDER / publishing.WHOLE
  for folder, content in ((tmp_path, OLD | GONE | OTHERS), (whole, NEW)):
    for name, text in content.items():
      files.write_text(folder / name, text)
    (folder / "checkpoints" / "1").mkdir(parents=True)
    (folder / "checkpoints" / "1" / "data").write_text(content["results.json"])
    (folder / ".lock").touch()
  (tmp_path / "notes.txt").write_text("the user's")
  return tmp_path


def content(workdir):
  paths = [
    path
    for path in workdir.rglob("*")
    # What a killed write leaves goes when the workdir is held again.
    if path.is_file() and path.name != ".lock" and not path.name.startswith(TMP_PREFIX)
  ]
  return {path.relative_to(workdir).as_posix(): path.read_text() for path in paths}


def assert_new(workdir, kept=None):
  found = content(workdir)
  seals = {name for name in found if ".sha256" in name}
  assert {name: found[name] for name in found.keys() - seals} == NEW | {
    "checkpoints/1/data": "new",
    "notes.txt": "the user's",
    **OTHERS,
    **(kept or {}),
  }
  assert all(files.is_intact(workdir / name) for name in NEW)
  assert len(seals) == len(NEW | OTHERS)


def test_the_new_files_replace_the_old_and_what_is_no_file_of_a_run_stays(workdir):
  publishing.publish(workdir)
  assert_new(workdir)
  assert not publishing.finish(workdir)


def test_a_kill_at_any_rename_or_removal_is_made_good(workdir, tmp_path_factory, monkeypatch):
  for number in range(100):
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(workdir, copy)
    left = [number]

    def counted(act, left=left):
      def call(*args, **kwargs):
        if left[0] == 0:
          raise Killed
        left[0] -= 1
        return act(*args, **kwargs)

      return call

    with monkeypatch.context() as patch:
      for module, name in ((os, "replace"), (os, "unlink"), (shutil, "rmtree")):
        patch.setattr(module, name, counted(getattr(module, name)))
      try:
        publishing.publish(copy)
        ended = True
      except Killed:
        ended = False
    if not (copy / publishing.FOLDER / publishing.READY).exists() and not ended:
      # Before the list stands, all of the old run is there; after the end, all of the new.
      was_over = not (copy / publishing.FOLDER).exists()
      expected = NEW if was_over else OLD
      assert all((copy / name).read_text() == text for name, text in expected.items())
      if not was_over:
        publishing.publish(copy)
    publishing.finish(copy)
    assert_new(copy)
    if ended:
      assert number > 10
      return
  pytest.fail("it never ended")


def test_a_file_that_the_user_changed_is_kept_aside(workdir, capsys):
  (workdir / "results.json").write_text("mine")
  (workdir / "figures" / "gone.png").write_text("mine too")
  publishing.publish(workdir)
  assert_new(workdir, {"results.json.kept-1": "mine", "figures/gone.png.kept-1": "mine too"})
  assert "results.json was changed" in capsys.readouterr().err


def test_moving_a_file_goes_on_where_it_was_cut_off(tmp_path):
  files.write_text(tmp_path / "new" / "a.txt", "new")
  files.write_text(tmp_path / "a.txt", "old")
  line = (tmp_path / "new" / ".sha256" / "a.txt").read_text().strip()
  old = (tmp_path / ".sha256" / "a.txt").read_text().strip()
  (tmp_path / ".sha256" / "a.txt").write_text(f"{line}\n{old}\n")  # killed before the rename
  sealed.move(tmp_path / "new" / "a.txt", tmp_path / "a.txt")
  assert files.read_bytes_verified(tmp_path / "a.txt") == b"new"
  assert not (tmp_path / "new" / "a.txt").exists()
