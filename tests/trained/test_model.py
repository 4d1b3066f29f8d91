"""A network that is read from its file alone."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sdt import files
from sdt.errors import DataError
from sdt.trained.model import file_of, logits_of, preprocess, read_model
from tests.support import tiny, whole

CONFIG = whole.CONFIG


@pytest.mark.parametrize("arm", CONFIG.arms)
def test_a_file_of_weights_alone_gives_the_accuracy_of_the_results(arm, reference_run, tmp_path):
  results = files.read_json(reference_run / "results.json")
  alone = tmp_path / "any name"
  alone.write_bytes((reference_run / file_of(arm, 1)).read_bytes())
  model, test = read_model(alone), tiny.data(CONFIG).test
  assert (model.arm, model.seed, model.input_shape) == (arm, 1, (8, 8, 3))
  assert list(model.class_names) == results["data"]["class_names"]
  logits = np.asarray(logits_of(model)(preprocess(model, test.inputs)))
  right = np.mean(np.argmax(logits, axis=-1) == test.labels)
  assert right == results["arms"][arm]["accuracy"]["1"]


def changed(source, target, **changes):
  """Writes the file again with another header; None takes an entry out."""
  content = source.read_bytes()
  end = 8 + int.from_bytes(content[:8], "little")
  header = json.loads(content[8:end])["__metadata__"] | changes
  save_file(load_file(source), target, {key: value for key, value in header.items() if value})
  return target


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"format": None}, "another version of sdt"),
    ({"format": "sdt 0"}, "'sdt 0'"),
    ({"input_shape": None}, "its header is damaged"),
    ({"config": "{"}, "its header is damaged"),
    ({"config": '{"model": {"nme": "mlp"}}'}, "its header is damaged"),
    ({"class_names": '["a", "b"]'}, "params/head/"),
    ({"input_shape": "[9, 8, 3]"}, "are not those of the network"),
  ],
)
def test_a_file_of_another_version_or_with_a_damaged_header_is_refused(
  changes, told, reference_run, tmp_path
):
  file = changed(reference_run / "model.safetensors", tmp_path / "model.safetensors", **changes)
  with pytest.raises(DataError, match=told):
    read_model(file)


def test_a_file_of_weights_that_is_damaged_or_none_is_refused(reference_run, tmp_path):
  file, content = tmp_path / "x", (reference_run / "model.safetensors").read_bytes()
  with pytest.raises(DataError, match="cannot read"):
    read_model(file)
  for damaged in (b"", content[:-1], b"\xff" * 99, content.replace(b'"F32"', b'"F16"', 1)):
    file.write_bytes(damaged)
    with pytest.raises(DataError, match="not a sound safetensors file"):
      read_model(file)
