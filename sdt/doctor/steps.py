"""The steps of an examination, and what it comes to."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sdt.doctor.before import check_gradient, look_before
from sdt.doctor.curves import read_curves
from sdt.doctor.grids import try_coarse, try_fine
from sdt.doctor.learning import learn_by_heart, try_rates
from sdt.doctor.plan import CHEAP, PLAN, number_of
from sdt.doctor.visit import Outcome, Visit
from sdt.stats.finding import FAULT, Finding, worst

# By the names of `PLAN`, which says what each does.
STEPS: Mapping[str, Callable[[Visit], Outcome]] = {
  "gradient": check_gradient,
  "before": look_before,
  "overfit": learn_by_heart,
  "rates": try_rates,
  "coarse": try_coarse,
  "fine": try_fine,
  "curves": read_curves,
}


class Advice(NamedTuple):
  """What to do next.

  Attributes:
    why: a sentence.
    command: "doctor" or "train".
    changes: keys of the config to change, by dotted name.
    steps: of the next examination, as --steps has them; "" for those that are cheap.
  """

  why: str
  command: str
  changes: Mapping[str, Any]
  steps: str = ""


def examine(visit: Visit, names: Sequence[str]) -> Iterator[list[str]]:
  """Takes the steps of these names in order; yields the lines of each as it ends."""
  for name in names:
    visit.outcomes.pop(name, None)
  for name in names:
    visit.log(f"doctor: step {number_of(name)}, {PLAN[name].title}")
    since = time.perf_counter()
    outcome = STEPS[name](visit)
    outcome = dataclasses.replace(outcome, seconds=time.perf_counter() - since)
    visit.outcomes[name] = outcome
    yield lines_of(name, outcome.findings)


def lines_of(name: str, findings: Sequence[Finding]) -> list[str]:
  """Returns the lines about a step: what was found, and what to do."""
  lines = []
  for index, one in enumerate(findings):
    start = f"{number_of(name)} {PLAN[name].title}" if index == 0 else ""
    level = one.level.upper() if one.level == FAULT else one.level
    lines.append(f"{start:<17} {level:<6} {one.text}")
    if one.advice:
      lines.append(f"{'':<17} {'do:':<6} {one.advice}")
  return lines


def findings_of(outcomes: Mapping[str, Outcome]) -> list[Finding]:
  """Returns all findings in the order of the steps."""
  return [one for name in PLAN if name in outcomes for one in outcomes[name].findings]


def advise(outcomes: Mapping[str, Outcome]) -> Advice:
  """Returns what to do next: mend the first fault, take the next steps, or train.

  Shuffled labels explain what step 3 finds, so they come before it. What a grid chose wins over the
  notes of the steps before it.
  """
  findings = findings_of(outcomes)
  if worst(findings) == FAULT:
    of_overfit = outcomes["overfit"].findings if "overfit" in outcomes else ()
    faults = [one for one in findings if one.level == FAULT]
    is_explained = any(one.code == "shuffled_labels" for one in faults)
    first = next(one for one in faults if not (is_explained and one in of_overfit))
    mended = "with what is advised" if first.changes else "once it is mended"
    which = "first fault" if first == faults[0] else "fault that explains the first"
    why = f"mend the {which} ({first.code}); then examine again, {mended}"
    return Advice(why, "doctor", dict(first.changes))
  changes: dict[str, Any] = {}
  for name in ("coarse", "fine", "curves"):
    for one in outcomes[name].findings if name in outcomes else ():
      changes |= one.changes
  left = [name for name in PLAN if name not in outcomes]
  if any(name in left for name in CHEAP):
    return Advice("take the cheap steps, 1-4", "doctor", changes)
  if not left:
    return Advice("train", "train", changes)
  numbers = [number_of(name) for name in left]
  steps = f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
  return Advice(
    f"no fault so far: take the steps {steps} too, or train", "doctor", changes, steps=steps
  )
