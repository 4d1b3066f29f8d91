"""Reads the page of a report back; makes small runs to build one of."""

import html.parser
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sdt.report import read, run_page
from tests.support.fake_run import make_fake_run

MANY_ARMS = ("baseline", "method", "alternate_mean", "uniform_mean", "less_data")


class Page(html.parser.HTMLParser):
  """Collects the tags, the image sources and the tables (rows of cell texts) of a page."""

  def __init__(self, text: str) -> None:
    super().__init__()
    self.tags: list[tuple[str, dict[str, str | None]]] = []
    self.sources: list[str] = []
    self.rows: list[list[str]] = []
    self.in_cell = False
    self.feed(text)

  @property
  def pictures(self) -> list[str]:
    return [source for source in self.sources if not source.startswith("#")]

  def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
    self.tags.append((tag, dict(attrs)))
    self.sources += [value for name, value in attrs if value and name in ("src", "href")]
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.in_cell = True
      self.rows[-1].append("")

  def handle_endtag(self, tag: str) -> None:
    self.in_cell = self.in_cell and tag not in ("td", "th")

  def handle_data(self, data: str) -> None:
    if self.in_cell:
      self.rows[-1][-1] += data


def small_run(workdir: Path, **changes: Any) -> Path:
  """Makes a run of few examples and rounds; `changes` are fields of `FakeRun`."""
  return make_fake_run(workdir, **{"num_train": 200, "rounds": 8, "num_mosaic": 3, **changes})


def page_alone(workdir: Path) -> str:
  """Returns the page without its figures, which take most of the time."""
  return run_page.html(read.load(workdir), {})


def labels_of(axes: Axes) -> list[str]:
  """Returns the texts beside the ticks of the y axis, from the bottom up."""
  return [tick.get_text() for tick in axes.get_yticklabels()]
