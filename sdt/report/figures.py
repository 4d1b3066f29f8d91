"""Figures: artifacts in, matplotlib Figure out. No global state: figures are objects, drawn by Agg under one fixed style."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from PIL import Image

from sdt.report.artifacts import Curve, cut

DPI = 110
PANEL = (5.2, 4.0)
WIDE = (10.6, 5.0)
# Okabe and Ito's colours, which stay apart for colour-blind readers; their yellow is left out, it vanishes on white.
BLACK, VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY = "#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#767676"
_OTHER_COLOURS = (BLUE, GREEN, PURPLE, ORANGE, SKY)
_OTHER_LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = ((0, (5, 2)), "-.", (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))
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
MAX_BANDS = 3  # more of them, one over the other, show nothing
MOSAIC_COLUMNS = 10
TILE, TILE_GAP, CAPTION = 96, 10, 38  # pixels; 8, 16 and 32 pixels fit by a whole factor
CAPTION_LETTERS, CAPTION_LINE = 14, 12  # letters beside each other below a tile; pixels of one more line
MAX_TICK_LABELS = 110


def render(draw: Callable[..., Figure], *args: object, **kwargs: object) -> bytes:
  """Returns the PNG of `draw(*args, **kwargs)`: the same arguments, the same bytes, whatever the user's matplotlib settings are."""
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
  """Returns `text` in at most two lines of at most `length` characters, parted at a space or behind an underscore where there is one."""
  text = " ".join(text.split())
  if len(text) <= length:
    return text
  part = max(text.rfind(" ", 0, length + 1), text.rfind("_", 0, length) + 1)
  part = part if part > 0 else length
  return f"{text[:part]}\n{shortened(text[part:], length)}"


def band_name(num_seeds: int, num_arms: int) -> str:
  """Returns what the band of a curve shows."""
  if num_seeds < 2:
    return "one seed"
  whose = "" if num_arms <= MAX_BANDS else " of baseline and method"
  return f"mean of {num_seeds} seeds, band{whose}: " + ("min to max" if num_seeds < MIN_SEEDS_FOR_SD else "\u00b1 sd")


def most_seeds(all_curves: Sequence[Curve]) -> int:
  """Returns the number of seeds of the curve that has most; curves that lost seeds have fewer."""
  return max((len(next(iter(one.values.values()))) for one in all_curves), default=0)


def curve(
  all_curves: Sequence[Curve],
  measure: str,
  arms: Sequence[str],
  drops: Iterable[int],
  title: str,
  first_round: int = 1,
  size: tuple[float, float] = PANEL,
) -> Figure:
  """Draws one measure over the rounds: per arm the mean over its seeds and a band; phases that do not end a round thin and dotted."""
  figure = Figure(figsize=size, layout="constrained")
  axes = figure.add_subplot()
  styles = arm_styles(arms)
  num_seeds = most_seeds(all_curves)
  for one in all_curves:
    shown = np.isfinite(one.values[measure]).any(axis=0) & (one.rounds >= first_round)
    if not shown.any():
      continue
    values = np.ma.masked_invalid(one.values[measure][:, shown])
    color, line = styles[one.arm]
    name = one.arm if one.phase == "all" else f"{one.arm}, {'after' if measure.startswith('test') else 'phase'} {one.phase}"
    name += "" if len(values) == num_seeds else f" (n = {len(values)})"
    look = {"linestyle": line, "linewidth": 1.7 if shown.sum() <= 100 else 1.2} if one.last_phase else {"linestyle": ":", "linewidth": 1.0}
    marker = "o" if shown.sum() < 12 else ""
    axes.plot(one.rounds[shown], values.mean(axis=0), color=color, marker=marker, markersize=3, label=name, zorder=3, **look)
    if one.last_phase and len(values) > 1 and (len(arms) <= MAX_BANDS or one.arm in ("baseline", "method")):
      axes.fill_between(one.rounds[shown], *_band(values, num_seeds), color=color, alpha=0.16, linewidth=0)
  for number in drops:
    if number > first_round:
      axes.axvline(number, color=GREY, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
      at, where = (0.01, "bottom") if measure.endswith("accuracy") else (0.99, "top")  # where the lines are not
      place = axes.get_xaxis_transform()
      axes.text(number, at, " rate drops ", transform=place, rotation=90, ha="right", va=where, fontsize=7, color=GREY)
  last = max((int(one.rounds[-1]) for one in all_curves), default=first_round)
  axes.set_xlim(first_round - 0.02 * (last - first_round + 1), last + 0.02 * (last - first_round + 1))
  _finish_curve(axes, measure, title)
  figure.legend(title=band_name(num_seeds, len(arms)), loc="outside lower center", ncols=2 if size == PANEL else 4)
  return figure


def histogram(scores: np.ndarray, in_A: np.ndarray | None, seeds: Sequence[int], title: str, label: str, log: bool) -> Figure:
  """Draws the scores [R, N] as one outline per seed, A's share filled (mean over seeds), and each seed's border of A dashed."""
  figure = Figure(figsize=PANEL, layout="constrained")
  axes = figure.add_subplot()
  finite = scores[np.isfinite(scores)]
  bins = np.histogram_bin_edges(finite, bins=60)
  colours = (BLACK, VERMILLION, *_OTHER_COLOURS)
  if in_A is not None:
    counts = np.mean([np.histogram(row[chosen], bins)[0] for row, chosen in zip(scores, in_A, strict=True)], axis=0)
    axes.stairs(counts, bins, fill=True, color=SKY, alpha=0.45, label="A" if len(seeds) == 1 else "A, mean of seeds")
  for index, (seed, row) in enumerate(zip(seeds, scores, strict=True)):
    color = colours[index % len(colours)]
    axes.stairs(np.histogram(row, bins)[0], bins, color=color, linewidth=1.1, label=f"seed {seed}" if index < len(colours) else None)
    border = None if in_A is None else cut(row, in_A[index])
    if border is not None:
      axes.axvline(border, color=color, linestyle="--", linewidth=1.0)
  if log:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes.set_xlabel(f"{label} (dashed: border of A)")
  axes.set_ylabel("training examples" + (", log scale" if log else ""))
  axes.set_title(title, loc="left")
  figure.legend(loc="outside lower center", ncols=4)
  return figure


def class_counts(labels: np.ndarray, in_A: np.ndarray, names: Sequence[str], what_A: str) -> Figure:
  """Draws the class counts of A and of B (mean over seeds, whisker min to max) and what a class-blind draw would give."""
  figure = Figure(figsize=WIDE, layout="constrained")
  panels = figure.subplots(2, 1, sharex=True)
  num_classes = len(names)
  totals = np.bincount(labels, minlength=num_classes)
  counts_A = np.array([np.bincount(labels[chosen], minlength=num_classes) for chosen in in_A])
  positions = np.arange(num_classes)
  sizes = ((what_A, counts_A, VERMILLION), ("B, the rest", totals - counts_A, BLUE))
  for axes, (name, counts, color) in zip(panels, sizes, strict=True):
    mean = counts.mean(axis=0)
    axes.bar(positions, mean, width=0.8, color=color, alpha=0.75, label="count" if len(counts) == 1 else "mean over seeds")
    if len(counts) > 1:
      axes.vlines(positions, counts.min(axis=0), counts.max(axis=0), color=BLACK, linewidth=1.0, label="min to max")
    expected = totals * (mean.sum() / max(totals.sum(), 1))
    axes.hlines(expected, positions - 0.45, positions + 0.45, color=BLACK, linewidth=1.2, linestyle=(0, (2, 1)), label="in proportion")
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
  panels[1].set_xticks(positions[::step], ticks, rotation=90 if turned else 0, fontsize=6.5 if num_classes > 40 else 8)
  panels[1].set_xlabel("class" if step == 1 else f"class (every {step}th is named)")
  return figure


def agreement(spearman: np.ndarray, overlap: np.ndarray, seeds: Sequence[int]) -> Figure:
  """Draws two matrices [R, R] over pairs of seeds: the overlap of their A, and the rank correlation of their scores."""
  figure = Figure(figsize=(WIDE[0], 4.0), layout="constrained")
  panels = figure.subplots(1, 2)
  for axes, matrix, title in zip(panels, (overlap, spearman), ("Shared part of A", "Spearman correlation of the scores"), strict=True):
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(title, loc="left")
    axes.set_xticks(range(len(seeds)), [str(seed) for seed in seeds])
    axes.set_yticks(range(len(seeds)), [str(seed) for seed in seeds])
    axes.set_xlabel("seed")
    axes.set_ylabel("seed")
    axes.grid(visible=False)
    if len(seeds) <= 12:
      for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.7 else BLACK)
    figure.colorbar(image, ax=axes, shrink=0.9)
  return figure


def mosaic(images: np.ndarray, labels: np.ndarray, confidence: np.ndarray, names: Sequence[str]) -> Figure:
  """Draws images uint8 [n, H, W, C], ten a row, with class name and confidence below each; one composed array, exact pixels."""
  num_columns = MOSAIC_COLUMNS
  num_rows = max(-(-len(images) // num_columns), 1)
  captions = [in_two_lines(names[int(label)], CAPTION_LETTERS) for label in labels]
  pitch_x, pitch_y = TILE + TILE_GAP, TILE + CAPTION + (CAPTION_LINE if any("\n" in caption for caption in captions) else 0)
  height, width = num_rows * pitch_y, num_columns * pitch_x
  canvas = np.full((height, width, 3), 255, np.uint8)
  figure = Figure(figsize=(width / DPI, height / DPI))
  axes = figure.add_axes((0, 0, 1, 1))
  for index, image in enumerate(images):
    row, column = divmod(index, num_columns)
    tile = _tile(image)
    top = row * pitch_y + (TILE - tile.shape[0]) // 2
    left = column * pitch_x + (pitch_x - tile.shape[1]) // 2
    canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    text = f"{captions[index]}\n{percent_of_confidence(float(confidence[index]))}"
    axes.text((column + 0.5) * pitch_x, row * pitch_y + TILE + 2, text, ha="center", va="top", fontsize=7.2, linespacing=1.05)
  axes.imshow(canvas, interpolation="nearest", extent=(0, width, height, 0), aspect="auto")
  axes.set_axis_off()
  return figure


def percent_of_confidence(value: float) -> str:
  """Returns a confidence in percent; float32 saturates at 1, so the top is only bounded."""
  return ">99.99 %" if value > 0.9999 else f"{100 * value:.2f} %"


def arm_styles(arms: Sequence[str]) -> dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]]:
  """Returns colour and line of every arm: baseline and method always look the same."""
  styles: dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]] = {"baseline": (BLACK, "-"), "method": (VERMILLION, "-")}
  for index, arm in enumerate(arm for arm in arms if arm not in styles):
    styles[arm] = (_OTHER_COLOURS[index % len(_OTHER_COLOURS)], _OTHER_LINES[(index + index // len(_OTHER_COLOURS)) % len(_OTHER_LINES)])
  return styles


def _band(values: np.ma.MaskedArray, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the lower and upper edge [T] over seeds: min and max, or mean -+ sd (ddof 1) where the figure has five seeds and more."""
  if num_seeds < MIN_SEEDS_FOR_SD:
    return values.min(axis=0), values.max(axis=0)
  mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
  return mean - sd, mean + sd


def _finish_curve(axes: Axes, measure: str, title: str) -> None:
  axes.set_title(title, loc="left")
  axes.set_xlabel("round")
  axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
  if measure.endswith("accuracy"):
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), min(top, 1.002))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.set_ylabel("accuracy, %")
    return
  low, high = (float(edge) for edge in axes.dataLim.intervaly)
  axes.set_ylabel("cross-entropy, nats")
  if 0 < 10 * low < high:
    axes.set_yscale("log")
    axes.set_ylabel("cross-entropy, nats, log scale")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _tile(image: np.ndarray) -> np.ndarray:
  """Returns the image as uint8 RGB, at most TILE pixels high and wide: small ones enlarged by a whole factor, others resampled."""
  image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]
  longest = max(image.shape[:2])
  if 2 * longest <= TILE:
    return image.repeat(TILE // longest, axis=0).repeat(TILE // longest, axis=1)
  size = (max(1, image.shape[1] * TILE // longest), max(1, image.shape[0] * TILE // longest))
  return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS))
