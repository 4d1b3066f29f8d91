"""What becomes of drawn weights before the first step: LSUV, data-dependent, Fixup."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.init import Initial
from sdt.models.layers import Conv, Linear
from sdt.models.starts import STARTS
from tests.support.networks import SMALLEST

SHAPE = (16, 16, 3)
INPUTS = np.random.default_rng(0).normal(size=(64, *SHAPE)).astype(np.float32)


def started(name, start, seed=0, bias=0.0, **keys):
  model = make_model(ModelConfig(name=name, start=start, **keys), 5)
  drawn = init_variables(model, SHAPE, seed, Initial(None, bias, own_biases=False))
  return model, drawn, STARTS[start](model, drawn, INPUTS)


def outputs(model, variables):
  """Returns the outputs of every convolution and product, by path."""
  plain = model.clone(dropout=0.0)
  _, kept = jax.jit(
    lambda v, x: plain.apply(
      v,
      x,
      train=True,
      mutable=["batch_stats", "intermediates"],
      capture_intermediates=lambda module, method: isinstance(module, Conv | Linear),
    )
  )(variables, INPUTS)
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(kept["intermediates"])
    if "__call__" in jax.tree_util.keystr(path)
  }


SLOW = pytest.mark.slow


@pytest.mark.slow_rows("resnet-weight")
@pytest.mark.parametrize(
  ("name", "norm"),
  [
    ("resnet", "weight"),
    ("lenet", "none"),
    pytest.param("lenet", "weight", marks=SLOW),
    pytest.param("resnet", "batch", marks=SLOW),
    pytest.param("resnet", "none", marks=SLOW),
  ],
)
def test_lsuv_gives_every_layer_outputs_of_spread_one(name, norm):
  model, drawn, after = started(name, "lsuv", norm=norm, bias=0.01, **SMALLEST[name])
  for path, values in outputs(model, after).items():
    assert abs(values.std() - 1) < 1e-3, path
  assert max(abs(values.std() - 1) for values in outputs(model, drawn).values()) > 0.1


@pytest.mark.parametrize("name", [name for name in SMALLEST if name not in ("resnet", "lenet")])
@pytest.mark.slow
def test_lsuv_gives_every_layer_of_every_family_outputs_of_spread_one(name):
  model, _, after = started(name, "lsuv", **SMALLEST[name])
  for path, values in outputs(model, after).items():
    assert abs(values.std() - 1) < 0.1, path


def test_the_data_dependent_start_gives_every_output_mean_zero_and_spread_one():
  model, _, after = started("lenet", "data", **SMALLEST["lenet"])
  for path, values in outputs(model, after).items():
    axes = tuple(range(values.ndim - 1))
    np.testing.assert_allclose(values.mean(axes), 0, atol=1e-4, err_msg=path)
    np.testing.assert_allclose(values.std(axes), 1, atol=1e-3, err_msg=path)


def test_without_a_bias_of_its_own_the_bias_behind_a_layer_takes_up_the_mean():
  model, _, after = started("resnet", "data", norm="none", blocks=(1,), widths=(4,))
  params = after["params"]
  found = outputs(model, after)
  stem = next(values for path, values in found.items() if "stem_conv" in path)
  np.testing.assert_allclose(stem.std((0, 1, 2)), 1, atol=1e-3)
  shifted = stem + params["stem_norm"]["bias"]
  np.testing.assert_allclose(shifted.mean((0, 1, 2)), 0, atol=1e-4)


def test_fixup_starts_as_the_shortcuts_alone_with_a_head_of_zeros():
  keys = {"norm": "none", "blocks": (2, 2), "widths": (4, 8)}
  model, drawn, after = started("resnet", "fixup", **keys)
  params = after["params"]
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(params["head"]))
  for name in ("stage1_block1", "stage2_block2"):
    block, before = params[name], drawn["params"][name]
    assert not block["conv2"]["kernel"].any()
    # Four branches of two convolutions: 4^(-1/2).
    np.testing.assert_allclose(block["conv1"]["kernel"], before["conv1"]["kernel"] / 2, rtol=1e-6)
    assert block["multiplier"].tolist() == [1.0]
    assert {block[f"{part}_shift"]["bias"].shape for part in ("conv1", "conv2")} == {(1,)}
    assert block["norm1"]["bias"].shape == (1,)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(after, INPUTS)
  assert not np.any(logits)
  # From the second step on every scalar of the first block can learn.
  head = jax.tree.map(lambda leaf: leaf + 0.1, params["head"])
  branch = {**params["stage1_block1"], "conv2": {"kernel": np.full((3, 3, 4, 4), 0.01, np.float32)}}

  def loss(params):
    logits = model.apply({"params": params}, INPUTS, train=True)
    return jax.nn.logsumexp(logits, axis=-1).mean() - logits[:, 0].mean() + jnp.square(logits).sum()

  gradient = jax.jit(jax.grad(loss))({**params, "head": head, "stage1_block1": branch})
  assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["stage1_block1"]))


@pytest.mark.parametrize("name", ["vgg16", "mlp", "densenet", "alexnet"])
def test_fixup_is_refused_without_residual_branches(name):
  with pytest.raises(ConfigError, match=rf"{name}.*has not; networks that have: .*preresnet"):
    make_model(ModelConfig(name=name, start="fixup", norm="none"), 3)


@pytest.mark.parametrize("name", ["preresnet", pytest.param("wrn", marks=SLOW)])
def test_fixup_fits_every_family_with_branches(name):
  keys = {key: value for key, value in SMALLEST[name].items() if key != "norm"}
  model, _, after = started(name, "fixup", norm="none", **keys)
  apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
  assert not np.any(apply(after, INPUTS))
