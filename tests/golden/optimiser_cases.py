"""Trainings of a small network that torch (make_optimisers.py) and the tests (JAX) run alike.

A network of 5-6-3 with tanh, 24 examples in every step; 50 steps that alternate between two phases,
each with a decay of its own. `uniform` is that of `drawn`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEPS = 50
PHASES = (0, 0, 1, 1, 1) * 10
SHAPES = {
  "hidden": {"kernel": (5, 6), "bias": (6,)},
  "head": {"kernel": (6, 3), "bias": (3,)},
}
FORMS = ("coupled", "decoupled", "penalty")


class Case(NamedTuple):
  """A training: keys of `optim` that are not at their default, its rate and its two decays."""

  optim: dict[str, Any]
  rate: float
  decays: tuple[float, float] = (0.02, 0.1)


_OPTIMISERS = {
  "sgd": Case({"momentum": 0.0}, 0.5),
  "momentum": Case({}, 0.1),
  "nesterov": Case({"nesterov": True}, 0.1),
  "adagrad": Case({"name": "adagrad"}, 0.2),
  "rmsprop": Case({"name": "rmsprop", "momentum": 0.0}, 0.02),
  "rmsprop_momentum": Case(
    {"name": "rmsprop", "momentum": 0.7, "betas": (0.95,), "epsilon": 1e-3}, 0.01
  ),
  "adam": Case({"name": "adam"}, 0.05),
  "adam_betas": Case({"name": "adam", "betas": (0.8, 0.95), "epsilon": 1e-2}, 0.05),
}
_CLIPS = ("value(0.02)", "norm(0.05)", "global_norm(0.1)", "average_norm(0.005)")

CASES = {
  **{
    f"{name}-{form}": Case({**case.optim, "decay_form": form}, case.rate)
    for name, case in _OPTIMISERS.items()
    for form in FORMS
  },
  "adamw": Case({"name": "adamw"}, 0.05),
  "lbfgs": Case({"name": "lbfgs", "decay_form": "decoupled"}, 0.5, (0.0, 0.0)),
  **{f"clip-{clip}": Case({"clip": clip}, 0.1) for clip in _CLIPS},
  "clips": Case({"name": "adam", "clip": "value(0.02) global_norm(0.05)"}, 0.05),
  "l1": Case({"l1": 0.01}, 0.1, (0.0, 0.0)),
  "elastic_net": Case({"l1": 0.01, "name": "adam", "decay_form": "decoupled"}, 0.05),
}


def params(uniform: Callable[..., np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
  """Returns the first weights."""
  return {
    module: {
      leaf: uniform(f"optimiser/{module}/{leaf}", shape, -0.8, 0.8) for leaf, shape in inner.items()
    }
    for module, inner in SHAPES.items()
  }


def examples(uniform: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Returns inputs [24, 5] and labels [24] in [0, 3)."""
  inputs = uniform("optimiser/inputs", (24, 5), -2.0, 2.0)
  return inputs, np.floor(uniform("optimiser/labels", (24,), 0.0, 3.0)).astype(np.int32)
