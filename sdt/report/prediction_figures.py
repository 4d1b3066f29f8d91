"""Figures of the predictions: which classes are taken for which, and how sure the networks are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sdt.report.figures import BLACK, BLUE, GREY, PANEL, VERMILLION, WIDE, Look, shortened

MAX_CLASSES = 20
OTHERS = "others"
FEW_CLASSES = 8  # of a matrix with large cells
_LETTERS = 22  # of a class name beside the matrix
_WHITE_FROM = 0.55  # share of a colour's scale from which numbers on it are white
_MANY = 10  # answers of a dot that is filled, and joined with the next
_DOT = 150.0  # square points, of all examples in one bin
# Right and wrong have a colour each: beside the diagonal no error would be seen on one scale.
_RIGHT = LinearSegmentedColormap.from_list("right", ("#FFFFFF", "#7FB2DB", "#00406A"))
_LEAST_SCALE = 0.1  # so that one error of a hundred examples is not dark
_WRONG = LinearSegmentedColormap.from_list("wrong", ("#FFFFFF", "#F0A878", "#8E3B00"))
_OTHER = LinearSegmentedColormap.from_list("other", ("#FFFFFF", "#8A8A8A", "#333333"))


@dataclasses.dataclass(frozen=True)
class Bins:
  """A reliability diagram: [bins] each, NaN where a bin has no examples."""

  count: Float[np.ndarray, "bins"]
  confidence: Float[np.ndarray, "bins"]
  accuracy: Float[np.ndarray, "bins"]


class ArmBins(NamedTuple):
  """The reliability of an arm: its seeds together, and the ensemble where there is one."""

  seeds: Bins
  ensemble: Bins | None
  title: str


def confusion(
  counts: Float[np.ndarray, "k c"], totals: Shaped[np.ndarray, "k"], names: Sequence[str]
) -> Figure:
  """Draws a confusion matrix: labels from top to bottom, predictions from left to right.

  Args:
    counts: [k, k] examples, means over the seeds; [k, k + 1] with what is predicted as a class
      that is not shown.
    totals: [k] examples of each label.
    names: [k].
  """
  num, columns = counts.shape
  width, height = (0.5, 0.44) if num <= FEW_CLASSES else (0.37, 0.34)
  beside = 0.9 + 0.075 * min(_LETTERS, max(map(len, names)))
  size = max(PANEL[0], beside + width * columns), max(PANEL[1], beside + height * num)
  figure = Figure(figsize=size, layout="constrained")
  axes = figure.add_subplot()
  shares = counts / np.maximum(totals, 1)[:, None]
  is_right, is_other = np.eye(num, columns, dtype=bool), np.arange(columns) >= num
  wrong = shares[:, :num][~is_right[:, :num]]
  scale = max(float(wrong.max(initial=0.0)), _LEAST_SCALE)
  depth = np.where(is_right | is_other, shares, shares / scale)
  colours = np.where(is_right[..., None], _RIGHT(depth), _WRONG(depth))
  colours = np.where(is_other[None, :, None], _OTHER(depth), colours)
  axes.imshow(colours, aspect="auto", interpolation="nearest")
  for row, column in zip(*np.nonzero(counts), strict=True):
    look: Look = {"color": "white" if depth[row, column] > _WHITE_FROM else BLACK}
    text = count_text(float(counts[row, column]))
    axes.text(column, row, text, ha="center", va="center", fontsize=8, **look)
  _name_classes(axes, names, columns)
  return figure


def count_text(value: float) -> str:
  """Returns a mean number of examples, with a decimal where it is small and no integer."""
  return f"{value:.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")


def _name_classes(axes: Axes, names: Sequence[str], columns: int) -> None:
  short = [shortened(name, _LETTERS) for name in names]
  below = short + [OTHERS] * (columns - len(short))
  is_turned = max(map(len, below)) > (4 if len(below) > FEW_CLASSES else 8)
  axes.set_xticks(range(columns), below, rotation=90 if is_turned else 0)
  axes.set_yticks(range(len(short)), short)
  axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
  axes.set_yticks(np.arange(len(short) + 1) - 0.5, minor=True)
  axes.grid(visible=False, which="major")
  axes.grid(which="minor", color="#DDDDDD", linewidth=0.6)
  axes.tick_params(which="both", length=0)
  axes.spines[:].set_visible(False)
  axes.set_xlabel("predicted class")
  axes.set_ylabel("label")


def reliability(arms: Sequence[ArmBins], colours: Mapping[str, str]) -> Figure:
  """Draws for each arm its accuracy over its confidence, and below how many answers are so sure.

  Args:
    arms: from left to right.
    colours: of "seeds" and "ensemble".
  """
  width = PANEL[0] if len(arms) == 1 else WIDE[0]
  figure = Figure(figsize=(width, 4.8), layout="constrained")
  panels = figure.subplots(
    2, len(arms), squeeze=False, sharex=True, sharey="row", height_ratios=(3.2, 1.0)
  )
  for place, arm in enumerate(arms):
    upper, lower = panels[:, place]
    _draw_arm(upper, lower, arm, colours=colours)
    lower.set_xlabel("confidence: probability of the predicted class")
  panels[0, 0].set_ylabel("share that is right")
  panels[1, 0].set_ylabel("answers")
  handles, texts = panels[0, 0].get_legend_handles_labels()
  figure.legend(handles, texts, loc="outside lower center", ncols=3)
  return figure


def _draw_arm(upper: Axes, lower: Axes, arm: ArmBins, colours: Mapping[str, str]) -> None:
  upper.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle="--", label="as sure as right")
  for name, bins, line in (("seeds", arm.seeds, "-"), ("ensemble", arm.ensemble, "--")):
    if bins is None:
      continue
    full, share = bins.count > 0, bins.count / bins.count.sum()
    look: Look = {"color": colours[name], "linestyle": line, "zorder": 3}
    label = "the seeds together" if name == "seeds" else "the ensemble"
    many = bins.count >= _MANY
    upper.plot(bins.confidence[many], bins.accuracy[many], linewidth=1.0, alpha=0.45, **look)
    # Where answers are few, nothing is joined: two answers are right by 0, 50 or 100 %.
    for of, face, named in ((full & many, colours[name], label), (full & ~many, "none", "_")):
      upper.scatter(
        bins.confidence[of],
        bins.accuracy[of],
        s=np.maximum(_DOT * np.sqrt(share[of]), 9.0),
        facecolors=face,
        edgecolors="white" if face != "none" else colours[name],
        linewidths=0.7,
        zorder=4,
        label=named,
      )
    edges = np.linspace(0.0, 1.0, len(share) + 1)
    lower.stairs(share, edges, fill=name == "seeds", alpha=0.35 if name == "seeds" else 1.0, **look)
  upper.set_title(arm.title, loc="left")
  upper.set_xlim(-0.02, 1.02)
  upper.set_ylim(-0.03, 1.04)
  lower.set_ylim(bottom=0.0)


COLOURS = {"seeds": BLUE, "ensemble": VERMILLION}
