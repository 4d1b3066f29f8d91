"""Curves over the rounds, of all that metrics.jsonl measures."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
  FuncFormatter,
  LogLocator,
  MaxNLocator,
  NullFormatter,
  PercentFormatter,
)

from sdt.report.figures import (
  GREY,
  MAIN_ARMS,
  MAX_ARMS,
  MIN_SEEDS_FOR_SD,
  PANEL,
  LineStyle,
  arm_styles,
)
from sdt.report.read import Curve

# Measure -> what stands at the axis. Accuracies are fractions, shown in percent.
LABELS = {
  "test_accuracy": "accuracy, %",
  "train_accuracy": "accuracy, %",
  "test_loss": "cross-entropy, nats",
  "train_loss": "cross-entropy, nats",
  "weight_norm": "l2 norm of all kernels |w|",
  "effective_rate": "learning rate / |w|\u00b2",
  "gradient_norm": "l2 norm of the gradient",
  "update_norm": "l2 norm of a step's update",
}
# Values that span more than this factor get a log axis.
_LOG_FROM, _LOG_MARGIN = 10, 1.6
# Up to this number of rounds, each has a dot.
_MAX_DOTS = 12


def band_name(num_seeds: int, num_arms: int) -> str:
  """Returns what the band of a curve shows."""
  if num_seeds < 2:
    return "one seed"
  whose = "" if num_arms <= MAX_ARMS else " of baseline and method"
  return f"mean of {num_seeds} seeds, band{whose}: " + (
    "min to max" if num_seeds < MIN_SEEDS_FOR_SD else "\u00b1 sd"
  )


def most_seeds(all_curves: Sequence[Curve]) -> int:
  """Returns how many seeds the curve that has most has; a seed that diverged is not counted."""
  return max((len(next(iter(one.values.values()))) for one in all_curves), default=0)


def num_measured(all_curves: Sequence[Curve], measure: str, first_round: int = 1) -> int:
  """Returns in how many rounds, from `first_round` on, the arm that has most has a value."""
  return max(
    (
      int(np.isfinite(one.values[measure][:, one.rounds >= first_round]).any(axis=0).sum())
      for one in all_curves
    ),
    default=0,
  )


@dataclasses.dataclass(frozen=True)
class Panel:
  """The frame of a curve.

  Attributes:
    title: of the figure.
    turns: the rounds in which the learning rate drops or restarts, with the words for it.
    first_round: the first round that is drawn.
    size: width and height, inches.
  """

  title: str
  turns: Mapping[int, str] = dataclasses.field(default_factory=dict)
  first_round: int = 1
  size: tuple[float, float] = PANEL


def curve(
  all_curves: Sequence[Curve],
  measure: str,
  arms: Sequence[str],
  shown: Sequence[str],
  panel: Panel,
) -> Figure:
  """Draws one measure over the rounds: for each arm the mean over its seeds, and a band.

  Phases that do not end a round are thin, dotted, and without a band.

  Args:
    all_curves: from `read.curves`.
    measure: a key of `LABELS`.
    arms: all arms of the run, which decide on colours.
    shown: the arms that are drawn.
    panel: title, rounds and size.
  """
  figure = Figure(figsize=panel.size, layout="constrained")
  axes = figure.add_subplot()
  styles = arm_styles(arms)
  all_curves = [one for one in all_curves if one.arm in shown]
  num_seeds = most_seeds(all_curves)
  last = panel.first_round
  for one in all_curves:
    is_main = len(shown) <= MAX_ARMS or one.arm in MAIN_ARMS
    drawn = np.isfinite(one.values[measure]).any(axis=0) & (one.rounds >= panel.first_round)
    if drawn.any() and (one.last_phase or is_main):
      last = max(last, int(one.rounds[-1]))
      _draw_line(axes, one, measure, drawn=drawn, style=styles[one.arm], num_seeds=num_seeds)
      if one.last_phase and is_main and len(one.values[measure]) > 1:
        edges = _band(np.ma.masked_invalid(one.values[measure][:, drawn]), num_seeds)
        color = styles[one.arm][0]
        axes.fill_between(one.rounds[drawn], *edges, color=color, alpha=0.16, linewidth=0)
  margin = 0.02 * (last - panel.first_round + 1)
  axes.set_xlim(panel.first_round - margin, last + margin)
  turns = {at: word for at, word in panel.turns.items() if panel.first_round < at <= last}
  is_rising = measure.endswith("accuracy") or measure == "weight_norm"
  _mark_turns(axes, turns, is_rising=is_rising)
  _finish(axes, measure, panel.title)
  columns = 2 if panel.size == PANEL else 4
  band = band_name(num_seeds, len(shown))
  figure.legend(title=band, loc="outside lower center", ncols=columns)
  return figure


def _name(one: Curve, measure: str) -> str:
  """Returns the arm, and the phase in or after which it was measured."""
  if one.phase == "all":
    return one.arm
  is_state = measure.startswith("test") or measure in ("weight_norm", "effective_rate")
  return f"{one.arm}, {'after' if is_state else 'phase'} {one.phase}"


def _draw_line(
  axes: Axes,
  one: Curve,
  measure: str,
  drawn: Bool[np.ndarray, "T"],
  style: tuple[str, LineStyle],
  num_seeds: int,
) -> None:
  """Draws the mean over the seeds in the rounds that `drawn` marks."""
  values, rounds = one.values[measure], one.rounds[drawn]
  color, line = style
  width = 1.7 if len(rounds) <= 100 else 1.2
  line, width = (line, width) if one.last_phase else (":", 1.0)
  axes.plot(
    rounds,
    np.ma.masked_invalid(values[:, drawn]).mean(axis=0),
    color=color,
    linestyle=line,
    linewidth=width,
    marker="o" if len(rounds) < _MAX_DOTS else "",
    markersize=3,
    label=_name(one, measure) + ("" if len(values) == num_seeds else f" (n = {len(values)})"),
    zorder=3,
  )


def _band(values: np.ma.MaskedArray, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the lower and upper edge [T] of the band: min and max, from five seeds on mean -+ sd.

  The sd has ddof 1. No measure is negative: where mean - sd is, the lowest seed is the edge.
  """
  if num_seeds < MIN_SEEDS_FOR_SD:
    return values.min(axis=0), values.max(axis=0)
  mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
  return np.ma.where(mean - sd > 0, mean - sd, values.min(axis=0)), mean + sd


def _mark_turns(axes: Axes, turns: Mapping[int, str], *, is_rising: bool) -> None:
  """Marks the rounds in which the learning rate turns; its words avoid the end of the lines."""
  at, where = (0.01, "bottom") if is_rising else (0.99, "top")
  for number, word in turns.items():
    axes.axvline(number, color=GREY, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
    place = axes.get_xaxis_transform()
    axes.text(
      number,
      at,
      f" {word} ",
      transform=place,
      rotation=90,
      ha="right",
      va=where,
      fontsize=7,
      color=GREY,
    )


def _finish(axes: Axes, measure: str, title: str) -> None:
  axes.set_title(title, loc="left")
  axes.set_xlabel("round")
  axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
  axes.set_ylabel(LABELS[measure])
  if measure.endswith("accuracy"):
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), min(top, 1.002))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    return
  # Of the means alone: a band of one sd may reach below 0, where neither a cost nor a norm can be.
  lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
  drawn = [
    np.ma.masked_invalid(np.asarray(line.get_ydata(), np.float64)).compressed() for line in lines
  ]
  means = np.concatenate(drawn) if drawn else np.ones(1)
  low, high = float(means.min()), float(means.max())
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
    axes.set_ylabel(f"{LABELS[measure]}, log scale")
  else:
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0))


def log_axis(axes: Axes, low: float, high: float) -> None:
  """Makes the y axis logarithmic around [low, high], with plain numbers at its ticks.

  A decade has ticks at 1, 2 and 5; at 1 alone where the axis spans three decades and more.
  """
  axes.set_yscale("log")
  axes.set_ylim(low / _LOG_MARGIN, high * _LOG_MARGIN)
  axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)))
  axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes.yaxis.set_minor_formatter(NullFormatter())
