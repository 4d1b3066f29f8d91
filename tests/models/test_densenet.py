"""DenseNets: initial values, what a layer reads, depths, and the numbers of torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.densenet import DenseNet
from sdt.models.pools import average_pool
from tests.golden import drawn
from tests.support.agreement import check_agreement, check_evaluation, load_golden
from tests.support.networks import check_bfloat16, check_distributions, check_masked_rows
from tests.support.quick import only

SMALL = DenseNet(10, layers=(1, 1), growth_rate=4)


@pytest.mark.parametrize("name", only(["plain"], sorted(drawn.DENSENETS)))
def test_densenets_compute_what_torch_computes_on_the_same_weights(name):
  shape = drawn.DENSENETS[name]
  check_agreement(DenseNet(10, **shape), "densenet.npz", name, drawn.STEM_SHAPES[shape["stem"]])


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "stem", "size"),
  [("densenet_bc100", "small", 32), ("densenet121", "small", 64), ("densenet121", "imagenet", 224)],
)
def test_full_densenets_evaluate_as_torch_does(name, stem, size):
  model = make_model(ModelConfig(name=name, stem=stem), 10)
  check_evaluation(model, load_golden("densenet.npz"), f"{name}-{stem}", (size, size, 3), 1e-4)


def test_initial_values_have_the_declared_distributions():
  model = make_model(ModelConfig(name="densenet_bc100", depth=40), 100)
  check_distributions(model, num_kernels=1 + 2 * 18 + 2)


@pytest.mark.slow
def test_a_masked_example_changes_nothing():
  check_masked_rows(SMALL)


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(SMALL)


@pytest.mark.slow
def test_parameters_have_the_names_that_checkpoints_are_mapped_to():
  """Each layer reads the stem's 2 k channels, and k of every layer before it in its block."""

  def channels(model):
    leaves = jax.tree_util.tree_leaves_with_path(init_variables(model, (32, 32, 3), 0)["params"])
    return {
      "/".join(key.key for key in path[:-1]): leaf.shape[-2:] if leaf.ndim == 4 else leaf.shape
      for path, leaf in leaves
    }

  small = channels(DenseNet(7, layers=(2, 1), growth_rate=4))
  assert small == {
    "stem_conv": (3, 8),
    "block1_layer1/norm1": (8,),
    "block1_layer1/conv1": (8, 16),
    "block1_layer1/norm2": (16,),
    "block1_layer1/conv2": (16, 4),
    "block1_layer2/norm1": (12,),
    "block1_layer2/conv1": (12, 16),
    "block1_layer2/norm2": (16,),
    "block1_layer2/conv2": (16, 4),
    "transition1/norm": (16,),
    "transition1/conv": (16, 8),
    "block2_layer1/norm1": (8,),
    "block2_layer1/conv1": (8, 16),
    "block2_layer1/norm2": (16,),
    "block2_layer1/conv2": (16, 4),
    "final_norm": (12,),
    "head": (12, 7),
  }
  assert channels(DenseNet(7, layers=(2, 1), growth_rate=4, stem="imagenet")) == {
    **small,
    "stem_norm": (8,),
  }
  plain = channels(DenseNet(7, layers=(1, 1), growth_rate=4, bottleneck=False, compression=1.0))
  assert plain["block1_layer1/conv1"] == (8, 4)
  assert plain["transition1/conv"] == (12, 12)
  assert not any("2" in name.partition("/")[2] for name in plain)


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({"name": "densenet"}, {"layers": (6, 6, 6)}),
    (
      {"name": "densenet", "depth": 250, "growth_rate": 24},
      {"layers": (41, 41, 41), "growth_rate": 24},
    ),
    (
      {"name": "densenet", "depth": 10, "stem": "imagenet"},
      {"layers": (1, 1, 1), "stem": "imagenet"},
    ),
    ({"name": "densenet_bc100"}, {"layers": (16, 16, 16)}),
    ({"name": "densenet100"}, {"layers": (32, 32, 32), "bottleneck": False, "compression": 1.0}),
    (
      {"name": "densenet100", "depth": 40},
      {"layers": (12, 12, 12), "bottleneck": False, "compression": 1.0},
    ),
    ({"name": "densenet121"}, {"layers": (6, 12, 24, 16), "growth_rate": 32, "stem": "imagenet"}),
    (
      {"name": "densenet121", "stem": "small", "activation": "silu"},
      {"layers": (6, 12, 24, 16), "growth_rate": 32, "activation": "silu"},
    ),
  ],
)
def test_names_depths_and_growth_rates_make_the_papers_networks(changes, expected):
  assert make_model(ModelConfig(**changes), 10) == DenseNet(10, **expected)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"name": "densenet", "depth": 41},
      r"model.depth=41 of model.name='densenet': expected 6 n \+ 4 .* 40 or 46",
    ),
    ({"name": "densenet", "depth": 4}, r"model.depth=4 .* 10 or 16"),
    ({"name": "densenet100", "depth": 41}, r"model.depth=41 .*: expected 3 n \+ 4 .* 40 or 43"),
    (
      {"name": "densenet121", "depth": 100},
      r"model.depth=100 does not apply to model.name='densenet121'",
    ),
    (
      {"name": "densenet", "blocks": (3, 3, 3)},
      r"model.blocks=\(3, 3, 3\) does not apply to model.name='densenet'",
    ),
  ],
)
def test_impossible_densenets_are_config_errors(changes, message):
  with pytest.raises(ConfigError, match=message):
    make_model(ModelConfig(**changes), 10)


def test_a_layers_output_reaches_every_later_layer_and_the_head_unchanged():
  """The features before the last norm are the stem's, then each layer's, side by side.

  They are never summed or overwritten.
  """
  model = DenseNet(3, layers=(3,), growth_rate=2)
  variables = init_variables(model, (6, 6, 1), 0)
  x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32)
  seen = jax.jit(
    lambda x: model.apply(variables, x, train=False, capture_intermediates=True)[1]["intermediates"]
  )(x)
  outputs = [
    seen[name]["__call__"][0]
    for name in ("stem_conv", "block1_layer1", "block1_layer2", "block1_layer3")
  ]
  features = np.concatenate(outputs, axis=-1)
  assert [output.shape[-1] for output in outputs] == [4, 2, 2, 2]
  # Fresh running statistics: the norm only divides by sqrt(1 + epsilon).
  np.testing.assert_allclose(
    seen["final_norm"]["__call__"][0], features / np.sqrt(1 + 1e-5), rtol=1e-6
  )


def test_an_image_of_one_pixel_is_not_halved():
  """Three transitions on 4 x 6 pixels: 2 x 3, 1 x 1, and no fewer."""
  model = DenseNet(3, layers=(1, 1, 1, 1), growth_rate=2)
  variables = init_variables(model, (4, 6, 1), 0)
  apply = lambda x: model.apply(variables, x, train=False, capture_intermediates=True)  # noqa: E731
  _, seen = jax.eval_shape(apply, jax.ShapeDtypeStruct((2, 4, 6, 1), jnp.float32))
  sizes = [
    seen["intermediates"][f"transition{index}"]["__call__"][0].shape[1:3] for index in (1, 2, 3)
  ]
  assert sizes == [(2, 3), (1, 1), (1, 1)]


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 5, 7, 2)])
def test_average_pool_and_its_gradient_equal_numpy(shape):
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  height, width = shape[1] // 2, shape[2] // 2
  expected, gradient = np.zeros((shape[0], height, width, shape[3])), np.zeros(shape)
  weights = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
  for i in range(height):
    for j in range(width):
      expected[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].astype(np.float64).mean((1, 2))
      gradient[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = weights[:, i : i + 1, j : j + 1] / 4

  @jax.jit
  def forward_and_back(x, weights):
    pooled, backward = jax.vjp(lambda x: average_pool(x, 2), x)
    return pooled, backward(weights)[0]

  pooled, back = forward_and_back(x, weights)
  np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(back, gradient, rtol=1e-6)


def test_barriers_stand_before_convolutions_and_behind_layers_on_a_cpu_alone():
  variables = init_variables(SMALL, (8, 8, 1), 0)
  forward = jax.jit(lambda x: SMALL.apply(variables, x, train=False))
  modules = [
    export.export(forward, platforms=(platform,))(jnp.zeros((2, 8, 8, 1))).mlir_module()
    for platform in ("cpu", "cuda")
  ]
  # The stem, two convolutions of each of two layers, a transition; and two layers.
  assert [module.count("stablehlo.optimization_barrier") for module in modules] == [6 + 2, 0]
