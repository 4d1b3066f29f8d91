"""What the report and the printed table show of an imbalanced training set."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdt.report.wording import class_names, percent
from sdt.stats.look_record import differences_of
from sdt.stats.paired import MORE_SEEDS

GROUPS = ("frequent", "middle", "rare")
_MOST_LISTED = 10


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
    ["moved bal.", *moved("balanced_accuracy")],
  ]


def legend(results: Mapping[str, Any]) -> list[str]:
  """Returns what stands below the printed table: what its columns are, and, where arms are
  compared, the verdict by balanced accuracy.
  """
  entry = results["imbalance"]
  counted = zip(entry["class_counts"], class_names(results), entry["group_of_class"], strict=True)
  rare = sorted((count, name) for count, name, group in counted if group == GROUPS[-1])
  listed = ", ".join(f"{name} ({count:g})" for count, name in rare[:_MOST_LISTED])
  more = f" and {len(rare) - _MOST_LISTED} more" if len(rare) > _MOST_LISTED else ""
  found = [
    "Frequent, middle, rare: a third of the classes each, by their training examples. Rare are "
    f"{listed}{more}. Balanced, bal.: the mean over the classes. Moved: if every probability is "
    "divided by the share of its class in what the arm was trained on."
  ]
  if differences_of(entry["by_balanced_accuracy"]):
    found.append(entry["sentence"].replace(f" {MORE_SEEDS}", ""))  # that stands above already
  return found


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
