"""The figures of an examination: losses of short trainings, activations by layer, curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sdt.report.curve_figures import log_axis
from sdt.report.figures import BLACK, BLUE, GREY, VERMILLION, WIDE, Look
from sdt.report.monitor_figures import moving_average

_LOG_FROM = 10
_LIGHTEST = 0.9  # of the colour map: its yellow vanishes on white
_MOST = 30.0  # times the loss of chance: higher losses leave the figure


def losses(courses: Sequence[Mapping[str, Any]], chance: float, own: float) -> Figure:
  """Draws the loss of every step at each rate, from dark to light as the rates fall.

  The config's own rate is black and thick.

  Args:
    courses: "rate" and "losses" each, as doctor.json has them.
    chance: the loss of a network that knows nothing.
    own: the config's rate.
  """
  figure = Figure(figsize=WIDE, layout="constrained")
  axes = figure.add_subplot()
  others = sum(course["rate"] != own for course in courses)
  colours = iter(matplotlib.colormaps["plasma"](np.linspace(0.0, _LIGHTEST, others)))
  values = [chance]
  for course in sorted(courses, key=lambda one: -one["rate"]):
    made = np.array([loss for loss in course["losses"] if loss is not None], np.float64)
    if not len(made):
      continue
    smooth = moving_average(made)
    values += [float(smooth.min()), float(smooth.max())]
    is_own = course["rate"] == own
    look: Look = {"linewidth": 2.0 if is_own else 1.2, "color": BLACK if is_own else next(colours)}
    name = f"{course['rate']:g}{' (config)' if is_own else ''}"
    name += ", not finite" if course["diverged"] else ""
    axes.plot(range(1, len(made) + 1), smooth, label=name, **look)
    if course["diverged"]:
      axes.plot(
        [len(made)],
        [min(smooth[-1], _MOST * chance)],
        marker="x",
        markersize=8,
        linestyle="",
        color=look["color"],
      )
  axes.axhline(chance, color=GREY, linewidth=1.0, linestyle=":", label="log K")
  low, high = min(values), min(max(values), _MOST * chance)
  axes.set_ylim(0.0, 1.05 * high)
  axes.set_ylabel("cross-entropy, nats")
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
    axes.set_ylabel("cross-entropy, nats, log scale")
  axes.set_xlabel("step")
  axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
  figure.legend(title="learning rate", loc="outside right upper")
  return figure


def layers(spreads: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
  """Draws the spread of each layer's activations, and the share of its dead and saturated units.

  Args:
    spreads: when -> layers, as doctor.json has them; the last is drawn thick.
  """
  figure = Figure(figsize=WIDE, layout="constrained")
  left, right = figure.subplots(1, 2)
  values: list[float] = []
  shades = (SHADES[-len(spreads) :]) if len(spreads) > 1 else SHADES[-1:]
  for (when, of), colour in zip(spreads.items(), shades, strict=True):
    places = range(1, len(of) + 1)
    spread = [math.nan if one["sd"] is None else one["sd"] for one in of]  # None: not finite
    values += [one for one in spread if math.isfinite(one)]
    left.plot(places, spread, color=colour, marker="o", markersize=4, label=when)
    for key, line in (("dead", "-"), ("saturated", ":")):
      shares = [one[key] for one in of]
      if None not in shares:
        right.plot(
          places, shares, line, color=colour, marker="o", markersize=4, label=f"{key}, {when}"
        )
  if values and 0 < _LOG_FROM * min(values) < max(values):
    log_axis(left, min(values), max(values))
  else:
    left.set_ylim(bottom=0.0)
  left.set_title("Standard deviation of the activations", loc="left")
  right.set_title("Share of dead and saturated units", loc="left")
  right.set_ylim(-0.03, 1.03)
  right.yaxis.set_major_formatter(PercentFormatter(1.0))
  for axes in (left, right):
    axes.set_xlabel("activation function, from the input to the output")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.legend(loc="best")
  return figure


SHADES = (GREY, BLUE)


def curves(measured: Mapping[str, Any]) -> Figure:
  """Draws the accuracies and the losses of a training over its rounds."""
  figure = Figure(figsize=WIDE, layout="constrained")
  left, right = figure.subplots(1, 2)
  names = {"train": ("training examples", BLACK), "test": (measured["held_out"], VERMILLION)}
  for kind, (name, colour) in names.items():
    for axes, what in ((left, "accuracy"), (right, "loss")):
      values = np.array([np.nan if one is None else one for one in measured[f"{kind}_{what}"]])
      axes.plot(range(1, len(values) + 1), values, color=colour, label=name)
  left.yaxis.set_major_formatter(PercentFormatter(1.0))
  left.set_title("Accuracy", loc="left")
  right.set_title("Cross-entropy, nats", loc="left")
  right.set_ylim(bottom=0.0)
  for axes in (left, right):
    axes.set_xlabel("evaluated round")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.legend(loc="best")
  return figure
