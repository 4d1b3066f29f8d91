"""What imbalance adds to the results: balanced verdicts, rare classes, moved thresholds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from sdt import files
from sdt.arms.catalogue import arm_specs
from sdt.arms.class_shares import learned_counts, loss_shares
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.stages.prediction_files import FILE
from sdt.stats import classification, paired
from sdt.stats.comparison import compare
from sdt.stats.look_record import Made, Standing

# A set is imbalanced where a class has more than so many times the examples of another.
RATIO = 3.0
GROUPS = ("frequent", "middle", "rare")  # thirds of the classes
_SAME = 1e-9  # two accuracies that differ by no more differ by rounding alone


def is_imbalanced(config: Config, data: Data) -> bool:
  """Returns whether the results speak of imbalance: it is made on purpose, or it is large."""
  if data.train.labels.ndim != 1:
    return False
  counts = np.bincount(data.train.labels)
  is_large = int(counts.max()) > RATIO * int(counts[counts > 0].min())
  return config.data.imbalance is not None or is_large


def moved_of(
  workdir: Path, plans: Mapping[str, Plan], data: Data
) -> dict[str, dict[str, paired.PerSeed]]:
  """Returns accuracy and balanced accuracy of each arm with its thresholds moved, by arm.

  The answer is the class with the largest p_k / s_k, of the probability p_k and the share s_k of
  the class in what the arm was trained on: all classes get the same say. Nothing is chosen, so no
  example is used for it. An arm that was trained on equal classes is left out, as its answers stay.

  Source: Zhou and Liu 2006, "Training Cost-Sensitive Neural Networks", threshold-moving; document
  003. Differs from source: the costs are those of the class shares.

  Args:
    workdir: has predictions.npz.
    plans: of the arms.
    data: the training labels.
  """
  stored, found = files.map_npz(workdir / FILE), {}
  seeds, num_classes = stored["seeds"].tolist(), len(data.class_names)
  for index, arm in enumerate(stored["arms"].tolist()):
    shares = class_shares(plans[arm], data.train.labels, num_classes)
    if np.ptp(shares, axis=1).max() < _SAME:
      continue
    of_seeds: dict[int, tuple[float, float] | None] = {}
    for place, seed in enumerate(seeds):
      is_lost = bool((stored["predicted"][index, place] < 0).any())
      of_seeds[seed] = (
        None
        if is_lost
        else _accuracies(stored["probabilities"][index, place], shares[place], stored["label"])
      )
    found[arm] = {
      name: paired.per_seed({seed: one[at] if one else None for seed, one in of_seeds.items()})
      for at, name in enumerate(("accuracy", "balanced_accuracy"))
    }
  return found


def class_shares(
  plan: Plan, labels: Int[np.ndarray, "N"], num_classes: int
) -> Float64[np.ndarray, "R K"]:
  """Returns how frequent each class is in what an arm trains on; of an unseen class, the least.

  A phase counts by the number of its steps and by the weight of its losses (`loss_weight`).

  Args:
    plan: of the arm.
    labels: of the training set.
    num_classes: K.
  """
  steps = [phase.num_steps / max(1, phase.example_ids.shape[1]) for phase in plan.phases]
  seen = [learned_counts(phase, labels) * of for phase, of in zip(plan.phases, steps, strict=True)]
  weights = [loss_shares(phase, labels) for phase in plan.phases]
  total = sum(one * weight for one, weight in zip(seen, weights, strict=True))
  total = total if np.any(total) else sum(seen)  # an arm that learns from nothing
  counts = np.pad(np.asarray(total), ((0, 0), (0, num_classes - int(labels.max()) - 1)))
  least = np.where(counts > 0, counts, np.inf).min(axis=1, keepdims=True)
  counts = np.maximum(counts, least)
  return counts / counts.sum(axis=1, keepdims=True)


def _accuracies(
  probabilities: Float[np.ndarray, "n K"],
  shares: Float64[np.ndarray, "K"],
  labels: Int[np.ndarray, "n"],
) -> tuple[float, float]:
  """Returns accuracy and balanced accuracy of the moved answers."""
  answers = np.argmax(probabilities.astype(np.float64) / shares, axis=1)
  confusion = classification.confusion_matrix(labels, answers, len(shares))
  recall = classification.of_classes(confusion)[0]
  return float(np.mean(answers == labels)), float(np.nanmean(recall))


def thirds(counts: Int[np.ndarray, "K"]) -> Int64[np.ndarray, "K"]:
  """Returns 0 for the third of the classes with the most examples, 2 for that with the fewest.

  Where K is no multiple of three, the middle third is the larger.
  """
  size = max(1, len(counts) // 3)
  rank = np.empty(len(counts), np.int64)
  rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
  return np.where(rank < size, 0, np.where(rank >= len(counts) - size, 2, 1))


def added(
  content: Mapping[str, Any],
  config: Config,
  data: Data,
  *,
  moved: Mapping[str, Mapping[str, paired.PerSeed]],
  looks: Sequence[Made] = (),
) -> dict[str, Any]:
  """Returns what results.json has besides where the training set is imbalanced.

  Args:
    content: of results.json without it.
    config, data: of the run.
    moved: see `moved_of`.
    looks: at the results of this run, before it was extended.
  """
  arms, specs = content["arms"], arm_specs(config)
  counts = np.bincount(data.train.labels, minlength=len(data.class_names))
  balanced = {
    arm: {int(seed): value for seed, value in entry["balanced_accuracy"]["per_seed"].items()}
    for arm, entry in arms.items()
  }
  comparison = compare(
    balanced,
    config.stats.margin,
    {arm for arm in arms if not specs[arm].equal_work},
    controls={arm: control for arm in arms if (control := specs[arm].control)},
    standing=Standing(config.stats.looks, config.seeds, config.arms, earlier=looks),
    measure="balanced accuracy",
  )
  group = thirds(counts)
  entry = {
    "class_counts": counts,
    "ratio": float(counts.max() / counts[counts > 0].min()),
    "group_of_class": [GROUPS[one] for one in group],
    "arms": {
      arm: _of_groups(of_arm["class_accuracy"]["mean"], group)
      | ({"moved": moved[arm]} if arm in moved else {})
      for arm, of_arm in arms.items()
    },
    "by_balanced_accuracy": comparison,
    "sentence": _sentence(balanced, arms, comparison["sentence"]),
  }
  return {"imbalance": entry, "sentence": f"{content['sentence']} {entry['sentence']}"}


def _of_groups(
  accuracy: list[float | None] | None, group: Int64[np.ndarray, "K"]
) -> dict[str, float | None]:
  """Returns the mean accuracy over the classes of each third, over those with test examples."""
  if accuracy is None:
    return dict.fromkeys(GROUPS)
  values = np.array(accuracy, np.float64)
  known = [values[(group == place) & np.isfinite(values)] for place in range(len(GROUPS))]
  return {
    name: float(one.mean()) if len(one) else None for name, one in zip(GROUPS, known, strict=True)
  }


def _sentence(
  balanced: Mapping[str, Mapping[int, float | None]],
  arms: Mapping[str, Mapping[str, Any]],
  compared: str,
) -> str:
  """Returns the verdict by balanced accuracy, or that it is the one by accuracy."""
  pairs = [
    (value, arms[arm]["accuracy"][seed])
    for arm, values in balanced.items()
    for seed, value in values.items()
  ]
  if all(one is None or other is None or abs(one - other) < _SAME for one, other in pairs):
    return "Balanced accuracy is accuracy here: the test set has as many examples of every class."
  return f"By balanced accuracy: {compared[0].lower()}{compared[1:]}"
