"""The seven steps by name and number, without their code: what help and command line need.

Free of JAX, so that a mistake in the command is told at once.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sdt.errors import ConfigError


class Row(NamedTuple):
  """A step.

  Attributes:
    title: what stands before its findings.
    line: what it does.
    source: where it comes from.
  """

  title: str
  line: str
  source: str


_SLIDES = "slides on training networks"
# In this order; their code is in `STEPS` of sdt/doctor/steps.py.
PLAN: Mapping[str, Row] = {
  "gradient": Row(
    "gradient check",
    "the gradient of a step against finite differences, in float64",
    _SLIDES,
  ),
  "before": Row(
    "before training",
    "the initial loss against log K; inputs, labels, weights and activations",
    f"{_SLIDES}, step 1",
  ),
  "overfit": Row(
    "eight batches",
    "eight batches learnt by heart, to 100 %",
    f"{_SLIDES}, step 2",
  ),
  "rates": Row(
    "learning rates",
    "four or more learning rates, a hundred steps each",
    f"{_SLIDES}, step 3",
  ),
  "coarse": Row(
    "coarse grid",
    "rate and weight decay on a coarse grid, at most five rounds each",
    f"{_SLIDES}, step 4",
  ),
  "fine": Row(
    "fine grid",
    "the same around the best, at most fifteen rounds each",
    f"{_SLIDES}, step 5",
  ),
  "curves": Row(
    "curves",
    "the curves of the best trial, or of the run in the workdir",
    f"{_SLIDES}, step 6",
  ),
}
CHEAP = ("gradient", "before", "overfit", "rates")
_RANGE = re.compile(r"(\w+)(?:-(\w+))?")


def number_of(name: str) -> int:
  """Returns the number of a step, from 1."""
  return list(PLAN).index(name) + 1


def parse_steps(text: str) -> tuple[str, ...]:
  """Returns the names of the steps that a text such as "1-4", "3", "1,7" or "rates" means.

  Raises:
    ConfigError: no such step.
  """
  chosen: set[str] = set()
  names = list(PLAN)
  for part in text.split(","):
    match = _RANGE.fullmatch(part.strip())
    ends = [_index(end) for end in match.groups() if end is not None] if match else []
    if not ends or ends != sorted(ends) or min(ends) < 0:
      raise ConfigError(
        f"--steps={text}: {part.strip() or 'nothing'} is no step; expected numbers from 1 to "
        f"{len(names)} such as 1-4 or 5,7, or names ({', '.join(names)})"
      )
    chosen.update(names[ends[0] : ends[-1] + 1])
  return tuple(name for name in names if name in chosen)


def _index(text: str) -> int:
  """Returns the place of a step in the table by its name or number; -1 for neither."""
  names = list(PLAN)
  if text in names:
    return names.index(text)
  return int(text) - 1 if text.isdecimal() and 1 <= int(text) <= len(names) else -1
