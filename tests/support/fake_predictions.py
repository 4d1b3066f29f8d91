"""Adds predictions to a run of `fake_run`: classes that are near each other are confused."""

from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.engine.prediction_pass import Said
from sdt.stages import predictions
from sdt.stats import classification, paired


def said_by(logits: np.ndarray, labels: np.ndarray, dtype: Any = np.float32) -> Said:
  """Returns the answers of networks with these logits [R, n, K], by NumPy in float64."""
  values = np.exp(logits - logits.max(axis=-1, keepdims=True))
  values /= values.sum(axis=-1, keepdims=True)
  own = values[:, np.arange(len(labels)), labels]
  ranks = [classification.label_ranks(one, labels) for one in logits]
  return Said(
    values.astype(dtype),
    logits.argmax(axis=-1).astype(np.int32),
    np.stack(ranks).astype(np.int32),
    np.log(own).astype(np.float32),
  )


def add_predictions(workdir: Path, num_examples: int = 360, sure: float = 2.5) -> dict[str, Any]:
  """Writes predictions.npz and what results.json says of it; returns its entry `predictions`.

  The label's logit is `sure` standard deviations of the noise above the others, on average; those
  of the classes beside it are nearer.
  """
  results = files.read_json(workdir / "results.json")
  names, seeds = results["data"]["class_names"], results["seeds"]
  rng, num = np.random.default_rng(5), len(names)
  labels = (np.arange(num_examples) % num).astype(np.int32)
  said = []
  for entry in results["arms"].values():
    logits = rng.normal(size=(len(seeds), num_examples, num)).astype(np.float32)
    logits += rng.normal(size=(num_examples, num)).astype(np.float32)
    for step, gain in ((0, sure), (1, 0.6 * sure)):
      logits[:, np.arange(num_examples), (labels + step) % num] += gain
    lost = np.isin(seeds, entry["diverged"])
    said.append(predictions.without(said_by(1.7 * logits.astype(np.float64), labels), lost))
  path = workdir / "predictions.npz"
  with files.writing_npz(path) as archive:
    for name in Said._fields:
      archive.write(name, np.stack([getattr(one, name) for one in said]))
    archive.write("label", labels)
    archive.write("arms", np.array(list(results["arms"])))
    archive.write("seeds", np.array(seeds))
    archive.write("class_names", np.array(names))
  found = predictions.figures_of(path)
  for arm, of_arm in found.items():
    of = predictions.Predicted(**of_arm)
    accuracy = {"accuracy": of.accuracies, **paired.summary(of.accuracies.values())}
    results["arms"][arm] |= accuracy | of.entries(seeds, num)
  results["predictions"] = {
    "file": path.name,
    "dtype": "float32",
    "table": {"file": "predictions.csv", "arm": next(iter(found)), "seed": seeds[0]},
    "bins": classification.NUM_BINS,
    "class_counts": np.bincount(labels, minlength=num),
    "arms": found,
  }
  files.write_json(workdir / "results.json", results)
  return files.read_json(workdir / "results.json")["predictions"]
