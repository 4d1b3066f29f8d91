"""Reads the page of a report back; makes small runs to build one of."""

import html.parser

from sdt.report import read
from sdt.report import run_page as report_html
from tests.support.fake_run import make_fake_run


class Page(html.parser.HTMLParser):
  """Collects the tags, the image sources and the tables (rows of cell texts) of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.sources, self.rows, self.in_cell = [], [], [], False
    self.feed(text)

  @property
  def pictures(self):
    return [source for source in self.sources if not source.startswith("#")]

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self.sources += [value for name, value in attrs if name in ("src", "href")]
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.in_cell = True
      self.rows[-1].append("")

  def handle_endtag(self, tag):
    self.in_cell = self.in_cell and tag not in ("td", "th")

  def handle_data(self, data):
    if self.in_cell:
      self.rows[-1][-1] += data


def small_run(workdir, **changes):
  return make_fake_run(workdir, **{"num_train": 200, "rounds": 8, "num_mosaic": 3, **changes})


def page_alone(workdir):
  """Returns the page without its figures, which take most of the time."""
  return report_html.page(read.load(workdir), {})
