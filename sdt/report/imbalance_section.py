"""What the report and the printed table show of an imbalanced training set."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdt.report.wording import percent

GROUPS = ("frequent", "middle", "rare")


def columns(results: Mapping[str, Any]) -> list[list[str]]:
  """Returns the columns of the table of the arms, in percent, means over the seeds.

  They are: the arm, its accuracy and balanced accuracy, the accuracy of the frequent, middle and
  rare classes, and accuracy and balanced accuracy with moved thresholds.
  """
  entry, arms = results["imbalance"], results["arms"]
  of_arms = entry["arms"]
  shown = [name for name in GROUPS if name in entry["group_of_class"]]

  def moved(name: str) -> list[str]:
    return [
      percent(one["moved"][name]["mean"] if "moved" in one else None) for one in of_arms.values()
    ]

  return [
    [f"imbalance {entry['ratio']:.3g}:1, %", *arms],
    ["accuracy", *(percent(one["mean"]) for one in arms.values())],
    ["balanced", *(percent(one["balanced_accuracy"]["mean"]) for one in arms.values())],
    *([name, *(percent(one[name]) for one in of_arms.values())] for name in shown),
    ["moved", *moved("accuracy")],
    ["balanced", *moved("balanced_accuracy")],
  ]


def describe(results: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns what the template shows; None for a run on a balanced set."""
  entry = results.get("imbalance")
  if entry is None:
    return None
  header, *rows = _rows(columns(results))
  counts = [int(count) for count in entry["class_counts"]]
  return {
    "header": header,
    "rows": rows,
    "most": max(counts),
    "least": min(counts),
    "ratio": f"{entry['ratio']:.3g}",
    "sentence": entry["sentence"],
    "results": {"seeds": results["seeds"], **entry["by_balanced_accuracy"]},
  }


def _rows(of: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
  return list(zip(*of, strict=True))
