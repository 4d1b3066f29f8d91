"""Times the ways in which seeds share one program: compile seconds, and seconds a round against running one seed alone.

    .venv/bin/python benchmarks/replicas.py [--config=configs/digits.py] [--seeds=2] [--rounds=6] [--repeats=3] [--out=FILE]

Every repeat goes through the modes forwards and backwards (A/B/C/C/B/A), so that a drift of the machine hits all alike. Printed: medians;
"per replica" is the seconds a round and replica over those of one seed alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from pathlib import Path

from sdt.arms import Setting, make_plan
from sdt.command_line import load_config_file
from sdt.config import resolve
from sdt.data import sources
from sdt.data.dataset import Data
from sdt.dispatch import Position, Trainer
from sdt.keys import Config
from sdt.setup import Resume, Setup

ROOT = Path(__file__).resolve().parent.parent


def prepare(config: Config, data: Data, seeds: tuple[int, ...], mode: str) -> tuple[Trainer, Resume, float]:
  """Returns the compiled baseline of one mode, its start, and the seconds of compiling."""
  own = dataclasses.replace(config, seeds=seeds, parallel=dataclasses.replace(config.parallel, replicas=mode))
  setup = Setup.make(own, data)
  trainer = setup.trainer(make_plan("baseline", Setting(own, data.train.labels, data.train.example_ids)))
  start = setup.fresh_start
  trainer.set_state(start.state, start.sums)
  return trainer, start, trainer.compile()


def round_secs(trainer: Trainer, start: Resume, rounds: int) -> float:
  trainer.set_state(start.state, start.sums)
  begin = time.perf_counter()
  for _ in trainer.run(Position()):
    pass
  return (time.perf_counter() - begin) / rounds


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", type=Path, default=ROOT / "configs/digits.py")
  parser.add_argument("--seeds", type=int, default=2)
  parser.add_argument("--rounds", type=int, default=6)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--out", type=Path, default=None)
  options = parser.parse_args()
  config = resolve(load_config_file(options.config), [("rounds", str(options.rounds))])
  data = sources.load(config.data)
  seeds = tuple(range(options.seeds))
  cases = {"alone": prepare(config, data, seeds[:1], "unroll")}
  cases |= {mode: prepare(config, data, seeds, mode) for mode in ("loop", "unroll", "vmap")}
  times: dict[str, list[float]] = {name: [] for name in cases}
  for _ in range(options.repeats):
    for name in [*cases, *reversed(cases)]:
      trainer, start, _ = cases[name]
      times[name].append(round_secs(trainer, start, options.rounds))
  alone = statistics.median(times["alone"])
  table = {}
  print(f"{'mode':8} {'compile s':>9} {'s a round':>9} {'per replica':>11}")
  for name, values in times.items():
    median = statistics.median(values)
    table[name] = {
      "compile_secs": cases[name][2],
      "round_secs": values,
      "per_replica": median / alone / (1 if name == "alone" else len(seeds)),
    }
    print(f"{name:8} {cases[name][2]:9.1f} {median:9.3f} {table[name]['per_replica']:11.2f}")
  if options.out:
    machine = {"cpus": len(os.sched_getaffinity(0))}
    options.out.write_text(json.dumps({"benchmark": "replicas", "machine": machine, "seeds": len(seeds), "modes": table}, indent=1) + "\n")


if __name__ == "__main__":
  main()
