"""Adds to a run of `fake_run` what only newer runs have: norms, dynamics, activation maps."""

from pathlib import Path
from typing import Any

import numpy as np

from sdt import files


def add_norms(workdir: Path, num_layers: int = 4) -> list[str]:
  """Adds norms to every row and layer names to results.json; returns the names, as in the rows."""
  rng = np.random.default_rng(1)
  layers = [
    "head",
    *(f"stage1_block{index}/conv" for index in range(1, num_layers - 1)),
    "stem_conv",
  ]
  results = files.read_json(workdir / "results.json")
  results["model"]["layers"] = layers
  files.write_json(workdir / "results.json", results)
  rows = files.read_rows(workdir / "metrics.jsonl")
  for row in rows:
    own = np.abs(rng.normal(3, 0.1, num_layers)) * (
      1 + 0.1 * np.log(row["round"]) - 0.1 * (row["phase"] == "A")
    )
    row |= {"weight_norms": own.tolist(), "weight_norm": float(np.sqrt((own**2).sum()))}
    row |= {
      "gradient_norm": float(rng.uniform(0.5, 2.0)),
      "update_norm": float(row["learning_rate"] * rng.uniform(0.5, 2.0)),
    }
    if row.get("diverged"):
      row |= dict.fromkeys(("weight_norms", "weight_norm", "gradient_norm", "update_norm"))
  files.remove(workdir / "metrics.jsonl")
  files.append_rows(workdir / "metrics.jsonl", rows)
  return layers


def add_scores(workdir: Path, **scores: np.ndarray) -> None:
  """Adds scores [R, N] to scores.npz."""
  files.write_npz(workdir / "scores.npz", **(files.read_npz(workdir / "scores.npz") | scores))


def add_dynamics(workdir: Path) -> dict[str, np.ndarray]:
  """Adds the training dynamics to scores.npz, distributed as real ones; returns them."""
  rng = np.random.default_rng(2)
  shape = files.read_npz(workdir / "scores.npz")["confidence"].shape
  confidence = rng.beta(2.5, 1.2, shape)
  variability = np.sqrt(confidence * (1 - confidence)) * rng.beta(5, 3, shape)
  correctness = np.clip(np.round((confidence + rng.normal(0, 0.08, shape)) * 30) / 30, 0, 1)
  found = {"mean_confidence": confidence, "variability": variability, "correctness": correctness}
  found = {name: values.astype(np.float32) for name, values in found.items()}
  add_scores(workdir, **found)
  return found


def add_cam(
  workdir: Path,
  *,
  arms: tuple[str, ...] = ("baseline", "method"),
  num_classes: int = 10,
  size: int = 8,
) -> dict[str, np.ndarray]:
  """Writes figures/cam.npz of seven images, in groups of three, one, three; returns its content."""
  rng = np.random.default_rng(3)
  images = rng.integers(0, 256, (7, size, size, 3), np.uint8)
  labels = (np.arange(7) % num_classes).astype(np.int32)
  content: dict[str, Any] = {
    "arms": np.array(arms),
    "seed": np.int64(0),
    "ids": np.arange(7, dtype=np.int32) + 40,
    "images": images,
    "labels": labels,
  }
  content["groups"] = np.array(["all right"] * 3 + ["only one right"] + ["all wrong"] * 3)
  content["maps"] = rng.normal(size=(len(arms), 7, 3, 3)).astype(np.float32)
  content["predictions"] = rng.integers(0, num_classes, (len(arms), 7), np.int32)
  content["probabilities"] = rng.uniform(0, 1, (len(arms), 7)).astype(np.float32)
  files.write_npz(workdir / "figures" / "cam.npz", **content)
  return content
