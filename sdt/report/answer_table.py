"""The table of further answers: views, dropout, snapshots and ensembles beside one network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MINUS = "\u2212"
# Figure, what it is multiplied by, its decimals.
_KINDS = (
  *(("accuracy", 100.0, 2), ("balanced_accuracy", 100.0, 2)),
  *(("nll", 1.0, 4), ("ece", 100.0, 2)),
)
_DIFFERENCES = (_KINDS[0], _KINDS[2])
# Below the printed table, which `columns` makes.
LEGEND = (
  "NLL: negative log-likelihood, nats; ECE: calibration error. Lower is better. Intervals: report."
)
_WORDS = {"prior_shift": "thresholds moved"}


def describe(predictions: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns what the template shows; None for a run without further answers.

  `predictions` is that entry of results.json.
  """
  answers = predictions.get("answers")
  if not answers:
    return None
  return {
    "has_arms": len({row["arm"] for row in answers}) > 1,
    "rows": [_row(row) for row in answers],
    "notes": [*_notes(predictions["ways"], answers)],
  }


def columns(answers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  """Returns the columns of the printed table, means alone: arm and answer, accuracy, NLL, ECE."""
  kinds = [_KINDS[0], *_KINDS[2:]]
  named = ["further answers", *(f"{row['arm']}, {_name(row)}" for row in answers)]
  cells = [
    [_cell({**row[kind], "interval": None}, scale, digits) for row in answers]
    for kind, scale, digits in kinds
  ]
  headers = ("accuracy, %", "NLL", "ECE, %")
  return [named, *([header, *cell] for header, cell in zip(headers, cells, strict=True))]


def _name(row: Mapping[str, Any]) -> str:
  """Returns which answer a row is of: the way that networks were asked, how many together."""
  way = _WORDS.get(row["way"], row["way"])
  if not row["ensemble"]:
    return "one network" if way == "single" else way
  together = f"ensemble of {len(row['ensemble'])}"
  return together if way == "single" else f"{way}, {together}"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
  difference = row["difference"] or {}
  cells = [_cell(row[kind], scale, digits) for kind, scale, digits in _KINDS]
  cells += [
    _cell(difference.get(kind), scale, digits, signed=True) for kind, scale, digits in _DIFFERENCES
  ]
  is_ensemble = bool(row["ensemble"])
  return {"name": _name(row), "arm": row["arm"], "is_ensemble": is_ensemble, "cells": cells}


def _cell(
  entry: Mapping[str, Any] | None, scale: float, digits: int, *, signed: bool = False
) -> str:
  """Returns such as "99.06 (98.90 to 99.22)"; "-" for nothing."""
  if entry is None or entry["mean"] is None:
    return "-"

  def text(value: float) -> str:
    return f"{scale * value:{'+' if signed else ''}.{digits}f}".replace("-", _MINUS)

  interval = entry["interval"]
  return text(entry["mean"]) + (
    f" ({text(interval[0])} to {text(interval[1])})" if interval else ""
  )


def _notes(
  ways: Mapping[str, Mapping[str, str]], answers: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
  for name, way in ways.items():
    if name != "single":
      words = _WORDS.get(name, name)
      yield f"{words[0].upper()}{words[1:]}: {way['in_words']}, in {way['file']}."
  strengths = {row["arm"]: row["strength"]["mean"] for row in answers if "strength" in row}
  if strengths:
    told = ", ".join(f"{arm} {tau:.2f}" for arm, tau in strengths.items() if tau is not None)
    yield (
      f"Tau, mean over the seeds: {told}. An arm that was trained on equal classes keeps its "
      "answers."
    )
  seeds = max(row["accuracy"]["n"] for row in answers if not row["ensemble"])
  yield (
    f"One network and what is asked of it: mean over {seeds} seed{'s' if seeds > 1 else ''}, with "
    "the 95 % t interval of this mean (from three seeds on); differences are paired by seed. Each "
    "interval stands for itself."
  )
  if any(row["ensemble"] for row in answers):
    yield (
      "An ensemble is one answer, so it has no spread over seeds: its 95 % intervals say how much "
      "other test examples would change it, with these very networks (Wilson's for the accuracy); "
      "of its ECE there is none. Differences are to one network, the mean over these seeds, by "
      "test example."
    )
    yield (
      "That an ensemble's negative log-likelihood is not above the mean of its networks' is no "
      "finding: it follows from averaging probabilities (Jensen's inequality). By how much, and "
      "what becomes of the accuracy, is."
    )
