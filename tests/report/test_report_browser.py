"""report.html in a real browser: a click sorts a table, nothing is asked of a network, it fits."""

import pytest

from sdt.report import read, run_page
from sdt.report.picture import Picture
from tests.support import browser
from tests.support.report_page import small_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
  folder = tmp_path_factory.mktemp("report")
  names = ["cat", "<b>dog</b>", "a rather long name of a class", "猫", "e"]
  path = folder / "report.html"
  run = read.load(small_run(folder / "run", num_classes=5, class_names=names))
  svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="1166" height="500"></svg>'
  kinds = {"forest": "wide", "cam": "wide mosaic", "test_loss": ""}
  pictures = {name: Picture(svg, name, "A caption.", kind=kind) for name, kind in kinds.items()}
  path.write_text(run_page.html(run, pictures))
  return path


@pytest.fixture(scope="module")
def chromium():
  with browser.chromium() as one:
    yield one


@pytest.fixture
def opened(chromium, report):
  """Returns a function that opens the report, which must be quiet in the end."""
  problems, requests, contexts = [], [], []

  def open_page(width=1280):
    contexts.append(chromium.new_context(viewport={"width": width, "height": 800}))
    page = contexts[-1].new_page()
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    return page

  yield open_page
  for context in contexts:
    context.close()
  assert problems == []
  assert [url for url in requests if not url.startswith(("data:", report.as_uri()))] == []


def column(table, number):
  return [
    cell.strip() for cell in table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()
  ]


def test_a_click_on_a_heading_sorts_by_number_and_a_second_turns_the_order(opened):
  page = opened()
  table = page.locator("#results table.sortable").first
  head = table.locator("thead th", has_text="test loss")
  place = 1 + table.locator("thead th").all_inner_texts().index(head.inner_text())
  before = column(table, place)
  head.locator("button").click()
  assert column(table, place) == sorted(before, key=float)
  assert head.get_attribute("aria-sort") == "ascending"
  head.locator("button").click()
  assert column(table, place) == sorted(before, key=float, reverse=True)
  table.locator("thead th button").first.click()
  names = column(table, 1)
  assert names == sorted(names)
  assert head.get_attribute("aria-sort") is None


def test_headings_are_reached_and_pressed_by_keyboard(opened):
  page = opened()
  table = page.locator("#results table.sortable").first
  button = table.locator("thead th button").nth(2)
  button.focus()
  page.keyboard.press("Enter")
  values = [float(text.rstrip("!")) for text in column(table, 3)]
  assert values == sorted(values)


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_not_wider_than_the_window(opened, width):
  page = opened(width)
  assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_narrow_screen_figures_are_whole_and_a_tap_makes_them_larger(opened):
  page = opened(400)
  right = "all => all.map(one => one.getBoundingClientRect().right)"
  assert max(page.eval_on_selector_all("figure img", right)) <= 400
  wide = page.locator("figure.wide .scroll").first
  before = wide.locator("img").bounding_box()["width"]
  wide.click()
  assert wide.locator("img").bounding_box()["width"] > 2 * before
  assert page.evaluate("document.documentElement.scrollWidth") <= 400
  page.locator("h1").click()
  assert wide.locator("img").bounding_box()["width"] == before
