"""The figures of the toy: network, fits, merits of the arms, and the choice of the decay."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from sdt.report.figures import BLACK, BLUE, GREY, PANEL, VERMILLION, WIDE, Look

_MOST_UNITS = 9  # of a layer that are drawn; dots stand for the others
_MERITS = {
  "error": "mean squared error to the true curve",
  "roughness": "mean |second difference|",
  "end_bias": "mean of fit \u2212 truth at both ends",
}
FLOOR = 1e-6  # the roughness of a constant fit is 0, which a log axis cannot show
_Y_RANGE = (-0.75, 1.75)


def network(sizes: Sequence[int]) -> Figure:
  """Draws the layers of a fully connected network; of a large layer, some units stand for all.

  Args:
    sizes: the number of units of each layer, from the input to the output.
  """
  figure = Figure(figsize=(WIDE[0], 3.2), layout="constrained")
  axes = figure.add_subplot()
  axes.set_axis_off()
  columns = [_heights(size) for size in sizes]
  for x, (left, right) in enumerate(itertools.pairwise(columns)):
    for low in left:
      for high in right:
        axes.plot([x, x + 1], [low, high], color="#C4C4C4", linewidth=0.5, zorder=1)
  for x, (size, heights) in enumerate(zip(sizes, columns, strict=True)):
    is_inner = 0 < x < len(sizes) - 1
    color = BLUE if is_inner else VERMILLION
    at = np.full(len(heights), x)
    axes.scatter(at, heights, s=110, color=color, edgecolor="white", zorder=2)
    if len(heights) < size:
      axes.scatter(np.full(3, x), [-0.12, 0.0, 0.12], s=5, color=BLACK, zorder=3)
    name = "input x" if x == 0 else f"hidden {x}: {size} tanh" if is_inner else "output y"
    axes.annotate(name, (x, -1.28), ha="center", va="top", fontsize=9)
  axes.set_xlim(-0.5, len(sizes) - 0.5)
  axes.set_ylim(-1.55, 1.15)
  return figure


def _heights(size: int) -> np.ndarray:
  """Returns the heights of the units that are drawn; a large layer has a gap in the middle."""
  if size <= _MOST_UNITS:
    return np.linspace(1, -1, size) if size > 1 else np.zeros(1)
  half = _MOST_UNITS // 2
  upper = np.linspace(1.0, 0.32, half)
  return np.concatenate([upper, -upper[::-1]])


def fits(
  points: Mapping[str, Shaped[np.ndarray, "..."]],
  named: Mapping[str, Float[np.ndarray, "R M"]],
  seeds: Sequence[int],
) -> Figure:
  """Draws a column for each arm: the first seed's fit with its points, below it all seeds' fits.

  Args:
    points: of points.npz.
    named: title -> fits [R, M] on the grid of `points`.
    seeds: [R].
  """
  figure = Figure(figsize=(WIDE[0], 6.6), layout="constrained")
  grid = figure.subplots(2, len(named), sharex=True, sharey=True)
  in_A = points["in_A"][0].astype(bool)
  x, y = points["x"][0], points["y"][0]
  of_A: Look = {"facecolor": "none", "edgecolor": VERMILLION, "marker": "D", "linewidth": 1.2}
  true_line: Look = {"color": BLACK, "linestyle": (0, (4, 2)), "linewidth": 1.2}
  for column, (title, values) in enumerate(named.items()):
    above, below = grid[0, column], grid[1, column]
    above.scatter(x[~in_A], y[~in_A], s=16, color=GREY, label="points", zorder=2)
    above.scatter(x[in_A], y[in_A], s=30, label="points of A", zorder=3, **of_A)
    above.plot(points["grid"], points["truth"], label="true curve", zorder=4, **true_line)
    above.plot(points["grid"], values[0], color=BLUE, linewidth=1.8, label="fit", zorder=5)
    above.set_title(title)
    below.plot(points["grid"], values.T, color=BLUE, linewidth=0.6, alpha=0.55, zorder=2)
    below.plot(points["grid"], points["truth"], zorder=3, **true_line)
    below.set_xlabel("x")
  for row, name in enumerate((f"y, seed {seeds[0]}", f"y, all {len(seeds)} seeds")):
    grid[row, 0].set_ylabel(name)
  grid[0, 0].set_ylim(*_Y_RANGE)
  figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
  return figure


def merits(arms: Mapping[str, Mapping[str, Any]], true_roughness: float) -> Figure:
  """Draws error, roughness and end-point bias of every arm: a dot for each seed, a bar the mean."""
  figure = Figure(figsize=(WIDE[0], 1.2 + 0.38 * len(arms)), layout="constrained")
  panels = figure.subplots(1, 3, sharey=True)
  for axes, (measure, title) in zip(panels, _MERITS.items(), strict=True):
    if measure != "end_bias":
      axes.set_xscale("log")
      axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
      axes.xaxis.set_minor_formatter(NullFormatter())
    for row, entry in enumerate(arms.values()):
      _dots(axes, row, entry[measure])
    axes.set_title(title)
  panels[1].axvline(true_roughness, color=BLACK, linestyle=(0, (4, 2)), linewidth=1.0)
  panels[2].axvline(0.0, color=BLACK, linewidth=1.0)
  panels[0].set_yticks(range(len(arms)), list(arms))
  panels[0].invert_yaxis()
  return figure


def _dots(axes: Axes, row: int, entry: Mapping[str, Any]) -> None:
  """Draws the seeds of one arm, a little apart, and their mean."""
  values = np.array([value for value in entry["per_seed"].values() if value is not None])
  if axes.get_xscale() == "log":
    values = np.maximum(values, FLOOR)
  if len(values):
    spread = 0.13 * np.sin(np.arange(len(values)) * 2.4)  # apart, and the same every time
    axes.scatter(values, row + spread, s=9, color=BLUE, alpha=0.6, linewidth=0, zorder=2)
    mean = max(entry["mean"], values.min())
    axes.plot([mean, mean], [row - 0.3, row + 0.3], color=VERMILLION, linewidth=2.2, zorder=3)


def choice(selection: Mapping[str, Any]) -> Figure:
  """Draws the mean error on the validation points against the decay, with its standard error."""
  figure = Figure(figsize=PANEL, layout="constrained")
  axes = figure.add_subplot()
  pairs = [
    (decay, error)
    for decay, error in zip(selection["lambdas"], selection["validation_error"], strict=True)
    if error["n"]
  ]
  decays = np.array([decay for decay, _ in pairs])
  means = np.array([error["mean"] for _, error in pairs])
  errors = np.array([(error["sd"] or 0.0) / np.sqrt(error["n"]) for _, error in pairs])
  look: Look = {"color": BLUE, "marker": "o", "markerfacecolor": "white", "linewidth": 1.4}
  axes.errorbar(decays, means, yerr=errors, capsize=3, **look)
  is_chosen = decays == selection["chosen"]
  axes.scatter(decays[is_chosen], means[is_chosen], s=60, color=VERMILLION, zorder=4)
  if (decays > 0).all():
    axes.set_xscale("log")
    axes.set_xticks(decays, [f"{decay:g}" for decay in decays])
    axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xlabel("decay of all points")
  axes.set_ylabel("mean squared error on the validation points")
  axes.set_title("The choice of (b)'s decay")
  return figure
