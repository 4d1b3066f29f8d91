"""Figures of the mechanism: the effective learning rate, and the weight norm of each layer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sdt.report.curve_figures import log_axis
from sdt.report.figures import WIDE, Look, arm_styles, shortened

_MAX_NAMES = 60
_LOG_FROM = 10


def with_effective_rate(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns the rows of metrics.jsonl with `effective_rate`, learning_rate / weight_norm^2.

  It is None where the norm is missing, or 0. BatchNorm makes a layer's output independent of the
  scale of its weights, so this is the rate at which their direction moves.
  Source: van Laarhoven 2017, "L2 Regularization versus Batch and Weight Normalization", section 2.
  """
  return [
    {
      **row,
      "effective_rate": row["learning_rate"] / row["weight_norm"] ** 2
      if row.get("weight_norm")
      else None,
    }
    for row in rows
  ]


def last_layer_norms(
  rows: Sequence[Mapping[str, Any]], lost: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str], Float[np.ndarray, "R L"]]:
  """Returns (arm, phase) -> the norm of every layer [R, L] when the phase ends in the last round.

  Args:
    rows: of metrics.jsonl.
    lost: arm -> its seeds that diverged; they are left out.
  """
  newest: dict[tuple[str, str], dict[int, tuple[int, list[float]]]] = {}
  for row in rows:
    norms = row.get("weight_norms")
    if norms is not None and None not in norms and row["seed"] not in lost.get(row["arm"], ()):
      by_seed = newest.setdefault((row["arm"], row["phase"]), {})
      if row["round"] >= by_seed.get(row["seed"], (0, []))[0]:
        by_seed[row["seed"]] = (row["round"], norms)
  return {
    key: np.array([norms for _, (_, norms) in sorted(by_seed.items())])
    for key, by_seed in newest.items()
  }


def _place(layer: str) -> tuple[int, list[tuple[int, str]]]:
  """Returns a key that sorts the stem first, the head last, and block 10 behind block 9."""
  end = -1 if layer.startswith("stem") else 1 if layer.startswith("head") else 0
  parts = re.split(r"(\d+)", layer)
  return end, [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def layer_norms(
  norms: Mapping[str, Float[np.ndarray, "R L"]], arms: Sequence[str], layers: Sequence[str]
) -> Figure:
  """Draws the norm of every layer: for each arm the mean over seeds, whisker from min to max.

  Args:
    norms: arm -> [R, L].
    arms: all arms of the run, which decide on colours.
    layers: [L] names, in any order.
  """
  figure = Figure(figsize=(WIDE[0], 5.8), layout="constrained")
  axes = figure.add_subplot()
  styles, positions = arm_styles(arms), np.arange(len(layers))
  order = sorted(range(len(layers)), key=lambda index: _place(layers[index]))
  for index, (arm, unordered) in enumerate(norms.items()):
    values, (color, line) = unordered[:, order], styles[arm]
    at = positions + 0.12 * (index - (len(norms) - 1) / 2)
    look: Look = {
      "linestyle": line,
      "linewidth": 1.2,
      "marker": "o",
      "markersize": 3.5,
      "zorder": 3,
    }
    axes.plot(at, values.mean(axis=0), color=color, label=arm, **look)
    if len(values) > 1:
      axes.vlines(at, values.min(axis=0), values.max(axis=0), color=color, linewidth=1.0)
  _name_layers(axes, [layers[index] for index in order])
  _scale(axes, np.concatenate([values.ravel() for values in norms.values()]))
  axes.margins(x=0.02)
  axes.set_title("Kernel norm of each layer after the last round", loc="left")
  title = "mean over seeds"
  if any(len(one) > 1 for one in norms.values()):
    title += ", whisker: min to max"
  figure.legend(title=title, loc="outside lower center", ncols=4)
  return figure


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
  """Writes the names below the axis, at most 60 of them."""
  step = -(-len(layers) // _MAX_NAMES)
  turned = sum(map(len, layers)) > 110
  ticks = [shortened(name, 28) for name in layers[::step]]
  positions = np.arange(len(layers))[::step]
  axes.set_xticks(positions, ticks, rotation=90 if turned else 0, fontsize=8)
  axes.set_xlabel("layer" + ("" if step == 1 else f" (one of {step} is named)"))


def _scale(axes: Axes, values: np.ndarray) -> None:
  """Makes the y axis logarithmic where the norms span more than a factor of ten."""
  axes.set_ylabel("l2 norm of its kernel")
  low, high = float(values.min()), float(values.max())
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
    axes.set_ylabel("l2 norm of its kernel, log scale")
  else:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
