"""Times several seeds in one run against as many runs of one seed each.

    .venv/bin/python benchmarks/seeds.py [--seeds=4] [--repeats=2] [--out=FILE]

Both are whole processes of the demo, with every stage and the report, and a warm cache. They take
turns, A/B/B/A. The script prints the time together over the time apart (accept 0.9, aim 0.5).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import demo
import measure


def main() -> None:
  options = measure.parser(__doc__, seeds=4, repeats=2).parse_args()
  seeds = [str(seed) for seed in range(options.seeds)]
  count = 0
  with tempfile.TemporaryDirectory() as scratch:

    def runs(lists_of_seeds: list[list[str]]) -> dict[str, float]:
      nonlocal count
      secs = 0.0
      for own in lists_of_seeds:
        count += 1
        secs += demo.run_demo(
          Path(scratch, "cache"), Path(scratch, str(count)), f"--config.seeds={','.join(own)},"
        )[1]
      return {"secs": secs}

    cases = {"together": lambda: runs([seeds]), "apart": lambda: runs([[seed] for seed in seeds])}
    figures = measure.in_turn(cases, options.repeats, warm_ups=1)
  share = measure.show_ratio(
    f"{options.seeds} seeds together / apart", figures, "together", "apart"
  )
  measure.write(options.out, "seeds", {"seeds": options.seeds, "figures": figures, "ratio": share})


if __name__ == "__main__":
  main()
