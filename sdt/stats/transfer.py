"""What to train of a network that was trained on other data, by what its stages tell apart.

The advice is that of a table of two by two: little or much data of one's own, like or unlike the
data that the network was trained on.
"""

import dataclasses
from collections.abc import Mapping

from sdt.stats.linear_probe import Probe, interval, sign_test

# Fewer training images of a class than this are little data.
MUCH_PER_CLASS = 100
# The level of the test that says "unlike", shared by all earlier stages.
LEVEL = 0.05
# Fine-tuning has so many times the learning rate of training from scratch.
RATE_FACTOR = 0.1


@dataclasses.dataclass(frozen=True)
class Advice:
  """What to train next.

  Attributes:
    reasons: sentences, what was seen and by which rule it counts as what.
    action: one sentence, what to do.
    train_from: the first stage to train; None for all.
    is_slow: whether the learning rate is to be `RATE_FACTOR` times that of the config.
  """

  reasons: tuple[str, ...]
  action: str
  train_from: str | None
  is_slow: bool


def advise(
  probes: Mapping[str, Probe], num_train: int, num_classes: int, *, scratch: float | None = None
) -> Advice:
  """Returns what to train.

  Little data are fewer than `MUCH_PER_CLASS` training images a class. The data are unlike those of
  the network where an earlier stage is right on more held-out training images than the last one, by
  a sign test at `LEVEL` over the number of earlier stages. The test set decides only whether
  training from scratch is better.

  Args:
    probes: by stage, in the order of the forward pass.
    num_train: training images.
    num_classes: of the data.
    scratch: the test accuracy of training from scratch, where it is known.
  """
  *earlier, last = probes
  is_much = num_train >= MUCH_PER_CLASS * num_classes
  better = [stage for stage in earlier if _is_better(probes, stage, last)]
  best = max(better or [last], key=lambda stage: probes[stage].held_out.mean())
  reasons = [_of_amount(num_train, num_classes, is_much=is_much)]
  reasons += _of_likeness(probes, last, best) if earlier else []
  if scratch is not None:
    stage = max(probes, key=lambda stage: probes[stage].test.mean())
    reach = interval(probes[stage].test)[1]
    reasons.append(
      f"Training from scratch is right on {scratch:.1%} of the test set, the best linear "
      f"classifier ({stage}) on {probes[stage].test.mean():.1%}."
    )
    if scratch > reach:
      return Advice(
        tuple(reasons),
        "That is more than its interval reaches: fine-tune all stages at the rate of training from "
        "scratch, and keep what is better, that or training from scratch",
        train_from=None,
        is_slow=False,
      )
  return _advice(tuple(reasons), list(probes), best, is_much=is_much)


def _is_better(probes: Mapping[str, Probe], stage: str, last: str) -> bool:
  p = sign_test(probes[stage].held_out, probes[last].held_out)
  return p * (len(probes) - 1) < LEVEL


def _of_amount(num_train: int, num_classes: int, *, is_much: bool) -> str:
  return (
    f"{num_train:,} training images of {num_classes} classes are {'much' if is_much else 'little'} "
    f"data (little: under {MUCH_PER_CLASS} a class)."
  )


def _of_likeness(probes: Mapping[str, Probe], last: str, best: str) -> list[str]:
  """Returns whether the data are like those that the network was trained on."""
  share = {stage: one.held_out.mean() for stage, one in probes.items()}
  if best != last:
    return [
      f"They are unlike the data that the network was trained on: of the held-out training images "
      f"{best} tells {share[best]:.1%}, more than the last stage, {last}, with {share[last]:.1%} "
      "(sign test)."
    ]
  highest = max((stage for stage in probes if stage != last), key=lambda stage: share[stage])
  return [
    "They count as like the data that the network was trained on: of the held-out training images "
    f"the last stage, {last}, tells {share[last]:.1%}, and no earlier one more beyond chance "
    f"({highest}: {share[highest]:.1%})."
  ]


def _advice(reasons: tuple[str, ...], stages: list[str], best: str, *, is_much: bool) -> Advice:
  """Returns the cell of the table of two by two."""
  is_like = best == stages[-1]
  after = [*stages, "head"][stages.index(best) + 1]
  if not is_much and is_like:
    return Advice(
      reasons, "Train only a linear classifier on top", train_from="head", is_slow=False
    )
  if not is_much:
    action = (
      f"Take a linear classifier on {best}, as in the table above; what follows it was learnt for "
      f"other data. A run that keeps the stages to {best} trains from {after} on, at a tenth of "
      "the learning rate"
    )
    return Advice(reasons, action, train_from=after, is_slow=True)
  if is_like:
    few = next(stage for stage in reversed(stages) if stage != "final")
    action = f"Fine-tune a few layers, {few} and what follows, at a tenth of the learning rate"
    return Advice(reasons, action, train_from=few, is_slow=True)
  return Advice(
    reasons, "Fine-tune all stages, at a tenth of the learning rate", train_from=None, is_slow=True
  )
