"""The weights that a run leaves, the accuracy of each class, and the network it recommends."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open

from sdt import files
from sdt.engine.evaluate import predict
from sdt.inputs.augment import normalise, shift_and_scale
from sdt.models import make_model
from sdt.run import resume
from sdt.run.collapse import Collapse
from sdt.stages.model_file import file_of
from tests.support import tiny, whole

CONFIG = whole.CONFIG
TRAININGS = [(arm, seed) for arm in CONFIG.arms for seed in CONFIG.seeds]


def network(path):
  """Returns the header and the variables of a file of weights."""
  variables = {}
  with safe_open(path, "np") as stored:
    for name in stored.keys():
      *parts, last = name.split("/")
      section = variables
      for part in parts:
        section = section.setdefault(part, {})
      section[last] = stored.get_tensor(name)
    return stored.metadata(), variables


@pytest.mark.parametrize(("arm", "seed"), TRAININGS)
def test_every_network_is_kept_and_has_the_accuracies_of_the_results(arm, seed, reference_run):
  data, results = tiny.data(CONFIG), files.read_json(reference_run / "results.json")
  header, variables = network(reference_run / file_of(arm, seed))
  assert (header["arm"], header["seed"]) == (arm, str(seed))
  assert header["collapsed"] == str(seed in results["arms"][arm]["collapsed"]).lower()
  sizes = {
    name: np.asarray(value, np.float32)
    for name, value in json.loads(header["normalisation"]).items()
  }
  inputs = normalise(data.test.inputs, *shift_and_scale(sizes["mean"], sizes["std"], np.uint8))
  logits = np.asarray(predict(make_model(CONFIG.model, 3), variables, inputs))
  right = np.argmax(logits, -1) == data.test.labels
  entry = results["arms"][arm]
  assert entry["accuracy"][str(seed)] == right.mean()
  by_class = [right[data.test.labels == label].mean() for label in range(3)]
  assert entry["class_accuracy"]["per_seed"][str(seed)] == pytest.approx(by_class)
  both = [entry["class_accuracy"]["per_seed"][str(one)] for one in CONFIG.seeds]
  assert entry["class_accuracy"]["mean"] == pytest.approx(np.mean(both, axis=0))


def test_model_safetensors_is_a_copy_of_the_recommended_network(reference_run):
  entry = files.read_json(reference_run / "results.json")["recommended"]
  model = (reference_run / "model.safetensors").read_bytes()
  assert model == (reference_run / entry["file"]).read_bytes()
  assert entry["file"] == file_of(entry["arm"], entry["seed"])
  assert entry["arm"] == "baseline"  # two seeds: no verdict
  assert entry["rule"] in (reference_run / "report.html").read_text().replace("&#39;", "'")


@pytest.mark.parametrize("lost", ["models/method-seed1.safetensors", "model.safetensors"])
def test_a_lost_file_of_weights_alone_is_written_again(
  lost, reference_run, tmp_path, monkeypatch, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  (copy / lost).unlink()
  before = {path: path.stat().st_mtime_ns for path in (copy / "models").glob("*.safetensors")}
  assert whole.run(CONFIG, copy) == 0
  assert (copy / lost).read_bytes() == (reference_run / lost).read_bytes()
  assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_finished_run_of_an_earlier_version_without_checkpoints_is_complete(
  reference_run, tmp_path
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  shutil.rmtree(copy / "models")
  names = [file_of(*one) for one in TRAININGS]
  assert len(resume.missing(copy, names)) == 4
  results = files.read_json(copy / "results.json")
  del results["recommended"]
  files.write_json(copy / "results.json", results)
  assert len(resume.missing(copy, names)) == 4
  shutil.rmtree(copy / "checkpoints")
  assert resume.missing(copy, names) == []
  (copy / "model.safetensors").unlink()
  assert [path.name for path in resume.missing(copy, names)] == ["model.safetensors"]


def test_where_no_network_is_fit_there_is_no_model_and_the_run_is_complete(
  reference_run, tmp_path, monkeypatch, capsys, no_training
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  whole.quick_report(monkeypatch)
  everyone = {seed: Collapse(None, ended_at_chance=True) for seed in CONFIG.seeds}
  monkeypatch.setattr("sdt.run.collapse.collapsed_seeds", lambda *_, **__: everyone)
  (copy / "results.json").unlink()
  assert whole.run(CONFIG, copy) == 0
  assert not (copy / "model.safetensors").exists()
  said = " ".join(capsys.readouterr().out.split())
  assert "! There is no model.safetensors: all networks diverged or collapsed. All weights" in said
  results = files.read_json(copy / "results.json")
  assert results["recommended"]["file"] is None
  assert results["sentence"].startswith(
    "Collapsed to chance: baseline, 2 of 2 seeds (0, 1); method"
  )
  assert f"There is no model.safetensors: {results['recommended']['why']}." in results["sentence"]
  assert len(list((copy / "models").glob("*.safetensors"))) == len(TRAININGS)
  assert whole.run(CONFIG, copy) == 0
  assert "complete: nothing to do" in capsys.readouterr().out
