"""The contrasts of a run as one figure: each first arm minus the second, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdt.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, WIDE, Look, shortened
from sdt.report.tables import by_seed

# First word of a verdict -> colour. The verdict stands beside the row, so nobody needs the colour.
_COLOURS = {"better": BLUE, "worse": VERMILLION, "equal": GREEN}
_SEED_BAND = 0.22  # of a row, above and below its middle: where the seeds stand


def contrasts(
  rows: Sequence[Mapping[str, Any]],
  names: Sequence[str],
  verdicts: Sequence[str],
  margin: float | None,
  starts: Sequence[int] = (),
) -> Figure:
  """Draws a row for each contrast: every seed, the mean, the interval, and the verdict in words.

  Args:
    rows: contrasts of results.json, from top to bottom.
    names: of the differences.
    verdicts: in words.
    margin: half-width of "equal", a fraction; None where it is not known.
    starts: indices in `rows`; a line above each separates one family of tests from the next.
  """
  figure = Figure(figsize=(WIDE[0], 1.35 + 0.42 * len(rows)), layout="constrained")
  axes = figure.add_subplot()
  if margin is not None:
    edge, name = 100 * margin, f"margin of equality, \u00b1{100 * margin:g}"
    axes.axvspan(-edge, edge, color=ORANGE, alpha=0.22, linewidth=0, label=name)
  axes.axvline(0, color=BLACK, linewidth=1.0)
  for index, row in enumerate(rows):
    _draw_row(axes, row, len(rows) - 1 - index)
  for place in starts:
    axes.axhline(len(rows) - place - 0.5, color=GREY, linewidth=0.8, linestyle=":")
  axes.set_ylim(-0.6, len(rows) - 0.4)
  axes.set_yticks(range(len(rows)), [shortened(name, 44) for name in reversed(names)])
  axes.grid(axis="y", visible=False)
  axes.set_xlabel("difference of the test accuracy, percentage points")
  axes.margins(x=0.04)
  _write_verdicts(axes, rows, verdicts)
  handles, texts = axes.get_legend_handles_labels()
  unique = dict(zip(texts, handles, strict=True))
  figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4)
  return figure


def _write_verdicts(axes: Axes, rows: Sequence[Mapping[str, Any]], verdicts: Sequence[str]) -> None:
  """Writes the verdicts on a second y axis, to the right of the rows, in their colours."""
  beside = axes.twinx()
  beside.set_ylim(axes.get_ylim())
  beside.set_yticks(range(len(rows)), list(reversed(verdicts)))
  beside.tick_params(axis="y", length=0)
  beside.grid(visible=False)
  for label, row in zip(beside.get_yticklabels(), reversed(rows), strict=True):
    label.set_color(_COLOURS.get(row["verdict"].split()[0], BLACK))
    label.set_fontweight("bold")


def _draw_row(axes: Axes, row: Mapping[str, Any], place: int) -> None:
  """Draws seeds, interval and mean of one contrast at the height `place`."""
  color = _COLOURS.get(row["verdict"].split()[0], BLACK)
  values = [
    100 * value for _, value in sorted(by_seed(row["per_seed"]).items()) if value is not None
  ]
  heights = place + (
    np.linspace(_SEED_BAND, -_SEED_BAND, len(values)) if len(values) > 1 else np.zeros(len(values))
  )
  look: Look = {
    "linestyle": "",
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": "white",
    "markeredgecolor": GREY,
  }
  axes.plot(values, heights, label="one seed, the first on top", zorder=3, **look)
  if row["interval"] is not None:
    low, high = (100 * edge for edge in row["interval"])
    axes.plot(
      [low, high], [place, place], color=color, linewidth=2.2, solid_capstyle="butt", zorder=2
    )
    axes.plot([], [], color=BLACK, linewidth=2.2, label="interval")
  if row["mean"] is not None:
    axes.plot(
      [100 * row["mean"]], [place], linestyle="", marker="D", markersize=7, color=color, zorder=4
    )
    axes.plot([], [], linestyle="", marker="D", markersize=7, color=BLACK, label="mean")
