"""The preprocessing inside the compiled step, in files of weights and in exports."""

import dataclasses

import jax
import numpy as np
import pytest

from sdt import files
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.data import preprocess as host
from sdt.devices import processes
from sdt.engine.state import TrainState
from sdt.errors import ConfigError, DataError
from sdt.inputs import preprocess
from sdt.inputs.preprocess import Preparation, prepare
from sdt.run import preprocessing_file
from sdt.run.programs import Setup
from sdt.stages.contact_sheet import contact_sheet
from sdt.stages.model_file import header, write_model
from sdt.trained.exports import model_card, torch_file
from sdt.trained.exports.forward import constants_of, forward
from sdt.trained.model import preprocess as of_model
from sdt.trained.model import read_model
from sdt.trained.predicting import Predictor
from tests.support import tiny

TEXTS = [*NORMALISERS, "image_mean zca(0.1)", "dc pixel", "channel image"]
KINDS = ["channel", "pixel image", "dc zca(0.1)"]  # every kind of step


def data_of(text, **changes):
  config = tiny.config(data__normalise=text, seeds=(3,), **changes)
  return config, tiny.data(config)


def test_the_host_and_the_programs_know_the_same_steps():
  assert set(host.FITS) == set(NORMALISERS)
  assert set(host.APPLY) == set(preprocess.APPLY)


@pytest.mark.parametrize("text", TEXTS)
def test_a_program_prepares_as_the_host_fitted(text):
  _, data = data_of(text)
  by = Preparation.of(data.mean, data.std, data.steps, dtype=np.uint8)
  ours = jax.jit(prepare)(data.train.inputs, by)
  fitted = host.Fitted(data.mean, data.std, data.steps)
  twin = np.concatenate(list(host._parts(data.train, fitted)))
  np.testing.assert_allclose(ours, twin, rtol=2e-5, atol=2e-5)


def test_the_default_is_the_program_and_the_bits_of_before():
  from sdt.inputs.augment import normalise, shift_and_scale

  _, data = data_of("channel")
  by = Preparation.of(data.mean, data.std, data.steps, dtype=np.uint8)
  assert by.steps == ()
  pair = shift_and_scale(data.mean, data.std, np.uint8)
  images = data.test.inputs[:4]
  now = jax.make_jaxpr(lambda x, s, t: prepare(x, Preparation(s, t)))(images, *pair)
  assert str(now) == str(jax.make_jaxpr(normalise)(images, *pair))


@pytest.fixture(params=KINDS)
def written(request, tmp_path):
  """Returns the data, and a network of drawn weights in a file, by every preprocessing."""
  config, data = data_of(request.param)
  state = Setup.make(config, data).fresh_start.state
  about = header(data, config, arm="method", seed=3)
  write_model(tmp_path / "m.safetensors", state, 0, about=about, steps=data.steps)
  return config, data, state, tmp_path / "m.safetensors"


def test_a_file_of_weights_alone_prepares_as_the_run_did(written):
  config, data, state, path = written
  model, images = read_model(path), data.test.inputs[:6]
  by = Preparation.of(data.mean, data.std, data.steps, dtype=np.uint8)
  expected = np.asarray(jax.jit(prepare)(images, by))
  np.testing.assert_array_equal(jax.jit(lambda x: of_model(model, x))(images), expected)
  variables = jax.tree.map(lambda leaf: leaf[0], state.variables)
  logits = Setup.make(config, data).model.apply(variables, expected, train=False)
  (said,) = Predictor([model], batch_size=6).logits([images])
  np.testing.assert_allclose(said[0], logits, rtol=1e-5, atol=1e-5)
  exported = jax.jit(lambda x: forward(model, constants_of(model), x))(images)
  np.testing.assert_allclose(exported, logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_rows("channel", "pixel image")
def test_onnx_and_stablehlo_hold_the_preprocessing_and_the_card_its_formula(written):
  onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
  del onnx
  from sdt.trained.exports import onnx_file, stablehlo

  _, data, _, path = written
  model, images = read_model(path), data.test.inputs[:6]
  expected = np.asarray(jax.jit(lambda x: forward(model, constants_of(model), x))(images))
  session = onnxruntime.InferenceSession(onnx_file.content(model))
  (said,) = session.run(None, {"inputs": images})
  np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-4)
  called = jax.export.deserialize(bytearray(stablehlo.content(model))).call(images)
  np.testing.assert_allclose(called, expected, rtol=1e-5, atol=1e-5)
  formula, calls = model_card._formula(model, "pixel / 255"), model.config.data.normalise.split()
  if model.is_plainly_normalised:
    assert formula.startswith("(pixel / 255 - mean) / std with mean = [")
  else:
    names = [call.partition("(")[0] for call in calls]
    assert all(f"{NORMALISERS[name].meaning}" in formula for name in names)
    with pytest.raises(ConfigError, match="the inputs need more numbers than a mean"):
      torch_file.check(model)


def test_a_damaged_step_of_a_file_is_told(tmp_path):
  config, data = data_of("zca")
  state = TrainState(0, {}, {}, None)
  for steps, kinds in ((data.steps, ("warp",)), (data.steps[:0], ("whiten",))):
    other = dataclasses.replace(data, steps=tuple(host.Step(kind) for kind in kinds))
    about = header(other, config, arm="method", seed=3)
    write_model(tmp_path / "m.safetensors", state, 0, about=about, steps=steps)
    with pytest.raises(DataError, match="no step of the preprocessing"):
      read_model(tmp_path / "m.safetensors")


def test_a_run_goes_on_with_the_statistics_of_its_first_start(tmp_path):
  _, data = data_of("pixel pca(0.1)", model__name="mlp")
  begun = preprocessing_file.as_begun(tmp_path, data)
  assert files.is_intact(tmp_path / preprocessing_file.FILE)
  (step,) = data.steps
  other = dataclasses.replace(
    data, mean=data.mean + 1, steps=(host.Step("whiten", (step.arrays[0], -step.arrays[1])),)
  )
  for of in (begun, preprocessing_file.as_begun(tmp_path, other)):
    np.testing.assert_array_equal(of.mean, data.mean)
    for ours, twin in zip(of.steps[0].arrays, step.arrays, strict=True):
      np.testing.assert_array_equal(ours, twin)
  _, plain = data_of("channel image")
  assert not preprocessing_file.is_written(plain)
  assert processes.count() == 1


@pytest.mark.slow
def test_a_mean_image_stands_beside_operations_in_training_and_on_their_sheet():
  sheets = []
  for text in ("image_mean", "channel"):
    ops = {"augment__ops": "crop(1) flip rotate(20)", "rounds": 1, "optim__milestones": ()}
    config = tiny.config(data__normalise=text, **ops)
    data = tiny.data(config)
    state, _ = tiny.train(config, tiny.everything(config, len(data.train)), data)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    sheets.append(contact_sheet(config, data)["images"])
  np.testing.assert_array_equal(*sheets)  # the pixels, before anything is subtracted


@pytest.mark.slow
def test_a_network_trains_on_white_inputs_with_the_same_bits_resident_and_streamed():
  ends = []
  for placement in ("device", "stream"):
    config = tiny.config(
      data__normalise="image_mean zca(0.1)",
      data__placement=placement,
      rounds=1,
      optim__milestones=(),
    )
    data = tiny.data(config)
    ends.append(tiny.train(config, tiny.everything(config, len(data.train)), data)[0].params)
  tiny.assert_equal(*ends)
