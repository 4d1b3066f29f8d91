"""Runs on data that hold examples more than once: what they leave, and that they continue."""

import csv

import numpy as np
import pytest

from sdt import files
from sdt.errors import ConfigError, DataError
from sdt.run import load_inputs
from tests.support import whole

# As many examples of the same shape as `whole.CONFIG` has, so that they share its programs.
_NUM_TRAIN, _NUM_TEST = 70, 30


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
  """An archive of 70 training and 33 test images, of which the first three are training images."""
  rng = np.random.default_rng(1)
  train = rng.integers(0, 256, (_NUM_TRAIN, 8, 8, 3), dtype=np.uint8)
  test = rng.integers(0, 256, (_NUM_TEST + 3, 8, 8, 3), dtype=np.uint8)
  test[:3] = train[:3]
  path = tmp_path_factory.mktemp("data") / "set.npz"
  names = np.array(["ant", "bee", "cat"])
  labels = [np.arange(len(one)) % 3 for one in (train, test)]
  np.savez(path, train_x=train, train_y=labels[0], test_x=test, test_y=labels[1], class_names=names)
  return str(path)


def _config(archive, policy, **changes):
  return whole.config(
    data__name="npz", data__path=archive, data__on_duplicate_test=policy, **changes
  )


def _rows(workdir):
  with open(workdir / "duplicates.csv", encoding="utf-8", newline="") as file:
    return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_that_drops_copies_says_so_and_continues_after_a_stop(archive, tmp_path, monkeypatch):
  config = _config(archive, "drop", seeds=(0, 1))
  whole.quick_report(monkeypatch)
  assert whole.run(config, tmp_path / "whole") == 0
  rows = _rows(tmp_path / "whole")
  assert [(row["split"], row["example_id"], row["class_name"]) for row in rows] == [
    ("train", "0", "ant"),
    ("dropped", "0", "ant"),
    ("train", "1", "bee"),
    ("dropped", "1", "bee"),
    ("train", "2", "cat"),
    ("dropped", "2", "cat"),
  ]
  environment = files.read_json(tmp_path / "whole" / "environment.json")
  results = files.read_json(tmp_path / "whole" / "results.json")
  assert environment["data"]["duplicates"]["dropped"] == 3
  assert results["data"]["duplicates"]["dropped"] == 3
  assert results["data"]["num_test"] == _NUM_TEST
  whole.stopped(config, tmp_path / "stopped", monkeypatch, task="method", done=1)
  assert whole.run(config, tmp_path / "stopped") == 0
  assert whole.outputs(tmp_path / "whole") == whole.outputs(tmp_path / "stopped")
  # The table alone is made again where it is lost.
  before = (tmp_path / "whole" / "duplicates.csv").read_bytes()
  (tmp_path / "whole" / "duplicates.csv").unlink()
  whole.forbid_training(monkeypatch)
  assert whole.run(config, tmp_path / "whole") == 0
  assert (tmp_path / "whole" / "duplicates.csv").read_bytes() == before
  # Another treatment of copies is another run.
  assert whole.run(_config(archive, "warn"), tmp_path / "whole") == ConfigError.exit_code


def test_refuse_writes_nothing(archive, tmp_path):
  assert whole.run(_config(archive, "refuse"), tmp_path / "run") == DataError.exit_code
  assert not (tmp_path / "run").exists()


def test_the_warning_is_among_the_notes_of_every_run_and_dry_run(archive):
  config = _config(archive, "warn")
  data = load_inputs.load_data(config, lambda line: None)
  told = load_inputs.notes(config, data)
  assert any("9.1 % of the test examples are in the training set too" in note for note in told)
