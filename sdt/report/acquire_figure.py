"""The figure of active learning: accuracy over labels, and how far each strategy is ahead."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from sdt.report.figures import BLACK, GREY, WIDE, Look, arm_styles
from sdt.stats.learning_curve import CONTROL

_MARKERS = ("o", "s", "^", "D")
# Of the distance of two numbers of labels: between two strategies, so that their bars stay apart.
_DODGE = 0.08
_MAX_TICKS = 10


def curves(content: Mapping[str, Any]) -> Figure:
  """Draws the learning curve of every strategy, and beside it the differences from random."""
  compared = list(content["primary"])
  figure = Figure(figsize=WIDE, layout="constrained")
  axes = list(figure.subplots(1, 2 if compared else 1, squeeze=False)[0])
  labels, names = content["labels"], list(content["strategies"])
  step = min((right - left for left, right in itertools.pairwise(labels)), default=1)
  for index, name in enumerate(names):
    at = [number + _DODGE * step * (index - (len(names) - 1) / 2) for number in labels]
    _draw_curve(axes[0], at, content["curves"][name], name=name, look=_look(names, name))
  axes[0].set_title("Test accuracy, %", loc="left")
  axes[0].yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
  if compared:
    axes[1].axhline(0, color=BLACK, linewidth=1.0)
    for index, name in enumerate(compared):
      at = [n + _DODGE * step * (index - (len(compared) - 1) / 2) for n in labels[1:]]
      _draw_differences(axes[1], at, content["at_labels"][name], look=_look(names, name))
    axes[1].set_title(f"Strategy minus {CONTROL}, points", loc="left")
  for one in axes:
    one.set_xlabel("labels")
    one.xaxis.set_major_locator(FixedLocator(labels, nbins=_MAX_TICKS))
    one.set_xlim(labels[0] - step / 2, labels[-1] + step / 2)
  handles, texts = axes[0].get_legend_handles_labels()
  figure.legend(handles, texts, loc="outside lower center", ncols=4)
  return figure


def _look(names: Sequence[str], name: str) -> Look:
  """Returns colour, line and marker of a strategy; random is grey."""
  color, line = (GREY, "--") if name == CONTROL else (arm_styles(names)[name][0], "-")
  return {"color": color, "linestyle": line, "marker": _MARKERS[names.index(name) % len(_MARKERS)]}


def _bars(entries: Sequence[Mapping[str, Any]], scale: float) -> Look:
  """Returns the error bars of means that have intervals; none where one has none."""
  if any(entry["interval"] is None for entry in entries):
    return {}
  ends = [[abs(edge - entry["mean"]) for edge in entry["interval"]] for entry in entries]
  return {"yerr": scale * np.array(ends).T, "capsize": 3, "elinewidth": 1.1}


def _means(entries: Sequence[Mapping[str, Any]], scale: float) -> list[float]:
  return [math.nan if one["mean"] is None else scale * one["mean"] for one in entries]


def _draw_curve(
  axes: Axes,
  at: Sequence[float],
  entries: Sequence[Mapping[str, Any]],
  *,
  name: str,
  look: Look,
) -> None:
  for place, entry in zip(at, entries, strict=True):
    seeds = [value for value in entry["per_seed"].values() if value is not None]
    if len(seeds) > 1:
      axes.plot([place] * len(seeds), seeds, "o", color=look["color"], markersize=2.5, alpha=0.5)
  label = f"{name} (n = {entries[-1]['n']})"
  bars = _bars(entries, 1.0)
  axes.errorbar(
    at, _means(entries, 1.0), label=label, linewidth=1.5, markersize=5, zorder=3, **look, **bars
  )


def _draw_differences(
  axes: Axes, at: Sequence[float], entries: Sequence[Mapping[str, Any]], *, look: Look
) -> None:
  for place, entry in zip(at, entries, strict=True):
    seeds = [100 * value for value in entry["per_seed"].values()]
    if len(seeds) > 1:
      axes.plot([place] * len(seeds), seeds, "o", color=look["color"], markersize=2.5, alpha=0.5)
  bars = _bars(entries, 100.0)
  axes.errorbar(at, _means(entries, 100.0), linewidth=1.5, markersize=5, zorder=3, **look, **bars)
