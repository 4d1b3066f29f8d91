"""Times what recording the training dynamics costs: seconds and processor seconds of a round of the baseline with it over those without.

    .venv/bin/python benchmarks/dynamics.py [--config=configs/digits.py] [--rounds=12] [--seeds=1]

Both programs train side by side, a round of each in turn (A/B/B/A), so that a drift of the machine hits both alike. Printed: medians, and
the median of the ratios of neighbours with its quartiles. Processor seconds tell more than seconds where other programs run.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from sdt.arms import Setting, make_plan
from sdt.command_line import load_config_file
from sdt.config import resolve
from sdt.data import sources
from sdt.dispatch import Position, Trainer
from sdt.setup import Setup

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", type=Path, default=ROOT / "configs/digits.py")
  parser.add_argument("--rounds", type=int, default=12)
  parser.add_argument("--seeds", type=int, default=1)
  args = parser.parse_args()
  base = resolve(load_config_file(args.config))
  data = sources.load(base.data)
  base = dataclasses.replace(base, rounds=args.rounds + 1, seeds=tuple(range(args.seeds)), eval_every_rounds=args.rounds + 1)
  trainers: dict[bool, Trainer] = {}
  for records in (False, True):
    plan = make_plan("baseline", Setting(base, data.train.labels, data.train.example_ids))
    parallel = dataclasses.replace(base.parallel, steps_per_dispatch=plan.steps_per_round)
    config = dataclasses.replace(base, parallel=parallel, score=dataclasses.replace(base.score, dynamics=records))
    setup = Setup.make(config, data)
    trainers[records] = setup.trainer(plan)
    trainers[records].set_state(setup.fresh_start.state, setup.fresh_start.sums)
    print(f"dynamics {records}: compiled in {trainers[records].compile():.1f} s")
  runs = {records: trainer.run(Position()) for records, trainer in trainers.items()}
  for run in runs.values():  # a round each to warm up
    next(run)
  secs: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
  for index in range(args.rounds - 1):
    for records in (False, True) if index % 2 == 0 else (True, False):
      begin, cpu = time.perf_counter(), time.process_time()
      next(runs[records])
      secs[records].append((time.perf_counter() - begin, time.process_time() - cpu))
  without, with_it = np.array(secs[False]), np.array(secs[True])
  for column, name in enumerate(("seconds", "processor seconds")):
    low, middle, high = 100 * np.quantile(with_it[:, column] / without[:, column] - 1, [0.25, 0.5, 0.75])
    medians = f"{np.median(without[:, column]):.4f} without, {np.median(with_it[:, column]):.4f} with"
    print(f"{name} a round: {medians}; cost {middle:+.2f} % (quartiles {low:+.2f} to {high:+.2f})")


if __name__ == "__main__":
  main()
