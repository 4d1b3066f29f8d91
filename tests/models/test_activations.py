"""Activations by name, against torch, and where one takes more than a value for one of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.activations import ACTIVATIONS, PReLU, activation, maxout
from tests.support import torch_blocks
from tests.support.networks import SMALLEST

X = torch_blocks.values("x", -3, 3)
PLAIN = sorted(ACTIVATIONS.keys() - {"prelu", "maxout"})


@pytest.mark.parametrize("name", PLAIN)
def test_activations_and_their_gradients_are_torchs(name):
  function = activation(name, "act", jnp.float32)
  torch_blocks.check(name, lambda x: function(x), {"x": X})


def test_prelu_has_torchs_values_and_a_slope_for_each_channel():
  def prelu(x, slope):
    return PReLU(slope.dtype).apply({"params": {"slope": slope}}, x)

  torch_blocks.check("prelu", prelu, {"x": X, "slope": torch_blocks.values("slope", 0, 0.5)})


def test_maxout_takes_the_largest_of_neighbouring_channels():
  torch_blocks.check("maxout", lambda x: maxout(x, 3), {"x": X})


@pytest.mark.parametrize("name", ["alexnet", "lenet", "mlp", "vgg16"])
def test_maxout_gives_hidden_layers_as_many_outputs_as_it_has_pieces(name):
  keys = SMALLEST[name]
  plain, pieces = (
    init_variables(make_model(ModelConfig(name=name, **keys, **more), 3), (8, 8, 1), 0)["params"]
    for more in ({}, {"activation": "maxout(3)"})
  )
  for layer, leaves in pieces.items():
    times = 1 if layer == "head" else 3
    kernels = leaves["kernel"].shape if "kernel" in leaves else (0,)
    before = plain[layer]["kernel"].shape if "kernel" in leaves else (0,)
    assert kernels[-1] == times * before[-1], layer
    assert kernels[:-1] == before[:-1], layer


@pytest.mark.parametrize("name", ["resnet20", "preresnet20", "wrn", "densenet"])
def test_maxout_is_refused_where_no_layer_stands_before_an_activation(name):
  with pytest.raises(ConfigError, match=rf"'maxout\(2\)'.*{name}.*alexnet, cait.*vgg16.*vit"):
    make_model(ModelConfig(name=name, activation="maxout(2)"), 3)


@pytest.mark.parametrize("name", [name for name in SMALLEST if name != "resnet18"])
def test_prelu_learns_a_slope_at_every_activation_of_every_family(name):
  keys = SMALLEST[name]
  relu, prelu = (
    init_variables(make_model(ModelConfig(name=name, **keys, **more), 3), (8, 8, 1), 0)["params"]
    for more in ({"activation": "relu"}, {"activation": "prelu"})
  )
  slopes = [
    leaf for path, leaf in jax.tree_util.tree_leaves_with_path(prelu) if path[-1].key == "slope"
  ]
  assert all((leaf == 0.25).all() for leaf in slopes)
  kernels = sum(leaf.ndim > 1 for leaf in jax.tree.leaves(relu))
  blocks = sum("block" in layer for layer in prelu)
  # All but the head, shortcuts and, in some, the stem; a block of a transformer has one.
  assert len(slopes) >= (blocks if "positions" in prelu else kernels - 3)
  assert len(jax.tree.leaves(prelu)) == len(jax.tree.leaves(relu)) + len(slopes)


def test_the_gradient_of_a_slope_is_the_sum_below_zero():
  x = jnp.array([[-2.0, 1.0], [-1.0, -3.0]], jnp.float32)
  start = {"params": {"slope": np.full(2, 0.25, np.float32)}}
  gradient = jax.grad(lambda v: PReLU().apply(v, x).sum())(start)
  np.testing.assert_allclose(gradient["params"]["slope"], [-3.0, -3.0])
