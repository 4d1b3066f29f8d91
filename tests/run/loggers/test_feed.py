import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sdt import experiment, files, packages
from sdt.commands import train
from sdt.config.keys.machine import LogConfig
from sdt.errors import ConfigError
from sdt.run.loggers import feed, table
from sdt.run.loggers.feed import Feed, Guarded
from sdt.run.loggers.points import final_of, points_of
from sdt.run.loggers.protocol import About, Curve, Final, Point
from tests.support import whole
from tests.support.places import ROOT

ROWS = [
  {"arm": "method", "seed": 3, "round": 1, "phase": "A", "last_phase": False, "step": 2,
   "train_loss": 0.5, "train_accuracy": None, "weight_norms": [1.0, 2.0], "test_loss": None,
   "test_accuracy": None, "seconds": 0.25},
  {"arm": "method", "seed": 3, "round": 1, "phase": "B", "last_phase": True, "step": 5,
   "train_loss": 0.25, "train_accuracy": 1, "weight_norms": None, "test_loss": 2.0,
   "test_accuracy": 0.75, "seconds": 0.25, "overrides": {"dropout": 0.5}},
  {"arm": "method", "seed": 4, "round": 1, "phase": "A", "last_phase": False, "step": 1,
   "train_loss": None, "train_accuracy": None, "weight_norms": None, "test_loss": None,
   "test_accuracy": None, "seconds": 0.25, "diverged": True},
]  # fmt: skip


def test_the_phases_of_a_round_are_one_point_of_the_numbers_that_are_there():
  first, second = points_of(ROWS)
  assert first == Point(
    Curve("method", 3),
    1,
    {
      "step/A": 2.0,
      "train_loss/A": 0.5,
      "step/B": 5.0,
      "train_loss/B": 0.25,
      "train_accuracy/B": 1.0,
      "test_loss": 2.0,
      "test_accuracy": 0.75,
    },
  )
  assert second == Point(Curve("method", 4), 1, {"step/A": 1.0})


def test_the_end_has_the_figures_of_every_training_and_their_means(reference_run):
  results = files.read_json(reference_run / "results.json")
  final = final_of(results)
  assert final.sentence == results["sentence"]
  own = {point.curve: point for point in final.points}
  assert own.keys() == {Curve(arm, seed) for arm in ("baseline", "method") for seed in (0, 1)}
  for (arm, seed), point in own.items():
    entry = results["arms"][arm]
    assert point.round == entry["last_round"] == 4
    assert point.figures["accuracy"] == entry["accuracy"][str(seed)]
    assert point.figures["gap"] == entry["gap"]["per_seed"][str(seed)]
    assert final.means[f"accuracy/{arm}"] == entry["mean"]
    assert final.means[f"gap/{arm}"] == entry["gap"]["mean"]


def test_a_seed_that_diverged_has_no_figures_in_the_end():
  entry = {"accuracy": {0: None, 1: 0.5}, "mean": 0.5, "last_round": 7}
  final = final_of({"arms": {"baseline": entry}, "rounds": 9, "sentence": "So it is."})
  assert final.points == (
    Point(Curve("baseline", 0), 7, {}),
    Point(Curve("baseline", 1), 7, {"accuracy": 0.5}),
  )


def test_the_toy_ends_with_its_errors_in_place_of_accuracies():
  error = {"per_seed": {"0": 0.5, "1": 0.25}, "mean": 0.375, "sd": 0.1, "n": 2}
  final = final_of({"arms": {"uniform": {"asks": "?", "error": error}}, "rounds": 9})
  assert final.points == (
    Point(Curve("uniform", 0), 9, {"error": 0.5}),
    Point(Curve("uniform", 1), 9, {"error": 0.25}),
  )
  assert (final.sentence, dict(final.means)) == ("", {"error/uniform": 0.375})


class Book:
  """A logger that keeps what it is told."""

  def __init__(self, about: About):
    self.about = about
    self.told: list[Any] = []
    Book.newest = self

  def write(self, points: list[Point]) -> None:
    self.told += points

  def conclude(self, final: Final) -> None:
    self.told.append(final.sentence)

  def close(self, *, is_complete: bool) -> None:
    self.told.append(is_complete)


class FullDisk(Book):
  """A logger whose disk is full after the first points."""

  def write(self, points: list[Point]) -> None:
    if self.told:
      raise OSError(28, "No space left\non device")
    super().write(points)


@pytest.fixture
def logger(monkeypatch, request):
  """Puts a logger in the place of TensorBoard's, whose package is there."""
  kind = table.Kind("numpy", (1, 0), request.param)
  monkeypatch.setattr(table, "LOGGERS", {"tensorboard": kind})
  monkeypatch.setattr(feed, "LOGGERS", {"tensorboard": kind})
  return request.param


CONFIG = whole.config(log__tensorboard=True)


def rows_of(workdir: Path) -> list[Point]:
  return points_of(files.read_rows(workdir / "metrics.jsonl"))


@pytest.mark.parametrize("logger", [FullDisk], indirect=True)
def test_a_logger_that_fails_is_told_once_and_the_run_ends_as_without_it(
  logger, reference_run, tmp_path, monkeypatch, capsys
):
  whole.without_report(monkeypatch)
  assert whole.run(CONFIG, tmp_path / "run") == 0
  notes = [line for line in capsys.readouterr().err.splitlines() if "log.tensorboard" in line]
  assert notes == [
    "note: log.tensorboard: OSError: [Errno 28] No space left on device; the run goes on without "
    "it, and metrics.jsonl has every row"
  ]
  assert logger.newest.told[-1] not in (True, False)  # nobody asks it for anything any more
  theirs, ours = (
    whole.outputs(reference_run, report=False),
    whole.outputs(tmp_path / "run", report=False),
  )
  assert {name for name in ours if ours[name] != theirs.get(name)} == {
    "config.json",
    ".sha256/config.json",
    "loggers.json",
    ".sha256/loggers.json",
  }


@pytest.mark.parametrize("logger", [Book], indirect=True)
def test_every_process_tells_a_logger_every_row_once_and_then_the_end(
  logger, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  workdir = tmp_path / "run"
  whole.stopped(CONFIG, workdir, monkeypatch, task="method", done=1.5)
  assert logger.newest.told == [*rows_of(workdir), False]
  first = logger.newest.about
  assert (first.name, first.workdir) == ("run", workdir)
  assert whole.run(CONFIG, workdir) == 0
  sentence = files.read_json(workdir / "results.json")["sentence"]
  assert logger.newest.told == [*rows_of(workdir), sentence, True]
  assert logger.newest.about.run_id == first.run_id
  last = logger.newest
  assert whole.run(CONFIG, workdir) == 0  # nothing is left to do
  assert logger.newest is last


@pytest.mark.parametrize("logger", [Book], indirect=True)
def test_a_copied_run_and_one_that_is_begun_again_are_other_runs(logger, tmp_path):
  def run_id(workdir: Path) -> str:
    Feed.of(CONFIG, workdir, print).add([])
    time.sleep(0.05)
    return files.read_json(workdir / feed.FILE)["run_id"]

  one, other = tmp_path / "one", tmp_path / "other"
  for folder in (one, other):
    folder.mkdir()
    files.append_rows(folder / "metrics.jsonl", ROWS)
  first = run_id(one)
  assert run_id(one) == first
  files.write_json(other / feed.FILE, files.read_json(one / feed.FILE))
  assert run_id(other) != first
  (one / feed.FILE).unlink()
  assert run_id(one) != first


def test_a_logger_that_hangs_is_not_waited_for():
  let_go, lines = threading.Event(), list[str]()

  class Hanging(Book):
    def write(self, points: list[Point]) -> None:
      let_go.wait(10)

  about = About("run", Path("/nowhere"), {}, "0")
  hanging = Guarded("wandb", lambda: Hanging(about), lines.append)
  start = time.perf_counter()
  hanging.send(lambda one: one.write([]))
  hanging.end(is_complete=True)
  hanging.wait(0.1)
  assert time.perf_counter() - start < 5
  assert [line.split(";")[0] for line in lines] == [
    "note: log.wandb: it has not received everything yet, and is no longer waited for"
  ]
  let_go.set()


def test_a_run_without_loggers_writes_nothing_of_them(tmp_path):
  one = Feed.of(whole.CONFIG, tmp_path, print)
  one.add(ROWS)
  one.finish({})
  one.close()
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", table.LOGGERS)
def test_a_missing_package_is_told_before_anything_is_loaded_or_written(
  name, tmp_path, monkeypatch
):
  kind = table.LOGGERS[name]

  def version(package: str) -> str:
    if package == kind.package:
      raise packages.importlib.metadata.PackageNotFoundError
    return "99.0"

  monkeypatch.setattr(packages.importlib.metadata, "version", version)
  monkeypatch.setattr(train, "load_jax", lambda: pytest.fail("JAX is loaded"))
  least = ".".join(map(str, kind.least))
  message = (
    f"log.{name} = True needs the package {kind.package} {least} or newer, which is not installed: "
    f"pip install '{kind.package}>={least}', or leave log.{name} out"
  )
  workdir = tmp_path / "run"
  with pytest.raises(ConfigError) as caught:
    train.main(
      [f"--config={ROOT}/configs/digits.py", f"--workdir={workdir}", f"--config.log.{name}=True"]
    )
  assert str(caught.value) == message
  with pytest.raises(ConfigError) as caught:
    experiment.run(whole.config(**{f"log__{name}": True}), workdir, "tiny")
  assert str(caught.value) == message
  assert not workdir.exists()


def test_an_old_package_is_told_with_its_version(monkeypatch):
  monkeypatch.setattr(packages.importlib.metadata, "version", lambda package: "0.9.7")
  with pytest.raises(ConfigError, match=r"wandb 0\.31 or newer, which is installed in version 0"):
    table.require_packages(LogConfig(wandb=True))


def test_every_logger_is_a_key_and_an_extra_of_the_same_name():
  import tomllib

  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  assert table.asked_for(LogConfig(True, True, True)) == list(table.LOGGERS)
  for name, kind in table.LOGGERS.items():
    assert extras[name] == [f"{kind.package}>={kind.least[0]}.{kind.least[1]}"]
