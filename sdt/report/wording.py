"""What a page says of the parts of a run: its A, its classes, and its seeds that diverged."""

import math
from collections.abc import Mapping
from typing import Any

from sdt.report.read import Artifacts, diverged

# split.policy -> what A is. Without config.json nobody knows.
_OF_A = {
  "top": "the easiest examples",
  "bottom": "the hardest examples",
  "random": "a random draw",
  "window": "the easiest examples after the very easiest ones",
  "threshold": "the examples easier than a threshold",
  "mislabel_cut": "the easiest examples; the hardest ones are in neither A nor B",
}
_NUM_WEAKEST = 3


def section(artifacts: Artifacts, name: str) -> Mapping[str, Any]:
  """Returns a section of the run's config; {} where it is not known."""
  config: Mapping[str, Any] = artifacts.config.get("config", {})
  return config.get(name, {})


def sentences(*parts: str) -> str:
  """Returns the parts that are not empty, one after the other."""
  return " ".join(part for part in parts if part)


def class_names(results: Mapping[str, Any]) -> list[str]:
  """Returns the class names, numbered where the results have none."""
  names = results["data"].get("class_names") or range(results["data"]["num_classes"])
  return [str(name) for name in names]


def what_A(artifacts: Artifacts) -> str:  # noqa: N802 - the paper's name
  """Returns "A" and what it is by split.policy; "A" alone where no config tells it."""
  rule = section(artifacts, "split")
  what = _OF_A.get(rule.get("policy", ""))
  return f"A ({what}{' of each class' if rule.get('class_balanced') else ''})" if what else "A"


def of_test_set(results: Mapping[str, Any]) -> str:
  """Returns what one test image is worth, and how far another test set would move the numbers."""
  num = results["data"]["num_test"]
  means = [one["mean"] for one in results["arms"].values() if one["mean"] is not None]
  if not num or not means:
    return ""
  best = max(means)
  error = 100 * math.sqrt(best * (1 - best) / num)
  return (
    f"One of the {num:,} test images is worth {100 / num:.2g} points. The accuracies and verdicts "
    f"hold for these images: another test set of this size would move an accuracy of "
    f"{100 * best:.2f} % by about {error:.2g} points (binomial standard error)."
  )


def of_use(results: Mapping[str, Any]) -> str:
  """Returns how good the networks are that a user gets, and for which classes least."""
  chosen = results.get("recommended") or {}
  entry = results.get("predictions", {}).get("arms", {}).get(chosen.get("arm"))
  if not chosen.get("file") or entry is None:
    return ""
  alone, together = entry["per_seed"].get(str(chosen["seed"])), entry.get("ensemble")
  best = together or alone
  if best is None:
    return ""
  of_file = f"model.safetensors (seed {chosen['seed']})"
  parts = [f"{of_file} alone on {100 * alone['accuracy']:.2f} %"] if alone else []
  if together:
    together_is = f"the networks of {chosen['arm']} together, which predict asks, are right on "
    parts.insert(0, f"{together_is}{100 * together['accuracy']:.2f} % of the test images")
  else:
    parts = [f"{of_file} is right on {100 * best['accuracy']:.2f} % of the test images"]
  recalls = zip(class_names(results), best["recall"], strict=True)
  known = sorted((recall, name) for name, recall in recalls if recall is not None)
  weakest = ", ".join(f"{name} ({100 * recall:.0f} %)" for recall, name in known[:_NUM_WEAKEST])
  return f"To use: {'; '.join(parts)}. Weakest classes: {weakest}."


def left_out(artifacts: Artifacts) -> str:
  """Returns a sentence that names the seeds that curves leave out; "" where none diverged."""
  lost = diverged(artifacts.metrics)
  named = "; ".join(
    f"{arm}, seed {', '.join(map(str, seeds))}"
    for arm, seeds in lost.items()
    if arm in artifacts.results["arms"]
  )
  return f"Seeds that diverged are left out of all rounds: {named}." if named else ""


def percent(value: float | None, signed: bool = False) -> str:
  """Returns a fraction in percent with two decimals, without "%"; "-" for None and NaN."""
  if value is None or not math.isfinite(value):
    return "-"
  return f"{100 * value:+z.2f}" if signed else f"{100 * value:z.2f}"  # z: never -0.00


def of_unlearned(results: Mapping[str, Any]) -> str:
  """Returns a warning about classes that the networks have not learned; "" where there are none."""
  found = results.get("suspects", {}).get("unlearned", ())
  if not found:
    return ""
  named = "; ".join(f"{one['class']}: {one['num']} of {one['of']}" for one in found)
  return (
    f"Of some classes more than half of the examples are suspects ({named}). If such a class is "
    "rare, the networks have not learned it, and their suspicions of it say nothing; if not, many "
    "of its labels may be wrong. Do not drop its examples unseen."
  )
