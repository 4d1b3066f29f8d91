"""The language of arms: an arm is a line of text.

"A@lambda_A + B@lambda_B" is a round that goes through A at decay lambda_A, then through B at
lambda_B. A phase is SUBSET@DECAY, or SUBSET&PARTNER@DECAY, whose steps see examples of the partner
as well. Three things may follow it. ~TREND lets the decay change over the rounds. [REGULARISER,
REGULARISER=NUMBER] adds regularisers to the phase, at the config's value or at that number. :STEPS
sets how long it lasts, where that is not one pass over the subset.

"A@mean[label_smoothing=0.2] | B@mean" is one mixed phase: its batches come from all of its parts,
and every example has the regularisers of its own part. shuffled(...) around it deals the parts out
among the same examples at random.

The arms of `catalogue.ARMS` are written in this language. A config defines more in `own_arms`:
"NAME = PHASE + PHASE", or "NAME = PHASE + PHASE against ARM".
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import cast

from sdt.config.schema import DISTIL, RegulariseConfig
from sdt.config.toolbox.operation_blocks import MIXING, OPS, OWN_STRENGTHS, SMOTE
from sdt.config.values import check, key_of
from sdt.errors import ConfigError, did_you_mean

SUBSETS: Mapping[str, str] = {
  "all": "every training example",
  "A": "the easy examples, by the split of the seed",
  "B": "the rest",
  "random_A": "as many as A, drawn at random",
  "random_B": "the rest of them",
  "matched_A": "as many of every class as A has, drawn at random",
  "matched_B": "the rest of them",
  "hardest_A": "as many as A, from the other end of the ranking",
  "hardest_B": "the rest of them",
  "balanced_A": "the easiest of every class, as many in all as A has",
  "balanced_B": "the rest of them",
  "kept": "A and B together: all but what split.policy leaves out",
  "clean": "the examples whose label is right, where the data say so",
  "half": "a random half of the training set",
  "over_all": "all, with examples of rare classes repeated until all classes are equally frequent",
  "under_all": "of every class as many as the rarest has, drawn anew for every seed",
  "cluster_all": "over_all, in which the clusters of each class are equally frequent too",
}
# What the steps of a phase see besides, written after &.
PARTNERS: Mapping[str, str] = {
  "unlabelled": "training examples whose labels data.labelled hides, in an order of their own",
}
# The subsets in which all classes are equally frequent.
EQUAL = ("over_all", "under_all", "cluster_all")
DECAYS: Mapping[str, str] = {
  "baseline": "optim.weight_decay",
  "lambda_A": "method.lambda_A",
  "lambda_B": "method.lambda_B",
  "mean": "the mean of lambda_A and lambda_B over the method's steps",
  "tuned": "method.lambda_tuned, given or chosen on a validation split",
  "scattered": (
    "lambda_A on as many steps as A has, at random places of the round, lambda_B on the others"
  ),
}
# How a decay changes over the rounds, written after ~.
TRENDS: Mapping[str, str] = {
  "falling": "from twice the decay to none, in the clock of the learning rate, as much in all",
  "rising": "from none to twice the decay, likewise",
}
STEPS: Mapping[str, str] = {
  "pass": "one pass over the subset",
  "all": "as many as a pass over the whole training set has",
  "round": "as many as a round of A and B has",
}
_FIELDS = {field.name: field for field in dataclasses.fields(RegulariseConfig)}
REGULARISERS: Mapping[str, str] = {name: field.metadata["help"] for name, field in _FIELDS.items()}
# What may stand in the brackets of a phase besides: the strength of an operation of `augment.ops`.
STRENGTHS: Mapping[str, str] = {name: OPS[name].meaning for name in OWN_STRENGTHS}

# What may differ between the examples of a batch: it acts on one example at a time.
BY_EXAMPLE = (
  *("label_smoothing", "loss_weight", "dropout", "stochastic_depth", "augment_strength"),
  *DISTIL,
  *(name for name in OWN_STRENGTHS if name not in (*MIXING, SMOTE)),
)
MIXED = "mixed"

_SHUFFLED = re.compile(r"shuffled\((?P<parts>.*)\)(?P<steps>:\w+)?")
_PHASE = re.compile(
  r"(?P<subset>\w+)(?:&(?P<partner>\w+))?@(?P<decay>[\w.+-]+)(?:~(?P<trend>\w+))?"
  r"(?:\[(?P<overrides>[^\[\]]*)\])?(?::(?P<steps>\w+))?"
)
_NAME = re.compile(r"[A-Za-z][\w.-]*")


@dataclasses.dataclass(frozen=True)
class PhaseSpec:
  """A phase by the names of its parts.

  Attributes:
    subset: a name of `SUBSETS`.
    decay: a name of `DECAYS`, or a number.
    overrides: pairs of a name of `REGULARISERS` or `STRENGTHS` and a number, None for the
      config's.
    steps: a name of `STEPS`.
    partner: a name of `PARTNERS`, or None.
    trend: a name of `TRENDS`, or None.
    parts: two, of a mixed phase, whose own `subset` is `MIXED`; its decay, trend and steps are its
      own.
    is_shuffled: whether the parts are dealt out among its examples at random.
  """

  subset: str
  decay: str | float
  overrides: tuple[tuple[str, float | None], ...] = ()
  steps: str = "pass"
  partner: str | None = None
  trend: str | None = None
  parts: "tuple[PhaseSpec, ...]" = ()
  is_shuffled: bool = False

  @property
  def leaves(self) -> "tuple[PhaseSpec, ...]":
    """The parts of a mixed phase; of another the phase itself."""
    return self.parts or (self,)

  @property
  def name(self) -> str:
    """Its name in metrics.jsonl: all, half, kept, clean, mixed, or A or B of any kind."""
    return self.subset.rpartition("_")[2]

  def values(self, regularise: RegulariseConfig) -> dict[str, float]:
    """Returns the numbers of the regularisers that the phase itself names."""
    return {
      name: getattr(regularise, name) if value is None else value for name, value in self.overrides
    }


@dataclasses.dataclass(frozen=True)
class ArmSpec:
  """An arm.

  Attributes:
    phases: of a round, in order.
    asks: the question that the arm answers.
    start: "scratch", "warm" (the baseline's last weights), or "method": as `method.init` says.
    rounds_factor: it trains so many times the rounds of the others.
    equal_work: whether it must have the optimiser steps of the other arms, to within one a round.
    control: the arm that differs from it in its question and in nothing else; None where the
      question is about the method.
  """

  phases: tuple[PhaseSpec, ...]
  asks: str = "the user's own"
  start: str = "method"
  rounds_factor: int = 1
  equal_work: bool = True
  control: str | None = None

  @property
  def leaves(self) -> tuple[PhaseSpec, ...]:
    """The phases, and in place of a mixed phase its parts."""
    return tuple(leaf for phase in self.phases for leaf in phase.leaves)


def parse_phases(text: str, where: str) -> tuple[PhaseSpec, ...]:
  """Returns the phases of "A@lambda_A + B@lambda_B".

  Args:
    text: phases joined by +.
    where: the start of a message about it.

  Raises:
    ConfigError: the text is not in the language, a name is unknown (the message has the nearest),
      or a number is out of range.
  """
  # A plus after an e belongs to a number (1e+3); every other one joins two phases.
  parts = [part.strip() for part in re.split(r"(?<![eE])\+", text)]
  return tuple(_parse_phase(part, where) for part in parts)


def _parse_phase(text: str, where: str) -> PhaseSpec:
  shuffled = _SHUFFLED.fullmatch(text)
  if shuffled or "|" in text:
    inside = text if shuffled is None else shuffled["parts"] + (shuffled["steps"] or "")
    parts = inside.split("|")
    specs = tuple(_parse_phase(part.strip(), where) for part in parts)
    return _mixed(specs, bool(shuffled), text, where=where)
  match = _PHASE.fullmatch(text)
  if match is None:
    raise ConfigError(
      f"{where}: {text!r} is not a phase; expected SUBSET@DECAY, SUBSET@DECAY~TREND, "
      "SUBSET@DECAY[REGULARISER], SUBSET@DECAY:STEPS, PHASE | PHASE or shuffled(PHASE | PHASE), as "
      "in A@lambda_A"
    )
  subset = _known(match["subset"], SUBSETS, "subset", where=where)
  partner = match["partner"]
  if partner is not None:
    _known(partner, PARTNERS, "partner", where=where)
  trend = match["trend"]
  if trend is not None:
    _known(trend, TRENDS, "trend", where=where)
  steps = _known(match["steps"] or "pass", STEPS, "length", where=where)
  number = _number(match["decay"])
  decay = _known(match["decay"], DECAYS, "decay", where=where) if number is None else number
  if number is not None and not 0.0 <= number <= 1e3:
    raise ConfigError(f"{where}: the decay {match['decay']} of {text!r} must be from 0 to 1000")
  parts = (
    [] if match["overrides"] is None else [part.strip() for part in match["overrides"].split(",")]
  )
  overrides = tuple(_parse_override(part, where) for part in parts)
  names = [name for name, _ in overrides]
  if len(set(names)) < len(names):
    raise ConfigError(
      f"{where}: {text!r} names {max(names, key=names.count)} more than once; give it once"
    )
  return PhaseSpec(subset, decay, overrides, steps=steps, partner=partner, trend=trend)


def _mixed(parts: tuple[PhaseSpec, ...], is_shuffled: bool, text: str, *, where: str) -> PhaseSpec:
  """Returns the mixed phase of two parts.

  Raises:
    ConfigError: they are not two, or differ in what belongs to the phase.
  """
  *before, last = parts
  refused = (
    (len(parts) != 2, "a mixed phase has two parts; write PART | PART or shuffled(PART | PART)"),
    (
      len({(part.decay, part.trend) for part in parts}) > 1,
      "a decay acts on the weights, not on examples; give both parts the same",
    ),
    (any(part.partner for part in parts), "unlabelled examples are no part of a mixture"),
    (
      any(part.steps != "pass" for part in before),
      "a mixed phase lasts as long as its last part says; give :STEPS there alone",
    ),
  )
  for is_so, reason in refused:
    if is_so:
      raise ConfigError(f"{where}: {text!r}: {reason}")
  return dataclasses.replace(
    PhaseSpec(MIXED, last.decay, steps=last.steps, trend=last.trend),
    parts=parts,
    is_shuffled=is_shuffled,
  )


def _parse_override(text: str, where: str) -> tuple[str, float | None]:
  """Returns the name and the number of "label_smoothing=0.2"; None if there is no number."""
  name, equals, given = (part.strip() for part in text.partition("="))
  _known(name, {**REGULARISERS, **STRENGTHS}, "regulariser", where=where)
  if name in STRENGTHS:
    return name, _strength(name, given, where)
  if not equals:
    return name, None
  number = _number(given)
  key = key_of(f"{where}: {name}", _FIELDS[name], float)
  return name, cast(float, check(key, given if number is None else number))


def _strength(name: str, given: str, where: str) -> float:
  """Returns the number of "rotate=30"; a phase has no use for the operation's name alone."""
  number, rule = _number(given), OPS[name].numbers[0]
  if number is None or not math.isfinite(number) or not rule.takes(number):
    raise ConfigError(
      f"{where}: {name} = {given or 'nothing'}: expected {rule.expected}, the {rule.name} of "
      f"{OPS[name].form(name)}"
    )
  return number


def parse_everywhere(texts: Iterable[str]) -> dict[str, float]:
  """Returns the regularisers that `everywhere` gives to all phases, by name.

  Args:
    texts: each "REGULARISER=NUMBER".

  Raises:
    ConfigError: a text has no number, or one out of range; a regulariser is unknown (the message
      has the nearest), or named twice.
  """
  values: dict[str, float] = {}
  for text in texts:
    name, number = _parse_override(text, "everywhere")
    if number is None:
      raise ConfigError(
        f"everywhere: {text!r} has no number; expected REGULARISER=NUMBER, such as '{name}=0.1'"
      )
    if name in values:
      raise ConfigError(f"everywhere: {name} is named more than once; give it once")
    values[name] = number
  return values


def parse_own_arms(texts: Iterable[str], taken: Iterable[str]) -> dict[str, ArmSpec]:
  """Returns the arms that `own_arms` defines, by name.

  Args:
    texts: each "NAME = PHASE + PHASE", or "NAME = PHASE + PHASE against ARM", its control.
    taken: names that are not free.

  Raises:
    ConfigError: a text is not in the language, has no name, or has a name that is taken.
  """
  arms: dict[str, ArmSpec] = {}
  for text in texts:
    name, equals, phases = (part.strip() for part in text.partition("="))
    if not equals or not name:
      raise ConfigError(
        f"own_arms: {text!r} has no name; expected NAME = PHASE + PHASE, such as 'gentle = A@5e-4 "
        "+ B@lambda_B'"
      )
    if not _NAME.fullmatch(name):
      raise ConfigError(
        f"own_arms: {name!r} is not a name for an arm; expected letters, digits and . _ -, "
        "beginning with a letter"
      )
    if name in arms or name in taken:
      raise ConfigError(f"own_arms: the name {name!r} is taken; choose another for {text!r}")
    phases, against, control = (part.strip() for part in phases.partition(" against "))
    if against and not _NAME.fullmatch(control):
      raise ConfigError(
        f"own_arms: {text!r} names no arm after 'against'; expected NAME = PHASE + PHASE against "
        "ARM"
      )
    arms[name] = ArmSpec(parse_phases(phases, f"own_arms: {name}"), control=control or None)
  return arms


def _known(name: str, table: Mapping[str, str], what: str, where: str) -> str:
  if name not in table:
    hint = did_you_mean(name, table)
    raise ConfigError(f"{where}: {name!r} is not a {what}{hint} ({what}s: {', '.join(table)})")
  return name


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None
