r"""Times the ways in which seeds share one program, against one seed alone.

    .venv/bin/python benchmarks/replicas.py [--config=configs/digits.py] [--seeds=2] \
      [--rounds=6] [--repeats=6] [--out=FILE]

The modes take turns (A/B/C/C/B/A), so a drift of the machine affects all alike. The script prints
medians of compile seconds and of seconds per round. "per replica": seconds per round and replica,
over those of one seed alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import measure

from sdt.config import Config, resolve
from sdt.config.config_file import load_config_file
from sdt.data import sources
from sdt.data.dataset import Data

MODES = ("loop", "unroll", "vmap")


def training(config: Config, data: Data, seeds: tuple[int, ...], mode: str) -> measure.Training:
  return measure.Training.make(
    dataclasses.replace(
      config, seeds=seeds, parallel=dataclasses.replace(config.parallel, replicas=mode)
    ),
    data,
  )


def whole(of: measure.Training, rounds: int) -> Callable[[], dict[str, float]]:
  """Returns a function that trains the whole plan and returns the seconds per round."""

  def run() -> dict[str, float]:
    of.restart()
    return {key: value / rounds for key, value in measure.timed(of.finish).items()}

  return run


def compare(
  config: Config, data: Data, num_seeds: int, repeats: int, modes: tuple[str, ...] = MODES
) -> dict[str, dict[str, object]]:
  """Prints and returns the figures of one seed alone and of every mode."""
  seeds = tuple(range(num_seeds))
  trainings = {"alone": training(config, data, seeds[:1], "unroll")} | {
    mode: training(config, data, seeds, mode) for mode in modes
  }
  figures = measure.in_turn(
    {name: whole(of, config.rounds) for name, of in trainings.items()}, repeats, warm_ups=1
  )
  alone, table = measure.median(figures, "alone"), {}
  print(f"{'mode':8} {'compile s':>9} {'s a round':>9} {'per replica':>11}")
  for name, of in trainings.items():
    middle = measure.median(figures, name)
    share = middle / alone / (1 if name == "alone" else num_seeds)
    table[name] = {
      "compile_secs": of.compile_secs,
      "round_secs": figures[name]["secs"],
      "per_replica": share,
    }
    print(f"{name:8} {of.compile_secs:9.1f} {middle:9.3f} {share:11.2f}", flush=True)
  return table


def main() -> None:
  parser = measure.parser(__doc__, seeds=2, rounds=6, repeats=6)
  parser.add_argument("--config", type=Path, default=measure.ROOT / "configs/digits.py")
  options = parser.parse_args()
  config = resolve(load_config_file(options.config), [("rounds", str(options.rounds))])
  table = compare(config, sources.load(config.data), options.seeds, options.repeats)
  measure.write(options.out, "replicas", {"seeds": options.seeds, "modes": table})


if __name__ == "__main__":
  main()
