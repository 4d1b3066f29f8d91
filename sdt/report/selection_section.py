"""The selection of a run as text: what the report shows of selection.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdt.config.search_space import values_text
from sdt.report import tables

_ALONE = "Only one trial came to the last round, so how much of its lead is luck cannot be said."


def describe(content: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns what the template shows: sizes, and the candidates of each choice; None without one.

  Each choice has its candidates, the chosen one, and how much of its lead may be luck.
  """
  if not content:
    return None
  choices = [_choice(of, choice, content["seeds"]) for of, choice in content["choices"].items()]
  return {
    **content["validation"],
    "num_seeds": len(content["seeds"]),
    "choices": choices,
    "search": _search_text(content),
  }


def _search_text(content: Mapping[str, Any]) -> str:
  """Returns how the candidates of a search came about; "" without one."""
  if "search" not in content:
    return ""
  search, rounds = content["search"], content["rounds"]
  how = {
    "grid": "The candidates are all points of the grid.",
    "random": "The candidates were drawn at random.",
    "bayes": "The first candidates are spread out evenly; each later one has the largest expected "
    "improvement under a Gaussian process that is fitted to the accuracies so far.",
    "halving": "The candidates were drawn at random, and only the best went on after each rung.",
  }[search["method"]]
  rungs = next(iter(search["parts"].values()))["rungs"]
  if len(rungs) > 1:
    told = ", ".join(f"{rung['num_trials']} up to round {rung['round']}" for rung in rungs)
    how += f" For the first arm: {told}."
  return (
    f"{how} Keys that ordinary training reads were chosen by the baseline, before the others. A "
    f"whole training has {rounds} rounds. Values have three digits."
  )


def _choice(of: str, choice: Mapping[str, Any], seeds: list[int]) -> dict[str, Any]:
  candidates = [
    {
      "name": values_text(candidate["values"]),
      "is_chosen": candidate["values"] == choice["chosen"],
      "cells": [tables.percent(value) for value in tables.by_seed(candidate["accuracy"]).values()],
      "mean": tables.mean_sd(candidate),
      "n": candidate["n"],
      "loss": tables.mean_text(candidate["loss"].values()),
      "diverged": ", ".join(map(str, candidate["diverged"])),
      "round": candidate.get("round"),
    }
    for candidate in _best_first(choice["candidates"])
  ]
  ended = sum(row["round"] == candidates[0]["round"] for row in candidates)
  return {
    "of": of,
    "chosen": values_text(choice["chosen"]),
    "at_edge": choice["at_edge"],
    "seeds": seeds if len(seeds) <= tables.MAX_SEEDS_PER_BLOCK else [],
    "candidates": candidates,
    "luck": _luck(choice["best_of"], len(candidates) - ended),
    "has_rounds": ended < len(candidates),
  }


def _luck(best_of: Mapping[str, Any], num_dropped: int) -> str:
  """Returns what luck gives among the candidates that ended, and what that leaves out."""
  if not num_dropped:
    return luck_text(best_of)
  if best_of["num_values"] < 2:
    return _ALONE
  return (
    f"{luck_text(best_of)} Nor does it know of the {num_dropped} others that were dropped before "
    "by the same images, so luck may give more."
  )


def _best_first(candidates: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
  """Returns the trials of a search by round and accuracy; other candidates as they are."""
  if "round" not in candidates[0]:
    return candidates
  return sorted(candidates, key=lambda one: (-one["round"], -(one["mean"] or 0.0)))


def luck_text(best_of: Mapping[str, Any]) -> str:
  """Returns how far the best candidate is above the mean of all, and what luck alone gives."""
  if best_of["num_values"] < 2:
    return "There is only one candidate."
  text = (
    f"The best is {tables.percent(best_of['gain'])} points above the mean of the "
    f"{best_of['num_values']} candidates."
  )
  if best_of["expected_gain"] is None:
    return f"{text} With one seed, we cannot say what luck alone would give."
  return (
    f"{text} If all candidates were equally good, luck alone would give about "
    f"{tables.percent(best_of['expected_gain'])} points "
    f"({best_of['expected_gain_sds']:.2f} standard errors of the mean of one candidate). This "
    "leaves out what a seed does to all candidates alike, and ignores that all share the "
    "validation images."
  )
