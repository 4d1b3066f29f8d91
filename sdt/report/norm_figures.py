"""Figures of the mechanism: weight norms, the effective learning rate, and the norms of gradients
and updates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sdt.report.curve_figures import log_axis
from sdt.report.figures import WIDE, arm_styles, shortened

_MAX_NAMES = 60
_LOG_FROM = 10


def with_effective_rate(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns the rows of metrics.jsonl with `effective_rate`, learning_rate / weight_norm^2; None
  where the norm is not there, or 0.

  BatchNorm makes a layer's output independent of its weights' scale, so that the rate at which
  their direction moves is this one.
  Source: van Laarhoven 2017, "L2 Regularization versus Batch and Weight Normalization", section 2.
  """
  return [
    dict(row)
    | {
      "effective_rate": row["learning_rate"] / row["weight_norm"] ** 2
      if row.get("weight_norm")
      else None
    }
    for row in rows
  ]


def last_layer_norms(
  rows: Sequence[Mapping[str, Any]], lost: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str], np.ndarray]:
  """Returns (arm, phase) -> the norm of every layer [R, L] at the end of the phase in the last
  round, without seeds that diverged.
  """
  found: dict[tuple[str, str], dict[int, tuple[int, list[float]]]] = {}
  for row in rows:
    norms = row.get("weight_norms")
    if norms is not None and None not in norms and row["seed"] not in lost.get(row["arm"], ()):
      own = found.setdefault((row["arm"], row["phase"]), {})
      if row["round"] >= own.get(row["seed"], (0, []))[0]:
        own[row["seed"]] = (row["round"], norms)
  return {
    key: np.array([norms for _, (_, norms) in sorted(seeds.items())])
    for key, seeds in found.items()
  }


def _place(layer: str) -> tuple[int, list[tuple[int, str]]]:
  """Returns a key that puts the stem first, the head last, and block 10 behind block 9."""
  end = -1 if layer.startswith("stem") else 1 if layer.startswith("head") else 0
  return end, [
    (int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", layer)
  ]


def layer_norms(
  norms: Mapping[str, np.ndarray], arms: Sequence[str], layers: Sequence[str]
) -> Figure:
  """Draws the norm of every layer after the last round: per arm the mean over seeds, with a whisker
  from min to max.

  Args:
    norms: arm -> [R, L].
    arms: all arms of the run, which decide on colours.
    layers: [L] names, in any order.
  """
  figure = Figure(figsize=(WIDE[0], 5.8), layout="constrained")
  axes = figure.add_subplot()
  styles, positions = arm_styles(arms), np.arange(len(layers))
  order = sorted(range(len(layers)), key=lambda index: _place(layers[index]))
  layers = [layers[index] for index in order]
  for index, (arm, unordered) in enumerate(norms.items()):
    values = unordered[:, order]
    color, line = styles[arm]
    at = positions + 0.12 * (index - (len(norms) - 1) / 2)
    axes.plot(
      at,
      values.mean(axis=0),
      color=color,
      linestyle=line,
      linewidth=1.2,
      marker="o",
      markersize=3.5,
      label=arm,
      zorder=3,
    )
    if len(values) > 1:
      axes.vlines(at, values.min(axis=0), values.max(axis=0), color=color, linewidth=1.0)
  step = -(-len(layers) // _MAX_NAMES)
  turned = sum(map(len, layers)) > 110
  ticks = [shortened(name, 28) for name in layers[::step]]
  axes.set_xticks(positions[::step], ticks, rotation=90 if turned else 0, fontsize=8)
  axes.set_xlabel("layer" + ("" if step == 1 else f" (one of {step} is named)"))
  axes.set_ylabel("l2 norm of its kernel")
  every = np.concatenate([values.ravel() for values in norms.values()])
  low, high = float(every.min()), float(every.max())
  if 0 < _LOG_FROM * low < high:
    log_axis(axes, low, high)
    axes.set_ylabel("l2 norm of its kernel, log scale")
  else:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes.margins(x=0.02)
  axes.set_title("Kernel norm of each layer after the last round", loc="left")
  figure.legend(
    title="mean over seeds"
    + (", whisker: min to max" if any(len(one) > 1 for one in norms.values()) else ""),
    loc="outside lower center",
    ncols=4,
  )
  return figure
