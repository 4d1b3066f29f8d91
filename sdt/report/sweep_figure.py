"""The figure of a sweep: test accuracy against the swept value. In the form of Fig. 4 of the paper,
with the spread over seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, PercentFormatter

from sdt.config.sweep_points import as_text
from sdt.report.figures import BLACK, WIDE, arm_styles, shortened

# From this ratio of the largest to the smallest value on, the axis is logarithmic.
LOG_FROM = 10.0
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DODGE = 0.014  # of the axis's length, between two arms, so that their error bars stay apart
_BESIDE = 0.004  # of the axis's length: the seeds' dots stand beside their error bar
_CHARACTER = 0.011  # of the axis's length, about what a character of a tick label takes


def accuracy(content: Mapping[str, Any]) -> Figure:
  """Draws the mean test accuracy of every arm against the value, error bars of one sd over the
  seeds, each seed as a small dot.

  A baseline that all values share is a horizontal line with its sd as a band. A mean without any
  seed is left out.
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
    _draw_arm(
      axes,
      entries,
      at + dodge * (index - (len(drawn) - 1) / 2),
      arm=arm,
      index=index,
      style=arm_styles(arms)[arm],
    )
  _finish(axes, content, entries, at=at)
  has_sd = any(
    entry["arms"].get(arm, {}).get("sd") is not None for entry in entries for arm in arms
  )
  bars = "bars: \u00b1 sd over seeds, dots: seeds" if has_sd else "one seed"
  figure.legend(title=f"mean over seeds; {bars}", loc="outside lower center", ncols=4)
  return figure


def ordered(values: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], np.ndarray]:
  """Returns the entries from left to right, and where each stands on an axis from 0 to 1.

  Numbers stand in their order, linear or logarithmic (see `is_log`); anything else as it came, at
  equal distances.
  """
  if not _are_numbers(values):
    return list(values), np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
  entries = sorted(values, key=lambda entry: entry["value"])
  numbers = np.array([float(entry["value"]) for entry in entries])
  numbers = np.log(numbers) if is_log(values) else numbers
  width = numbers[-1] - numbers[0]
  return entries, (numbers - numbers[0]) / width if width else np.full(len(entries), 0.5)


def is_log(values: Sequence[Mapping[str, Any]]) -> bool:
  """Returns whether the axis is logarithmic: positive numbers that span more than a
  factor of ten.
  """
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
  at: np.ndarray,
  arm: str,
  index: int,
  style: tuple[str, Any],
) -> None:
  color, line = style
  own = [entry["arms"].get(arm) for entry in entries]
  mean, sd = (
    np.array([math.nan if one is None or one[name] is None else one[name] for one in own])
    for name in ("mean", "sd")
  )
  if not np.isfinite(mean).any():
    return
  for place, one in zip(at, own, strict=True):
    seeds = (
      [] if one is None else [value for value in one["accuracy"].values() if value is not None]
    )
    if len(seeds) > 1:
      axes.plot(
        [place + _BESIDE] * len(seeds),
        seeds,
        linestyle="",
        marker="o",
        markersize=3,
        color=color,
        alpha=0.6,
        markeredgewidth=0,
      )
  counts = sorted({one["n"] for one in own if one is not None and one["mean"] is not None})
  name = (
    f"{arm} (n = {counts[0]})" if len(counts) == 1 else f"{arm} (n = {counts[0]} to {counts[-1]})"
  )
  bars: dict[str, Any] = (
    {"yerr": np.where(np.isfinite(sd), sd, 0.0), "capsize": 3, "elinewidth": 1.1}
    if np.isfinite(sd).any()
    else {}
  )
  look: dict[str, Any] = {
    "linestyle": line,
    "linewidth": 1.5,
    "marker": MARKERS[index % len(MARKERS)],
    "markersize": 5,
  }
  axes.errorbar(at, mean, color=color, label=name, zorder=3, **look, **bars)


def _finish(
  axes: Axes, content: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], at: np.ndarray
) -> None:
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


def _short(value: Any) -> str:
  return f"{value:.3g}" if isinstance(value, float) else as_text(value)
