"""Initial weights by name: their moments, orthonormality, biases, and document 004's figure."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.models import init_variables, make_model
from sdt.models.init import Initial
from sdt.models.initialisation import INITS
from tests.support.networks import SMALLEST, named

SHAPE = (3, 3, 24, 40)
FAN_IN, FAN_OUT = 9 * 24, 9 * 40
VARIANCES = {
  ("normal", 0.05): 0.05**2,
  ("uniform", 0.3): 0.3**2 / 3,
  ("he_fan_in",): 2 / FAN_IN,
  ("he_fan_out",): 2 / FAN_OUT,
  ("xavier_lecun",): 1 / FAN_IN,
  ("xavier_glorot", 1.0): 2 / (FAN_IN + FAN_OUT),
  ("xavier_glorot", 16.0): 32 / (FAN_IN + FAN_OUT),
  ("orthogonal", 1.0): 1 / FAN_IN,  # 40 orthonormal columns of 216 numbers
}


@pytest.mark.parametrize("call", VARIANCES, ids=str)
def test_the_variance_is_that_of_the_formula_within_three_standard_errors(call):
  name, *numbers = call
  values = INITS[name](np.random.default_rng(0), SHAPE, *numbers)
  assert (values.shape, values.dtype) == (SHAPE, np.float64)
  kurtosis = 9 / 5 if name == "uniform" else 3
  error = math.sqrt((kurtosis - 1) / values.size)
  assert abs(values.var() / VARIANCES[call] - 1) < 3 * error
  assert abs(values.mean()) < 3 * math.sqrt(VARIANCES[call] / values.size)


@pytest.mark.parametrize("shape", [(3, 3, 4, 20), (3, 3, 2, 40), (30, 30)])
def test_orthogonal_weights_are_orthonormal(shape):
  q = INITS["orthogonal"](np.random.default_rng(0), shape, 2.0).reshape(-1, shape[-1])
  gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
  np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_name_draws_the_kernels_of_every_family_and_sets_biases(name):
  model = make_model(ModelConfig(name=name, **SMALLEST[name]), 3)
  own = named(init_variables(model, (8, 8, 1), 0))
  found = named(init_variables(model, (8, 8, 1), 0, Initial("constant(0.5)", 0.01, False)))
  assert own.keys() == found.keys()
  for path, leaf in found.items():
    if path.endswith("kernel"):
      assert (leaf == 0.5).all()
    elif path.endswith("bias"):
      assert (leaf == np.float32(0.0 if "head" in path else 0.01)).all(), path
    else:
      np.testing.assert_array_equal(leaf, own[path])


def test_a_bias_alone_leaves_the_weights_and_the_head_as_they_are():
  model = make_model(ModelConfig(name="mlp", hidden_sizes=(8, 8)), 3)
  own = named(init_variables(model, (5,), 0))
  found = named(init_variables(model, (5,), 0, dataclasses.replace(Initial(), bias=0.01)))
  for path, leaf in found.items():
    if path.endswith("bias") and "head" not in path:
      assert (leaf == np.float32(0.01)).all()
    else:
      np.testing.assert_array_equal(leaf, own[path])


def spreads(text, width=256, num_layers=6):
  """Returns the standard deviation of each tanh layer's outputs on normal inputs."""
  config = ModelConfig(name="mlp", hidden_sizes=(width,) * num_layers, activation="tanh")
  model = make_model(config, 3)
  variables = init_variables(model, (width,), 0, Initial(text, own_biases=False))
  x = np.random.default_rng(0).normal(size=(200, width))
  found = []
  for index in range(1, num_layers + 1):
    x = np.tanh(x @ variables["params"][f"hidden{index}"]["kernel"].astype(np.float64))
    found.append(float(x.std()))
  return found


def test_six_tanh_layers_vanish_saturate_or_stay_by_the_spread_of_their_weights():
  # The slides have 4,096 units: 0.01 and 0.05 there are 0.04 and 0.2 with 256 (times root 16).
  vanishing, saturated, stays = (
    spreads(text) for text in ("normal(0.04)", "normal(0.2)", "xavier_lecun")
  )
  assert vanishing[-1] < 0.1 * vanishing[0]
  assert min(saturated) > 0.8
  assert 0.25 < stays[-1] < stays[0] < 0.7


def test_a_seed_draws_the_same_weights_whatever_the_other_layers():
  short, long = (
    init_variables(
      make_model(ModelConfig(name="mlp", hidden_sizes=sizes), 3), (5,), 0, Initial("he_fan_in")
    )["params"]
    for sizes in ((8, 4), (8, 9))
  )
  jax.tree.map(np.testing.assert_array_equal, short["hidden1"], long["hidden1"])
