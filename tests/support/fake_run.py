"""Makes the workdir of a run that never happened: all artifacts except checkpoints and weights."""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.report.read import SUSPECT_COLUMNS
from sdt.stats import paired
from sdt.stats.comparison import compare

# Digits of seven segments on 8 x 8 pixels: (rows, columns) of a segment, the segments of a digit.
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


@dataclasses.dataclass(frozen=True)
class FakeRun:
  """What the fake run is of; the same values give the same bytes, in all files but the timing.

  Attributes:
    seeds: [R].
    arms: names.
    num_train: N.
    num_classes: K.
    image_size: height and width, pixels.
    channels: of an image.
    rounds: T.
    eval_every_rounds: the last round is always evaluated.
    diverged: arm -> the seeds that diverge.
    class_names: [K]; None for numbers.
    num_mosaic: images of each mosaic, at most.
  """

  seeds: tuple[int, ...] = (0, 1, 2)
  arms: tuple[str, ...] = ("baseline", "method", "uniform_mean")
  num_train: int = 1437
  num_classes: int = 10
  image_size: int = 8
  channels: int = 1
  rounds: int = 30
  eval_every_rounds: int = 1
  diverged: dict[str, list[int]] | None = None
  class_names: list[str] | None = None
  num_mosaic: int = 20

  @property
  def names(self) -> list[str]:
    return self.class_names or [str(index) for index in range(self.num_classes)]

  @property
  def num_easy(self) -> int:
    return self.num_train // 10

  def lost(self, arm: str) -> list[int]:
    return (self.diverged or {}).get(arm, [])


def make_fake_run(workdir: Path, **changes: Any) -> Path:
  """Writes the artifacts of `FakeRun(**changes)`; returns `workdir`."""
  run = FakeRun(**changes)
  rng = np.random.default_rng(7)
  labels = rng.permutation(np.arange(run.num_train) % run.num_classes).astype(np.int32)
  rows = [
    row for arm in run.arms for seed in run.seeds for row in _metrics(rng, run, arm, seed=seed)
  ]
  files.append_rows(workdir / "metrics.jsonl", rows)
  _write_results(workdir, run, rows)
  scores = _write_scores(workdir, rng, labels, seeds=run.seeds)
  _write_split(workdir, run, labels, log_odds=scores["log_odds"])
  _write_mosaics(workdir, rng, run, labels=labels, scores=scores)
  _write_suspects(workdir, rng, run, labels=labels, scores=scores)
  config = {
    "seeds": list(run.seeds),
    "rounds": run.rounds,
    "arms": list(run.arms),
    "model": {"name": "resnet8", "widths": [16, 32]},
    "method": {"fraction": 0.1, "lambda_A": 1e-3, "lambda_B": 1e-4},
    "score": {"name": "log_odds"},
    "split": {"policy": "top", "source": "seed"},
    "data": {"name": "digits", "path": None},
  }
  digest = hashlib.sha256(repr(config).encode()).hexdigest()
  files.write_json(workdir / "config.json", {"config": config, "hash": digest})
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


def _metrics(rng: np.random.Generator, run: FakeRun, arm: str, seed: int) -> list[dict[str, Any]]:
  """Returns the rows of one training: accuracy rises, and jumps when the learning rate drops."""
  phases = ("all",) if arm in ("baseline", "uniform_mean") else ("A", "B")
  level = 0.978 + _GAINS.get(arm, 0.001) + rng.normal(0, 0.0015)
  rows = []
  for number in range(1, run.rounds + 1):
    drops = (number > run.rounds // 2) + (number > run.rounds * 3 // 4)
    noise = 0.02 / (1 + 3 * drops)
    rising = level - 0.6 * math.exp(-number / 2.5) - 0.015 * (drops == 0)
    test = min(1.0, max(0.05, rising + rng.normal(0, noise * 0.3)))
    lost = seed in run.lost(arm) and number > run.rounds // 3
    for phase in phases:
      ends = phase == phases[-1]
      evaluated = ends and (number % run.eval_every_rounds == 0 or number == run.rounds)
      train = min(1.0, test + 0.012 + (0.01 if phase == "A" else 0.0))
      rows.append(
        {
          "arm": arm,
          "seed": seed,
          "round": number,
          "phase": phase,
          "last_phase": ends,
          "step": 23 * number,
          "learning_rate": 0.1 * 0.1**drops,
          "weight_decay": 1e-3 if phase == "A" else 1e-4,
          "train_loss": None if lost else -math.log(train) * 1.3 + 0.01,
          "train_accuracy": None if lost else train,
          "test_loss": -math.log(test) * 1.5 + 0.02 if evaluated and not lost else None,
          "test_accuracy": round(test * 360) / 360 if evaluated and not lost else None,
          "seconds": 0.31,
          **({"diverged": True} if lost else {}),
        }
      )
  return rows


def _write_results(workdir: Path, run: FakeRun, rows: list[dict[str, Any]]) -> None:
  ends = {(row["arm"], row["seed"], row["round"]): row for row in rows if row["last_phase"]}
  entries = {}
  for arm in run.arms:
    of_seeds = {
      seed: [ends[arm, seed, number] for number in range(1, run.rounds + 1)] for seed in run.seeds
    }
    entries[arm] = _result_of_arm(of_seeds, run.lost(arm))
  accuracy = {arm: entry["accuracy"] for arm, entry in entries.items()}
  phases = {arm: {"A": 3, "B": 21} if arm == "method" else {"all": 23} for arm in run.arms}
  results = {
    "data": {
      "name": "digits",
      "variant": "scikit-learn",
      "checksum": "5f" * 32,
      "num_train": run.num_train,
      "num_test": 360,
      "num_classes": len(run.names),
      "class_names": run.names,
      "normalisation": {"mean": [0.3], "std": [0.4]},
      "notes": ["the test set is a stratified 20 % of the only split"],
    },
    "model": {"name": "resnet8", "num_params": 19_594},
    "seeds": list(run.seeds),
    "rounds": run.rounds,
    "num_easy": run.num_easy,
    "steps_per_round": phases,
    "arms": entries,
    **compare(accuracy, 0.0025, {"long_baseline"}),
  }
  files.write_json(workdir / "results.json", results)


def _result_of_arm(rows: dict[int, list[dict[str, Any]]], lost: list[int]) -> dict[str, Any]:
  """Returns an arm's entry of results.json from the rows at the end of each seed's rounds."""
  last = {seed: of_seed[-1] for seed, of_seed in rows.items()}
  accuracy = {seed: row["test_accuracy"] for seed, row in last.items()}
  train = {seed: row["train_accuracy"] for seed, row in last.items()}
  tests = {seed: [row["test_accuracy"] or 0.0 for row in of_seed] for seed, of_seed in rows.items()}

  def unless_lost(value: Callable[[int], Any]) -> dict[int, Any]:
    return {seed: None if seed in lost else value(seed) for seed in rows}

  return {
    "accuracy": accuracy,
    **paired.summary(accuracy.values()),
    "last_round": len(next(iter(rows.values()))),
    "best_round": unless_lost(lambda seed: 1 + tests[seed].index(max(tests[seed]))),
    "paper_protocol": unless_lost(lambda seed: max(tests[seed])),
    "loss": {seed: row["test_loss"] for seed, row in last.items()},
    "train_accuracy": train,
    "gap": paired.per_seed(unless_lost(lambda seed: train[seed] - accuracy[seed])),
    "fluctuation": paired.per_seed(unless_lost(lambda seed: paired.fluctuation(rows[seed]))),
    "diverged": lost,
  }


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
  content: dict[str, Any] = {
    "ranked_by": "log_odds",
    "scorers": described,
    "ties_at_cut": dict.fromkeys(seeds, 0),
  }
  content["stability"] = _stability(log_odds) if len(seeds) > 1 else None
  files.write_json(workdir / "scores.json", content)
  return scores


def _stability(log_odds: np.ndarray) -> dict[str, Any]:
  num_easy = log_odds.shape[1] // 10
  ranks = log_odds.argsort(axis=1).argsort(axis=1)
  easy = ranks >= log_odds.shape[1] - num_easy
  spearman = np.asarray(np.corrcoef(ranks))
  overlap = (easy[:, None] & easy[None]).sum(axis=2) / num_easy
  pairs = np.triu_indices(len(log_odds), 1)
  return {
    "spearman": spearman,
    "overlap_of_A": overlap,
    "mean_spearman": spearman[pairs].mean(),
    "mean_overlap_of_A": overlap[pairs].mean(),
    "warning": "two seeds share little of A",
  }


def _write_split(workdir: Path, run: FakeRun, labels: np.ndarray, log_odds: np.ndarray) -> None:
  def subset_of(scores: np.ndarray) -> np.ndarray:
    subset = np.full(len(scores), "B")
    subset[np.argsort(-scores, kind="stable")[: run.num_easy]] = "A"
    return subset

  per_seed = [subset_of(scores) for scores in log_odds]
  header = ["example_id", "label", "subset", *(f"subset_seed{seed}" for seed in run.seeds)]
  rows = zip(range(len(labels)), labels, subset_of(log_odds.mean(axis=0)), *per_seed, strict=True)
  files.write_csv(workdir / "split.csv", header, rows)
  ids = {
    phase: np.stack([np.flatnonzero(subset == phase) for subset in per_seed]).astype(np.int32)
    for phase in "AB"
  }
  seeds = np.array(run.seeds, np.int64)
  every = np.tile(np.arange(len(labels), dtype=np.int32), (len(seeds), 1))
  for arm in run.arms:
    if arm != "baseline":
      phases = {"all": every} if arm == "uniform_mean" else ids
      files.write_npz(workdir / "arms" / f"{arm}.npz", **phases, seeds=seeds)


def _write_mosaics(
  workdir: Path,
  rng: np.random.Generator,
  run: FakeRun,
  labels: np.ndarray,
  scores: dict[str, np.ndarray],
) -> None:
  order = np.argsort(-scores["log_odds"][0], kind="stable")
  chosen = {
    "easiest": order[: run.num_mosaic],
    "hardest": order[::-1][: run.num_mosaic],
  }
  arrays: dict[str, np.ndarray] = {}
  for kind, ids in chosen.items():
    noise = 0.15 + 0.5 * (kind == "hardest")
    size = (run.image_size, run.channels)
    arrays[f"{kind}_images"] = np.stack(
      [_image(rng, int(labels[i]), *size, noise=noise) for i in ids]
    )
    arrays[f"{kind}_ids"] = ids.astype(np.int32)
    arrays[f"{kind}_labels"] = labels[ids]
    arrays[f"{kind}_confidence"] = scores["confidence"][0][ids]
  files.write_npz(workdir / "figures" / "mosaics.npz", **arrays, class_names=np.array(run.names))


def _write_suspects(
  workdir: Path,
  rng: np.random.Generator,
  run: FakeRun,
  labels: np.ndarray,
  scores: dict[str, np.ndarray],
) -> None:
  """Writes suspects.csv and figures/review.npz, and their summary into results.json."""
  order, names = np.argsort(scores["log_odds"].mean(axis=0), kind="stable"), run.names
  agree = (scores["log_odds"] < 0).sum(axis=0)
  odds = np.exp(-scores["log_odds"].mean(axis=0))
  is_suspect = agree == len(run.seeds)
  rows = [
    [
      *(number, f"{names[labels[number]]}/{number}.png", names[labels[number]]),
      *(names[(labels[number] + 1) % len(names)], f"{1 - place / len(order):.6f}"),
      *(f"{odds[number]:.4g}", int(is_suspect[number]), agree[number], len(run.seeds), "made up"),
    ]
    for place, number in enumerate(order.tolist())
  ]
  files.write_csv(workdir / "suspects.csv", SUSPECT_COLUMNS, rows)
  first = order[:50]
  images = [_image(rng, int(labels[i]), run.image_size, run.channels, noise=0.6) for i in first]
  files.write_npz(
    workdir / "figures" / "review.npz",
    example_id=first.astype(np.int32),
    images=np.stack(images),
    labels=labels[first],
  )
  results = files.read_json(workdir / "results.json")
  pair = {"given": names[0], "suggested": names[1 % len(names)]}
  results["suspects"] = {
    "source": "training dynamics",
    "scores": ["aum"],
    "has_memorised": False,
    "share_right": 0.9,
    "num": int(is_suspect.sum()),
    "pairs": [{**pair, "num": 3}],
  }
  files.write_json(workdir / "results.json", results)


def _image(
  rng: np.random.Generator, label: int, size: int, channels: int, noise: float
) -> np.ndarray:
  """Returns a digit of seven segments on a noisy ground, uint8 [size, size, channels]."""
  image = np.zeros((8, 8))
  for segment in _DIGITS[label % 10]:
    rows, columns = _SEGMENTS[segment]
    image[rows, columns] = rng.uniform(1 - noise, 1.0)
  picked = np.arange(size) * 8 // size
  image = image[picked][:, picked][..., None] * rng.uniform(0.5, 1.0, channels)
  return np.clip(255 * (image + rng.normal(0, 0.1 * noise, image.shape)), 0, 255).astype(np.uint8)
