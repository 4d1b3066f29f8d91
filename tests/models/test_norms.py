"""Normalisation by name: torch's numbers, and what other examples change of an example."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.layers import Conv, Linear
from sdt.models.norms import NORMS, Place
from sdt.models.registry import variable_shapes
from tests.support import torch_blocks
from tests.support.networks import SMALLEST, check_masked_rows
from tests.support.quick import only

X = torch_blocks.values("x", -3, 3)
SCALE, BIAS = torch_blocks.values("scale", 0.5, 1.5), torch_blocks.values("bias")
OF_ONE = ("layer", "instance", "group")


def place(dtype, groups=4):
  return Place("norm", {"dtype": dtype, "param_dtype": dtype}, groups)


class Layer(nn.Module):
  name_of_norm: str
  where: Place

  @nn.compact
  def __call__(self, x, mask=None):
    return NORMS[self.name_of_norm](x, self.where, train=True, mask=mask)


@pytest.mark.parametrize("name", OF_ONE)
def test_norms_of_one_example_and_their_gradients_are_torchs(name):
  def norm(x, scale, bias):
    params = {"norm": {"scale": scale, "bias": bias}}
    return Layer(name, place(x.dtype)).apply({"params": params}, x)

  torch_blocks.check(name, norm, {"x": X, "scale": SCALE, "bias": BIAS})


def test_weight_norm_and_its_gradients_are_torchs():
  inputs = {
    "x": torch_blocks.values("x"),
    "kernel": torch_blocks.values("kernel"),
    "scale": torch_blocks.values("lengths", 0.5, 1.5),
  }

  def conv(x, kernel, scale):
    layer = Conv(5, 3, padding=1, weight_norm=True, dtype=x.dtype, param_dtype=x.dtype)
    return layer.apply({"params": {"kernel": kernel, "scale": scale}}, x)

  torch_blocks.check("weight", conv, inputs)


@pytest.mark.parametrize("name", NORMS)
def test_excluded_examples_change_no_bit_of_the_others(name):
  rng, mask = np.random.default_rng(0), np.arange(6) < 4
  x = rng.normal(size=(6, 5, 4, 8)).astype(np.float32)
  layer = Layer(name, place(jnp.float32))
  variables = jax.jit(layer.init)(jax.random.key(0), x)

  @jax.jit
  def both(x):
    def loss(variables):
      y, updated = layer.apply(variables, x, mask=mask, mutable=["batch_stats"])
      return jnp.where(mask[:, None, None, None], jnp.sin(y), 0.0).sum(), (y[:4], updated)

    return jax.grad(loss, has_aux=True)(variables)

  (gradients, kept), (others, same) = (
    both(np.where(mask[:, None, None, None], x, value)) for value in (0.0, 7.0)
  )
  jax.tree.map(np.testing.assert_array_equal, kept, same)
  jax.tree.map(np.testing.assert_array_equal, gradients["params"], others["params"])


QUICK = ("group", "weight")


@pytest.mark.parametrize(
  "name",
  [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NORMS],
)
def test_a_network_with_any_norm_leaves_excluded_examples_out(name):
  check_masked_rows(
    make_model(ModelConfig(name="vgg16", norm=name, blocks=(1,), widths=(4,), **OF[name]), 3)
  )


OF: dict = {name: {} for name in NORMS} | {"group": {"groups": 2}}
# What a fully connected layer gives has no pixels, and a token has one number of each channel.
WITHOUT_PIXELS = {"alexnet": "hidden1_norm", "lenet": "hidden1_norm", "mlp": "hidden1_norm"}
WITHOUT_PIXELS |= {"cait": "norm1", "vit": "norm1"}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("family", only(["resnet", "vgg16", "lenet"], SMALLEST))
def test_every_family_has_a_bias_but_no_statistics_without_batch_norm(family, name):
  model = make_model(ModelConfig(name=family, norm=name, **SMALLEST[family], **OF[name]), 3)
  shape = (64, 64, 1) if name == "instance" else (8, 8, 1)
  if name == "instance" and family in WITHOUT_PIXELS:
    with pytest.raises(ConfigError, match=f"'{WITHOUT_PIXELS[family]}' a group is a single number"):
      variable_shapes(model, shape)
    return
  variables = variable_shapes(model, shape)
  assert bool(jax.tree.leaves(variables["batch_stats"])) == (name == "batch")
  names = [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
  ]
  assert any("bias" in name for name in names if "head" not in name)
  lengths = [name for name in names if name.endswith(("conv1/scale", "fc1/scale", "hidden1/scale"))]
  assert bool(lengths) == (name == "weight")


def test_the_number_of_groups_is_the_largest_that_divides_the_channels():
  x = np.random.default_rng(0).normal(size=(2, 3, 3, 12)).astype(np.float32)
  wide, expected = (
    Layer("group", place(jnp.float32, groups)).init_with_output(jax.random.key(0), x)[0]
    for groups in (5, 4)
  )
  np.testing.assert_array_equal(wide, expected)


def test_a_kernels_length_starts_as_that_of_the_drawn_kernel():
  config = ModelConfig(name="lenet", norm="weight", widths=(2, 4), hidden_sizes=(8, 8))
  params = init_variables(make_model(config, 3), (32, 32, 1), 0)["params"]
  for name, layer in params.items():
    if "scale" in layer:
      kernel = layer["kernel"].astype(np.float64)
      np.testing.assert_allclose(
        layer["scale"], np.sqrt((kernel**2).reshape(-1, kernel.shape[-1]).sum(0)), rtol=1e-6
      )
    else:
      assert name == "head"


def test_weight_norm_of_the_drawn_kernel_is_the_kernel():
  x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
  kernel = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
  bias = np.zeros(3, np.float32)
  length = np.sqrt((kernel**2).sum(0))
  normed = Linear(3, weight_norm=True).apply(
    {"params": {"kernel": kernel, "scale": length, "bias": bias}}, x
  )
  np.testing.assert_allclose(normed, x @ kernel, rtol=1e-5, atol=1e-6)


def test_group_norm_of_two_examples_keeps_what_batch_norm_loses():
  """Of two examples that differ in sign alone BatchNorm makes the same whatever their size."""
  x = np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype(np.float32)
  pairs = [np.concatenate([x, factor * np.ones_like(x)]) for factor in (0.0, 5.0)]
  apply = jax.jit(
    lambda x, name: Layer(name, place(jnp.float32)).init_with_output(jax.random.key(0), x)[0],
    static_argnums=1,
  )
  group, batch = (
    [np.asarray(apply(pair, name))[0] for pair in pairs] for name in ("group", "batch")
  )
  np.testing.assert_array_equal(*group)
  assert np.abs(batch[0] - batch[1]).max() > 0.5


@pytest.mark.parametrize("dtype", [jnp.bfloat16])
def test_norms_of_bfloat16_have_float32_statistics(dtype):
  x = np.random.default_rng(0).normal(size=(3, 4, 4, 8)).astype(np.float32)
  exact, short = (
    Layer("group", Place("norm", {"dtype": kind, "param_dtype": jnp.float32}, 4)).init_with_output(
      jax.random.key(0), jnp.asarray(x).astype(kind)
    )[0]
    for kind in (jnp.float32, dtype)
  )
  assert short.dtype == dtype
  assert float(jnp.abs(short.astype(jnp.float32) - exact).max()) < 0.05
