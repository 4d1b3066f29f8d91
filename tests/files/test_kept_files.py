"""What a user, or another program, has left under our names is never overwritten."""

import os

import pytest

from sdt import experiment, files
from sdt.errors import WorkdirError
from sdt.files.workdir import hold_workdir
from tests.support import whole
from tests.support.on_disk import Killed, killed_at, tree


def without_seals(folder):
  return {name: data for name, data in tree(folder).items() if ".sha256" not in name}


@pytest.mark.parametrize("case", ["changed", "emptied", "without a seal", "another's seal"])
def test_a_file_that_is_not_as_we_wrote_it_is_kept_aside_and_told(case, tmp_path):
  path, seal = tmp_path / "scores.csv", tmp_path / ".sha256" / "scores.csv"
  files.write_bytes(path, b"ours")
  files.write_bytes(tmp_path / "other.csv", b"another")
  theirs = {"emptied": b"", "without a seal": b"ours"}.get(case, b"ours, and a column")
  path.write_bytes(theirs)
  if case == "without a seal":
    seal.unlink()
  if case == "another's seal":
    seal.write_bytes((tmp_path / ".sha256" / "other.csv").read_bytes())
  told = []
  with files.kept_files_told(told.append):
    files.write_bytes(path, b"new")
  assert path.read_bytes() == b"new"
  assert files.is_intact(path)
  assert (tmp_path / "scores.csv.kept-1").read_bytes() == theirs
  assert len(told) == 1
  assert f"{path} was changed" in told[0]
  assert "scores.csv.kept-1" in told[0]


def test_each_that_is_kept_aside_has_a_name_of_its_own(tmp_path, capsys):
  path = tmp_path / "report.html"
  (tmp_path / "report.html.kept-2").symlink_to("nowhere")
  for number in range(3):
    path.write_bytes(b"mine %d" % number)
    files.write_bytes(path, b"ours %d" % number)
  kept = {name: data for name, data in without_seals(tmp_path).items() if "kept" in name}
  assert kept == {f"report.html.kept-{name}": b"mine %d" % n for n, name in enumerate((1, 3, 4))}
  assert capsys.readouterr().err.count("\n") == 3  # where nobody listens it is printed


def test_ours_is_replaced_and_so_is_what_has_the_bytes_to_be_written(tmp_path):
  path = tmp_path / "x"
  path.write_bytes(b"same")
  for content in (b"same", b"other", b"", b"same"):
    files.write_bytes(path, content)
    assert without_seals(tmp_path) == {"x": content}
    assert (tmp_path / ".sha256" / "x").read_text().count("\n") == 1


def test_after_a_kill_at_any_system_call_the_old_file_is_still_known_as_ours(tmp_path, monkeypatch):
  path = tmp_path / "x"
  killed = 0
  for kill_at in range(20):
    files.write_bytes(path, b"old")
    with killed_at(kill_at, ("open", "fsync", "replace"), monkeypatch):
      try:
        files.write_bytes(path, b"new!")
      except Killed:
        killed += 1
    files.write_bytes(path, b"newer")
    assert without_seals(tmp_path) == {"x": b"newer"}
    assert files.is_intact(path)
  assert killed >= 6


@pytest.mark.parametrize("name", ["scores.csv", "holiday.jpg", "cat/1.png", "config.json"])
def test_a_folder_with_files_of_others_is_refused_and_left_as_it_is(name, tmp_path):
  (tmp_path / name).parent.mkdir(exist_ok=True)
  (tmp_path / name).write_text("mine")
  with pytest.raises(
    WorkdirError, match="is no workdir of a run, and not empty: it holds "
  ) as seen:
    with hold_workdir(tmp_path):
      pass
  assert name.partition("/")[0] in str(seen.value)
  assert tree(tmp_path) == {name: b"mine"}
  with hold_workdir(tmp_path / "new"):  # the advice
    pass


@pytest.mark.parametrize("name", [".DS_Store", "slurm-12.out", "lost+found/x", ".sha256/x"])
def test_what_a_system_leaves_logs_and_our_own_seals_are_no_reason_to_refuse(name, tmp_path):
  (tmp_path / name).parent.mkdir(exist_ok=True)
  (tmp_path / name).write_text("")
  with hold_workdir(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
  with hold_workdir(tmp_path):  # once it is a workdir, notes may lie there
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_workdir_may_hold_the_file_that_the_run_prints_to(tmp_path, capfd):
  log = tmp_path / "mine.txt"
  with open(log, "w") as file:
    before = os.dup(1)
    os.dup2(file.fileno(), 1)
    try:
      with hold_workdir(tmp_path):
        pass
    finally:
      os.dup2(before, 1)
      os.close(before)


@pytest.mark.slow
def test_a_column_added_to_the_scores_of_a_run_is_still_there_after_the_same_command(
  tmp_path, monkeypatch, capsys
):
  whole.quick_report(monkeypatch)
  workdir = tmp_path / "run"
  assert whole.run(whole.CONFIG, workdir) == 0
  before = without_seals(workdir)
  theirs = before["scores.csv"].replace(b"\n", b",note\n", 1)
  (workdir / "scores.csv").write_bytes(theirs)
  whole.forbid_training(monkeypatch)
  capsys.readouterr()
  assert experiment.run(whole.CONFIG, workdir, "tiny") == 0
  assert "scores.csv.kept-1" in capsys.readouterr().err
  after = without_seals(workdir)
  assert after.pop("scores.csv.kept-1") == theirs
  assert after["scores.csv"] == before["scores.csv"]
  assert after.keys() == before.keys()
