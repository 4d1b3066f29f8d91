"""The command `doctor`: what it prints, writes and leaves alone, and what it refuses."""

import json
import shlex

import pytest

from sdt.commands import doctor, program
from sdt.commands.doctor import FAULT_FOUND, main, next_command, parse
from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.doctor.steps import Advice
from sdt.errors import ConfigError, WorkdirError
from sdt.stats import curve_diagnosis
from tests.support import whole

COMMAND = ["--config=shapes", *whole.overrides()]


def test_a_sound_step_writes_a_page_and_a_file_and_ends_with_0(tmp_path, capsys):
  workdir = tmp_path / "run"
  assert main([*COMMAND, f"--workdir={workdir}", "--steps=before"]) == 0
  printed = capsys.readouterr().out.splitlines()
  content = json.loads((workdir / "doctor.json").read_text())
  (step,) = content["steps"].values()
  assert (step["number"], step["title"]) == (2, "before training")
  assert printed[0] == f"2 before training ok     {step['findings'][0]['text']}"
  assert step["measured"]["loss"] == pytest.approx(1.1, abs=0.4)
  assert printed[-2:] == [f"  {content['next']['command']}", f"page: {workdir}/doctor.html"]
  page = (workdir / "doctor.html").read_text()
  assert step["findings"][0]["text"] in page
  assert "activations by layer" in page
  assert sorted(path.name for path in workdir.iterdir()) == [
    ".sha256",
    "doctor.html",
    "doctor.json",
  ]
  # What was found stays for the next start with the same config, and goes with another.
  assert main([*COMMAND, f"--workdir={workdir}", "--steps=curves"]) == 0
  assert list(json.loads((workdir / "doctor.json").read_text())["steps"]) == ["before", "curves"]
  assert "note   there are no curves yet" in capsys.readouterr().out
  other = "--config.optim.momentum=0.5"
  assert main([*COMMAND, other, f"--workdir={workdir}", "--steps=curves"]) == 0
  assert list(json.loads((workdir / "doctor.json").read_text())["steps"]) == ["curves"]


def test_a_fault_ends_with_8_and_the_next_command_mends_it(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr("sys.argv", ["sdt"])
  words = [*COMMAND, "--config.model.initialisation=constant(0)", f"--workdir={tmp_path}/run"]
  assert main([*words, "--steps=2"]) == FAULT_FOUND == 8
  printed = capsys.readouterr().out
  assert "FAULT  2 of 2 kernels hold one number, such as zero weights" in printed
  assert "next: mend the first fault (constant_weights); then examine again" in printed
  assert f"  sdt doctor --config=shapes --workdir={tmp_path}/run --config.data" in printed


def test_the_curves_of_a_finished_run_are_read_and_its_files_stay(
  reference_run, tmp_path, capsys, monkeypatch
):
  import shutil

  workdir = tmp_path / "run"
  shutil.copytree(reference_run, workdir)
  before = whole.stamps(workdir)
  # The rate and the rounds are those of the run, whatever this config has.
  other = [word for word in COMMAND if "learning_rate" not in word]
  other.append("--config.optim.learning_rate=9.0")
  seen = []
  monkeypatch.setattr(curve_diagnosis, "of_curves", lambda *_, **of: seen.append(of) or [])
  assert main([*other, f"--workdir={workdir}", "--steps=7"]) == 0
  assert seen == [{"rounds": 4, "planned": 4, "rate": 0.05}]
  monkeypatch.undo()
  assert main([*COMMAND, f"--workdir={workdir}", "--steps=7"]) in (0, FAULT_FOUND)
  after = whole.stamps(workdir)
  assert {name: after[name] for name in before} == before
  new = {"doctor.json", "doctor.html", ".sha256/doctor.json", ".sha256/doctor.html"}
  assert after.keys() - before.keys() == new
  measured = json.loads((workdir / "doctor.json").read_text())["steps"]["curves"]["measured"]
  rows = [row for row in whole.rows(workdir) if (row["arm"], row["seed"]) == ("baseline", 0)]
  assert measured["train_loss"] == [row["train_loss"] for row in rows]
  assert measured["test_accuracy"] == [row["test_accuracy"] for row in rows]
  assert "7 curves" in capsys.readouterr().out


def test_the_next_command_keeps_what_was_given(monkeypatch):
  monkeypatch.setattr("sys.argv", ["run.py"])
  words = ["--config", "digits", "--config.seeds=1,2", "--config.optim.learning_rate=100"]
  changes = {"optim.learning_rate": 0.1}
  said = next_command(parse([*words, "--steps=3"]), Advice("", "doctor", changes, "5-7"))
  assert shlex.split(said) == [
    *("python", "run.py", "doctor", "--config=digits", "--steps=5-7"),
    *("--config.seeds=1,2", "--config.optim.learning_rate=0.1"),
  ]
  said = next_command(parse([*words, "--workdir=a b"]), Advice("", "train", changes))
  start, name, *rest = shlex.split(said)
  assert [start, name, *rest[:2]] == ["python", "run.py", "--config=digits", "--workdir=a b"]
  overrides = [tuple(word.removeprefix("--config.").split("=", 1)) for word in rest[2:]]
  config = resolve(load_config_file(parse(words).request.config_path), overrides)
  assert (config.seeds, config.optim.learning_rate) == ((1, 2), 0.1)


@pytest.mark.parametrize(
  ("words", "part"),
  [
    ([], "--config is missing; usage: "),
    (["--config=digits", "--dry_run"], "unknown flag --dry_run"),
    (
      ["runs/t1"],
      "unexpected argument 'runs/t1': doctor takes no folder; give --config=FILE, and "
      "--workdir=runs/t1; usage: ",
    ),
    (["digits"], "unexpected argument 'digits'; did you mean --config=digits?; usage"),
    (["configs/digit.py"], "unexpected argument 'configs/digit.py'; usage"),
    (["--config=digits", "--step=1"], "did you mean --steps?"),
    (["--config=digits", "--steps=9"], "--steps=9: 9 is no step; expected numbers from 1 to 7"),
    (["--config=digits", "--steps=1", "--steps=2"], "--steps is given twice"),
    (["--config=toy"], "the toy has no classes"),
    (["--config=sweeps/activations"], "doctor examines one config"),
    (
      [
        *("--config=digits", "--config.optim.name=lbfgs", "--config.augment.pad_crop=0"),
        "--config.optim.decay_form=decoupled",
      ],
      "doctor's steps are small batches",
    ),
  ],
)
def test_what_the_words_alone_have_wrong_is_refused_before_jax_is_needed(words, part, monkeypatch):
  monkeypatch.setattr(doctor, "load_jax", lambda: pytest.fail("too late"))
  with pytest.raises(ConfigError) as caught:
    main(words)
  assert part in str(caught.value)


def test_a_folder_of_other_files_is_refused(tmp_path):
  (tmp_path / "photo.png").write_bytes(b"")
  with pytest.raises(WorkdirError, match="is no workdir of a run, and not empty"):
    main([*COMMAND, f"--workdir={tmp_path}"])


@pytest.mark.slow
def test_all_steps_lead_to_a_command_that_trains_in_the_same_workdir(tmp_path, monkeypatch):
  monkeypatch.setattr("sys.argv", ["sdt"])
  workdir = tmp_path / "run"
  short = {"rounds": "2", "optim.milestones": "1"}
  given = [word for word in COMMAND if word.partition("=")[0][9:] not in short]
  words = [*given, f"--workdir={workdir}"]
  words += [f"--config.{key}={value}" for key, value in short.items()]
  assert program.main(["doctor", *words, "--steps=1-7"]) in (0, FAULT_FOUND)
  content = json.loads((workdir / "doctor.json").read_text())
  assert list(content["steps"]) == [
    *("gradient", "before", "overfit", "rates", "coarse", "fine", "curves")
  ]
  # The grids are not trained again, and choose the same.
  whole.forbid_training(monkeypatch)
  assert program.main(["doctor", *words, "--steps=5-6"]) in (0, FAULT_FOUND)
  again = json.loads((workdir / "doctor.json").read_text())
  for name in ("coarse", "fine"):
    assert again["steps"][name]["measured"] == content["steps"][name]["measured"]
  monkeypatch.undo()
  monkeypatch.setattr("sys.argv", ["sdt"])
  assert program.main(["train", *words]) == 0
  assert program.main(["doctor", *words, "--steps=7"]) in (0, FAULT_FOUND)
  curves = json.loads((workdir / "doctor.json").read_text())["steps"]["curves"]
  assert curves["measured"]["what"] == "the run in the workdir"
  assert program.main(["train", *words]) == 0  # complete: nothing to do
