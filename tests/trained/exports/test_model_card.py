"""The model card: how good a network is, how it went wrong, and what its inputs are made of."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from sdt import files
from sdt.trained.exports.formats import FORMATS
from sdt.trained.exports.model_card import card
from sdt.trained.load import load
from tests.support import exported


@pytest.fixture
def run(reference_run, tmp_path):
  """Returns a finished run that a test may change."""
  return shutil.copytree(reference_run, tmp_path / "run")


def test_the_model_card_has_the_figures_of_the_results_and_the_formula(reference_run):
  done = load(reference_run)
  model, results = done.network("method", 1), done.results
  text = card(model, results, FORMATS["onnx"], file="net.onnx")
  entry = results["arms"]["method"]
  mean, sd = 100 * entry["mean"], 100 * entry["sd"]
  assert f"| `method` | {mean:.2f} | {sd:.2f} | {entry['n']} |" in text
  assert f"This network: {100 * entry['accuracy']['1']:.2f} % of 30 test examples" in text
  assert "uint8 [batch, 8, 8, 3]" in text
  numbers = (", ".join(map(str, values)) for values in (model.mean, model.std))
  assert "(pixel / 255 - mean) / std with mean = [{}], std = [{}]".format(*numbers) in text
  assert json.dumps(list(model.class_names)) in text
  assert "licence: none needed: drawn by sdt" in text
  assert results["data"]["checksum"] in text


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({}, ""),
    ({"diverged": [1]}, "This network diverged in training: its answers are of no use."),
    (
      {"collapsed": [1], "how": (None, True)},
      "This network ended at chance: it is no better than chance on the test set.",
    ),
    (
      {"collapsed": [1], "how": ([2, 3], True)},
      "This network ended at chance: it is no better than chance on the test set.",
    ),
    (
      {"collapsed": [1], "how": ([2, 3], False)},
      "This network was at chance in rounds 2 to 3 of its training, and is not at its end.",
    ),
    ({"diverged": [0], "collapsed": []}, ""),
  ],
)
@pytest.mark.parametrize("fit", [[0], [0, 1]])
def test_the_model_card_says_how_a_training_went_wrong(changes, told, fit, reference_run):
  done = load(reference_run)
  entry = done.results["arms"]["method"] | {"fit": fit}
  entry |= {key: value for key, value in changes.items() if key != "how"}
  if "how" in changes:
    rounds, ended = changes["how"]
    seeds = {"1": {"stuck_in_rounds": rounds, "ended_at_chance": ended}}
    entry["collapse"] = {"seeds": seeds, "likely_cause": "", "cures": []}
  results = {**done.results, "arms": {**done.results["arms"], "method": entry}}
  text = card(done.network("method", 1), results, FORMATS["onnx"], file="net.onnx")
  told = " ".join(filter(None, (told, "" if 1 in fit else "The run does not recommend it.")))
  found = [line.strip("*") for line in text.splitlines() if line.startswith("**")]
  assert found == ([told] if told else [])


@pytest.mark.parametrize(
  ("shape", "keys", "told"),
  [
    ((8, 8, 3), {}, ("a grey one becomes RGB", "One of another size is scaled to that", "8 x 8")),
    ((8, 6, 1), {}, ("it must be grey", "its images have 6 x 8 pixels", "the upper 8 bits count")),
    (
      (8, 8, 3),
      {"image_size": 8, "value_range": (0.0, 4095.0)},
      ("0 becomes 0, 4095 becomes 255", "height and width become 8 pixels"),
    ),
    (
      (8, 8, 3),
      {"image_size": 9, "resize": "short_side", "crop_size": 8},
      ("the shorter side becomes 9", "then the middle 8 x 8 pixels are taken"),
    ),
    ((8, 8, 3), {"crop_size": 8}, ("then the middle 8 x 8 pixels are taken",)),
    ((8, 8, 2), {}, ()),
  ],
)
def test_the_model_card_says_how_an_image_file_becomes_an_input(shape, keys, told, reference_run):
  model = exported.described("resnet", exported.SMALL, shape=shape)
  data = dataclasses.replace(model.config.data, **keys)
  model = dataclasses.replace(model, config=dataclasses.replace(model.config, data=data))
  text = card(model, load(reference_run).results, FORMATS["onnx"], file="net.onnx")
  for part in told:
    assert part in text
  is_scaled = not keys and shape[2] in (1, 3)
  assert ("One of another size" in text) == is_scaled
  assert ("an image file is made upright" in text) == (shape[2] in (1, 3))
  assert ("the upper 8 bits count" in text) == (shape[2] in (1, 3) and "value_range" not in keys)
  assert "one image or more" in text


def test_the_model_card_says_in_which_precision_the_figures_were_measured(run):
  def made():
    load(run).export(run / "exports/x.onnx", arm="method", overwrite=True)
    return (run / "exports/x.onnx.md").read_text()

  assert "figures were measured in float32, as this file computes." in made()
  environment = files.read_json(run / "environment.json")
  environment["choices"]["precision"] = "bfloat16"
  files.write_json(run / "environment.json", environment)
  assert "measured in bfloat16; this file computes in float32, where a few answers" in made()


def test_the_example_of_a_model_card_runs(tmp_path, monkeypatch, reference_run):
  done = load(reference_run)
  model = done.network()
  monkeypatch.chdir(tmp_path)
  inputs = np.zeros((2, 8, 8, 3), np.uint8)
  for name in ("stablehlo", "onnx"):
    kind = FORMATS[name]
    (tmp_path / "net").write_bytes(kind.content(model))
    text = card(model, done.results, kind, file="net")
    known = {"inputs": inputs}
    exec(text.partition("```python\n")[2].partition("```")[0], known)
    assert np.asarray(known["logits"]).shape == (2, 3)


def test_a_card_of_torch_says_that_the_file_does_not_normalise_and_how_images_are_read(
  reference_run,
):
  results = load(reference_run).results
  model = exported.described("resnet18", {}, shape=(64, 64, 3))
  entry = {"accuracy": {"3": None}, "mean": None, "sd": None, "n": 0}
  arms = {"method": {**results["arms"]["method"], **entry, "diverged": [3]}}
  data = {**results["data"], "name": "folder"}
  text = card(
    model, {**results, "arms": arms, "data": data}, FORMATS["torch"], file="r.safetensors"
  )
  assert "torchvision.models.resnet18(num_classes=3)" in text
  assert "float32 [batch, 3, 64, 64]" in text
  assert "the file does not do it" in text
  assert "This network diverged in training" in text
  assert "This network: not known" in text
  assert "licence: not known to sdt: the data are the user's own" in text
  # Names with a line break and quotation marks stay one line of JSON.
  assert json.loads(text.partition("```json\n")[2].partition("\n```")[0]) == list(
    exported.CLASS_NAMES
  )
