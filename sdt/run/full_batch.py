"""What L-BFGS and Newton's method ask of data, arms and network: the same loss in every step."""

import math
from collections.abc import Iterator

import jax

from sdt.arms.planning import neutral_values
from sdt.config import Config
from sdt.config.toolbox.training_blocks import FULL_BATCH, NEWTON_PARAMETERS
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.errors import ConfigError
from sdt.inputs.augment import input_shape
from sdt.models import make_model
from sdt.models.registry import own_dropout, variable_shapes

# Regularisers of a phase that draw something anew in every step.
_DRAWN = frozenset({"class_balance", "drop_connect", "dropout", "mixup_alpha", "stochastic_depth"})


def check(config: Config, data: Data, plans: list[Plan]) -> None:
  """Refuses a run whose optimiser needs the whole training set in a batch and does not get it.

  Args:
    config: of the run.
    data: of the run.
    plans: of its arms.

  Raises:
    ConfigError: a batch is a part of a phase, an arm alternates between losses or draws anew in
      every step, or the network has BatchNorm or too many parameters.
  """
  if config.optim.name not in FULL_BATCH:
    return
  obstacles = (*_of_arms(config, plans), *_of_network(config, data))
  if obstacles:
    raise ConfigError(f"optim.name = {config.optim.name!r}: {obstacles[0]}")


def _of_arms(config: Config, plans: list[Plan]) -> Iterator[str]:
  most = max(phase.example_ids.shape[1] for plan in plans for phase in plan.phases)
  if config.batch_size < most:
    yield (
      f"expected a batch of all {most} examples, not batch_size = {config.batch_size}, because "
      f"curvature is that of one loss; give batch_size={most}, or choose another optimiser"
    )
  for plan in plans:
    drawn = _DRAWN.intersection(plan.regularisers(neutral_values(config)))
    if drawn:
      yield (
        f"the arm {plan.arm!r} draws its loss anew in every step ({', '.join(sorted(drawn))}), "
        "which has no curvature; leave the arm out, or choose another optimiser"
      )
    if config.optim.name == "lbfgs" and len(plan.phases) > 1:
      yield (
        f"the arm {plan.arm!r} alternates between {len(plan.phases)} losses, and L-BFGS compares "
        "the gradients of successive steps; leave the arm out, or choose another optimiser"
      )


def _of_network(config: Config, data: Data) -> Iterator[str]:
  model = make_model(config.model, len(data.class_names))
  variables = variable_shapes(model, input_shape(config, data))
  if jax.tree.leaves(variables["batch_stats"]):
    yield (
      f"model.name = {config.model.name!r} has BatchNorm, whose running statistics do not fit "
      "steps that long; choose a network without it, such as mlp, or another model.norm"
    )
  if own_dropout(config.model) or (config.model.pool or "").startswith("fractional_max"):
    yield (
      f"model.name = {config.model.name!r} drops values or places of pooling anew in every step, "
      "and such a loss has no curvature; give model.dropout=0 and leave model.pool out"
    )
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
  if config.optim.name == "newton" and count >= NEWTON_PARAMETERS:
    yield (
      f"the network has {count:,} parameters, expected less than {NEWTON_PARAMETERS:,}, because "
      "the Hessian has as many rows and columns; choose a smaller one, or lbfgs"
    )
