"""The figures of a search, with their captions."""

from typing import Any

from sdt.report import figures, search_figures
from sdt.report.picture import Picture
from sdt.report.read import Artifacts
from sdt.report.wording import sentences


def pictures(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns a figure for each arm that was searched for; {} without a search."""
  selection = artifacts.selection
  parts = selection.get("search", {}).get("parts", {})
  return {f"search_{arm}": _picture(selection["choices"][arm], part) for arm, part in parts.items()}


def _picture(choice: dict[str, Any], part: dict[str, Any]) -> Picture:
  candidates = choice["candidates"]
  svg = figures.render(search_figures.search, candidates, part["space"], choice["chosen"])
  is_halving = len(part["rungs"]) > 1
  caption = sentences(
    "Mean accuracy of each trial on the validation split, over its seeds. The chosen trial is "
    "orange.",
    "Grey trials were stopped early: their accuracy is that of their last round, and the schedule "
    "of the learning rate had not ended."
    if is_halving
    else "",
    "In the other panels the same trials stand by their value of each key, whatever their other "
    "values are.",
  )
  alt = "validation accuracy of the trials of a search, in order and against each key"
  return Picture(svg, alt, caption, kind="wide")
