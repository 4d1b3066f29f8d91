"""Times the recording of the training dynamics: a round of the baseline with it over one without.

    .venv/bin/python benchmarks/dynamics.py [--config=configs/digits.py] [--rounds=12] [--seeds=1]
    .venv/bin/python benchmarks/dynamics.py --key=course [--training=1000]

With `--key=course` it is the recording of the course, `score.course`, beside the dynamics, of a
training of so many rounds: it takes a byte for each round, example and seed.
The two programs take turns, one round each (A/B/B/A), so a drift of the machine affects both alike.
The script prints medians, and the median of the ratios of neighbours with its quartiles, for
seconds and for processor seconds. Trust processor seconds if other programs run.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import measure

from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.data import sources


def main() -> None:
  parser = measure.parser(__doc__, rounds=12, seeds=1, training=1000)
  parser.add_argument("--key", choices=("dynamics", "course"), default="dynamics")
  parser.add_argument("--config", type=Path, default=measure.ROOT / "configs/digits.py")
  options = parser.parse_args()
  base = resolve(load_config_file(options.config))
  data = sources.load(base.data)
  parallel = dataclasses.replace(
    base.parallel, steps_per_dispatch=-(-len(data.train) // base.batch_size)
  )
  base = dataclasses.replace(
    base,
    rounds=options.training,
    eval_every_rounds=options.training,
    seeds=tuple(range(options.seeds)),
    parallel=parallel,
  )
  cases = {}
  for name, records in (("without", False), ("with", True)):
    training = measure.Training.make(
      dataclasses.replace(base, score=dataclasses.replace(base.score, **{options.key: records})),
      data,
    )
    print(f"{name} {options.key}: compiled in {training.compile_secs:.1f} s")
    cases[name] = training.timed
  figures = measure.in_turn(cases, options.rounds - 1, warm_ups=1)
  ratios = {
    key: measure.show_ratio("a round with / without", figures, "with", "without", key)
    for key in ("secs", "core_secs")
  }
  measure.write(options.out, options.key, {"ratios": ratios, "figures": figures})


if __name__ == "__main__":
  main()
