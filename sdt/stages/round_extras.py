"""What is measured of the networks after a round, outside the program that trains them."""

import math
from collections.abc import Mapping
from typing import Any

from sdt.config import Config
from sdt.devices.layout import fetch
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.trainer import Progress, Trainer
from sdt.engine.units import batch_of, units_of
from sdt.models import make_model
from sdt.run import metrics
from sdt.run.context import Context

# Columns of the last rows of a round, by seed.
type Extras = Mapping[int, Mapping[str, Any]]


def extras_of(context: Context, plan: Plan, progress: Progress, trainer: Trainer) -> Extras:
  """Returns the further columns of the last round that a dispatch has ended; {} for none.

  They are `validation_loss` and `validation_accuracy` where early stopping asks, and `units` where
  `monitor.units` does.
  """
  config, setup = context.config, context.setup
  if not progress.finished:
    return {}
  number = progress.finished[-1].index + 1
  validates = config.stop.patience and metrics.is_evaluated(number, plan.rounds, config)
  looks = config.monitor.units and _is_looked_at(number, plan, config)
  if not (validates or looks):
    return {}
  state = fetch(setup.layout, trainer.snapshot.state)
  extras: dict[int, dict[str, Any]] = {seed: {} for seed in config.seeds}
  if validates:
    for seed, *pair in zip(
      config.seeds, *setup.validator.evaluate(state.params, state.batch_stats), strict=True
    ):
      loss, accuracy = (float(value) if math.isfinite(value) else None for value in pair)
      extras[seed] |= {"validation_loss": loss, "validation_accuracy": accuracy}
  if looks:
    for seed, layers in zip(config.seeds, _units_of(context, state), strict=True):
      extras[seed]["units"] = layers
  return extras


def _is_looked_at(number: int, plan: Plan, config: Config) -> bool:
  """Returns whether the units are looked at after round `number`.

  With early stopping any evaluated round may be the last.
  """
  may_end = bool(config.stop.patience) and metrics.is_evaluated(number, plan.rounds, config)
  return number in (1, plan.rounds) or may_end


def _units_of(context: Context, state: TrainState) -> list[list[dict[str, float | str]]]:
  """Returns for each network the figures of its layers' units; `state` is on the host."""
  config, data = context.config, context.data
  model = make_model(config.model, len(data.class_names))
  inputs = batch_of(data, config.data.crop_size, context.setup.eval_batch_size)
  return units_of(model, getattr(model, "activation", ""), state, inputs=inputs)


def with_extras(rows: list[dict[str, Any]], extras: Extras) -> list[dict[str, Any]]:
  """Returns the rows of a round, the last of each seed with its extras; None where it diverged."""

  def own(row: metrics.Row) -> Mapping[str, Any]:
    found = extras.get(row["seed"], {}) if row["last_phase"] else {}
    return dict.fromkeys(found) if row.get("diverged") else found

  return [{**row, **own(row)} for row in rows]
