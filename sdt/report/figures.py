"""What all figures have in common: one fixed style, and a colour and a line for each arm.

Every figure is drawn by a pure function of artifacts that returns a matplotlib Figure: an object
without global state.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sdt.report.fonts import MAIN_FONT

# A line style of matplotlib: a name, or (offset, lengths of dashes and gaps).
type LineStyle = str | tuple[int, tuple[int, ...]]

# Keyword arguments of a function of matplotlib.
type Look = dict[str, Any]

DPI = 110
PANEL = (5.2, 4.0)
WIDE = (10.6, 5.0)
# Okabe and Ito's colours, which stay apart for colour-blind readers; their yellow is left out, it
# vanishes on white.
BLACK, VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY = (
  "#000000",
  "#D55E00",
  "#0072B2",
  "#009E73",
  "#CC79A7",
  "#E69F00",
  "#56B4E9",
)
GREY = "#767676"
OTHER_COLOURS = (BLUE, GREEN, PURPLE, ORANGE, SKY)
_OTHER_LINES: tuple[LineStyle, ...] = (
  (0, (5, 2)),
  "-.",
  (0, (1, 1)),
  (0, (3, 1, 1, 1, 1, 1)),
  (0, (8, 2)),
)
_STYLE = {
  "axes.axisbelow": True,
  "axes.grid": True,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlesize": 10,
  "font.family": [MAIN_FONT],
  "font.size": 9,
  "grid.color": "#DDDDDD",
  "grid.linewidth": 0.6,
  "legend.fontsize": 8,
  "legend.framealpha": 0.85,
  "legend.title_fontsize": 8,
  "svg.hashsalt": "sdt",  # the same figure gives the same bytes
  "text.parse_math": False,  # a class may be called "$x"
}
_MOST_MARKS = 2500  # of an SVG, which holds each of them
MIN_SEEDS_FOR_SD = 5
# Lines of more arms than this hide each other: panels then show baseline and method only.
MAX_ARMS = 3
MAIN_ARMS = ("baseline", "method")


def render(
  draw: Callable[..., Figure],
  *args: object,
  families: Sequence[str] = (MAIN_FONT,),
  **kwargs: object,
) -> bytes:
  """Returns the picture of `draw(*args, **kwargs)`; no setting of the user's matplotlib changes it.

  It is SVG, which stays crisp, where the figure has few marks, else PNG.
  `families` are the fonts of its letters, see `fonts.drawn`.
  """
  with matplotlib.rc_context(), warnings.catch_warnings():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_STYLE | {"font.family": list(families)})
    # An arm's question or a path may still have a letter that no font has: it is drawn as a box.
    warnings.filterwarnings("ignore", message="Glyph")
    figure = draw(*args, **kwargs)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    if num_marks(figure) <= _MOST_MARKS:
      figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    else:
      figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
  return buffer.getvalue()


def num_marks(figure: Figure) -> int:
  """Returns how many points, cells and pixels a figure draws."""
  counts = []
  for axes in figure.axes:
    counts += [np.size(line.get_xdata()) for line in axes.lines]
    counts += [
      max(np.size(one.get_offsets()) // 2, len(one.get_paths())) for one in axes.collections
    ]
    counts += [image.get_size()[0] * image.get_size()[1] for image in axes.images]
    counts.append(len(axes.patches))
  return sum(counts)


def shortened(text: str, length: int) -> str:
  """Returns `text` in at most `length` characters, on one line."""
  text = " ".join(text.split())
  return text if len(text) <= length else text[: length - 1] + "\u2026"


def arm_styles(arms: Sequence[str]) -> dict[str, tuple[str, LineStyle]]:
  """Returns arm -> (colour, line style); baseline and method look the same in every run."""
  styles: dict[str, tuple[str, LineStyle]] = {
    "baseline": (BLACK, "-"),
    "method": (VERMILLION, "-"),
  }
  for index, arm in enumerate(arm for arm in arms if arm not in styles):
    styles[arm] = (
      OTHER_COLOURS[index % len(OTHER_COLOURS)],
      _OTHER_LINES[(index + index // len(OTHER_COLOURS)) % len(_OTHER_LINES)],
    )
  return styles


def main_arms(arms: Sequence[str]) -> list[str]:
  """Returns the arms that a panel shows: all if they are few, else baseline and method.

  A run of many arms without these two shows its first ones.
  """
  if len(arms) <= MAX_ARMS:
    return list(arms)
  return [arm for arm in arms if arm in MAIN_ARMS] or list(arms[:MAX_ARMS])
