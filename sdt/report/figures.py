"""What all figures have in common: one fixed style, one colour and line per arm, and the picture as
it stands on a page.

Figures are pure functions of artifacts that return a matplotlib Figure, an object without global
state, drawn by Agg.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import warnings
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
_OTHER_LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
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
  "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the same letters everywhere
  "font.size": 9,
  "grid.color": "#DDDDDD",
  "grid.linewidth": 0.6,
  "legend.fontsize": 8,
  "legend.framealpha": 0.85,
  "legend.title_fontsize": 8,
  "text.parse_math": False,  # a class may be called "$x"
}
MIN_SEEDS_FOR_SD = 5
# More arms than these in one panel, one over the other, show nothing: the panels then keep to
# baseline and method.
MAX_ARMS = 3
MAIN_ARMS = ("baseline", "method")


@dataclasses.dataclass(frozen=True)
class Picture:
  """A figure on a page.

  Attributes:
    png: the picture.
    alt: what it is, for those who do not see it.
    caption: what it shows and how to read it, sentences.
    kind: classes of the style sheet: "wide" for one that takes the whole width, "wide mosaic" for
      one that is never made smaller.
  """

  png: bytes
  alt: str
  caption: str
  kind: str = ""

  @property
  def source(self) -> str:
    """The picture itself as an address, so that a page is one file."""
    return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def render(draw: Callable[..., Figure], *args: object, **kwargs: object) -> bytes:
  """Returns the PNG of `draw(*args, **kwargs)`: the same arguments, the same bytes, whatever the
  user's matplotlib settings are.
  """
  with matplotlib.rc_context(), warnings.catch_warnings():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_STYLE)
    # A class name in a script that the font lacks is drawn as boxes; the HTML has the name itself.
    warnings.filterwarnings("ignore", message="Glyph")
    figure = draw(*args, **kwargs)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
  return buffer.getvalue()


def shortened(text: str, length: int) -> str:
  """Returns `text` in at most `length` characters, on one line."""
  text = " ".join(text.split())
  return text if len(text) <= length else text[: length - 1] + "\u2026"


def in_two_lines(text: str, length: int) -> str:
  """Returns `text` in at most two lines of at most `length` characters, parted at a space or behind
  an underscore where there is one.
  """
  text = " ".join(text.split())
  if len(text) <= length:
    return text
  part = max(text.rfind(" ", 0, length + 1), text.rfind("_", 0, length) + 1)
  part = part if part > 0 else length
  return f"{text[:part]}\n{shortened(text[part:], length)}"


def arm_styles(arms: Sequence[str]) -> dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]]:
  """Returns colour and line of every arm: baseline and method always look the same."""
  styles: dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]] = {
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
  """Returns the arms that a panel of one measure shows: all of a few, else baseline and method (the
  first ones where neither is there).
  """
  if len(arms) <= MAX_ARMS:
    return list(arms)
  return [arm for arm in arms if arm in MAIN_ARMS] or list(arms[:MAX_ARMS])
