"""What a run does with its predictions: kept, made again, made anew, and who is in them."""

import shutil
import types

import numpy as np
import pytest
from safetensors import safe_open

from sdt import files
from sdt.run.collapse import Collapse
from sdt.run.programs import Setup
from sdt.stages import predictions
from sdt.stages.model_file import file_of
from tests.support import tiny, whole

ARMS = whole.CONFIG.arms


@pytest.mark.parametrize("damage", ["predictions.npz", "predictions.csv", "results.json"])
def test_a_file_that_is_not_intact_is_made_again_and_sound_predictions_stay(
  damage, reference_run, tmp_path, monkeypatch, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  before = whole.outputs(copy, report=False)
  stamp = (copy / "predictions.npz").stat().st_mtime_ns
  path = copy / damage
  path.write_bytes(path.read_bytes()[:-3] + b"xyz")
  assert whole.run(whole.CONFIG, copy) == 0
  kept = copy / f"{damage}.kept-1"
  kept.unlink()
  assert whole.outputs(copy, report=False) == before
  stayed = (copy / "predictions.npz").stat().st_mtime_ns == stamp
  assert stayed == (damage != "predictions.npz")


def test_a_run_that_is_stopped_while_it_predicts_goes_on_to_the_same_files(
  reference_run, tmp_path, monkeypatch
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  before = whole.outputs(copy, report=False)
  for name in ("predictions.npz", "results.json"):
    files.remove(copy / name)
  text = whole.stopped(whole.CONFIG, copy, monkeypatch, task="predictions", done=1)
  assert "while predicting the test set" in text
  assert not (copy / "predictions.npz").exists()
  assert not [one for one in copy.iterdir() if one.name.startswith(".sdt-tmp")]
  assert whole.run(whole.CONFIG, copy) == 0
  assert whole.outputs(copy, report=False) == before


def as_of_an_earlier_version(workdir):
  """Removes from a finished run what version 0.1 did not make."""
  results = files.read_json(workdir / "results.json")
  del results["predictions"], results["recommended"]
  files.write_json(workdir / "results.json", results)
  for name in ("predictions.npz", "predictions.csv"):
    files.remove(workdir / name)
  shutil.rmtree(workdir / "models")


def test_a_finished_run_of_an_earlier_version_is_completed_and_nothing_is_trained(
  reference_run, tmp_path, monkeypatch, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  before = whole.outputs(copy, report=False)
  as_of_an_earlier_version(copy)
  assert whole.run(whole.CONFIG, copy) == 0
  assert whole.outputs(copy, report=False) == before


def test_without_its_checkpoints_it_stays_as_it_is(reference_run, tmp_path, capsys, no_training):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  as_of_an_earlier_version(copy)
  shutil.rmtree(copy / "checkpoints")
  assert whole.run(whole.CONFIG, copy) == 0
  assert "complete: nothing to do" in capsys.readouterr().out


def sealed_again(workdir, **changes):
  """Writes predictions.npz with other content, soundly sealed; removes results.json."""
  content = files.read_npz(workdir / "predictions.npz")
  for name, change in changes.items():
    content[name] = change(content[name])
  files.write_npz(workdir / "predictions.npz", **content)
  files.remove(workdir / "results.json")


@pytest.mark.parametrize(
  "weights", [lambda of: np.roll(of, 1), lambda of: of[:1]], ids=["of other arms", "too few"]
)
def test_predictions_of_other_networks_are_made_anew(
  weights, reference_run, tmp_path, monkeypatch, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  before = whole.outputs(copy, report=False)
  sealed_again(copy, weights=weights, predicted=lambda of: np.roll(of, 1, axis=-1))
  assert whole.run(whole.CONFIG, copy) == 0
  assert whole.outputs(copy, report=False) == before


@pytest.mark.parametrize("num", [1, 8])
def test_another_accuracy_is_a_note_in_one_example_and_a_warning_in_many(
  num, reference_run, tmp_path, monkeypatch, capsys, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)

  def spoil(predicted):
    right = np.flatnonzero(predicted[0, 0] == files.map_npz(copy / "predictions.npz")["label"])
    predicted[0, 0, right[:num]] = (predicted[0, 0, right[:num]] + 1) % 3
    return predicted

  sealed_again(copy, predicted=spoil)
  assert whole.run(whole.CONFIG, copy) == 0
  said = capsys.readouterr().err
  assert "predictions: there already" in said
  assert (f"WARNING: baseline, seed {whole.CONFIG.seeds[0]}: test accuracy" in said) == (num > 1)
  assert ("last bits of the two programs differ" in said) == (num == 1)


def test_a_network_that_collapsed_is_in_no_ensemble_and_not_among_the_fit(
  reference_run, tmp_path, monkeypatch, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  first, second = whole.CONFIG.seeds
  found = {first: Collapse(None, ended_at_chance=True)}
  monkeypatch.setattr("sdt.run.collapse.collapsed_seeds", lambda *_, **__: found)
  files.remove(copy / "results.json")
  assert whole.run(whole.CONFIG, copy) == 0
  results = files.read_json(copy / "results.json")
  assert [results["arms"][arm]["fit"] for arm in ARMS] == [[second], [second]]
  assert [results["predictions"]["arms"][arm]["ensemble"] for arm in ARMS] == [None, None]
  assert results["recommended"]["seed"] == second
  for seed, expected in ((first, "true"), (second, "false")):
    with safe_open(copy / file_of("method", seed), "np") as network:
      assert network.metadata()["collapsed"] == expected


def test_without_a_recommended_network_the_table_is_of_the_first_that_did_not_diverge(
  reference_run, tmp_path
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  setup = Setup.make(whole.CONFIG, tiny.data(whole.CONFIG))
  context = types.SimpleNamespace(config=whole.CONFIG, data=setup.data, workdir=copy)
  arms = files.read_json(copy / "results.json")["predictions"]["arms"]
  first, second = map(str, whole.CONFIG.seeds)
  arms["baseline"]["per_seed"] = {first: None, second: arms["baseline"]["per_seed"][second]}
  found = {arm: predictions.Predicted(**of_arm) for arm, of_arm in arms.items()}
  entry = predictions.finish(context, found, {"arm": None, "seed": None})
  assert entry["table"] == {"file": "predictions.csv", "arm": "baseline", "seed": int(second)}
