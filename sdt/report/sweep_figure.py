"""The figure of a sweep: test accuracy against the swept value, as in Fig. 4 of the paper.

It adds the spread over the seeds.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, PercentFormatter

from sdt.config.sweep_points import as_text
from sdt.report.figures import BLACK, WIDE, LineStyle, Look, arm_styles, shortened
from sdt.report.read import Json

# If the largest value is more than this times the smallest, the axis is logarithmic.
LOG_FROM = 10.0
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Shares of the axis's length: between two arms, so that their error bars stay apart; between an
# error bar and its seeds' dots; and the width of a character of a tick label.
_DODGE = 0.014
_BESIDE = 0.004
_CHARACTER = 0.011


def accuracy(content: Mapping[str, Any]) -> Figure:
  """Draws the mean test accuracy of every arm against the value, with error bars of one sd.

  Each seed is a small dot. A baseline that all values share is a horizontal line with its sd as a
  band. A mean of no seed is left out.
  """
  figure = Figure(figsize=WIDE, layout="constrained")
  axes = figure.add_subplot()
  entries, at = ordered(content["values"])
  arms = list(dict.fromkeys(arm for entry in entries for arm in entry["arms"]))
  is_band = content["shared_baseline"] and "baseline" in arms
  drawn = [arm for arm in arms if not (is_band and arm == "baseline")]
  if is_band:
    _draw_band(axes, entries[0]["arms"]["baseline"])
  nearest = min((right - left for left, right in itertools.pairwise(at)), default=1.0)
  dodge = min(_DODGE, 0.5 * nearest / max(len(drawn) - 1, 1))
  for index, arm in enumerate(drawn):
    places = at + dodge * (index - (len(drawn) - 1) / 2)
    marker = MARKERS[index % len(MARKERS)]
    _draw_arm(axes, entries, places, arm=arm, marker=marker, style=arm_styles(arms)[arm])
  _finish(axes, content, entries, at=at)
  has_sd = any(
    entry["arms"].get(arm, {}).get("sd") is not None for entry in entries for arm in arms
  )
  bars = "bars: \u00b1 sd over seeds, dots: seeds" if has_sd else "one seed"
  figure.legend(title=f"mean over seeds; {bars}", loc="outside lower center", ncols=4)
  return figure


def ordered(
  values: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], Float[np.ndarray, "V"]]:
  """Returns the entries from left to right, and the place [V] of each on an axis from 0 to 1.

  Numbers are sorted, on a linear or a logarithmic axis (see `is_log`). Other values keep their
  order, at equal distances.
  """
  if not _are_numbers(values):
    return list(values), np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
  entries = sorted(values, key=lambda entry: entry["value"])
  numbers = np.array([float(entry["value"]) for entry in entries])
  numbers = np.log(numbers) if is_log(values) else numbers
  width = numbers[-1] - numbers[0]
  return entries, (numbers - numbers[0]) / width if width else np.full(len(entries), 0.5)


def is_log(values: Sequence[Mapping[str, Any]]) -> bool:
  """Returns whether the axis is logarithmic: for positive numbers that span a factor above ten."""
  if not _are_numbers(values):
    return False
  numbers = [float(entry["value"]) for entry in values]
  return min(numbers) > 0 and max(numbers) > LOG_FROM * min(numbers)


def _are_numbers(values: Sequence[Mapping[str, Any]]) -> bool:
  return all(
    isinstance(entry["value"], int | float) and not isinstance(entry["value"], bool)
    for entry in values
  )


def _draw_band(axes: Axes, baseline: Mapping[str, Any]) -> None:
  mean, sd = baseline["mean"], baseline["sd"]
  if mean is None:
    return
  if sd is not None:
    axes.axhspan(mean - sd, mean + sd, color=BLACK, alpha=0.12, linewidth=0)
  name = "baseline" if sd is None else "baseline, band \u00b1 sd"
  axes.axhline(mean, color=BLACK, linewidth=1.5, label=f"{name} (n = {baseline['n']})")


def _draw_arm(
  axes: Axes,
  entries: Sequence[Mapping[str, Any]],
  at: Float[np.ndarray, "V"],
  arm: str,
  marker: str,
  style: tuple[str, LineStyle],
) -> None:
  """Draws one arm at the places `at`: a line through its means, error bars, and a dot per seed."""
  color, line = style
  of_arm = [entry["arms"].get(arm) for entry in entries]
  mean, sd = (
    np.array([math.nan if one is None or one[name] is None else one[name] for one in of_arm])
    for name in ("mean", "sd")
  )
  if not np.isfinite(mean).any():
    return
  dots: Look = {"linestyle": "", "marker": "o", "markersize": 3, "alpha": 0.6, "markeredgewidth": 0}
  for place, one in zip(at, of_arm, strict=True):
    accuracies = [] if one is None else list(one["accuracy"].values())
    seeds = [value for value in accuracies if value is not None]
    if len(seeds) > 1:
      axes.plot([place + _BESIDE] * len(seeds), seeds, color=color, **dots)
  counts = sorted({one["n"] for one in of_arm if one is not None and one["mean"] is not None})
  n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
  look: Look = {"linestyle": line, "linewidth": 1.5, "marker": marker, "markersize": 5, "zorder": 3}
  if np.isfinite(sd).any():
    look |= {"yerr": np.where(np.isfinite(sd), sd, 0.0), "capsize": 3, "elinewidth": 1.1}
  axes.errorbar(at, mean, color=color, label=f"{arm} (n = {n})", **look)


def _finish(
  axes: Axes,
  content: Mapping[str, Any],
  entries: Sequence[Mapping[str, Any]],
  at: Float[np.ndarray, "V"],
) -> None:
  """Labels the axes; tick labels that would touch are turned."""
  has_also = content["also_key"] is not None
  texts = [shortened(as_text(entry["value"]), 24) for entry in entries]
  if has_also:
    texts = [
      f"{text}\n{shortened(_short(entry['also_value']), 24)}"
      for text, entry in zip(texts, entries, strict=True)
    ]
  widths = [max(map(len, text.split("\n"))) for text in texts]
  gaps = zip(itertools.pairwise(at), itertools.pairwise(widths), strict=True)
  is_crowded = any(
    right - left < _CHARACTER * (one + other) / 2 for (left, right), (one, other) in gaps
  )
  axes.xaxis.set_major_locator(FixedLocator(list(at)))
  axes.xaxis.set_minor_locator(NullLocator())
  axes.xaxis.set_minor_formatter(NullFormatter())
  axes.set_xticks(list(at), texts, rotation=90 if is_crowded else 0)
  axes.set_xlim(-0.05, 1.05)
  axes.set_xlabel(
    content["key"]
    + (", log scale" if is_log(entries) else "")
    + (f"; second line {content['also_key']}" if has_also else "")
  )
  axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
  axes.set_ylabel("test accuracy, %")
  axes.set_title(f"Test accuracy after the last round against {content['key']}", loc="left")


def _short(value: Json) -> str:
  return f"{value:.3g}" if isinstance(value, float) else as_text(value)
