"""The predictions of a run as text: what the report shows of them beside the pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdt.report import answer_table, tables
from sdt.report.prediction_figures import count_text
from sdt.report.prediction_pictures import mean_confusion
from sdt.report.read import Artifacts
from sdt.report.wording import class_names
from sdt.stats.classification import most_confused

_MAX_PAIRS = 10
# Of more classes than this the most frequent confusions are listed too.
_FEW_CLASSES = 10


def describe(artifacts: Artifacts) -> dict[str, Any] | None:
  """Returns what the template shows; None for a run without predictions."""
  content = artifacts.results.get("predictions")
  if not content:
    return None
  names, arm = class_names(artifacts.results), content["table"]["arm"]
  return {
    "table": content["table"],
    "file": content["file"],
    "bins": content["bins"],
    "arm": arm,
    "has_top5": len(names) > 5,
    "has_ensemble": any(one["ensemble"] for one in content["arms"].values()),
    "rows": _rows(artifacts.results),
    "answers": answer_table.describe(content),
    "pairs": _pairs(content, names) if len(names) > _FEW_CLASSES else [],
    "classes": _classes(content, names),
    "num_classes": len(names),
  }


def _rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns a row of texts for each arm, and one for its ensemble."""
  rows = []
  for arm, of_arm in results["predictions"]["arms"].items():
    entry, together = results["arms"][arm], of_arm["ensemble"]
    number = sum(one is not None for one in of_arm["per_seed"].values())
    rows.append(
      {"name": arm, "is_ensemble": False, "cells": [_spread(entry, *kind) for kind in _KINDS]}
    )
    if together:
      cells = [_text(together[name], scale) for name, scale in _KINDS]
      rows.append({"name": f"{arm}, ensemble of {number}", "is_ensemble": True, "cells": cells})
  has_top5 = any("top5_accuracy" in entry for entry in results["arms"].values())
  if not has_top5:
    place = [name for name, _ in _KINDS].index("top5_accuracy")
    for row in rows:
      del row["cells"][place]
  return rows


# Figure -> what it is multiplied by.
_KINDS = (
  ("accuracy", 100.0),
  ("balanced_accuracy", 100.0),
  ("top5_accuracy", 100.0),
  ("nll", 1.0),
  ("brier", 1.0),
  ("ece", 100.0),
)


def _spread(entry: Mapping[str, Any], name: str, scale: float) -> str:
  """Returns "mean ± sd" over the seeds; an arm's accuracy stands in its entry itself."""
  of = entry if name == "accuracy" else entry.get(name) or {"mean": None, "sd": None}
  has_sd = of["sd"] is not None and of["n"] >= tables.MIN_FOR_SD
  sd = f" \u00b1 {_text(of['sd'], scale)}" if has_sd else ""
  return f"{_text(of['mean'], scale)}{sd}"


def _text(value: float | None, scale: float) -> str:
  if value is None:
    return "-"
  return f"{100 * value:.2f}" if scale == 100.0 else f"{value:.4f}"


def _pairs(content: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str, str, str]]:
  """Returns label, prediction, number of examples, share of the label's, of frequent confusions."""
  of_arm = content["arms"][content["table"]["arm"]]
  counts = mean_confusion(of_arm)
  if counts is None:
    return []
  classes = of_arm["confusion_classes"] or range(len(names))
  rows = []
  for row, column, number in most_confused(counts, _MAX_PAIRS):
    label, answer = classes[row], classes[column]
    share = f"{100 * number / content['class_counts'][label]:.1f} %"
    rows.append((names[label], names[answer], count_text(number), share))
  return rows


def _classes(content: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
  """Returns a row for each class: name, test examples, precision, recall, F1, in percent.

  The class of which the smallest share is right comes first, one without test examples last.
  """
  of_arm = content["arms"][content["table"]["arm"]]
  sound = [one for one in of_arm["per_seed"].values() if one]
  if not sound:
    return []
  means = [_means([one[name] for one in sound]) for name in ("precision", "recall", "f1")]
  recalls = [np.inf if recall is None else recall for recall in means[1]]
  return [
    (name, str(content["class_counts"][place]), *(tables.percent(mean[place]) for mean in means))
    for place, name in sorted(enumerate(names), key=lambda one: recalls[one[0]])
  ]


def _means(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
  """Returns the mean of each column over the rows where it is known."""
  values = np.array(rows, np.float64)
  known = np.isfinite(values)
  totals = np.where(known, values, 0.0).sum(axis=0)
  return [
    total / count if count else None
    for total, count in zip(totals.tolist(), known.sum(axis=0).tolist(), strict=True)
  ]
