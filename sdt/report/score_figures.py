"""Figures of the scores: histograms, how far the seeds agree, and the map of the data."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sdt.report.figures import BLACK, BLUE, GREY, OTHER_COLOURS, PANEL, SKY, VERMILLION, WIDE
from sdt.report.read import cut

# From what is never in A to what always is.
_GREY_TO_A = LinearSegmentedColormap.from_list("grey to vermillion", ["#C8C8C8", VERMILLION])
_BINS = 50
# More points than this would hide each other: the number in each cell is drawn instead.
_MAX_POINTS = 3000
# A matrix of more seeds has no space for numbers.
_MAX_NUMBERS = 12


def mean_counts(
  scores: Float[np.ndarray, "R N"],
  bins: Float[np.ndarray, "bins"],
  chosen: Bool[np.ndarray, "R N"] | None = None,
) -> Float[np.ndarray, "counts"]:
  """Returns the mean over seeds of the number of scores (those that are chosen) in each bin."""
  rows = scores if chosen is None else [row[one] for row, one in zip(scores, chosen, strict=True)]
  return np.mean([np.histogram(row, bins)[0] for row in rows], axis=0)


def histogram(
  scores: Float[np.ndarray, "R N"],
  in_A: Bool[np.ndarray, "R N"] | None,
  seeds: Sequence[int],
  title: str,
  label: str,
  log: bool,
) -> Figure:
  """Draws the histogram of each seed's scores as an outline, A filled, each border of A dashed.

  Args:
    scores: [R, N].
    in_A: [R, N]; None where A is not known. What is filled is the mean over the seeds.
    seeds: [R].
    title: of the figure.
    label: of the score.
    log: whether the counts stand on a log axis.
  """
  figure = Figure(figsize=PANEL, layout="constrained")
  axes = figure.add_subplot()
  bins = np.histogram_bin_edges(scores[np.isfinite(scores)], bins=_BINS)
  colours = (BLACK, VERMILLION, *OTHER_COLOURS)
  if in_A is not None:
    filled = "A" if len(seeds) == 1 else "A, mean of seeds"
    counts = mean_counts(scores, bins, in_A)
    axes.stairs(counts, bins, fill=True, color=SKY, alpha=0.45, label=filled)
  for index, (seed, row) in enumerate(zip(seeds, scores, strict=True)):
    color = colours[index % len(colours)]
    name = f"seed {seed}" if index < len(colours) else None
    axes.stairs(np.histogram(row, bins)[0], bins, color=color, linewidth=1.1, label=name)
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


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far the seeds agree.

  Attributes:
    seeds: [R].
    spearman: [R, R], rank correlation of the scores of each pair; NaN where it is not defined.
    overlap: [R, R], |A_i & A_j| / |A|.
    chance: the overlap that chance gives: the fraction of A.
  """

  seeds: Sequence[int]
  spearman: Float[np.ndarray, "R R"]
  overlap: Float[np.ndarray, "R R"]
  chance: float


def stability(
  pair: Float[np.ndarray, "2 N"], pair_seeds: tuple[int, int], agreement: Agreement, label: str
) -> Figure:
  """Draws how far the seeds agree: the scores of two, and, of more, the overlap of all pairs' A.

  Args:
    pair: [2, N], the scores of two seeds.
    pair_seeds: these seeds.
    agreement: of all seeds.
    label: of the score.
  """
  seeds, overlap = list(agreement.seeds), agreement.overlap
  chance = f"(chance: {agreement.chance:.2f})"
  has_matrix = len(seeds) > 2
  figure = Figure(figsize=(WIDE[0], 4.3) if has_matrix else PANEL, layout="constrained")
  panels = figure.subplots(1, 2, width_ratios=(1.15, 1)) if has_matrix else [figure.add_subplot()]
  _draw_pair(panels[0], pair, (f"{label}, seed {pair_seeds[0]}", f"{label}, seed {pair_seeds[1]}"))
  place = seeds.index(pair_seeds[0]), seeds.index(pair_seeds[1])
  rho = agreement.spearman[place]
  title = f"Spearman's correlation {rho:.3f}"
  if not np.isfinite(rho):
    title = "Spearman's correlation is not defined"
  if has_matrix:
    _draw_matrix(panels[1], overlap, seeds)
    panels[1].set_title(f"Shared part of A\n{chance}", loc="left")
  else:
    title += f"\nshared part of A {overlap[place]:.2f} {chance}"
  panels[0].set_title(title, loc="left")
  return figure


def _draw_pair(axes: Axes, pair: np.ndarray, labels: tuple[str, str]) -> None:
  """Draws the scores [2, N] of two seeds against each other; the grey line is where both are equal.

  Many points are drawn as cells, coloured by the number of points in each.
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


@dataclasses.dataclass(frozen=True)
class MapPoints:
  """The training examples on the map.

  Attributes:
    variability: [N], not negative.
    confidence: [N] in [0, 1].
    correctness: [N] in [0, 1], the share of correct predictions; None where it is not known.
    in_A: [N] in [0, 1], the share of seeds whose A it is in; None where it is not known.
  """

  variability: Float[np.ndarray, "N"]
  confidence: Float[np.ndarray, "N"]
  correctness: Float[np.ndarray, "N"] | None
  in_A: Float[np.ndarray, "N"] | None  # noqa: N815 - the paper's name


@dataclasses.dataclass(frozen=True)
class MapWords:
  """The words of the map: the labels of its axes, and what correctness is a share of."""

  x: str
  y: str
  share_of: str


def data_map(points: MapPoints, words: MapWords) -> Figure:
  """Draws each training example at (variability, mean confidence), coloured in up to two panels.

  One panel is coloured by correctness, the other by how often the example is in A.

  Source: Swayamdipta et al. 2020, "Dataset Cartography", figure 1.
  Differs from source: every example is drawn, the less correct over the others; and the second
  panel.
  """
  # Values, colours, their name, title, and the order of drawing: the largest in front.
  panels: list[tuple[np.ndarray, str | Colormap, str, str, np.ndarray]] = []
  if points.correctness is not None:
    name, front = f"share of correct {words.share_of}", -points.correctness
    panels.append((points.correctness, "viridis_r", name, "Coloured by correctness", front))
  if points.in_A is not None:
    title = "Coloured by how often it is in A"
    panels.append((points.in_A, _GREY_TO_A, "share of seeds", title, points.in_A))
  figure = Figure(figsize=(WIDE[0] if len(panels) > 1 else PANEL[0], 4.3), layout="constrained")
  size = 9 if len(points.variability) <= _MAX_POINTS else 3
  columns = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  for axes, (values, colours, name, title, front) in zip(columns, panels, strict=True):
    order = np.argsort(front, kind="stable")
    x, y, c = points.variability[order], points.confidence[order], values[order]
    drawn = axes.scatter(x, y, c=c, s=size, cmap=colours, vmin=0, vmax=1, linewidths=0)
    figure.colorbar(drawn, ax=axes, shrink=0.9, label=name)
    axes.set_title(title, loc="left")
    axes.set_xlabel(words.x)
    axes.set_ylim(-0.03, 1.03)
  figure.axes[0].set_ylabel(words.y)
  return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, seeds: Sequence[int]) -> None:
  """Draws a matrix in [0, 1] over pairs of seeds, without its diagonal, which is 1."""
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
