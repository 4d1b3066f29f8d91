"""The figure of a search: the best so far, and the accuracy against each key."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from sdt.config.search_space import value_text
from sdt.report.figures import BLUE, GREY, VERMILLION, shortened

_COLUMNS = 3
_PANEL = (3.5, 2.9)


def search(
  candidates: Sequence[Mapping[str, Any]],
  space: Sequence[Mapping[str, Any]],
  chosen: Mapping[str, Any],
) -> Figure:
  """Draws what the trials for one arm reached; those that were stopped early are grey.

  Args:
    candidates: of selection.json, in the order of their numbers.
    space: the keys, as selection.json has them.
    chosen: the values of the best candidate.
  """
  num_panels = 1 + len(space)
  columns, rows = _COLUMNS, math.ceil(num_panels / _COLUMNS)
  figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  sound = [one for one in candidates if one["mean"] is not None and not one["diverged"]]
  _draw_course(panels[0], candidates, chosen)
  for axes, dimension in zip(panels[1:], space, strict=False):
    _draw_slice(axes, sound, dimension, chosen=chosen)
  for axes in panels[num_panels:]:
    axes.set_visible(False)
  for axes in panels[:num_panels]:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
  for axes in panels[:num_panels:columns]:
    axes.set_ylabel("validation accuracy, %")
  return figure


def _draw_course(
  axes: Axes, candidates: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]
) -> None:
  """Draws each trial by its number, and the best so far; of halving by its last round."""
  last, best, line = _last_round(candidates), -math.inf, []
  is_halving = any(one["round"] < last for one in candidates)
  for number, one in enumerate(candidates, start=1):
    if one["mean"] is None or one["diverged"]:
      continue
    best = max(best, one["mean"])
    line.append((number, best))
    _dot(axes, one["round"] if is_halving else number, one, last=last, chosen=chosen)
  if is_halving:
    axes.set_xticks(sorted({one["round"] for one in candidates}))
    axes.set_xlabel("last round of a trial")
    return
  axes.step(*zip(*line, strict=True), where="post", color=BLUE, linewidth=1.5)
  axes.set_xlim(0.5, len(candidates) + 0.5)
  axes.set_xlabel("trial; line: best so far")


def _draw_slice(
  axes: Axes,
  sound: Sequence[Mapping[str, Any]],
  dimension: Mapping[str, Any],
  *,
  chosen: Mapping[str, Any],
) -> None:
  """Draws the accuracy of the trials against their values of one key."""
  key, last = dimension["key"], _last_round(sound)
  values = [one["values"][key] for one in sound]
  is_range = dimension["kind"] != "choice"
  texts = list(dict.fromkeys(value_text(value) for value in sorted(values, key=_order)))
  for one, value in zip(sound, values, strict=True):
    place = value if is_range else texts.index(value_text(value))
    _dot(axes, place, one, last=last, chosen=chosen)
  if is_range:
    _set_range(axes, dimension)
  else:
    length = 24 if len(texts) < 4 else 10
    axes.set_xticks(range(len(texts)), [shortened(text, length) for text in texts])
    axes.set_xlim(-0.5, len(texts) - 0.5)
  axes.set_xlabel(key)


def _set_range(axes: Axes, dimension: Mapping[str, Any]) -> None:
  """Makes the axis that of the whole range."""
  low, high = dimension["low"], dimension["high"]
  if dimension["kind"] == "log":
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(low / 1.15, high * 1.15)
    return
  margin = 0.04 * (high - low)
  axes.set_xlim(low - margin, high + margin)


def _order(value: object) -> tuple[float, str]:
  """Returns by what choices are sorted: numbers by their size, others by their text."""
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return (float(value) if is_number else math.inf, repr(value))  # type: ignore[arg-type]


def _dot(
  axes: Axes,
  place: float,
  one: Mapping[str, Any],
  *,
  last: int,
  chosen: Mapping[str, Any],
) -> None:
  is_chosen, is_whole = one["values"] == chosen, one["round"] == last
  color = VERMILLION if is_chosen else BLUE if is_whole else GREY
  size = 8 if is_chosen else 5
  axes.plot(
    [place], [one["mean"]], color=color, marker="o", markersize=size, linestyle="", alpha=0.8
  )


def _last_round(candidates: Sequence[Mapping[str, Any]]) -> int:
  rounds = (one["round"] for one in candidates if not one["diverged"])
  return max(itertools.chain(rounds, (0,)))
