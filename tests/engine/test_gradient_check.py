"""The gradient check: near 0 for sound networks, and loud for a wrong backward pass."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.engine.gradient_check import Slope, slopes
from sdt.models import init_variables, make_model

RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(12, 8, 8, 1)).astype(np.float32)
LABELS = (np.arange(12) % 3).astype(np.int32)


@jax.custom_vjp
def _wrong(x):
  return x * 2.0


_wrong.defvjp(lambda x: (x * 2.0, None), lambda _, g: (g * 2.2,))


class Wrong(nn.Module):
  """One layer whose backward pass is ten percent too large."""

  factor: float = 2.0

  @nn.compact
  def __call__(self, x, *, train, mask=None):
    x = nn.Dense(3, name="head", dtype=jnp.float64, param_dtype=jnp.float64)(x.reshape(len(x), -1))
    return _wrong(x) if self.factor else 2.0 * x


def errors(model, variables):
  return [one.error for one in slopes(model, variables, IMAGES, labels=LABELS)]


def test_the_gradient_of_a_network_with_batch_norm_agrees_to_1e_6():
  config = ModelConfig(name="resnet", blocks=(1,), widths=(4,))
  model = make_model(config, 3, dtype=jnp.float64, param_dtype=jnp.float64)
  variables = init_variables(make_model(config, 3), (8, 8, 1), 0)
  found = errors(model, variables)
  assert len(found) == 5
  assert np.median(found) < 1e-6


@pytest.mark.parametrize(("factor", "low", "high"), [(2.0, 0.05, 0.2), (0.0, 0.0, 1e-6)])
def test_a_backward_pass_that_is_ten_percent_off_is_found(factor, low, high):
  params = {"head": {"kernel": 0.1 * RNG.normal(size=(64, 3)), "bias": np.zeros(3)}}
  found = errors(Wrong(factor), {"params": params, "batch_stats": {}})
  assert low <= np.median(found) <= high


def test_the_error_is_relative_to_the_larger_slope():
  assert Slope(1.0, 0.8).error == pytest.approx(0.2)
  assert Slope(-0.8, -1.0).error == pytest.approx(0.2)
  assert Slope(0.0, 0.0).error == 0.0
