"""Which of the candidates of a selection is chosen, and how much of its lead luck explains."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sdt.errors import DivergedError
from sdt.stats import paired

type Candidate = Mapping[str, Any]


def rank(candidate: Candidate, num_validation: int) -> tuple[float, ...]:
  """Returns what is smaller for a better candidate.

  The highest mean validation accuracy wins; of equal ones the lower mean loss. One of which a seed
  diverged comes last.

  Args:
    candidate: "accuracy" and "loss" by seed, "diverged".
    num_validation: examples of the validation split.
  """
  if candidate["diverged"]:
    return (math.inf, math.inf)
  # Counts of right answers, because means of equal counts may differ in the last bit.
  right = sum(round(accuracy * num_validation) for accuracy in candidate["accuracy"].values())
  return (-right, math.fsum(candidate["loss"].values()))


def decide(
  of: str,
  candidates: Sequence[Candidate],
  num_validation: int,
  *,
  edges: Callable[[Candidate], list[str]] | None = None,
) -> dict[str, Any]:
  """Returns one entry of `choices` in selection.json: the candidates and which is chosen.

  See `rank`; of candidates that are equal in everything the one with the smaller values is chosen,
  of a search the first. A candidate of which a seed diverged is not chosen, nor one that was
  stopped before the others.

  Args:
    of: the arm that they are candidates for.
    candidates: "values", "accuracy" and "loss" by seed, "mean", "sd", "n", "diverged" each; of a
      search "round" too, where it was stopped.
    num_validation: examples of the validation split.
    edges: of a search, the keys of which a candidate is at an edge of its range.

  Raises:
    DivergedError: there is none to choose.
  """
  sound = [candidate for candidate in candidates if not candidate["diverged"]]
  last = max((candidate.get("round", 0) for candidate in sound), default=0)
  sound = [candidate for candidate in sound if candidate.get("round", 0) == last]
  if not sound:
    raise DivergedError(
      f"selection: nothing to choose for {of}, every one of {len(candidates)} candidates has a "
      "seed that diverged; try a lower "
      "optim.learning_rate in a new --workdir"
    )

  def order(candidate: Candidate) -> tuple[float, ...]:
    ties = () if edges is not None else tuple(candidate["values"].values())
    return (*rank(candidate, num_validation), *ties)

  best = min(sound, key=order)
  return {
    "num_trials": len(candidates),
    "chosen": best["values"],
    "at_edge": _outermost(best, candidates) if edges is None else edges(best),
    "best_of": _best_of(sound, best),
    "candidates": candidates,
  }


def _outermost(best: Candidate, candidates: Sequence[Candidate]) -> list[str]:
  """Returns the keys of which no candidate has a smaller value than the best, or none a larger."""
  lists = {
    key: sorted({candidate["values"][key] for candidate in candidates}) for key in best["values"]
  }
  return [
    key
    for key, values in lists.items()
    if len(values) > 1 and best["values"][key] in (values[0], values[-1])
  ]


def _best_of(sound: Sequence[Candidate], best: Candidate) -> dict[str, Any]:
  """Returns how much better the best looks than the mean, and how much of it luck explains.

  The latter is `stats.expected_best_of` standard errors of one candidate's mean. The candidates are
  paired by seed, and what a seed does to all of them alike favours none: the error is that of the
  residuals from the means of seed and candidate, with (k - 1) (n - 1) degrees of freedom. What the
  shared validation images do to the candidates alike in every seed is not removed.
  """
  sds, error = paired.expected_best_of(len(sound)), None
  if best["n"] > 1 and len(sound) > 1:
    table = np.array([list(candidate["accuracy"].values()) for candidate in sound])
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    num_free = (table.shape[0] - 1) * (table.shape[1] - 1)
    error = math.sqrt(float((residuals**2).sum()) / num_free / table.shape[1])
  return {
    "num_values": len(sound),
    "expected_gain_sds": sds,
    "expected_gain": None if error is None else sds * error,
    "gain": best["mean"] - math.fsum(candidate["mean"] for candidate in sound) / len(sound),
  }
