"""Steps 5 and 6: a coarse and a fine grid of rate and decay, by the search over any keys."""

import dataclasses
from collections.abc import Collection
from typing import Any

from sdt.config import Config, config_hash, search_space
from sdt.config.schema import SelectConfig
from sdt.data.validation_split import hold_out
from sdt.doctor.visit import Outcome, Visit
from sdt.engine.dispatch_sizes import TRAINED
from sdt.inputs.order import num_batches
from sdt.run import selection
from sdt.stats import curve_diagnosis

COARSE, FINE = "coarse", "fine"
# Of each grid: rounds at most, and how far apart its values are.
_ROUNDS = {COARSE: 5, FINE: 15}
_RATE_FACTOR = {COARSE: 3.0, FINE: 1.5}
_DECAYS = (0.0, 1e-5, 1e-4)  # those of the slides
_DECAY_FACTOR = 3.0
_AROUND_SECS = 1.0
_HASH = 8
RATE, DECAY = "optim.learning_rate", "optim.weight_decay"
_CONSTANT = {
  "optim.schedule": "constant",
  "optim.milestones": (),
  "optim.warmup_rounds": 0,
  "optim.floor": 0.0,
  "optim.cycle_rounds": None,
}


def try_coarse(visit: Visit) -> Outcome:
  """Trains for a few rounds at rates around the best of step 4 and at the slides' decays.

  Source: the slides on training networks, step 4. Differs from source: a full grid, on a validation
  split that is held out of the training set.
  """
  return _searched(visit, COARSE)


def try_fine(visit: Visit) -> Outcome:
  """Trains longer on a finer grid around the best of the coarse one, without any decay of the rate.

  Source: the slides on training networks, step 5.
  """
  return _searched(visit, FINE)


def _searched(visit: Visit, name: str) -> Outcome:
  config = grid_config(visit, name)
  # Another grid has a folder of its own, so that this one can be continued.
  own = f"{name}-{config_hash(config)[:_HASH]}"
  folder = visit.folder / own
  content = selection.choose(config, visit.data, folder, run=visit.run, log=visit.log)
  choice = content["choices"]["baseline"]
  best = next(one for one in choice["candidates"] if one["values"] == choice["chosen"])
  measured = {
    "chosen": choice["chosen"],
    "mean": best["mean"],
    "folder": f"{own}/{selection.FOLDER}/{best['folder']}",
    "rounds": config.rounds,
    "candidates": choice["candidates"],
    "space": content["search"]["parts"]["baseline"]["space"],
    "num_validation": content["validation"]["num_validation"],
  }
  found = curve_diagnosis.of_grid(choice, is_fine=name == FINE)
  return Outcome(tuple(found), measured)


def grid_config(visit: Visit, name: str) -> Config:
  """Returns the config of a grid: its space, at a constant rate, for few rounds."""
  plain, data = visit.plain, visit.config.data
  rounds = min(_ROUNDS[name], plain.rounds)
  values = {**_CONSTANT, **_around(visit, name), "rounds": rounds, "eval_every_rounds": 1}
  own = search_space.with_values(plain, values)
  held_out = dataclasses.replace(own.data, validation_fraction=data.validation_fraction)
  rule = SelectConfig(space=space_of(visit, name), method="grid")
  return dataclasses.replace(own, data=held_out, select=rule)


def space_of(visit: Visit, name: str) -> tuple[str, ...]:
  """Returns `select.space` of a grid: around what the steps before found, else the config's own."""
  rate, decay = _around(visit, name).values()
  if name == FINE:
    decays = {decay / _DECAY_FACTOR, decay, decay * _DECAY_FACTOR}
  else:
    decays = {*_DECAYS, decay}
  factor = _RATE_FACTOR[name]
  rates = f"{RATE} = {_choice((rate / factor, rate, rate * factor))}"
  # Around a decay of 0 there is nothing to try.
  return (rates, f"{DECAY} = {_choice(sorted(decays))}") if len(decays) > 1 else (rates,)


def _around(visit: Visit, name: str) -> dict[str, float]:
  """Returns the rate and the decay in the middle of a grid."""
  optim = visit.plain.optim
  chosen = visit.measured(COARSE, "chosen") if name == FINE else None
  if chosen is not None:
    return {RATE: chosen[RATE], DECAY: chosen[DECAY]}
  rate = visit.measured("rates", "best") or optim.learning_rate
  return {RATE: rate, DECAY: optim.weight_decay}


def _choice(values: Any) -> str:
  """Returns the choice among these numbers, each to three digits and once."""
  texts = dict.fromkeys(f"{float(f'{value:.3g}')!r}" for value in values)
  return f"choice({', '.join(texts)})"


def cost(visit: Visit, steps: Collection[str]) -> float | None:
  """Returns about how many seconds the grids among these steps take; None if nothing is known.

  By the pace of step 4; of each trial the start and the end are counted as `_AROUND_SECS`.
  """
  pace, compiling = (visit.measured("rates", one) for one in ("pass_secs", "compile_secs"))
  if pace is None:
    return None
  total = 0.0
  for name in (COARSE, FINE):
    if name not in steps:
      continue
    config = grid_config(visit, name)
    cut = hold_out(visit.data, config.data)
    size = config.batch_size
    passes = TRAINED * size * num_batches(len(cut.train), size) + len(cut.test)
    num_trials = _num_points(config)
    total += num_trials * (config.rounds * passes * pace + _AROUND_SECS) + compiling
  return total


def _num_points(config: Config) -> int:
  return int(search_space.num_points(search_space.space_of(config.select.space)))
