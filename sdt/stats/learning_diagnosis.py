"""What is wrong when a network learns, in words: eight batches by heart, and learning rates."""

import dataclasses
import math
from collections.abc import Collection, Sequence

from sdt.stats.chance import Chance
from sdt.stats.finding import Finding, fault, note, ok

_LEARNS = 0.95  # of the loss at the start; a rate that stays above it has not learnt
_ROSE = 1.05
_SMOOTH = 0.1  # share of the steps whose mean loss stands for the start and for the end
_FASTER = 0.7  # of the loss that the config's own rate ends at
NEARLY = 0.95  # of the examples right is nearly all
_FEW_NAMES = 3
_MOST_TOLD = 5

_LABELS = "labels_unrelated"
_LABELS_FIRST = (
  "look at images with their labels first: neighbours do not share them, see above; only if they "
  "fit"
)
# Code of an earlier finding -> what it explains where nothing can be learnt.
_REASONS = {
  "constant_weights": "all weights of a layer are equal (zero weights), see above",
  "dead_units": "all units of a layer are dead, see above",
  "gradient_wrong": "the gradient is wrong, see above",
  "unnormalised": "the inputs are not normalised, see above",
  "saturated": "the activations are saturated, see above",
  "vanishing": "the activations vanish, see above",
  "exploding": "the activations explode, see above",
}


@dataclasses.dataclass(frozen=True)
class Course:
  """A short training at one constant rate.

  Attributes:
    rate: the value of optim.learning_rate.
    losses: mean loss of the batch of every step that was made, nats.
    accuracy: share of the training examples of the last rounds that were right.
    diverged: whether a step was not finite, so that the training stopped there.
    test_accuracy: on test examples at the end; None where nobody asked.
    unmoved: names of the kernels that are as they were at the start.
  """

  rate: float
  losses: Sequence[float]
  accuracy: float
  diverged: bool = False
  test_accuracy: float | None = None
  unmoved: Sequence[str] = ()

  @property
  def num_steps(self) -> int:
    return len(self.losses)

  @property
  def last(self) -> float:
    """The mean loss of the last steps; infinity where it diverged."""
    return math.inf if self.diverged else _mean(self.losses[-self._window :])

  @property
  def learns(self) -> bool:
    """Whether the loss fell."""
    return self.last < _LEARNS * (self.losses[0] if self.losses else math.inf)

  @property
  def rose(self) -> bool:
    """Whether the loss went up, or the training diverged."""
    return self.diverged or self.last > _ROSE * (self.losses[0] if self.losses else 0.0)

  @property
  def _window(self) -> int:
    return max(1, round(_SMOOTH * len(self.losses)))


def _mean(values: Sequence[float]) -> float:
  return math.fsum(values) / len(values) if values else math.inf


def of_overfit(
  courses: Sequence[Course],
  num_examples: int,
  earlier: Collection[str],
  *,
  is_partly_frozen: bool = False,
) -> list[Finding]:
  """Returns what it means whether eight batches could be learnt by heart.

  Args:
    courses: at the config's own rate, then at others.
    num_examples: of the batches.
    earlier: codes of what was found before.
    is_partly_frozen: whether only a part of the network is trained, which may be too little.
  """
  own, best = courses[0], max(courses, key=lambda one: one.accuracy)
  examples = f"{num_examples} examples"
  if own.accuracy == 1.0:
    return [
      ok("overfit", f"{examples} learnt by heart (100 %) in {own.num_steps} steps at {own.rate:g}")
    ]
  how = "the training diverged" if own.diverged else f"{own.accuracy:.1%} of them are right"
  text = f"{examples} are not learnt by heart at the learning rate {own.rate:g}: {how}"
  is_too_high = own.rose and best.rate < own.rate and best.learns
  if best.accuracy == 1.0 or own.accuracy < NEARLY <= best.accuracy or is_too_high:
    is_lower = best.rate < own.rate
    share = "all" if best.accuracy == 1.0 else f"{best.accuracy:.1%}"
    return [
      fault(
        "rate_too_high" if is_lower else "rate_too_low",
        f"the learning rate is too {'high' if is_lower else 'low'}: {text}, and at {best.rate:g} "
        f"{share} are, in {best.num_steps} steps",
        f"{'lower' if is_lower else 'raise'} the rate: optim.learning_rate={best.rate:g}",
        optim__learning_rate=best.rate,
      )
    ]
  if own.accuracy >= NEARLY:
    return [
      note(
        "overfit_slow",
        f"{text} after {own.num_steps} steps",
        f"{_LABELS_FIRST}, a larger network or more steps"
        if _LABELS in earlier
        else "a larger network or more steps would do; if not, look at the labels",
      )
    ]
  text += f", nor at other rates (at most {best.accuracy:.1%}, at {best.rate:g})"
  return [_cannot(text, best, earlier, is_partly_frozen=is_partly_frozen)]


def _cannot(
  text: str, best: Course, earlier: Collection[str], *, is_partly_frozen: bool
) -> Finding:
  reasons = [words for code, words in _REASONS.items() if code in earlier]
  if is_partly_frozen and not best.unmoved and not reasons:
    return note(
      "cannot_overfit",
      f"{text}; a part of the network is frozen, and the rest may be too little for that",
      "train from an earlier stage (optim.train_from), if more is to be learnt",
    )
  if best.unmoved and not reasons:
    some = ", ".join(best.unmoved[:_FEW_NAMES]) + ", ..." * (len(best.unmoved) > _FEW_NAMES)
    reasons.append(f"no gradient reaches {some}: they never moved")
  advice = "mend that first: a network that cannot learn a few batches by heart learns nothing"
  if not reasons and _LABELS in earlier:
    reasons = ["the labels may have nothing to do with the inputs, see above"]
    advice = f"{_LABELS_FIRST}, a larger network, or look for a fault in the network or the loss"
  elif not reasons:
    advice = "a larger network, or look for a fault in the network, the loss or the labels"
  why = f"; the cause may be: {'; '.join(reasons)}" if reasons else ""
  return fault("cannot_overfit", f"{text}{why}", advice)


def best_of(courses: Sequence[Course]) -> Course:
  """Returns the course with the lowest loss at its end; of equal ones the higher rate."""
  return min(courses, key=lambda one: (one.last, -one.rate))


def of_rates(
  courses: Sequence[Course], own: float, known: Chance, *, earlier: Collection[str] = ()
) -> list[Finding]:
  """Returns what the losses at several learning rates mean.

  Args:
    courses: one for each rate, of equally many steps, the config's own among them.
    own: the config's rate.
    known: what chance reaches on the test examples.
    earlier: codes of what was found before.
  """
  best, mine = best_of(courses), next(one for one in courses if one.rate == own)
  text = f"after {best.num_steps} steps the loss is {told(courses, own)}"
  tested = best.test_accuracy
  if _LABELS in earlier and (tested is None or known.explains(tested)):
    return [_shuffled(best)]
  if not best.learns:
    return [_nothing_learnt(text, earlier)]
  found = [_of_own(text, mine, best)]
  if tested is not None and known.rules_out(tested, best.accuracy):
    found.append(
      fault(
        "test_labels",
        f"at the rate {best.rate:g} {best.accuracy:.0%} of the training examples are right, and "
        f"{tested:.0%} of the test examples: next to nothing of what is learnt holds there",
        "compare the labels and the preparation of training and test set",
      )
    )
  return found


def told(courses: Sequence[Course], own: float) -> str:
  """Returns the end of every course, "0.41 at 0.1, 1.9 at 0.01"; of many that of two."""
  shown = sorted(courses, key=lambda one: -one.rate)
  if len(shown) > _MOST_TOLD:
    shown = [one for one in shown if one.rate in (own, best_of(courses).rate)]
  ends = (f"{'not finite' if one.diverged else f'{one.last:.3g}'} at {one.rate:g}" for one in shown)
  text = ", ".join(ends)
  return text if len(shown) == len(courses) else f"{text} (best and config's of {len(courses)})"


def _of_own(text: str, mine: Course, best: Course) -> Finding:
  advice = f"optim.learning_rate={best.rate:g}"
  if mine.rose or not mine.learns:
    is_lower = best.rate < mine.rate
    went = "went up" if mine.rose else "did not fall"
    return fault(
      "rate_too_high" if is_lower else "rate_too_low",
      f"the loss {went} at the config's learning rate, {mine.rate:g}, which is too "
      f"{'high' if is_lower else 'low'}: {text}",
      f"{'lower' if is_lower else 'raise'} the rate: {advice}",
      optim__learning_rate=best.rate,
    )
  if best.rate != mine.rate and best.last < _FASTER * mine.last:
    return note(
      "other_rate",
      f"another learning rate is faster: {text}",
      f"try {advice}; 100 steps favour high rates, so search around both",
      optim__learning_rate=best.rate,
    )
  return ok("rates", f"{text}; the config's rate, {mine.rate:g}, is good")


def _shuffled(best: Course) -> Finding:
  reached = "" if best.test_accuracy is None else f", {best.test_accuracy:.0%} of the test examples"
  return fault(
    "shuffled_labels",
    f"the labels are as if shuffled: neighbours do not share them, and after {best.num_steps} "
    f"steps at {best.rate:g} {best.accuracy:.0%} of the training examples are right{reached}: what "
    "is learnt holds for no other example",
    "look at images with their labels; check that both are read in the same order",
  )


def _nothing_learnt(text: str, earlier: Collection[str]) -> Finding:
  reasons = [words for code, words in _REASONS.items() if code in earlier]
  why = f"; the cause may be: {'; '.join(reasons)}" if reasons else ""
  return fault(
    "does_not_learn",
    f"no learning rate lowers the loss: {text}{why}",
    "mend what was found above"
    if earlier
    else "look for a fault in the network, the loss or the labels",
  )
