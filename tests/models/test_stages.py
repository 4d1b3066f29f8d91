"""The stages of the networks by name, what each hands on, and what is frozen before one."""

import functools

import jax
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.engine.evaluate import predict_with_features
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.registry import NETWORKS, variable_shapes
from sdt.models.stages import check_stage, frozen_modules, stage_features, stages_of
from tests.support.networks import SMALLEST

CONVOLUTIONS = tuple(f"conv{number}" for number in range(1, 6))
# By the smallest member of every family.
EXPECTED = {
  "alexnet": (*CONVOLUTIONS, "hidden1", "hidden2", "head"),
  "cait": ("stem", "block1", "class_block1", "class_block2", "final", "head"),
  "densenet": ("stem", "block1", "block2", "block3", "final", "head"),
  "lenet": ("conv1", "conv2", "hidden1", "hidden2", "head"),
  "mlp": ("hidden1", "head"),
  "preresnet": ("stem", "stage1", "stage2", "final", "head"),
  "resnet": ("stem", "stage1", "stage2", "head"),
  "resnet18": ("stem", "stage1", "stage2", "head"),
  "vit": ("stem", "block1", "final", "head"),
  "vgg16": ("stage1", "stage2", "head"),
  "wrn": ("stem", "stage1", "stage2", "stage3", "final", "head"),
}


def small(name, **changes):
  return make_model(ModelConfig(name, **{**SMALLEST[name], **changes}), 3)


def drawn(model, seed=0, shape=(8, 8, 3)):
  """Returns variables with running statistics and biases other than those of a fresh network."""
  rng = np.random.default_rng(seed)

  def moved(path, leaf):
    away = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
    return np.abs(leaf + away) + 0.1 if "var" in str(path[-1]) else leaf + away

  return jax.tree_util.tree_map_with_path(moved, init_variables(model, shape, seed))


# The default suite has one of each kind of names.
LATER = ("alexnet", "cait", "densenet", "lenet", "resnet18", "vit", "wrn")


@pytest.mark.parametrize(
  "name",
  [pytest.param(name, marks=pytest.mark.slow if name in LATER else ()) for name in EXPECTED],
)
def test_stages_have_names_and_hand_on_what_they_have_in_the_order_of_the_forward_pass(name):
  model = small(name, dropout=0.2)
  variables = variable_shapes(model, (8, 8, 3))
  images = jax.ShapeDtypeStruct((2, 8, 8, 3), np.float32)
  # eval_shape would sort the names.
  jaxpr = []
  jax.eval_shape(lambda v, x: jaxpr.append(list(stage_features(model, v, x))), variables, images)
  assert (*jaxpr[0], "head") == stages_of(variables["params"]) == EXPECTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_module_of_every_network_is_in_a_stage(name):
  model = make_model(ModelConfig(name), 3)
  assert stages_of(variable_shapes(model, (32, 32, 3))["params"])[-1] == "head"


def test_fixups_shift_before_the_head_is_frozen_with_the_body():
  model = make_model(ModelConfig("resnet", blocks=(1,), widths=(4,), norm="none", start="fixup"), 3)
  params = variable_shapes(model, (8, 8, 3))["params"]
  assert stages_of(params) == ("stem", "stage1", "final", "head")
  assert frozen_modules(params, "final") == {"stem_conv", "stem_conv_shift", "stage1_block1"} | (
    params.keys() & {"stem_norm"}
  )


def test_frozen_is_what_comes_before_a_stage_by_its_number_not_by_its_letters():
  modules = ["head", "stage10_block1", "stage2_block1", "stem_conv", "final_norm", "stage1_block2"]
  assert frozen_modules(modules, None) == frozenset()
  assert frozen_modules(modules, "stem") == frozenset()
  assert frozen_modules(modules, "stage2") == {"stem_conv", "stage1_block2"}
  assert frozen_modules(modules, "stage10") == {"stem_conv", "stage1_block2", "stage2_block1"}
  assert frozen_modules(modules, "head") == set(modules) - {"head"}
  assert stages_of(modules) == ("stem", "stage1", "stage2", "stage10", "final", "head")


def test_a_stage_that_the_network_has_not_is_refused_with_the_nearest_and_all_that_it_has():
  modules = ("stem_conv", "stage1_block1", "stage2_block1", "head")
  with pytest.raises(ConfigError, match=r"did you mean 'stage2'\?; it has stem, stage1, stage2, h"):
    check_stage("stage22", modules, "resnet")
  with pytest.raises(ConfigError, match=r"optim\.train_from='hidden1' is no stage of model\.name="):
    check_stage("hidden1", modules, "resnet")
  check_stage("stage1", modules, "resnet")


def convolved(x, kernel):
  """Returns the 3x3 convolution of x [B, H, W, C] with a frame of zeros, in float64."""
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
  height, width = x.shape[1:3]
  return sum(
    padded[:, row : row + height, column : column + width] @ kernel[row, column].astype(np.float64)
    for row in range(3)
    for column in range(3)
  )


def normalised(x, params, statistics):
  scale = params["scale"] / np.sqrt(statistics["var"] + 1e-5)
  return (x - statistics["mean"]) * scale + params["bias"]


def test_the_features_of_every_stage_are_a_residual_network_by_hand_and_its_pixels_mean():
  model = small("preresnet", widths=(4, 4), blocks=(1, 1))
  variables, rng = drawn(model), np.random.default_rng(1)
  params, statistics = variables["params"], variables["batch_stats"]
  images = rng.normal(size=(5, 8, 8, 3)).astype(np.float32)
  x = convolved(images, params["stem_conv"]["kernel"])
  expected = {"stem": x}
  for stage, stride in (("stage1", 1), ("stage2", 2)):
    name = f"{stage}_block1"
    own, kept = params[name], statistics[name]
    y = np.maximum(normalised(x, own["norm1"], kept["norm1"]), 0)
    y = convolved(y, own["conv1"]["kernel"])[:, ::stride, ::stride]
    y = np.maximum(normalised(y, own["norm2"], kept["norm2"]), 0)
    y = convolved(y, own["conv2"]["kernel"])
    if stride == 2:
      x = x[:, ::2, ::2] @ own["shortcut_conv"]["kernel"][0, 0].astype(np.float64)
    expected[stage] = x = x + y
  expected["final"] = np.maximum(normalised(x, params["final_norm"], statistics["final_norm"]), 0)
  found = jax.jit(functools.partial(stage_features, model))(variables, images)
  assert found.keys() == expected.keys()
  for stage, maps in expected.items():
    np.testing.assert_allclose(found[stage], maps.mean((1, 2)), rtol=2e-4, atol=2e-4, err_msg=stage)
  _, inputs_of_head = predict_with_features(model, variables, images)
  np.testing.assert_allclose(found["final"], inputs_of_head, rtol=1e-5, atol=1e-6)


def test_features_are_float32_after_bfloat16_layers():
  model = small("resnet").clone(dtype=jax.numpy.bfloat16)
  images = jax.ShapeDtypeStruct((2, 8, 8, 3), np.float32)
  shapes = variable_shapes(model, (8, 8, 3))
  found = jax.eval_shape(functools.partial(stage_features, model), shapes, images)
  assert {leaf.dtype for leaf in found.values()} == {np.dtype(np.float32)}
