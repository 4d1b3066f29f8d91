"""Times the demo as a new user meets it: from the command to the first round, and to the report.

    .venv/bin/python benchmarks/demo.py [--repeats=3] [--out=benchmarks/results/demo.json]

Each repeat runs the digits experiment twice, each time in a fresh process and workdir: first with
an empty cache of compiled programs (cold), then with the cache that this run filled (warm). The
script prints medians and all values, and the processor time, which tells something where other
work is on the machine. Accept / aim on 2 cores: 12 / 6 s (cold) and 6 / 3 s (warm) to the first
round; 45 / 35 s (cold) and 30 / 20 s (warm) to the end.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure


def run_demo(cache: Path, workdir: Path, *flags: str) -> tuple[float, float, float]:
  """Returns the seconds from the start of the command to its first round and to its end, and those
  of all processors that it took.
  """
  command = [
    sys.executable,
    "-u",
    "run.py",
    "--config=configs/digits.py",
    f"--workdir={workdir}",
    *flags,
  ]
  environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
  start, before = time.perf_counter(), _processor_secs()
  first = None
  with subprocess.Popen(
    command,
    cwd=measure.ROOT,
    env=environment,
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
  ) as process:
    for line in process.stderr or ():
      if first is None and " round 1/" in line:
        first = time.perf_counter() - start
  if process.returncode or first is None:
    raise SystemExit(f"the demo failed with exit code {process.returncode}")
  return first, time.perf_counter() - start, _processor_secs() - before


def _processor_secs() -> float:
  """Returns the processor time of the processes that this one has started and waited for."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def main() -> None:
  options = measure.parser(__doc__, repeats=3).parse_args()
  parts = ("first round", "whole", "processors")
  seconds: dict[str, list[float]] = {
    f"{name} {part}": [] for name in ("cold", "warm") for part in parts
  }
  for _ in range(options.repeats):
    with tempfile.TemporaryDirectory() as scratch:
      for name in ("cold", "warm"):
        taken = run_demo(Path(scratch, "cache"), Path(scratch, name))
        for part, secs in zip(parts, taken, strict=True):
          seconds[f"{name} {part}"].append(secs)
  print(f"{'seconds':18} {'median':>7}  all")
  for name, values in seconds.items():
    print(
      f"{name:18} {statistics.median(values):7.1f}  {' '.join(f'{value:.1f}' for value in values)}"
    )
  measure.write(options.out, "demo", {"seconds": seconds})


if __name__ == "__main__":
  main()
