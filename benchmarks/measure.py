"""What the benchmarks share: timing, cases in turn, trainings by the dispatch, and results."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config import Config, from_dict, to_dict
from sdt.data import sources
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.engine.state import Position
from sdt.engine.trainer import Trainer
from sdt.run import environment
from sdt.run.programs import Setup
from sdt.run.rehearsal import rehearsal

ROOT = Path(__file__).resolve().parent.parent
type Seconds = dict[str, list[float]]


_LOAD_BEFORE = os.getloadavg()[
  0
]  # of other programs; a later one would be mostly that of the benchmark


def machine() -> dict[str, Any]:
  """Returns what timings depend on: processor, load, versions and devices."""
  cpuinfo = Path("/proc/cpuinfo")
  names = (
    [
      line.split(":")[1].strip()
      for line in cpuinfo.read_text().splitlines()
      if line.startswith("model name")
    ]
    if cpuinfo.exists()
    else []
  )
  return {
    "processor": names[0] if names else platform.processor(),
    "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    "load": {"before": _LOAD_BEFORE, "after": os.getloadavg()[0]},
    "commit": environment.describe()["commit"],
    "system": platform.system(),
    "python": platform.python_version(),
    "jax": jax.__version__,
    "devices": [device.device_kind for device in jax.devices()],
  }


def parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
  """Returns a parser with --out and an option for each of `defaults`, of the default's type.

  Its help is the docstring of the module.
  """
  made = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  made.add_argument("--out", type=Path, default=None, help="write every figure there, as JSON")
  for name, default in defaults.items():
    made.add_argument(f"--{name}", type=type(default), default=default)
  return made


def write(out: Path | None, benchmark: str, content: Mapping[str, Any]) -> None:
  """Writes the figures and the machine as JSON, if --out names a file."""
  if out is not None:
    out.write_text(
      json.dumps({"benchmark": benchmark, "machine": machine(), **content}, indent=1) + "\n"
    )


def timed(work: Callable[[], Any]) -> dict[str, float]:
  """Returns the wall seconds of `work`, and the processor seconds of all cores.

  Other programs on the machine disturb processor seconds less.
  """
  wall, cores = time.perf_counter(), time.process_time()
  jax.block_until_ready(work())
  return {"secs": time.perf_counter() - wall, "core_secs": time.process_time() - cores}


def in_turn(
  cases: Mapping[str, Callable[[], Mapping[str, float]]], repeats: int, warm_ups: int = 3
) -> dict[str, Seconds]:
  """Returns the figures of every case, which take turns (A/B/B/A) `repeats` times.

  First, each case runs `warm_ups` times. Because of the turns, a drift of the machine affects all
  cases alike.
  """
  figures: dict[str, Seconds] = {name: {} for name in cases}
  for name in cases:
    for _ in range(warm_ups):
      cases[name]()
  for repeat in range(repeats):
    for name in cases if repeat % 2 == 0 else reversed(cases):
      for key, value in cases[name]().items():
        figures[name].setdefault(key, []).append(value)
  return figures


def ratio(
  figures: Mapping[str, Seconds], first: str, second: str, key: str = "secs"
) -> tuple[float, float, float]:
  """Returns the quartiles (25, 50, 75 %) of first / second, each of two neighbours in time."""
  low, middle, high = np.quantile(
    np.divide(figures[first][key], figures[second][key]), [0.25, 0.5, 0.75]
  )
  return float(low), float(middle), float(high)


def show_ratio(
  name: str, figures: Mapping[str, Seconds], first: str, second: str, key: str = "secs"
) -> float:
  """Prints the median of the ratios and their quartiles; returns the median."""
  low, middle, high = ratio(figures, first, second, key)
  unit = "seconds" if key == "secs" else "processor seconds"
  print(f"{name}: {middle:.3f} ({low:.3f} to {high:.3f}) in {unit}", flush=True)
  return middle


def median(figures: Mapping[str, Seconds], name: str, key: str = "secs") -> float:
  return statistics.median(figures[name][key])


def config(**changes: Any) -> Config:
  """Returns a config of drawn 32x32 images in ten classes, with He's augmentation.

  Args:
    changes: values by key; a dot in a key is written "__".
  """
  plain = to_dict(Config())
  plain["data"] |= {"name": "shapes", "allow_empty_class": True}
  plain["data"]["shapes"] |= {
    "num_train": 1024,
    "num_test": 128,
    "num_classes": 10,
    "image_size": 32,
  }
  plain["model"] |= {"name": "resnet20"}
  plain["augment"] |= {"pad_crop": 4, "flip": True}
  plain |= {"seeds": [0], "rounds": 10_000, "eval_every_rounds": 10_000}
  plain["optim"] |= {"milestones": []}
  plain["method"] |= {"fraction": 0.5}  # so that few images are enough
  for key, value in changes.items():
    section = plain
    *path, last = key.split("__")
    for name in path:
      section = section.setdefault(name, {})  # keys that came later are not there by default
    section[last] = list(value) if isinstance(value, tuple) else value
  return from_dict(plain)


def steps_config(network: str, batch_size: int, steps: int, **changes: Any) -> Config:
  """Returns a config whose round is one dispatch of `steps` steps; only the last is evaluated."""
  size = {
    "data__shapes__num_train": steps * batch_size,
    "batch_size": batch_size,
    "model__name": network,
  }
  return config(**{**size, "parallel__steps_per_dispatch": steps, **changes})


@dataclasses.dataclass
class Training:
  """A compiled arm that trains one dispatch at a time, as often as it is asked to."""

  trainer: Trainer
  setup: Setup
  compile_secs: float
  _run: Iterator[Any] = dataclasses.field(default_factory=lambda: iter(()))

  @classmethod
  def make(cls, config: Config, data: Data | None = None, plan: Plan | None = None) -> Training:
    """Returns the compiled training of a plan; by default the baseline, on the config's data."""
    data = sources.load(config.data) if data is None else data
    setup = Setup.make(config, data)
    plan = plan or make_plan("baseline", Setting(config, data.train.labels, data.train.example_ids))
    trainer = rehearsal(setup, plan)
    trainer.set_state(setup.fresh_start)
    return cls(trainer, setup, trainer.compile())

  def dispatch(self) -> None:
    """Runs the next dispatch; starts again when the plan has ended."""
    if next(self._run, None) is None:
      self.restart()
      next(self._run)

  def restart(self) -> None:
    self.trainer.set_state(self.setup.fresh_start)
    self._run = self.trainer.run(Position())

  def finish(self) -> None:
    """Runs to the end of the plan."""
    for _ in self._run:
      pass

  def timed(self, dispatches: int = 1) -> dict[str, float]:
    """Returns the seconds of this number of dispatches."""
    return timed(lambda: [self.dispatch() for _ in range(dispatches)] and None)
