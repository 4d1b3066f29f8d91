"""Which looks at its results a run has had, and which of its verdicts were planned."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from sdt.stats.looks import ONLY, Look
from sdt.stats.paired import MIN_PAIRS


class Made(TypedDict):
  """One look: the seeds and arms of the results, and the verdict of each difference."""

  seeds: list[int]
  arms: list[str]
  verdicts: dict[str, str]


class Looks(TypedDict):
  """The entry `looks` of results.json.

  planned: numbers of seeds, ascending; empty without a plan. number: which of the planned looks
  this is, from 1; None for another. nominal_level: of one two-sided test at this look, of 5 % for
  all looks. made: all looks up to this one. exploratory: the differences whose verdicts were not
  planned. sentence: the same in words.
  """

  planned: list[int]
  number: int | None
  nominal_level: NotRequired[float]
  made: list[Made]
  exploratory: list[str]
  sentence: str


@dataclasses.dataclass(frozen=True)
class Standing:
  """Where a look stands among those before it.

  Attributes:
    plan: the planned numbers of seeds, ascending; empty without a plan.
    seeds, arms: of this look.
    earlier: the looks before it.
  """

  plan: tuple[int, ...] = ()
  seeds: Sequence[int] = ()
  arms: Sequence[str] = ()
  earlier: Sequence[Made] = ()

  @property
  def number(self) -> int | None:
    """Which of the planned looks this is, from 1; None for another."""
    return self.plan.index(len(self.seeds)) + 1 if len(self.seeds) in self.plan else None

  @property
  def look(self) -> Look:
    """The look whose levels the tests have. One that was not planned has the level of a single."""
    return ONLY if self.number is None else Look(self.plan, self.number)

  @property
  def are_seeds_planned(self) -> bool:
    """Whether a look at so many seeds was planned. Without a plan only the first number is.

    A look at so few seeds that it gave no verdict gave no false one, and does not count.
    """
    if self.plan:
      return self.number is not None
    return all(len(made["seeds"]) in (len(self.seeds), *range(MIN_PAIRS)) for made in self.earlier)

  def is_planned(self, *arms: str) -> bool:
    """Returns whether the difference of these arms was planned.

    An arm that was added after a look was chosen by somebody who had seen results. It makes no
    other verdict easier: in a larger family Holm's p values are at least as large.
    """
    first = self.earlier[0]["arms"] if self.earlier else self.arms
    return self.are_seeds_planned and (not self.earlier or set(arms) <= set(first))

  def described(self, comparison: Mapping[str, Any]) -> dict[str, Looks]:
    """Returns the entry `looks` of results.json, from those that compare arms.

    Returns {} for the first look at a run without a plan: it is the only one so far.
    """
    if not self.plan and not self.earlier:
      return {}
    found = list(differences_of(comparison))
    new: Made = made_of({**comparison, "seeds": list(self.seeds), "arms": self.arms})
    exploratory = [one["difference"] for one in found if not one.get("planned", True)]
    entry: Looks = {
      "planned": list(self.plan),
      "number": self.number,
      "made": [*self.earlier, new],
      "exploratory": exploratory,
      "sentence": self._sentence(exploratory, len(found)),
    }
    if self.number is not None:
      entry["nominal_level"] = self.look.nominal(0.05)
    return {"looks": entry}

  def _sentence(self, exploratory: Sequence[str], num_differences: int) -> str:
    now = _seeds(len(self.seeds))
    before = [_seeds(number) for number in dict.fromkeys(len(one["seeds"]) for one in self.earlier)]
    seen = f"The run was looked at before, at {' and '.join(before)}" if before else ""
    if self.are_seeds_planned:
      planned = (
        f"Look {self.number} of {len(self.plan)}, at {now} of {self.plan[-1]}: the planned looks "
        "together call a true zero a difference in at most 5 % of the runs."
        if self.plan
        else ""
      )
      added = (
        f"Exploratory: {', '.join(exploratory)}. {seen}, and these arms were added after that."
        if exploratory
        else ""
      )
      return " ".join(filter(None, (planned, added)))
    what = "all verdicts" if len(exploratory) == num_differences else ", ".join(exploratory)
    plan = f"stats.looks plans looks at {', '.join(map(str, self.plan))} seeds" if self.plan else ""
    why = "; ".join(filter(None, (seen, plan)))
    why = why[:1].upper() + why[1:] if not why.startswith("stats.") else why
    return (
      f"Exploratory: {what}. {why}. This look, at {now}, was not planned: over all looks such "
      "verdicts find differences that are not there in more than 5 % of the runs."
    )


def made_of(results: Mapping[str, Any]) -> Made:
  """Returns the look that a results.json is: its seeds, its arms and its verdicts."""
  return {
    "seeds": list(results["seeds"]),
    "arms": list(results["arms"]),
    "verdicts": {one["difference"]: one["verdict"] for one in differences_of(results)},
  }


def made_before(results: Mapping[str, Any]) -> list[Made]:
  """Returns all looks that a run has had, by its results.json: the last is this file itself."""
  looks: Mapping[str, Any] = results.get("looks", {})
  return list(looks.get("made", ())) or [made_of(results)]


def differences_of(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """Returns the contrasts of results.json: of the method, of arms with a control, of the power."""
  power = results.get("power")
  return [
    *results.get("contrasts", {}).values(),
    *results.get("against_control", {}).values(),
    *([power["contrast"]] if power else []),
  ]


def _seeds(number: int) -> str:
  return f"{number} seed{'s' if number > 1 else ''}"
