"""What the accuracies of a run's arms say: the contrasts, the positive control, and a sentence.

All verdicts about the method are one family. An arm that asks something else has a control of its
own; such differences are a second family. The positive control is outside both. It asks whether an
experiment of so many seeds finds a difference that is certainly there.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import NotRequired, TypedDict

from sdt.stats import descriptive, paired
from sdt.stats.look_record import Standing

METHOD, BASELINE, POSITIVE_CONTROL = "method", "baseline", "less_data"
Accuracy = Mapping[str, Mapping[int, float | None]]
_ALONE = Standing()


class ArmContrast(paired.Contrast, descriptive.Shown):
  """A contrast in results.json: the decision, what is shown beside it, and the kind of contrast.

  in_family: whether it is no contrast with the positive control. equal_work: whether both arms have
  equal numbers of optimiser steps. planned: False for an exploratory one, see
  `sdt.stats.look_record`; else not there.
  """

  in_family: bool
  equal_work: bool
  planned: NotRequired[bool]


class Power(TypedDict):
  """Whether the positive control was called worse than the baseline (None: no verdict).

  says: the same in words. contrast: the baseline minus the positive control.
  """

  called_worse: bool | None
  says: str
  contrast: ArmContrast


class Comparison(TypedDict):
  """The entries of results.json that compare arms.

  `power` is there if the positive control was trained, `against_control` if an arm and its control
  were.
  """

  contrasts: dict[str, ArmContrast]
  against_control: NotRequired[dict[str, ArmContrast]]
  power: NotRequired[Power]
  sentence: str


def compare(
  accuracy: Accuracy,
  margin: float,
  unequal: Collection[str] = (),
  controls: Mapping[str, str] | None = None,
  standing: Standing = _ALONE,
  *,
  measure: str = "test accuracy",
) -> Comparison:
  """Returns the comparison of the arms: contrasts, the verdict on the positive control, a sentence.

  The contrasts are the method minus every other arm. Their family is every arm but the positive
  control, those of unequal work too: their verdicts are claims about the method like the others.
  The method minus the positive control is a family of its own, and so is the baseline minus it.

  Args:
    accuracy: arm -> seed -> test accuracy in [0, 1], None or NaN for a diverged seed.
    margin: half-width of "equal", a fraction.
    unequal: arms of unequal work; their contrasts say so.
    controls: the control of an arm that has one; pairs of which both were trained are a family.
    standing: of this look among the others. The level of every family is that of the look.
    measure: what the accuracies are called.
  """
  family = functools.partial(_family, accuracy, margin=margin, unequal=unequal, standing=standing)
  contrasts: dict[str, ArmContrast] = {}
  if METHOD in accuracy:
    others = [arm for arm in accuracy if arm != METHOD]
    apart = [arm for arm in others if arm == POSITIVE_CONTROL]
    tested = family({arm: (METHOD, arm) for arm in others if arm not in apart})
    tested |= family({arm: (METHOD, arm) for arm in apart})
    contrasts = {arm: tested[arm] for arm in others}
  result: Comparison = {"contrasts": contrasts, "sentence": _said(accuracy, contrasts, measure)}
  pairs = {
    arm: (arm, control)
    for arm, control in (controls or {}).items()
    if arm in accuracy and control in accuracy
  }
  if pairs:
    against = family(pairs)
    result["against_control"] = against
    result["sentence"] += (
      f" Arms with a control of their own: {', '.join(map(_in_short, against.values()))}."
    )
  if POSITIVE_CONTROL in accuracy:
    contrast = family({POSITIVE_CONTROL: (BASELINE, POSITIVE_CONTROL)})[POSITIVE_CONTROL]
    result["power"] = _power(contrast)
    result["sentence"] += f" Positive control: {result['power']['says']}."
  return result


def against_baseline(comparison: Comparison, controls: Mapping[str, str]) -> dict[str, ArmContrast]:
  """Returns, by arm, what was decided about it against the baseline: method, arms it controls.

  Args:
    comparison: of these arms.
    controls: the control of an arm that has one.
  """
  contrasts, against = comparison["contrasts"], comparison.get("against_control", {})
  of_method = {METHOD: contrasts[BASELINE]} if BASELINE in contrasts else {}
  return of_method | {arm: one for arm, one in against.items() if controls[arm] == BASELINE}


def _family(
  accuracy: Accuracy,
  pairs: Mapping[str, tuple[str, str]],
  *,
  margin: float,
  unequal: Collection[str],
  standing: Standing,
) -> dict[str, ArmContrast]:
  """Returns the first arm minus the second of every pair, by the pair's name, as one family."""
  decided = paired.contrasts(
    {name: paired.Pair(*arms, *(accuracy[arm] for arm in arms)) for name, arms in pairs.items()},
    margin,
    look=standing.look,
  )
  result: dict[str, ArmContrast] = {}
  for name, contrast in decided.items():
    result[name] = {
      **contrast,
      **descriptive.shown(accuracy[pairs[name][0]], accuracy[pairs[name][1]]),
      "in_family": POSITIVE_CONTROL not in pairs[name],
      "equal_work": not set(pairs[name]) & set(unequal),
    }
    if not standing.is_planned(*pairs[name]):
      result[name]["planned"] = False
  return result


def _power(contrast: ArmContrast) -> Power:
  """Returns the verdict about the positive control from the contrast baseline minus it."""
  if contrast["n"] < paired.MIN_PAIRS:
    return {"called_worse": None, "says": contrast["verdict"], "contrast": contrast}
  called_worse = contrast["verdict"] == "better"  # the baseline is the better one
  if called_worse:
    says = (
      f"{POSITIVE_CONTROL} is called worse than the baseline, as it must be "
      f"({_difference(contrast)})"
    )
  else:
    says = (
      f"this experiment has no power: {POSITIVE_CONTROL}, trained on half of the examples, is not "
      f"called worse than the baseline ({_difference(contrast)}), so a difference that is not "
      "found here may be there all the same"
    )
  return {"called_worse": called_worse, "says": says, "contrast": contrast}


def _said(accuracy: Accuracy, contrasts: Mapping[str, ArmContrast], measure: str) -> str:
  """Returns the sentence on the method, and that more seeds are needed where they are."""
  has_few = any(contrast["n"] < paired.MIN_PAIRS for contrast in contrasts.values())
  return f"{_of_method(accuracy, contrasts, measure)}." + f" {paired.MORE_SEEDS}" * has_few


def _of_method(accuracy: Accuracy, contrasts: Mapping[str, ArmContrast], measure: str) -> str:
  """Returns the sentence on the method, without a full stop: accuracies, differences, verdicts."""
  means = {arm: paired.summary(values.values()) for arm, values in accuracy.items()}
  if METHOD not in means:
    reached = ", ".join(_reached(arm, mean, measure) for arm, mean in means.items())
    return f"No method arm was trained: {reached}"
  family = {arm: contrast for arm, contrast in contrasts.items() if contrast["in_family"]}
  if not family:
    return f"Nothing to compare with: {_reached(METHOD, means[METHOD], measure)}"
  first = BASELINE if BASELINE in family else next(iter(family))
  head = (
    f"{_reached(METHOD, means[METHOD], measure)} and {_reached(first, means[first], measure)}; "
    f"{_compared(family[first])}"
  )
  rest = [briefly(arm, contrast) for arm, contrast in family.items() if arm != first]
  tail = "; against " + ", ".join(rest) if rest else ""
  return head[0].upper() + head[1:] + tail


def _reached(arm: str, mean: paired.Summary, measure: str) -> str:
  name = f"the {arm}" if arm in (METHOD, BASELINE) else arm
  if mean["mean"] is None:
    return f"{name} finished no seed"
  has_sd = mean["sd"] is not None and mean["n"] >= paired.MIN_PAIRS  # that of two says little
  spread = f" +- {100 * mean['sd']:.2f}" if has_sd and mean["sd"] is not None else ""
  return f"{name} reached {100 * mean['mean']:.2f}{spread} % {measure} (n = {mean['n']})"


def _difference(contrast: ArmContrast) -> str:
  """Returns "baseline - less_data is +4.20 points, interval +3.00 to +5.40, n = 5".

  The contrast must have three pairs or more.
  """
  text = f"{contrast['difference']} is {100 * (contrast['mean'] or 0.0):+z.2f} points"
  interval = "" if contrast["interval"] is None else f", interval {_interval(contrast['interval'])}"
  return f"{text}{interval}, n = {contrast['n']}"


def _interval(interval: Sequence[float]) -> str:
  return f"{100 * interval[0]:+z.2f} to {100 * interval[1]:+z.2f}"


def _compared(contrast: ArmContrast) -> str:
  if contrast["mean"] is None:
    return f"{contrast['difference']}: {_verdict(contrast)}"
  text = f"{contrast['difference']} is {100 * contrast['mean']:+z.2f} points"
  if contrast["interval"] is None:
    return f"{text} ({_verdict(contrast)})"
  text += (
    f" (interval {_interval(contrast['interval'])}, n = {contrast['n']}): {_verdict(contrast)}"
  )
  if contrast["verdict"] == "not resolved" and contrast["smallest_detectable"] is not None:
    text += (
      f", the smallest detectable difference being {100 * contrast['smallest_detectable']:.2f}"
    )
  return text


def _in_short(contrast: ArmContrast) -> str:
  """Returns "smooth_easy - alternate_only (+0.50, not resolved)"."""
  return briefly(contrast["difference"], contrast)


def briefly(arm: str, contrast: ArmContrast) -> str:
  """Returns "uniform_mean (+0.50, not resolved)": a name, a difference in points, its verdict."""
  difference = "" if contrast["mean"] is None else f"{100 * contrast['mean']:+z.2f}, "
  return f"{arm} ({difference}{_verdict(contrast)})"


def _verdict(contrast: ArmContrast) -> str:
  marks = (
    "" if contrast["equal_work"] else ", not equal work",
    "" if contrast.get("planned", True) else ", exploratory",
  )
  return contrast["verdict"] + "".join(marks)
