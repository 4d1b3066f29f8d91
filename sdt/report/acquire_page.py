"""The report of active learning: reads acquire.json, makes the printed table and the page."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.report import page, tables
from sdt.report.picture import Picture
from sdt.report.read import require_keys
from sdt.report.wording import percent
from sdt.stats.learning_curve import CONTROL

FILE, FIGURE = "acquire.json", "figures/learning_curve.svg"
_KEYS = ("strategies", "arm", "seeds", "labels", "curves", "areas", "primary", "at_labels")
_CAPTION = (
  "Left: the test accuracy over the number of labels, mean over the seeds with its 95 % t "
  "interval. Dots are seeds, each with a start of its own. Right: each strategy minus random, "
  "paired by seed, with intervals that are corrected for their number. Fewer than three seeds have "
  "no intervals."
)


def write(workdir: Path) -> Path:
  """Writes the figure and report.html from acquire.json; returns the path of the report.

  Raises:
    DataError: acquire.json is damaged, or from another version.
    WorkdirError: the workdir cannot be written.
  """
  from sdt.report import acquire_figure, figures  # here: the printed table needs no matplotlib

  content = files.read_json(workdir / FILE)
  require_keys(content, _KEYS, workdir / FILE, remedy="run the same command again")
  config = files.read_json(workdir / "config.json") if (workdir / "config.json").exists() else {}
  picture = Picture(
    figures.render(acquire_figure.curves, content),
    "test accuracy over the number of labels, by strategy",
    _CAPTION,
    kind="wide",
  )
  return page.write(workdir, {"learning_curve": picture}, html(content, config, picture))


def html(content: Mapping[str, Any], config: Mapping[str, Any], picture: Picture) -> str:
  """Returns the HTML; it holds no time and no path."""
  labels = content["labels"]
  return page.render(
    "acquire.html",
    content=content,
    title=f"Active learning: {content['data']['name']}, {content['model']['name']}",
    sentences=sentences(content),
    diverged=[(name, [seed]) for name, seed in content["diverged"]],
    page_kind="active learning",
    pictures={"learning_curve": picture},
    rows=[
      {"labels": number, "cells": _cells(content, place)} for place, number in enumerate(labels)
    ],
    areas=[_with_interval(content["areas"][name]) for name in content["strategies"]],
    compared=_compared(content),
    primary=[_contrast(one) for one in content["primary"].values()],
    at_labels=[
      {"labels": number, **_contrast(one)}
      for name in content["at_labels"]
      for number, one in zip(labels[1:], content["at_labels"][name], strict=True)
    ],
    seeds=[
      {
        "name": name,
        "labels": number,
        "cells": [
          percent(content["curves"][name][place]["per_seed"][str(seed)])
          for seed in content["seeds"]
        ],
      }
      for name in content["strategies"]
      for place, number in enumerate(labels)
    ],
    config=page.pairs(config.get("config", {})),
    config_hash=config.get("hash"),
  )


def sentences(content: Mapping[str, Any]) -> list[str]:
  """Returns what active learning comes to, sentence by sentence."""
  labels = content["labels"]
  if CONTROL not in content["strategies"]:
    return [
      f"Nothing is compared: {CONTROL} is not among acquire.strategies, so nobody can say whether "
      "asking for these labels is better than asking for any."
    ]
  if not content["primary"]:
    return [f"Nothing is compared: {CONTROL} is the only strategy."]
  what = f"mean accuracy on the way from {labels[0]} to {labels[-1]} labels (area under the curve)"
  found = []
  for one in content["primary"].values():
    text = f"{one['difference']}, {what}: "
    if one["mean"] is not None:
      text += f"{percent(one['mean'], signed=True)} points"
    if one["interval"] is not None:
      low, high = (percent(edge, signed=True) for edge in one["interval"])
      text += f" ({low} to {high})"
    found.append(f"{text}, n = {one['n']}: {one['verdict']}.")
  return found


def table_text(content: Mapping[str, Any]) -> str:
  """Returns what active learning prints: a line for each number of labels, then the verdicts.

  Accuracies are in percent, differences in percentage points.
  """
  names, labels = content["strategies"], content["labels"]
  compared = _compared(content)
  lines = [["labels", *names, *(f"{name} - {CONTROL}" for name in compared)]]
  lines += [[str(number), *_cells(content, place)] for place, number in enumerate(labels)]
  last = [_with_interval(content["areas"][name]) for name in names]
  last += [_with_interval(content["primary"][name], signed=True) for name in compared]
  lines.append(["area", *last])
  title = (
    "test accuracy, %, and differences, points: mean over the seeds, with 95 % intervals; n = "
    f"{len(content['seeds'])}"
  )
  told = [
    line for sentence in sentences(content) for line in textwrap.wrap(sentence, tables.MAX_WIDTH)
  ]
  return "\n".join([title, "", tables.block(list(zip(*lines, strict=True))), "", *told])


def _compared(content: Mapping[str, Any]) -> list[str]:
  """Returns the strategies that are compared with random."""
  return list(content["primary"])


def _cells(content: Mapping[str, Any], place: int) -> list[str]:
  """Returns accuracies and differences at a number of labels; "-" where strategies are the same."""
  cells = [_with_interval(content["curves"][name][place]) for name in content["strategies"]]
  for name in _compared(content):
    of = content["at_labels"][name]
    cells.append("-" if place == 0 else _with_interval(of[place - 1], signed=True))
  return cells


def _with_interval(entry: Mapping[str, Any], signed: bool = False) -> str:
  """Returns such as "91.20 (90.10 to 92.30)", in percent; "-" for nothing."""
  text = percent(entry["mean"], signed)
  if entry["interval"] is None:
    return text
  low, high = (percent(edge, signed) for edge in entry["interval"])
  return f"{text} ({low} to {high})"


def _contrast(one: Mapping[str, Any]) -> dict[str, str]:
  """Returns what the page shows of a contrast, as text."""
  interval: Sequence[float] | None = one["interval"]
  return {
    "name": one["difference"],
    "mean": percent(one["mean"], signed=True),
    "interval": "-" if interval is None else " to ".join(percent(edge, True) for edge in interval),
    "verdict": one["verdict"],
    "n": str(one["n"]),
    "p": tables.p_text(one["p"]),
    "p_holm": tables.p_text(one["p_holm"]),
  }
