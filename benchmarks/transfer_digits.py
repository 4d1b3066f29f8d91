"""Measures what of a network trained on the digits 0 to 4 helps to tell 5 to 9 by 50 images.

    .venv/bin/python benchmarks/transfer_digits.py --out=FOLDER [--num_seeds=5]

A source network for each seed, trained on half of the digits 0 to 4. Half of the digits 5 to 9,
drawn by the seed, is the test set, and of the rest the seed draws 50 training images. On these:
a linear classifier on every stage (`probe`), and trainings of the network from each stage on, at a
tenth of the rate of training from scratch (the head alone at that rate), two of them at both.
Everything is in FOLDER; given again, the command goes on. It prints a table in Markdown, with the
differences from training from scratch, paired by seed, and 95 % t intervals.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path
from unittest import mock

import numpy as np
import sklearn.datasets
from scipy.stats import t

import sdt
from sdt.commands import probe

NUM_IMAGES = 50
MODEL = {"blocks": (1, 1, 1), "widths": (16, 32, 64)}
RATE = 0.1
# Name of a training -> the first stage that is trained, and its learning rate.
WAYS = {
  "the head alone": ("head", RATE),
  "stage3 and the head": ("stage3", RATE / 10),
  "from stage2 on": ("stage2", RATE / 10),
  "from stage1 on": ("stage1", RATE / 10),
  "all": ("stem", RATE / 10),
  "from stage2 on, at the full rate": ("stage2", RATE),
  "all, at the full rate": ("stem", RATE),
}


def write_sets(out: Path) -> dict[str, Path]:
  """Writes the digits 0 to 4 and 5 to 9 as npz files; returns their paths."""
  bunch = sklearn.datasets.load_digits()
  images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
  paths = {}
  for name, is_in in (("low", bunch.target < 5), ("high", bunch.target >= 5)):
    paths[name] = out / f"{name}.npz"
    if not paths[name].exists():
      labels = bunch.target[is_in] % 5
      np.savez(paths[name], train_x=images[is_in], train_y=labels)
  return paths


def accuracy(out: Path, name: str, changes: dict[str, object], seed: int) -> float:
  """Returns the test accuracy, %, of a training; a finished one is read."""
  config = {
    "model": {"name": "resnet", **MODEL},
    "augment": {"pad_crop": 1},
    "arms": ("baseline",),
    "seeds": (seed,),
    **changes,
  }
  with contextlib.redirect_stderr(io.StringIO()), mock.patch("sdt.run.lifecycle.build_report"):
    run = sdt.run(config, out / name)
  return 100 * float(run.results["arms"]["baseline"]["accuracy"][str(seed)])


def source(out: Path, data: Path, seed: int) -> Path:
  """Trains the network on the digits 0 to 4; returns its file of weights."""
  name = f"source{seed}"
  changes = {
    "data": {"name": "npz", "path": str(data), "test_fraction": 0.5},
    "rounds": 40,
    "batch_size": 64,
    "eval_every_rounds": 40,
    "optim": {"learning_rate": RATE, "milestones": (20, 30)},
  }
  print(f"source, seed {seed}: {accuracy(out, name, changes, seed):.2f} %", flush=True)
  return out / name / "model.safetensors"


def of_images(data: Path, seed: int) -> dict[str, object]:
  """Returns the data section of the 50 images."""
  section = {"name": "npz", "path": str(data), "test_fraction": 0.5}
  return section | {"num_train": NUM_IMAGES, "split_seed": seed}


def probed(out: Path, data: Path, weights: Path, seed: int) -> dict[str, float]:
  """Returns the test accuracy, %, of a linear classifier on each stage."""
  path = out / f"probe{seed}.json"
  config = out / f"probe{seed}.py"
  section = of_images(data, seed)
  model = {"name": "resnet", **MODEL, "pretrained": str(weights)}
  config.write_text(
    "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
    f"  return ConfigDict({{'data': {section!r}, 'model': {model!r}, 'seeds': ({seed},)}})\n"
  )
  with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
    probe.main([f"--config={config}", f"--output={path}", "--overwrite"])
  stages = json.loads(path.read_text())["stages"]
  return {f"linear, {one['stage']}": 100 * one["accuracy"] for one in stages}


def trained(out: Path, data: Path, weights: Path, seed: int) -> dict[str, float]:
  """Returns the test accuracy, %, of every way to train on the 50 images."""
  common = {"data": of_images(data, seed), "rounds": 40, "batch_size": 10, "eval_every_rounds": 40}
  ways = {"from scratch": (None, RATE), **WAYS}
  found = {}
  for name, (first, rate) in ways.items():
    model = {"name": "resnet", **MODEL}
    optim = {"learning_rate": rate, "milestones": (20, 30)}
    if first is not None:
      model["pretrained"] = str(weights)
      optim["train_from"] = first
    folder = f"{first or 'scratch'}-{rate:g}-{seed}"
    found[name] = accuracy(out, folder, common | {"model": model, "optim": optim}, seed)
  return found


def interval(values: np.ndarray) -> str:
  """Returns "mean (low to high)", the 95 % t interval."""
  n = len(values)
  if n < 2:
    return f"{values.mean():.2f}"
  half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
  return f"{values.mean():.2f} ({values.mean() - half:.2f} to {values.mean() + half:.2f})"


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--out", type=Path, required=True)
  parser.add_argument("--num_seeds", type=int, default=5)
  given = parser.parse_args()
  given.out.mkdir(parents=True, exist_ok=True)
  paths = write_sets(given.out)
  rows: dict[str, list[float]] = {}
  for seed in range(given.num_seeds):
    weights = source(given.out, paths["low"], seed)
    place = (given.out, paths["high"], weights)
    for name, value in (probed(*place, seed) | trained(*place, seed)).items():
      rows.setdefault(name, []).append(value)
      print(f"seed {seed}: {name}: {value:.2f} %", flush=True)
  scratch = np.array(rows["from scratch"])
  print("\n| way | test accuracy, %, by seed | mean (95 % interval) | minus scratch, points |")
  print("|---|---|---|---|")
  for name, values in rows.items():
    each = " ".join(f"{value:.2f}" for value in values)
    difference = "" if name == "from scratch" else interval(np.array(values) - scratch)
    print(f"| {name} | {each} | {interval(np.array(values))} | {difference} |")


if __name__ == "__main__":
  main()
