"""The loss of single steps, and the spread of activations by layer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdt.report.curve_figures import log_axis
from sdt.report.figures import PANEL, WIDE, LineStyle, Look, arm_styles

# The moving average is over this share of the points, and at least over so many.
_SHARE, _FEWEST = 0.02, 5
_LOG_FROM = 10
# From so many dots on, they are smaller.
_MANY = 2000


class StepLosses(NamedTuple):
  """The losses of one training: when, in rounds from 0, and how large; steps that were made."""

  rounds: Float[np.ndarray, "T"]
  losses: Float[np.ndarray, "T"]


def step_losses(rows: Iterable[Mapping[str, Any]]) -> dict[str, StepLosses]:
  """Returns the losses of each arm's first seed that has any; {} where none were kept."""
  by_arm: dict[str, dict[int, dict[int, list[float | None]]]] = {}
  for row in rows:
    if row.get("step_losses"):
      of_seed = by_arm.setdefault(row["arm"], {}).setdefault(row["seed"], {})
      of_seed.setdefault(row["round"], []).extend(row["step_losses"])
  found: dict[str, StepLosses] = {}
  for arm, seeds in by_arm.items():
    of_first = next(iter(seeds.values()))
    places = [
      number - 1 + (index + 1) / len(losses)
      for number, losses in of_first.items()
      for index in range(len(losses))
    ]
    values = np.array([loss for losses in of_first.values() for loss in losses], np.float64)
    made = np.isfinite(values)
    if made.any():
      found[arm] = StepLosses(np.array(places)[made], values[made])
  return found


def moving_average(losses: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
  """Returns the mean of each loss and its neighbours, fewer of them at both ends."""
  half = max(_FEWEST, round(_SHARE * len(losses))) // 2
  sums = np.concatenate([[0.0], np.cumsum(losses)])
  places = np.arange(len(losses))
  first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(losses))
  return (sums[last] - sums[first]) / (last - first)


def losses_of_steps(of_arms: Mapping[str, StepLosses], arms: Sequence[str]) -> Figure:
  """Draws the loss of every kept step as a dot, and their moving average as a line.

  Args:
    of_arms: from `step_losses`, the arms that are drawn.
    arms: all arms of the run, which decide on colours.
  """
  figure = Figure(figsize=PANEL, layout="constrained")
  axes, styles = figure.add_subplot(), arm_styles(arms)
  for arm, one in of_arms.items():
    color, line = styles[arm]
    look: Look = {"s": 7.0 if len(one.losses) < _MANY else 2.0, "alpha": 0.35, "linewidths": 0}
    axes.scatter(one.rounds, one.losses, color=color, rasterized=True, **look)
    average = moving_average(one.losses)
    axes.plot(one.rounds, average, color=color, linestyle=line, linewidth=1.4, label=arm, zorder=3)
  values = np.concatenate([one.losses for one in of_arms.values()])
  low, high = float(np.quantile(values, 0.005)), float(values.max())
  axes.set_ylabel("cross-entropy, nats")
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
    axes.set_ylabel("cross-entropy, nats, log scale")
  axes.set_xlabel("round")
  axes.set_title("Loss of single steps", loc="left")
  figure.legend(title="one seed, line: moving average", loc="outside lower center", ncols=2)
  return figure


# Arm -> when ("first", "last") -> layers, each as metrics.jsonl has it.
type Units = Mapping[str, Mapping[str, list[dict[str, Any]]]]


def units(rows: Iterable[Mapping[str, Any]], ends: Mapping[str, int] | None = None) -> Units:
  """Returns each arm's units after the first and the last round that was looked at, one seed's.

  Args:
    rows: of metrics.jsonl.
    ends: by arm, the round whose network counts, where that is not the last.
  """
  by_arm: dict[str, dict[int, dict[int, list[dict[str, Any]]]]] = {}
  for row in rows:
    if row.get("units"):
      of_seed = by_arm.setdefault(row["arm"], {}).setdefault(row["seed"], {})
      of_seed[row["round"]] = row["units"]
  found = {}
  for arm, seeds in by_arm.items():
    of_first = next(iter(seeds.values()))
    last = (ends or {}).get(arm, max(of_first))
    found[arm] = {"first": of_first[min(of_first)], "last": of_first.get(last, [])}
  return found


def activation_spread(of_arms: Units, arms: Sequence[str]) -> Figure:
  """Draws the standard deviation of each layer's activations; thin: first round, thick: last."""
  figure = Figure(figsize=WIDE, layout="constrained")
  axes, styles = figure.add_subplot(), arm_styles(arms)
  widths: dict[str, tuple[float, LineStyle]] = {"first": (0.9, ":"), "last": (1.6, "-")}
  values = []
  for arm, times in of_arms.items():
    for when, layers in times.items():
      spread = [layer["sd"] for layer in layers]
      values += spread
      width, line = widths[when]
      look: Look = {"linewidth": width, "linestyle": line, "marker": "o", "markersize": 3}
      label = f"{arm}, {when} round"
      axes.plot(range(1, len(spread) + 1), spread, color=styles[arm][0], label=label, **look)
  low, high = min(values), max(values)
  axes.set_ylabel("standard deviation of the activations")
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
  else:
    axes.set_ylim(bottom=0.0)
  axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
  axes.set_xlabel("activation function, from the input to the output")
  axes.set_title("Spread of activations by layer", loc="left")
  figure.legend(loc="outside lower center", ncols=4)
  return figure
