"""Compares the training speed of sdt with torch: images per second of sdt over those of torch.

    .venv/bin/python benchmarks/train_speed.py --torch_python=PATH [--network=resnet20]
    [--baselines=T2] [--batch_size=128] [--out=FILE]

--torch_python is the Python of an environment with torch, which sdt's own environment lacks. The
torch side is benchmarks/torch_baselines.py, which explains T1, T2 and T3. The sdt side is the
engine as in a run: order of the examples, gather, augmentation, masking, norms, training dynamics,
and the check that all numbers are finite. Blocks of --steps steps alternate (A/B/B/A) on one
machine, after three blocks of warming up each; only one of the two programs works at a time. On a
CPU, give both the same number of cores: put `taskset -c 0,1` before the command, and use
--threads=2.

The script prints the median ratio with its quartiles, of seconds and of processor seconds. Trust
processor seconds if other programs run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import measure


class TorchTraining:
  """The torch program, which trains when it is asked to."""

  def __init__(self, process: subprocess.Popen[str]):
    self._process = process
    self.description: dict[str, Any] = self._answer()

  def _answer(self) -> dict[str, Any]:
    line = self._process.stdout.readline() if self._process.stdout else ""
    if not line:
      raise SystemExit("the torch program ended; its message stands above")
    return json.loads(line)

  def timed(self, steps: int) -> dict[str, float]:
    print(steps, file=self._process.stdin, flush=True)
    return self._answer()


@contextmanager
def torch_training(options: argparse.Namespace, baseline: str) -> Iterator[TorchTraining]:
  script = Path(__file__).with_name("torch_baselines.py")
  keys = ("network", "batch_size", "image_size", "threads")
  command = [options.torch_python, str(script), "--serve", f"--baseline={baseline}"]
  command += [f"--{key}={getattr(options, key)}" for key in keys] + (
    [f"--device={options.device}"] if options.device else []
  )
  with subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
  ) as process:
    try:
      yield TorchTraining(process)
    finally:
      process.terminate()


def main() -> None:
  sizes = {"batch_size": 128, "image_size": 32, "threads": 2, "steps": 8, "repeats": 8}
  options = measure.parser(
    __doc__, torch_python=sys.executable, network="resnet20", baselines="T2", device="", **sizes
  ).parse_args()
  if shutil.which(options.torch_python) is None:
    raise SystemExit(
      f"--torch_python={options.torch_python} is no program; name the Python of an environment "
      "that has torch"
    )
  changes = {"data__shapes__image_size": options.image_size}
  training = measure.Training.make(
    measure.steps_config(options.network, options.batch_size, options.steps, **changes)
  )
  print(f"sdt {options.network}: compiled in {training.compile_secs:.1f} s", flush=True)
  with ExitStack() as stack:
    others = {
      name: stack.enter_context(torch_training(options, name))
      for name in options.baselines.split(",")
    }
    cases: dict[str, Any] = {"sdt": training.timed}
    cases |= {
      name: lambda other=other: other.timed(options.steps) for name, other in others.items()
    }
    figures = measure.in_turn(cases, options.repeats)
    descriptions = {name: other.description for name, other in others.items()}
  images = options.steps * options.batch_size
  for name in figures:
    per_core = images / measure.median(figures, name, "core_secs")
    print(
      f"{name:4} {images / measure.median(figures, name):8.0f} images/s, {per_core:6.0f} a "
      "processor second"
    )
  ratios = {}
  for name in others:
    ratios[name] = {
      key: measure.show_ratio(f"sdt / {name}", figures, name, "sdt", key)
      for key in ("secs", "core_secs")
    }
  about = {
    key: getattr(options, key)
    for key in ("network", "batch_size", "image_size", "threads", "steps")
  }
  measure.write(
    options.out,
    "train_speed",
    {**about, "torch": descriptions, "ratios": ratios, "figures": figures},
  )


if __name__ == "__main__":
  main()
