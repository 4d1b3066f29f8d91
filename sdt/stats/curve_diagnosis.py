"""What curves and grids say, in words: train longer, regularise, enlarge, lower the rate."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from sdt.stats.finding import Finding, fault, note, ok

_TAIL = 0.2  # share of the rounds whose mean stands for the end of a curve
_RISING = 0.05  # share of what is still wrong that the last rounds have mended
_WIDE, _NARROW = 0.05, 0.02
_FITS = 0.98  # of the training examples right: a larger network has nothing to add
_ROSE = 1.1
_UNSTEADY = 0.05


@dataclasses.dataclass(frozen=True)
class Curves:
  """The curves of one training, a number for each round that was evaluated.

  Attributes:
    train_loss, train_accuracy: of the training examples, while they were trained on.
    accuracy: of the held-out examples.
    num_held_out: how many these are.
    held_out: what they are called.
  """

  train_loss: Float[np.ndarray, "T"]
  train_accuracy: Float[np.ndarray, "T"]
  accuracy: Float[np.ndarray, "T"]
  num_held_out: int
  held_out: str = "held-out examples"

  @property
  def gap(self) -> float:
    """How much more of the training examples is right at the end."""
    return end(self.train_accuracy) - end(self.accuracy)

  @property
  def error(self) -> float:
    """The standard error of the accuracy of the held-out examples at the end."""
    share = end(self.accuracy)
    return math.sqrt(max(share * (1 - share), 0.0) / max(1, self.num_held_out))


def end(values: Float[np.ndarray, "T"]) -> float:
  """Returns the mean of the last fifth of a curve."""
  return float(np.mean(values[-_width(values) :]))


def rise(values: Float[np.ndarray, "T"]) -> float:
  """Returns how much a curve's last fifth is above the fifth before."""
  width = _width(values)
  return end(values) - float(np.mean(values[-2 * width : -width])) if len(values) > width else 0.0


def jumps(values: Float[np.ndarray, "T"]) -> float:
  """Returns the standard deviation of the change from round to round in the last half; 0 of few."""
  changes = np.diff(values[len(values) // 2 :])
  return float(np.std(changes)) if len(changes) > 1 else 0.0


def _width(values: Float[np.ndarray, "T"]) -> int:
  return max(1, round(_TAIL * len(values)))


def of_curves(curves: Curves, *, rounds: int, planned: int, rate: float) -> list[Finding]:
  """Returns what the curves of a training mean.

  Args:
    curves: of the training.
    rounds: that it had.
    planned: rounds of the config. That a shorter training still rises asks for no longer ones.
    rate: the learning rate that it had.
  """
  if not np.all(np.isfinite(curves.train_loss)) or _went_up(curves.train_loss):
    return [
      fault(
        "loss_up",
        f"the training loss went up, from {curves.train_loss.min():.3g} to "
        f"{end(curves.train_loss):.3g}",
        f"lower the rate: optim.learning_rate={rate / 3:.2g}",
        optim__learning_rate=float(f"{rate / 3:.2g}"),
      )
    ]
  rising, unsteady = _of_rise(curves, rounds, planned), _of_jumps(curves, rate)
  gap = _of_gap(curves, is_rising=rising is not None)
  found = [one for one in (unsteady, rising, gap) if one]
  return found or [
    ok(
      "curves",
      f"{end(curves.train_accuracy):.1%} of the training and {end(curves.accuracy):.1%} of the "
      f"{curves.held_out} are right, and neither rises any more",
    )
  ]


def _went_up(losses: Float[np.ndarray, "T"]) -> bool:
  return len(losses) > 1 and end(losses) > _ROSE * float(losses.min()) and rise(losses) > 0


def _of_rise(curves: Curves, rounds: int, planned: int) -> Finding | None:
  gain, left = rise(curves.accuracy), 1 - end(curves.accuracy)
  noise = jumps(curves.accuracy) / math.sqrt(_width(curves.accuracy))
  if gain <= max(_RISING * left, 2 / max(1, curves.num_held_out), noise):
    return None
  text = (
    f"the accuracy of the {curves.held_out} is still rising, by {100 * gain:.1f} points in the "
    f"last fifth of {rounds} rounds"
  )
  if rounds < planned:
    return ok("rising", f"{text}; the config has {planned}")
  return note(
    "still_rising",
    text,
    f"train longer: rounds={2 * rounds}",
    rounds=2 * rounds,
  )


def _of_jumps(curves: Curves, rate: float) -> Finding | None:
  size = jumps(curves.accuracy)
  if size <= _UNSTEADY:
    return None
  return note(
    "unsteady",
    f"the accuracy of the {curves.held_out} jumps by {100 * size:.0f} points from round to round",
    f"lower the rate, such as optim.learning_rate={rate / 3:.2g}, or let it fall: "
    "optim.schedule=cosine",
  )


def _of_gap(curves: Curves, *, is_rising: bool) -> Finding | None:
  """Returns what the gap means; that there is none means nothing while the network still learns."""
  train, held_out = end(curves.train_accuracy), end(curves.accuracy)
  text = f"{train:.1%} of the training and {held_out:.1%} of the {curves.held_out} are right"
  if curves.gap > _WIDE + 2 * curves.error:
    return note(
      "wide_gap",
      f"a wide gap: {text}",
      "more regularisation (optim.weight_decay, augment.ops, model.dropout) or more data",
    )
  if curves.gap < _NARROW and train < _FITS and not is_rising:
    return note(
      "no_gap",
      f"no gap: {text}",
      "a larger network (model.widths, model.blocks), it does not fit its training set",
    )
  return None


def of_grid(choice: Mapping[str, Any], *, is_fine: bool) -> list[Finding]:
  """Returns what a grid has found, from its entry of selection.json."""
  best = max(choice["candidates"], key=lambda one: one["values"] == choice["chosen"])
  values = ", ".join(f"{key}={value:g}" for key, value in choice["chosen"].items())
  lost = sum(bool(one["diverged"]) for one in choice["candidates"])
  text = (
    f"the best of {choice['num_trials']} trials is {values}, {best['mean']:.1%} of the held-out "
    f"examples right{f'; {lost} diverged' if lost else ''}"
  )
  changes = {key.replace(".", "__"): value for key, value in choice["chosen"].items()}
  if choice["at_edge"]:
    return [
      note(
        "at_edge",
        f"{text}; {' and '.join(choice['at_edge'])} is at an edge of what was tried",
        "search further in that direction" if is_fine else "the fine grid goes on around it",
        **changes,
      )
    ]
  return [Finding("ok", "fine" if is_fine else "coarse", text, changes=dict(choice["chosen"]))]
