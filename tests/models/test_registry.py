"""The networks: initial values, BatchNorm, the registry, and the forward pass against torch."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.mlp import MLP
from sdt.models.norms import BatchNorm
from sdt.models.registry import MODEL_NAMES
from sdt.models.resnet import ResNet
from tests.golden import drawn
from tests.support.agreement import check_agreement
from tests.support.networks import case, check_bfloat16, check_distributions, check_masked_rows
from tests.support.quick import only

CIFAR = (32, 32, 3)
DIGITS = ModelConfig(name="resnet", blocks=(1, 1), widths=(16, 32))


def _flat(tree):
  return traverse_util.flatten_dict(tree, sep="/")


def _kernels(variables):
  return {path: leaf for path, leaf in _flat(variables["params"]).items() if leaf.ndim == 4}


def test_initial_values_have_the_declared_distributions():
  check_distributions(make_model(ModelConfig(name="resnet20"), 100), num_kernels=21)


def test_initial_values_depend_on_seed_and_path_alone():
  small, again, other = (
    init_variables(make_model(DIGITS, 10), (8, 8, 1), seed) for seed in (7, 7, 8)
  )
  larger = init_variables(make_model(dataclasses.replace(DIGITS, blocks=(2, 1)), 10), (8, 8, 1), 7)
  for path, kernel in _kernels(small).items():
    np.testing.assert_array_equal(kernel, _kernels(again)[path])
    np.testing.assert_array_equal(kernel, _kernels(larger)[path])
    assert not np.any(kernel == _kernels(other)[path])
  assert len({leaf.ravel()[0] for leaf in _kernels(small).values()}) == len(_kernels(small))
  # The first numbers of a seed, so that a change of the rule is seen.
  np.testing.assert_allclose(
    small["params"]["stem_conv"]["kernel"][0, 0, 0, :2], [-0.108598992, 0.013164888], rtol=1e-6
  )


def test_linen_init_draws_from_the_same_distributions():
  model = make_model(DIGITS, 10)
  ours = init_variables(model, (8, 8, 1), 0)
  linens = jax.jit(
    lambda key: jax.tree.map(
      lambda leaf: leaf, model.init(key, jnp.zeros((1, 8, 8, 1)), train=False)
    )
  )(jax.random.key(0))
  linens = jax.tree.map(
    lambda box: box.value, linens, is_leaf=lambda node: hasattr(node, "initializer")
  )
  assert jax.tree.structure(ours) == jax.tree.structure(linens)
  for path, our in _flat(ours).items():
    linen = np.asarray(_flat(linens)[path])
    assert (our.shape, our.dtype) == (linen.shape, linen.dtype)
    assert abs(our.std() - linen.std()) <= 5 * our.std() / math.sqrt(our.size), path


def test_variables_are_host_arrays_of_the_parameter_type():
  with jax.enable_x64(True):
    variables = init_variables(make_model(DIGITS, 10, param_dtype=jnp.float64), (8, 8, 1), 0)
  assert {(type(leaf), leaf.dtype) for leaf in jax.tree.leaves(variables)} == {
    (np.ndarray, np.dtype(np.float64))
  }


@pytest.mark.parametrize(
  ("config", "message"),
  [
    (
      ModelConfig(name="resnt20"),
      r"model.name='resnt20'.*did you mean 'resnet20'.*mlp, paper_preresnet110",
    ),
    (ModelConfig(name="zzz"), r"model.name='zzz'.*networks: .*mlp"),
    (
      ModelConfig(name="resnet20", hidden_sizes=(5,)),
      r"model.hidden_sizes=\(5,\) does not apply to model.name='resnet20'",
    ),
    (
      ModelConfig(name="mlp", widths=(5,)),
      r"model.widths=\(5,\) does not apply to model.name='mlp'",
    ),
    (ModelConfig(name="mlp", shortcut="zero_pad"), r"model.shortcut='zero_pad' does not apply"),
    (
      ModelConfig(name="vit", blocks=(1,), widths=(5,), shortcut="zero_pad"),
      r"model.blocks=\(1,\), model.widths=\(5,\), model.shortcut='zero_pad' do not apply to .*"
      r" --config.model.blocks=None --config.model.widths=None --config.model.shortcut=None$",
    ),
    (
      ModelConfig(name="resnet20", widths=(8, 16)),
      r"model.blocks=\(3, 3, 3\) and model.widths=\(8, 16\).*give both",
    ),
    (ModelConfig(name="resnet", blocks=(1, 1), widths=(8,)), r"give both"),
    (
      ModelConfig(name="resnet", shortcut="zero_pad", widths=(16, 8)),
      r"model.shortcut='zero_pad'.*model.widths=\(16, 8\)",
    ),
  ],
)
def test_impossible_networks_are_config_errors(config, message):
  with pytest.raises(ConfigError, match=message):
    make_model(config, 10)


def test_blocks_and_widths_override_the_registry():
  model = make_model(ModelConfig(name="resnet", widths=(4, 8), activation="tanh"), 3)
  assert model == ResNet(3, blocks=(1, 1), widths=(4, 8), activation="tanh")
  assert make_model(ModelConfig(name="resnet20", blocks=(1, 2, 1)), 3).blocks == (1, 2, 1)
  assert hash(model) == hash(
    make_model(ModelConfig(name="resnet", widths=(4, 8), activation="tanh"), 3)
  )


@pytest.mark.slow_rows("alexnet", "cait", "densenet", "preresnet20", "resnet18")
@pytest.mark.parametrize("name", [*map(case, MODEL_NAMES)])
def test_every_network_takes_the_same_call(name):
  model = make_model(ModelConfig(name=name), 7)
  variables = init_variables(model, (8, 8, 1), 0)

  def call(v, x, mask):
    rngs = {"dropout": jax.random.key(0)}
    return model.apply(v, x, train=True, mask=mask, mutable=["batch_stats"], rngs=rngs)

  shapes = jax.eval_shape(
    call,
    variables,
    jax.ShapeDtypeStruct((5, 8, 8, 1), jnp.float32),
    jax.ShapeDtypeStruct((5,), jnp.bool_),
  )
  assert (shapes[0].shape, shapes[0].dtype) == ((5, 7), jnp.float32)
  assert jax.tree.structure(shapes[1].get("batch_stats", {})) == jax.tree.structure(
    variables["batch_stats"]
  )


def test_mlp_equals_numpy():
  model = MLP(3, hidden_sizes=(5, 4), activation="tanh")
  variables = init_variables(model, (2, 2, 1), 0)
  x = np.random.default_rng(0).normal(size=(6, 2, 2, 1))
  expected = x.reshape(6, 4)
  for name in ("hidden1", "hidden2", "head"):
    layer = variables["params"][name]
    expected = expected @ layer["kernel"].astype(np.float64) + layer["bias"]
    expected = expected if name == "head" else np.tanh(expected)
  logits = jax.jit(functools.partial(model.apply, train=False))(variables, x.astype(np.float32))
  np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(make_model(DIGITS, 10))


def test_scoring_one_example_at_a_time_is_one_convolution_per_layer():
  model = make_model(ModelConfig(name="resnet20"), 10)
  variables = init_variables(model, CIFAR, 0)
  x = np.random.default_rng(0).normal(size=(32, *CIFAR)).astype(np.float32)
  one = jax.jit(jax.vmap(lambda image: model.apply(variables, image[None], train=False)[0]))
  lowered = one.lower(x).as_text()
  assert lowered.count("stablehlo.convolution") == 21
  assert lowered.count("stablehlo.dot_general") == 1
  whole = jax.jit(lambda x: model.apply(variables, x, train=False))
  np.testing.assert_allclose(one(x[:8]), whole(x[:8]), rtol=1e-4, atol=1e-4)


def test_barriers_stand_before_convolutions_and_after_blocks_on_a_cpu_alone():
  model = make_model(DIGITS, 10)
  variables = init_variables(model, (8, 8, 1), 0)
  forward = jax.jit(lambda x: model.apply(variables, x, train=False))
  modules = [
    export.export(forward, platforms=(platform,))(jnp.zeros((2, 8, 8, 1))).mlir_module()
    for platform in ("cpu", "cuda")
  ]
  # Six convolutions, the stem's output and two blocks' outputs.
  assert [module.count("stablehlo.optimization_barrier") for module in modules] == [9, 0]


# ---- BatchNorm


def _norm(x, mask=None, train=True, **options):
  """Returns the outputs and running statistics of a BatchNorm with drawn variables."""
  norm = BatchNorm(**options)
  variables = {
    c: {n: drawn.variable(f"{c}/norm/{n}", (x.shape[-1],)).astype(np.float32) for n in names}
    for c, names in NAMES.items()
  }
  return _apply_norm(norm, variables, x, mask, train=train), variables


@functools.partial(jax.jit, static_argnums=0, static_argnames="train")
def _apply_norm(norm, variables, x, mask, train):
  return norm.apply(variables, x, train=train, mask=mask, mutable=["batch_stats"])


NAMES = {"params": ("scale", "bias"), "batch_stats": ("mean", "var")}


def _numpy_norm(x, mask, variables, train):
  """Returns the same in float64 NumPy, by the formula as it stands."""
  valid = x[mask].reshape(-1, x.shape[-1]).astype(np.float64)
  mean, var = (
    (valid.mean(0), valid.var(0))
    if train
    else (variables["batch_stats"]["mean"], variables["batch_stats"]["var"])
  )
  outputs = (x - mean) / np.sqrt(var + 1e-5) * variables["params"]["scale"] + variables["params"][
    "bias"
  ]
  return outputs, {
    "mean": 0.9 * variables["batch_stats"]["mean"] + 0.1 * mean,
    "var": 0.9 * variables["batch_stats"]["var"] + 0.1 * var,
  }


# Of three sizes, so that three programs serve all examples.
MASKS = st.sampled_from([1, 2, 9]).flatmap(
  lambda size: st.lists(st.booleans(), min_size=size, max_size=size).filter(any)
)


@settings(max_examples=25)
@given(
  MASKS,
  st.integers(0, 2**31),
  st.floats(-4, 4),
)
def test_batchnorm_equals_numpy_on_the_valid_examples(mask, seed, offset):
  mask = np.array(mask)
  x = (offset + np.random.default_rng(seed).normal(size=(len(mask), 3, 2, 4))).astype(np.float32)
  # What stands in excluded rows must not matter.
  x[~mask] = np.nan
  (outputs, updated), variables = _norm(x, mask)
  expected, statistics = _numpy_norm(x, mask, variables, train=True)
  np.testing.assert_allclose(np.asarray(outputs)[mask], expected[mask], rtol=1e-3, atol=1e-3)
  for name in ("mean", "var"):
    np.testing.assert_allclose(updated["batch_stats"][name], statistics[name], rtol=1e-4, atol=1e-5)


def test_batchnorm_evaluates_with_running_statistics_and_keeps_them():
  x = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(np.float32)
  (outputs, updated), variables = _norm(x, train=False)
  np.testing.assert_allclose(
    outputs, _numpy_norm(x, np.ones(4, bool), variables, train=False)[0], rtol=1e-5, atol=1e-5
  )
  assert not updated or all(
    np.array_equal(updated["batch_stats"][n], variables["batch_stats"][n]) for n in ("mean", "var")
  )


def test_batchnorm_without_a_valid_example_changes_nothing_and_is_finite():
  x = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(np.float32)
  mask = np.zeros(4, bool)
  (outputs, updated), variables = _norm(x, mask)
  assert np.isfinite(outputs).all()
  for name in ("mean", "var"):
    np.testing.assert_array_equal(updated["batch_stats"][name], variables["batch_stats"][name])
  gradient = jax.jit(
    jax.grad(lambda x: jnp.where(mask[:, None, None, None], _norm(x, mask)[0][0], 0.0).sum())
  )(x)
  np.testing.assert_array_equal(gradient, np.zeros_like(x))


def test_batchnorm_of_a_constant_channel_has_finite_gradients():
  x = np.broadcast_to(np.linspace(777.1, 5555.5, 64, dtype=np.float32), (4, 3, 2, 64))
  (outputs, _), variables = _norm(x)
  np.testing.assert_allclose(
    outputs, np.broadcast_to(variables["params"]["bias"], outputs.shape), atol=1.0
  )
  assert np.isfinite(jax.jit(jax.grad(lambda x: jnp.sin(_norm(x)[0][0]).sum()))(x)).all()


def _norm_and_gradient(x, mask, axis_name=None):
  """Returns `_norm`'s outputs and statistics, and the gradient of a loss by x."""

  def loss(x):
    outputs, updated = _norm(x, mask, axis_name=axis_name)[0]
    return jnp.where(mask[:, None, None, None], jnp.sin(outputs), 0.0).sum(), (outputs, updated)

  gradient, (outputs, updated) = jax.grad(loss, has_aux=True)(x)
  return outputs, updated["batch_stats"], gradient


_on_one_device = jax.jit(_norm_and_gradient)
_on_two_devices = jax.pmap(
  functools.partial(_norm_and_gradient, axis_name="data"), axis_name="data"
)


@pytest.mark.parametrize("mask", [(1, 1, 1, 1, 1, 0), (1, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 1)])
def test_batchnorm_over_two_devices_equals_one(mask):
  mask = np.array(mask, bool)
  x = np.random.default_rng(1).normal(size=(6, 3, 2, 4)).astype(np.float32)
  outputs, statistics, expected = jax.tree.map(np.asarray, _on_one_device(x, mask))
  sharded, on_each, gradient = jax.tree.map(
    np.asarray, _on_two_devices(x.reshape(2, 3, 3, 2, 4), mask.reshape(2, 3))
  )
  np.testing.assert_allclose(sharded.reshape(x.shape)[mask], outputs[mask], rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(gradient.reshape(x.shape), expected, rtol=1e-4, atol=1e-5)
  for name in ("mean", "var"):
    for device in range(2):
      np.testing.assert_allclose(on_each[name][device], statistics[name], rtol=1e-5, atol=1e-6)


def test_masked_rows_of_a_network_change_neither_loss_nor_statistics():
  check_masked_rows(make_model(DIGITS, 10))


# ---- torch


@pytest.mark.slow_rows("bottleneck_zero_pad")
@pytest.mark.parametrize(
  "name", only(["basic8_zero_pad", "bottleneck_zero_pad"], sorted(drawn.FORWARD_NETWORKS))
)
def test_resnets_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(ResNet(10, **drawn.FORWARD_NETWORKS[name]), "resnet.npz", name)
