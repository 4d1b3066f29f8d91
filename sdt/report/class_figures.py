"""Figures of the classes: the scores of each one, and how many examples each gives A and B."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdt.report.figures import BLACK, BLUE, GREY, VERMILLION, WIDE, Look, shortened
from sdt.report.read import Split, cut
from sdt.report.score_figures import mean_counts

MAX_TICK_LABELS = 60
MAX_CLASSES = 10
_BINS = 80


def shown_classes(
  scores: Float[np.ndarray, "R N"],
  labels: Int[np.ndarray, "N"],
  num_classes: int,
  *,
  is_higher_easier: bool,
) -> list[int]:
  """Returns the classes to draw, easiest first: all of up to ten, else the five at either end.

  A class is as easy as the median score over its examples and all seeds.

  Args:
    scores: [R, N].
    labels: [N].
    num_classes: K; a class without an example is left out.
    is_higher_easier: the direction of the score.
  """
  medians = {}
  for index in range(num_classes):
    finite = _finite(scores[:, labels == index])
    if len(finite):
      medians[index] = float(np.median(finite))
  sign = -1 if is_higher_easier else 1
  ordered = sorted(medians, key=lambda index: (sign * medians[index], index))
  half = MAX_CLASSES // 2
  return ordered if len(ordered) <= MAX_CLASSES else ordered[:half] + ordered[-half:]


def class_histograms(
  scores: Float[np.ndarray, "R N"],
  labels: Int[np.ndarray, "N"],
  in_A: Bool[np.ndarray, "R N"] | None,
  classes: Sequence[int],
  names: Sequence[str],
  label: str,
) -> Figure:
  """Draws a row for each class: its histogram, the part in A filled, its median, the border of A.

  Counts are means over the seeds; each seed has its own border, dashed. Every histogram is as high
  as its row, so shapes compare and counts do not. Where A has no border over all classes (an A that
  is balanced by class), each row has its own.

  Args:
    scores: [R, N].
    labels: [N].
    in_A: [R, N]; None where A is not known.
    classes: the classes to draw, from top to bottom.
    names: [K], of all classes.
    label: of the score.
  """
  figure = Figure(figsize=(WIDE[0], max(2.8, 1.2 + 0.42 * len(classes))), layout="constrained")
  axes = figure.add_subplot()
  bins = np.histogram_bin_edges(scores[np.isfinite(scores)], bins=_BINS)
  borders = [] if in_A is None else _borders(scores, in_A)
  for place, index in enumerate(classes):
    bottom, is_first = len(classes) - 1 - place, place == 0
    of_class, of_A = scores[:, labels == index], None if in_A is None else in_A[:, labels == index]
    _draw_class(axes, of_class, of_A, bins=bins, bottom=bottom, is_named=is_first)
    if of_A is not None and None in borders:
      own_borders = _borders(of_class, of_A)
      _draw_borders(axes, own_borders, bottom, high=bottom + 0.9, is_named=is_first)
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


def _draw_class(
  axes: Axes,
  scores: np.ndarray,
  in_A: np.ndarray | None,
  bins: np.ndarray,
  bottom: int,
  *,
  is_named: bool,
) -> None:
  """Draws the row of one class from its scores [R, n]; only the first row names its parts."""

  def name(text: str) -> str | None:
    return text if is_named else None

  counts = mean_counts(scores, bins)
  height = 0.85 / max(float(counts.max()), 1e-12)
  fills = [(counts, GREY, 0.3, "class, mean of seeds")]
  if in_A is not None:
    fills.append((mean_counts(scores, bins, in_A), VERMILLION, 0.8, "its part in A"))
  for of_part, color, alpha, text in fills:
    look: Look = {"color": color, "alpha": alpha, "label": name(text)}
    axes.stairs(bottom + height * of_part, bins, baseline=bottom, fill=True, **look)
  axes.stairs(bottom + height * counts, bins, baseline=bottom, color=BLACK, linewidth=0.8)
  median = float(np.median(_finite(scores)))
  triangle: Look = {"marker": "v", "color": BLUE, "markersize": 5, "linestyle": "", "zorder": 4}
  axes.plot([median], [bottom + 0.06], label=name("median"), **triangle)


def _borders(scores: np.ndarray, in_A: np.ndarray) -> list[float | None]:
  """Returns the border of A under each seed, None where it has none."""
  return [cut(row, chosen) for row, chosen in zip(scores, in_A, strict=True)]


def _draw_borders(
  axes: Axes, borders: Sequence[float | None], low: float, high: float, *, is_named: bool
) -> None:
  """Draws a dashed line for each border that there is; the legend names the first one."""
  name = "border of A" + ("" if len(borders) == 1 else ", each seed")
  look: Look = {"color": BLACK, "linestyle": "--", "linewidth": 0.9, "zorder": 3}
  for number, border in enumerate(one for one in borders if one is not None):
    # A label that begins with "_" is not in the legend.
    axes.vlines([border], low, high, label=name if is_named and not number else "_", **look)


def _finite(values: np.ndarray) -> np.ndarray:
  return values[np.isfinite(values)]


def class_counts(split: Split, names: Sequence[str], what_A: str) -> Figure:
  """Draws how many examples of each class are in A and in B: mean over seeds, whisker min to max.

  A dashed line shows what a draw that ignores the class would give.

  Args:
    split: A and B of all seeds; some examples may be in neither.
    names: [K], of the classes.
    what_A: the name of A.
  """
  figure = Figure(figsize=WIDE, layout="constrained")
  panels = figure.subplots(2, 1, sharex=True)
  totals = np.bincount(split.labels, minlength=len(names))
  subsets = (("A", what_A, VERMILLION), ("B", "B (the rest)", BLUE))
  for axes, (subset, name, color) in zip(panels, subsets, strict=True):
    chosen = split.in_A if subset == "A" else split.in_B
    counts = np.array([np.bincount(split.labels[one], minlength=len(names)) for one in chosen])
    _draw_counts(axes, counts, totals, color=color)
    axes.set_title(f"Subset {name}: {counts.mean(axis=0).sum():,.0f} examples", loc="left")
  handles, texts = panels[0].get_legend_handles_labels()
  panels[0].legend(handles[::-1], texts[::-1], loc="upper right", ncols=3)
  step = -(-len(names) // MAX_TICK_LABELS)
  ticks = [shortened(name, 24) for name in names[::step]]
  turned = len(names) > 20 or max(map(len, ticks)) * len(names) > 120
  positions = np.arange(len(names))[::step]
  panels[1].set_xticks(positions, ticks, rotation=90 if turned else 0, fontsize=8)
  panels[1].set_xlabel("class" if step == 1 else f"class (one of {step} is named)")
  return figure


def _draw_counts(
  axes: Axes, counts: Shaped[np.ndarray, "R K"], totals: Shaped[np.ndarray, "K"], color: str
) -> None:
  """Draws the counts of one subset: bars, whiskers of several seeds, and the proportional draw."""
  positions, mean = np.arange(counts.shape[1]), counts.mean(axis=0)
  name = "count" if len(counts) == 1 else "mean over seeds"
  axes.bar(positions, mean, width=0.8, color=color, alpha=0.75, label=name)
  if len(counts) > 1:
    low, high = counts.min(axis=0), counts.max(axis=0)
    axes.vlines(positions, low, high, color=BLACK, linewidth=1.0, label="min to max")
  expected = totals * (mean.sum() / max(int(totals.sum()), 1))
  look: Look = {
    "color": BLACK,
    "linewidth": 1.2,
    "linestyle": (0, (2, 1)),
    "label": "in proportion",
  }
  axes.hlines(expected, positions - 0.45, positions + 0.45, **look)
  axes.set_ylabel("examples")
  axes.grid(axis="x", visible=False)
  axes.margins(x=0.01)
  axes.set_ylim(0, 1.28 * max(float(counts.max()), float(expected.max()), 1.0))
  axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
