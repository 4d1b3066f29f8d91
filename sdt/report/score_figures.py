"""Figures of the scores and of A: histograms, classes, agreement of the seeds, and the map of the
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sdt.report.figures import (
  BLACK,
  BLUE,
  GREY,
  OTHER_COLOURS,
  PANEL,
  SKY,
  VERMILLION,
  WIDE,
  shortened,
)
from sdt.report.read import cut

# From what is never in A to what always is.
_GREY_TO_A = LinearSegmentedColormap.from_list("grey to vermillion", ["#C8C8C8", VERMILLION])
MAX_TICK_LABELS = 60
MAX_CLASSES = 10
_BINS, _CLASS_BINS = 50, 80
_MAX_POINTS = (
  3000  # more of them, one over the other, show nothing: their number per cell is drawn instead
)
_MAX_NUMBERS = 12  # a matrix of more seeds has no room for numbers


def histogram(
  scores: np.ndarray,
  in_A: np.ndarray | None,
  seeds: Sequence[int],
  title: str,
  label: str,
  log: bool,
) -> Figure:
  """Draws the scores [R, N] as one outline per seed, A's share filled (mean over seeds), and each
  seed's border of A dashed.
  """
  figure = Figure(figsize=PANEL, layout="constrained")
  axes = figure.add_subplot()
  bins = np.histogram_bin_edges(scores[np.isfinite(scores)], bins=_BINS)
  colours = (BLACK, VERMILLION, *OTHER_COLOURS)
  if in_A is not None:
    counts = np.mean(
      [np.histogram(row[chosen], bins)[0] for row, chosen in zip(scores, in_A, strict=True)], axis=0
    )
    axes.stairs(
      counts,
      bins,
      fill=True,
      color=SKY,
      alpha=0.45,
      label="A" if len(seeds) == 1 else "A, mean of seeds",
    )
  for index, (seed, row) in enumerate(zip(seeds, scores, strict=True)):
    color = colours[index % len(colours)]
    axes.stairs(
      np.histogram(row, bins)[0],
      bins,
      color=color,
      linewidth=1.1,
      label=f"seed {seed}" if index < len(colours) else None,
    )
    border = None if in_A is None else cut(row, in_A[index])
    if border is not None:
      axes.axvline(border, color=color, linestyle="--", linewidth=1.0)
  if log:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes.set_xlabel(label)
  axes.set_ylabel("training examples" + (", log scale" if log else ""))
  axes.set_title(title, loc="left")
  figure.legend(loc="outside lower center", ncols=4)
  return figure


def shown_classes(
  scores: np.ndarray, labels: np.ndarray, num_classes: int, *, is_higher_easier: bool
) -> list[int]:
  """Returns the classes to draw, easiest first by the median over examples and seeds: all of ten,
  else the five at either end.

  Args:
    scores: [R, N].
    labels: [N].
    num_classes: K; a class without an example is left out.
    is_higher_easier: the direction of the score.
  """
  there = [index for index in range(num_classes) if np.isfinite(scores[:, labels == index]).any()]
  medians = {index: float(np.median(_finite(scores[:, labels == index]))) for index in there}
  ordered = sorted(
    there, key=lambda index: (-medians[index] if is_higher_easier else medians[index], index)
  )
  half = MAX_CLASSES // 2
  return ordered if len(ordered) <= MAX_CLASSES else ordered[:half] + ordered[-half:]


def class_histograms(
  scores: np.ndarray,
  labels: np.ndarray,
  in_A: np.ndarray | None,
  classes: Sequence[int],
  names: Sequence[str],
  label: str,
) -> Figure:
  """Draws for each class a row: its histogram (mean over seeds), the part in A filled, its median,
  and each seed's border of A dashed.

  Every histogram is as high as its row, so shapes compare and counts do not. Where A has no border
  over all classes (a class-balanced A), each row has its own.
  """
  figure = Figure(figsize=(WIDE[0], max(2.8, 1.2 + 0.42 * len(classes))), layout="constrained")
  axes = figure.add_subplot()
  bins = np.histogram_bin_edges(scores[np.isfinite(scores)], bins=_CLASS_BINS)
  borders = (
    [] if in_A is None else [cut(row, chosen) for row, chosen in zip(scores, in_A, strict=True)]
  )
  for place, index in enumerate(classes):
    bottom, own, is_first = len(classes) - 1 - place, labels == index, place == 0
    counts = np.mean([np.histogram(row[own], bins)[0] for row in scores], axis=0)
    height = 0.85 / max(float(counts.max()), 1e-12)
    look: dict[str, Any] = {"baseline": bottom, "fill": True}
    axes.stairs(
      bottom + height * counts,
      bins,
      color=GREY,
      alpha=0.3,
      label="class, mean of seeds" if is_first else None,
      **look,
    )
    if in_A is not None:
      easy = np.mean(
        [
          np.histogram(row[own & chosen], bins)[0] for row, chosen in zip(scores, in_A, strict=True)
        ],
        axis=0,
      )
      axes.stairs(
        bottom + height * easy,
        bins,
        color=VERMILLION,
        alpha=0.8,
        label="its part in A" if is_first else None,
        **look,
      )
      if None in borders:
        own_borders = [cut(row[own], chosen[own]) for row, chosen in zip(scores, in_A, strict=True)]
        _draw_borders(axes, own_borders, bottom, high=bottom + 0.9, is_named=is_first)
    axes.stairs(bottom + height * counts, bins, baseline=bottom, color=BLACK, linewidth=0.8)
    median = float(np.median(_finite(scores[:, own])))
    axes.plot(
      [median],
      [bottom + 0.06],
      marker="v",
      color=BLUE,
      markersize=5,
      linestyle="",
      zorder=4,
      label="median" if is_first else None,
    )
  if borders and None not in borders:
    _draw_borders(axes, borders, 0, high=len(classes), is_named=True)
  axes.set_yticks(range(len(classes)), [shortened(names[index], 28) for index in reversed(classes)])
  axes.set_ylim(-0.2, len(classes))
  axes.set_xlabel(label)
  axes.set_ylabel("class, easiest on top")
  axes.grid(axis="y", visible=False)
  axes.set_title("Scores of the training examples by class", loc="left")
  figure.legend(loc="outside lower center", ncols=4)
  return figure


def class_counts(
  labels: np.ndarray, in_A: np.ndarray, in_B: np.ndarray, names: Sequence[str], what_A: str
) -> Figure:
  """Draws the class counts of A and of B (mean over seeds, whisker min to max) and what a
  class-blind draw would give.

  Args:
    labels: [N].
    in_A: [R, N] bool.
    in_B: [R, N] bool; some examples may be in neither.
    names: of the classes.
    what_A: the name of A.
  """
  figure = Figure(figsize=WIDE, layout="constrained")
  panels = figure.subplots(2, 1, sharex=True)
  num_classes = len(names)
  totals = np.bincount(labels, minlength=num_classes)
  counts_A, counts_B = (
    np.array([np.bincount(labels[chosen], minlength=num_classes) for chosen in one])
    for one in (in_A, in_B)
  )
  positions = np.arange(num_classes)
  sizes = ((what_A, counts_A, VERMILLION), ("B, the rest", counts_B, BLUE))
  for axes, (name, counts, color) in zip(panels, sizes, strict=True):
    mean = counts.mean(axis=0)
    axes.bar(
      positions,
      mean,
      width=0.8,
      color=color,
      alpha=0.75,
      label="count" if len(counts) == 1 else "mean over seeds",
    )
    if len(counts) > 1:
      axes.vlines(
        positions,
        counts.min(axis=0),
        counts.max(axis=0),
        color=BLACK,
        linewidth=1.0,
        label="min to max",
      )
    expected = totals * (mean.sum() / max(int(totals.sum()), 1))
    axes.hlines(
      expected,
      positions - 0.45,
      positions + 0.45,
      color=BLACK,
      linewidth=1.2,
      linestyle=(0, (2, 1)),
      label="in proportion",
    )
    axes.set_title(f"Subset {name}: {mean.sum():,.0f} examples", loc="left")
    axes.set_ylabel("examples")
    axes.grid(axis="x", visible=False)
    axes.margins(x=0.01)
    axes.set_ylim(0, 1.28 * max(float(counts.max()), float(expected.max()), 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
  handles, texts = panels[0].get_legend_handles_labels()
  panels[0].legend(handles[::-1], texts[::-1], loc="upper right", ncols=3)
  step = -(-num_classes // MAX_TICK_LABELS)
  ticks = [shortened(name, 24) for name in names[::step]]
  turned = num_classes > 20 or max(map(len, ticks)) * num_classes > 120
  panels[1].set_xticks(positions[::step], ticks, rotation=90 if turned else 0, fontsize=8)
  panels[1].set_xlabel("class" if step == 1 else f"class (one of {step} is named)")
  return figure


def stability(
  pair: np.ndarray,
  pair_seeds: tuple[int, int],
  spearman: np.ndarray,
  overlap: np.ndarray,
  chance: float,
  seeds: Sequence[int],
  label: str,
) -> Figure:
  """Draws how far the seeds agree: the scores of two of them against each other, and, of more, the
  shared part of A of all pairs.

  Args:
    pair: [2, N], the scores of two seeds.
    pair_seeds: these seeds.
    spearman: [R, R], the rank correlations of all pairs.
    overlap: [R, R], |A_i & A_j| / |A|.
    chance: the overlap that chance gives, the fraction of A.
    seeds: [R].
    label: of the score.
  """
  has_matrix = len(seeds) > 2
  figure = Figure(figsize=(WIDE[0], 4.3) if has_matrix else PANEL, layout="constrained")
  panels = figure.subplots(1, 2, width_ratios=(1.15, 1)) if has_matrix else [figure.add_subplot()]
  _draw_pair(panels[0], pair, (f"{label}, seed {pair_seeds[0]}", f"{label}, seed {pair_seeds[1]}"))
  one, other = (list(seeds).index(seed) for seed in pair_seeds)
  rho, shared = spearman[one, other], overlap[one, other]
  title = (
    f"Spearman's correlation {rho:.3f}"
    if np.isfinite(rho)
    else "Spearman's correlation is not defined"
  )
  if has_matrix:
    _draw_matrix(panels[1], overlap, seeds)
    panels[1].set_title(f"Shared part of A (chance: {chance:.2f})", loc="left")
  else:
    title += f"; shared part of A {shared:.2f} (chance: {chance:.2f})"
  panels[0].set_title(title, loc="left")
  return figure


def _draw_pair(axes: Axes, pair: np.ndarray, labels: tuple[str, str]) -> None:
  """Draws the scores [2, N] of two seeds against each other: points, or of many the number in each
  cell; grey where both are equal.
  """
  x, y = pair[:, np.isfinite(pair).all(axis=0)]
  if len(x) > _MAX_POINTS:
    cells = axes.hexbin(x, y, gridsize=55, norm=LogNorm(), cmap="Blues", linewidths=0.1)
    bar = axes.figure.colorbar(cells, ax=axes, shrink=0.9, label="training examples, log scale")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  else:
    axes.plot(
      x, y, linestyle="", marker="o", markersize=2.5, markeredgewidth=0, alpha=0.5, color=BLUE
    )
  if len(x):
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
  axes.set_xlabel(labels[0])
  axes.set_ylabel(labels[1])


def data_map(
  variability: np.ndarray,
  confidence: np.ndarray,
  correctness: np.ndarray | None,
  in_A: np.ndarray | None,
  x_label: str,
  y_label: str,
  what: str,
) -> Figure:
  """Draws every training example at (variability, mean confidence): coloured by correctness, and
  once more by being in A.

  Args:
    variability: [N], not negative.
    confidence: [N] in [0, 1].
    correctness: [N] in [0, 1], the share of correct predictions; None where it is not known.
    in_A: [N] in [0, 1], the share of seeds whose A it is in; None where it is not known.
    x_label: of the axis.
    y_label: of the axis.
    what: correctness is a share of; "epochs" or "seeds".

  Source: Swayamdipta et al. 2020, "Dataset Cartography", figure 1.
  Differs from source: every example is drawn, the less correct over the others; and the second
  panel.
  """
  panels: list[tuple[np.ndarray, str | Colormap, str, str, np.ndarray]] = []
  if correctness is not None:
    panels.append(
      (
        correctness,
        "viridis_r",
        f"share of correct {what}",
        "Coloured by correctness",
        -correctness,
      )
    )
  if in_A is not None:
    panels.append((in_A, _GREY_TO_A, "share of seeds", "Coloured by how often it is in A", in_A))
  figure = Figure(figsize=(WIDE[0] if len(panels) > 1 else PANEL[0], 4.3), layout="constrained")
  size = 9 if len(variability) <= _MAX_POINTS else 3
  for axes, (values, colours, name, title, front) in zip(
    figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True
  ):
    order = np.argsort(front, kind="stable")
    points = axes.scatter(
      variability[order],
      confidence[order],
      c=values[order],
      s=size,
      cmap=colours,
      vmin=0,
      vmax=1,
      linewidths=0,
    )
    figure.colorbar(points, ax=axes, shrink=0.9, label=name)
    axes.set_title(title, loc="left")
    axes.set_xlabel(x_label)
    axes.set_ylim(-0.03, 1.03)
  figure.axes[0].set_ylabel(y_label)
  return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, seeds: Sequence[int]) -> None:
  """Draws a matrix in [0, 1] over pairs of seeds; the diagonal, which is 1, is left out."""
  others = np.where(np.eye(len(seeds), dtype=bool), np.nan, matrix)
  image = axes.imshow(others, cmap="Blues", vmin=0, vmax=1)
  axes.set_xticks(range(len(seeds)), [str(seed) for seed in seeds])
  axes.set_yticks(range(len(seeds)), [str(seed) for seed in seeds])
  axes.set_xlabel("seed")
  axes.set_ylabel("seed")
  axes.grid(visible=False)
  if len(seeds) > _MAX_NUMBERS:
    axes.figure.colorbar(image, ax=axes, shrink=0.9)
    return
  for (row, column), value in np.ndenumerate(others):
    if row != column:
      axes.text(
        column,
        row,
        f"{value:.2f}",
        ha="center",
        va="center",
        color="white" if value > 0.6 else BLACK,
      )


def _draw_borders(
  axes: Axes, borders: Sequence[float | None], low: float, high: float, *, is_named: bool
) -> None:
  for number, border in enumerate(one for one in borders if one is not None):
    name = (
      "border of A" + ("" if len(borders) == 1 else ", each seed")
      if is_named and not number
      else "_"
    )  # not in the legend
    axes.vlines(
      [border], low, high, color=BLACK, linestyle="--", linewidth=0.9, label=name, zorder=3
    )


def _finite(values: np.ndarray) -> np.ndarray:
  return values[np.isfinite(values)]
