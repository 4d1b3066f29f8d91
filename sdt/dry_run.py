"""What a run would do, without doing it: the resolved config, sizes, optimiser steps, memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from sdt import baseline, files
from sdt.accept import load_data, load_weights, notes
from sdt.arms import Setting, arm_order, make_plan
from sdt.config import Config, to_dict
from sdt.data.dataset import Data
from sdt.models import count_params, multiply_adds
from sdt.optim import learning_rates
from sdt.plan import Plan
from sdt.setup import Setup
from sdt.split import Partition, num_easy
from sdt.training import Identity


def describe(config: Config, loaded: Data | None = None) -> str:
  """Returns what a run would do, as text. Reads the data and compiles the largest training program, but writes nothing.

  Args:
    config: of the run.
    loaded: its data, where the caller has them already.

  Raises:
    ConfigError, DataError: as the run would.
  """
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  data = load_data(config, lambda line: None, loaded)
  if origin is not None:
    baseline.find(Path(origin), config, Identity(to_dict(config), data.checksum))
  pretrained = load_weights(config, data)
  setup = Setup.make(config, data, pretrained=pretrained)
  size, plans = plans_of(config, data)
  shape = data.train.inputs.shape[1:]
  rates = learning_rates(config.optim, config.rounds)
  num_params = count_params(setup.model, shape)
  sizes = f"{len(data.train)} training and {len(data.test)} test examples of shape {list(shape)}, {len(data.class_names)} classes"
  cost = f"{num_params:,} parameters, {multiply_adds(setup.model, shape) / 1e6:.1f} M multiply-adds an example"
  lines = [
    files.json_text(to_dict(config)),
    "",
    f"data      {data.name}, {data.variant}: {sizes}; A gets {size}",
    f"network   {config.model.name}: {cost}",
    *(f"note      {note}" for note in notes(config, data, pretrained)),
    f"rounds    {config.rounds}, learning rate {rates[0]:g} to {rates[-1]:g}",
    "optimiser steps a round:",
  ]
  for plan in plans:
    lines.append(f"  {plan.arm}: {' + '.join(f'{phase.name} {phase.num_steps}' for phase in plan.phases)} = {plan.steps_per_round}")
  if origin is not None:
    lines.append(f"baseline  taken over from {origin}, not trained")
  trainer = setup.trainer(max(plans, key=lambda plan: len(plan.phases)))
  trainer.set_state(setup.fresh_start.state)
  trainer.compile()
  return "\n".join([*lines, _memory(config, data, num_params, trainer.memory_bytes())])


def plans_of(config: Config, data: Data) -> tuple[int, list[Plan]]:
  """Returns the size of A, and the plan of every arm in the order of training; which examples are A is not known yet.

  Raises:
    ConfigError, DataError: A or B would be empty.
  """
  size = num_easy(config.method.fraction, len(data.train), config.method.num_easy)
  parts = Partition(np.arange(size, dtype=np.int32), np.arange(size, len(data.train), dtype=np.int32), 0)
  setting = Setting(config, data.train.labels, data.train.example_ids, None, (parts,) * len(config.seeds))
  return size, [make_plan(arm, setting) for arm in arm_order(config.arms)]


def _memory(config: Config, data: Data, num_params: int, program_bytes: int) -> str:
  """Returns the line on device memory: data, scores, weights with gradient, momentum and the copy under way, and the program's own."""
  data_bytes = sum(array.nbytes for part in (data.train, data.test) for array in (part.inputs, part.labels))
  scores_bytes = 4 * len(data.train) * len(config.seeds)
  state_bytes = 4 * 4 * num_params * len(config.seeds)
  total = data_bytes + scores_bytes + state_bytes + program_bytes
  parts = ((data_bytes, "data"), (scores_bytes, "scores"), (state_bytes, "weights, gradients, momentum"), (program_bytes, "program"))
  return f"device memory about {total / 1e6:.0f} MB: " + ", ".join(f"{count / 1e6:.1f} {name}" for count, name in parts)
