"""Makes the workdir of a run that never happened: every artifact that docs/artifacts.md names but
checkpoints and weights, no training.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.stats import paired
from sdt.stats.comparison import compare

# Seven-segment digits on 8 x 8 pixels: (rows, columns) of each segment, and the segments of every
# digit.
_SEGMENTS = {
  "a": (slice(0, 1), slice(2, 6)),
  "b": (slice(1, 4), slice(5, 6)),
  "c": (slice(4, 7), slice(5, 6)),
  "d": (slice(7, 8), slice(2, 6)),
  "e": (slice(4, 7), slice(1, 2)),
  "f": (slice(1, 4), slice(1, 2)),
  "g": (slice(3, 5), slice(2, 5)),
}
_DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
_GAINS = {"baseline": 0.0, "method": 0.004, "uniform_mean": 0.003}


def make_fake_run(
  workdir: Path,
  *,
  seeds: tuple[int, ...] = (0, 1, 2),
  arms: tuple[str, ...] = ("baseline", "method", "uniform_mean"),
  num_train: int = 1437,
  num_classes: int = 10,
  image_size: int = 8,
  channels: int = 1,
  rounds: int = 30,
  eval_every_rounds: int = 1,
  diverged: dict[str, list[int]] | None = None,
  class_names: list[str] | None = None,
  num_mosaic: int = 100,
) -> Path:
  """Writes the artifacts and returns `workdir`; the same arguments give the same bytes, and only
  the timing differs by `timing_secs`.
  """
  rng = np.random.default_rng(7)
  diverged = diverged or {}
  names = class_names or [str(index) for index in range(num_classes)]
  labels = rng.permutation(np.arange(num_train) % num_classes).astype(np.int32)
  num_easy = num_train // 10
  rows = [
    row
    for arm in arms
    for seed in seeds
    for row in _metrics(rng, arm, seed, rounds, eval_every_rounds, seed in diverged.get(arm, []))
  ]
  files.append_rows(workdir / "metrics.jsonl", rows)
  _write_results(workdir, rows, seeds, arms, diverged, names, num_train, rounds)
  scores = _write_scores(workdir, rng, labels, seeds)
  _write_split(workdir, labels, scores["log_odds"], seeds, arms, num_easy)
  _write_mosaics(workdir, rng, labels, scores, names, num_easy, image_size, channels, num_mosaic)
  config = {
    "seeds": list(seeds),
    "rounds": rounds,
    "arms": list(arms),
    "model": {"name": "resnet8", "widths": [16, 32]},
    "method": {"fraction": 0.1, "lambda_A": 1e-3, "lambda_B": 1e-4},
    "score": {"name": "log_odds"},
    "split": {"policy": "top", "source": "seed"},
    "data": {"name": "digits", "path": None},
  }
  files.write_json(
    workdir / "config.json",
    {"config": config, "hash": hashlib.sha256(repr(config).encode()).hexdigest()},
  )
  write_environment_and_timing(workdir, 41.3)
  return workdir


def write_environment_and_timing(workdir: Path, seconds: float) -> None:
  """Writes the two files that hold times, hosts and paths."""
  environment = {
    "versions": {"sdt": "0.1.0", "python": "3.12.3", "jax": "0.12.0", "flax": "0.12.12"},
    "devices": ["TFRT_CPU_0"],
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "host": f"machine-{seconds}",
    "data": {"name": "digits", "variant": "scikit-learn"},
    "choices": {"replicas": "unroll", "steps_per_dispatch": 115},
  }
  stages = {
    "baseline": seconds * 0.3,
    "score": 0.4,
    "method": seconds * 0.35,
    "uniform_mean": seconds * 0.3,
    "report": 1.9,
  }
  timing = {
    "stages": stages,
    "compile": 9.2,
    "save": 0.31,
    "images_per_sec": 8123.4,
    "goodput": 0.71,
    "wall": seconds,
  }
  files.write_json(workdir / "environment.json", environment)
  files.write_json(workdir / "timing.json", timing)


def _metrics(
  rng: np.random.Generator, arm: str, seed: int, rounds: int, every: int, diverges: bool
) -> list[dict[str, Any]]:
  """Returns the rows of one training: accuracy rises towards a level, jumps when the learning rate
  drops.
  """
  phases = ("all",) if arm in ("baseline", "uniform_mean") else ("A", "B")
  level = 0.978 + _GAINS.get(arm, 0.001) + rng.normal(0, 0.0015)
  rows = []
  for number in range(1, rounds + 1):
    drops = (number > rounds // 2) + (number > rounds * 3 // 4)
    noise = 0.02 / (1 + 3 * drops)
    test = min(
      1.0,
      max(
        0.05,
        level - 0.6 * math.exp(-number / 2.5) - 0.015 * (drops == 0) + rng.normal(0, noise * 0.3),
      ),
    )
    lost = diverges and number > rounds // 3
    for phase in phases:
      ends = phase == phases[-1]
      evaluated = ends and (number % every == 0 or number == rounds)
      train = min(1.0, test + 0.012 + (0.01 if phase == "A" else 0.0))
      row = {
        "arm": arm,
        "seed": seed,
        "round": number,
        "phase": phase,
        "last_phase": ends,
        "step": 23 * number,
      }
      row |= {"learning_rate": 0.1 * 0.1**drops, "weight_decay": 1e-3 if phase == "A" else 1e-4}
      row |= {
        "train_loss": None if lost else -math.log(train) * 1.3 + 0.01,
        "train_accuracy": None if lost else train,
      }
      row |= {"test_loss": -math.log(test) * 1.5 + 0.02 if evaluated and not lost else None}
      row |= {
        "test_accuracy": round(test * 360) / 360 if evaluated and not lost else None,
        "seconds": 0.31,
      }
      rows.append(row | ({"diverged": True} if lost else {}))
  return rows


def _write_results(
  workdir: Path,
  rows: list[dict[str, Any]],
  seeds: tuple[int, ...],
  arms: tuple[str, ...],
  diverged: dict[str, list[int]],
  names: list[str],
  num_train: int,
  rounds: int,
) -> None:
  found = {(row["arm"], row["seed"], row["round"]): row for row in rows if row["last_phase"]}
  entries: dict[str, Any] = {}
  accuracy: dict[str, dict[int, float | None]] = {}
  for arm in arms:
    last = {seed: found[arm, seed, rounds] for seed in seeds}
    accuracy[arm] = {seed: last[seed]["test_accuracy"] for seed in seeds}
    tests = {
      seed: {r: found[arm, seed, r]["test_accuracy"] or 0.0 for r in range(1, rounds + 1)}
      for seed in seeds
    }
    best = {seed: max(tests[seed], key=lambda r, seed=seed: tests[seed][r]) for seed in seeds}
    lost = diverged.get(arm, [])
    entries[arm] = {
      "accuracy": accuracy[arm],
      **paired.summary(accuracy[arm].values()),
      "last_round": rounds,
    }
    entries[arm] |= {"best_round": {seed: None if seed in lost else best[seed] for seed in seeds}}
    entries[arm] |= {
      "paper_protocol": {seed: None if seed in lost else tests[seed][best[seed]] for seed in seeds}
    }
    entries[arm] |= {"loss": {seed: last[seed]["test_loss"] for seed in seeds}}
    train = {seed: last[seed]["train_accuracy"] for seed in seeds}
    gap = {seed: None if seed in lost else train[seed] - accuracy[arm][seed] for seed in seeds}
    own = {seed: [found[arm, seed, r] for r in range(1, rounds + 1)] for seed in seeds}
    fluctuation = {seed: None if seed in lost else paired.fluctuation(own[seed]) for seed in seeds}
    entries[arm] |= {
      "train_accuracy": train,
      "gap": paired.per_seed(gap),
      "fluctuation": paired.per_seed(fluctuation),
      "diverged": lost,
    }
  results = {
    "data": {
      "name": "digits",
      "variant": "scikit-learn",
      "checksum": "5f" * 32,
      "num_train": num_train,
      "num_test": 360,
    },
    "model": {"name": "resnet8", "num_params": 19_594},
    "seeds": list(seeds),
    "rounds": rounds,
    "num_easy": num_train // 10,
    "steps_per_round": {arm: {"A": 3, "B": 21} if arm == "method" else {"all": 23} for arm in arms},
    "arms": entries,
    **compare(accuracy, 0.0025, {"long_baseline"}),
  }
  results["data"] |= {
    "num_classes": len(names),
    "class_names": names,
    "normalisation": {"mean": [0.3], "std": [0.4]},
  }
  results["data"] |= {"notes": ["the test set is a stratified 20 % of the only split"]}
  files.write_json(workdir / "results.json", results)


def _write_scores(
  workdir: Path, rng: np.random.Generator, labels: np.ndarray, seeds: tuple[int, ...]
) -> dict[str, np.ndarray]:
  easiness = rng.normal(7.0, 2.5, len(labels)) + 0.6 * (labels % 3)
  log_odds = (easiness + rng.normal(0, 1.2, (len(seeds), len(labels)))).astype(np.float32)
  scores = {"confidence": (1 / (1 + np.exp(-log_odds))).astype(np.float32), "log_odds": log_odds}
  ids = np.arange(len(labels), dtype=np.int32)
  files.write_npz(
    workdir / "scores.npz", example_id=ids, label=labels, seeds=np.array(seeds, np.int64), **scores
  )
  header = ["example_id", "source_file", "label"]
  for name in scores:
    header += [name, *(f"{name}_seed{seed}" for seed in seeds)]
  columns = [column for values in scores.values() for column in (values.mean(axis=0), *values)]
  files.write_csv(
    workdir / "scores.csv", header, zip(ids, [""] * len(ids), labels, *columns, strict=True)
  )
  ranges = {"confidence": [0.0, 1.0], "log_odds": [None, None]}
  described = {
    name: {
      "direction": "higher_is_easier",
      "range": ranges[name],
      "source": "last round",
      "mean": float(values.mean()),
      "sd": float(values.std()),
    }
    for name, values in scores.items()
  }
  content = {"ranked_by": "log_odds", "scorers": described, "ties_at_cut": dict.fromkeys(seeds, 0)}
  content["stability"] = _stability(log_odds) if len(seeds) > 1 else None
  files.write_json(workdir / "scores.json", content)
  return scores


def _stability(log_odds: np.ndarray) -> dict[str, Any]:
  num_easy = log_odds.shape[1] // 10
  ranks = log_odds.argsort(axis=1).argsort(axis=1)
  easy = ranks >= log_odds.shape[1] - num_easy
  spearman = np.corrcoef(ranks)
  overlap = (easy[:, None] & easy[None]).sum(axis=2) / num_easy
  pairs = np.triu_indices(len(log_odds), 1)
  return {
    "spearman": spearman,
    "overlap_of_A": overlap,
    "mean_spearman": spearman[pairs].mean(),
    "mean_overlap_of_A": overlap[pairs].mean(),
    "warning": "two seeds share little of A",
  }


def _write_split(
  workdir: Path,
  labels: np.ndarray,
  log_odds: np.ndarray,
  seeds: tuple[int, ...],
  arms: tuple[str, ...],
  num_easy: int,
) -> None:
  def subset_of(scores: np.ndarray) -> np.ndarray:
    subset = np.full(len(scores), "B")
    subset[np.argsort(-scores, kind="stable")[:num_easy]] = "A"
    return subset

  per_seed = [subset_of(scores) for scores in log_odds]
  header = ["example_id", "label", "subset", *(f"subset_seed{seed}" for seed in seeds)]
  rows = zip(range(len(labels)), labels, subset_of(log_odds.mean(axis=0)), *per_seed, strict=True)
  files.write_csv(workdir / "split.csv", header, rows)
  ids = {
    phase: np.stack([np.flatnonzero(subset == phase) for subset in per_seed]).astype(np.int32)
    for phase in "AB"
  }
  every = np.tile(np.arange(len(labels), dtype=np.int32), (len(seeds), 1))
  for arm in arms:
    if arm != "baseline":
      phases = {"all": every} if arm == "uniform_mean" else ids
      files.write_npz(workdir / "arms" / f"{arm}.npz", **phases, seeds=np.array(seeds, np.int64))


def _write_mosaics(
  workdir: Path,
  rng: np.random.Generator,
  labels: np.ndarray,
  scores: dict[str, np.ndarray],
  names: list[str],
  num_easy: int,
  image_size: int,
  channels: int,
  num_mosaic: int,
) -> None:
  order = np.argsort(-scores["log_odds"][0], kind="stable")
  chosen = {
    "easiest": order[: min(num_mosaic, num_easy)],
    "other": rng.permutation(order[num_easy:])[:num_mosaic],
  }
  arrays: dict[str, np.ndarray] = {}
  for kind, ids in chosen.items():
    arrays[f"{kind}_images"] = np.stack(
      [
        _image(rng, int(labels[i]), image_size, channels, 0.15 + 0.5 * (kind == "other"))
        for i in ids
      ]
    )
    arrays[f"{kind}_ids"] = ids.astype(np.int32)
    arrays[f"{kind}_labels"] = labels[ids]
    arrays[f"{kind}_confidence"] = scores["confidence"][0][ids]
  files.write_npz(workdir / "figures" / "mosaics.npz", **arrays, class_names=np.array(names))


def _image(
  rng: np.random.Generator, label: int, size: int, channels: int, noise: float
) -> np.ndarray:
  """Returns a uint8 image [size, size, channels]: a digit of seven segments, each with its own
  strength, on a noisy ground.
  """
  image = np.zeros((8, 8))
  for segment in _DIGITS[label % 10]:
    rows, columns = _SEGMENTS[segment]
    image[rows, columns] = rng.uniform(1 - noise, 1.0)
  picked = np.arange(size) * 8 // size
  image = image[picked][:, picked][..., None] * rng.uniform(0.5, 1.0, channels)
  return np.clip(255 * (image + rng.normal(0, 0.1 * noise, image.shape)), 0, 255).astype(np.uint8)
