"""What review.html tells suspects from other images, and an earlier review from this one."""

import csv

import pytest

from sdt.report import read, review_page
from tests.support import browser
from tests.support.fake_review import add_review
from tests.support.fake_run import make_fake_run

pytestmark = pytest.mark.slow
NUM = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A page, and the rows of suspects.csv that it shows; three images were kept before."""
  folder = tmp_path_factory.mktemp("suspects") / "run"
  workdir = make_fake_run(folder, rounds=2, num_mosaic=2, num_train=300)
  add_review(workdir, num_images=NUM, reviewed={1, 4, 299})
  with open(workdir / "suspects.csv", newline="") as file:
    rows = list(csv.DictReader(file))[:NUM]
  return review_page.write(workdir, read.load(workdir)), rows


@pytest.fixture
def watched(run):
  with browser.chromium() as one:
    context = one.new_context(viewport={"width": 400, "height": 800})
    page = browser.Watched(context, run[0])
    yield page
    page.assert_quiet()


def shown(watched):
  return watched.page.eval_on_selector_all(".tile", "all => all.map(one => one.value)")


def test_suspects_have_a_filter_a_counter_and_the_pairs_for_themselves(run, watched):
  page, rows = watched.page, run[1]
  suspects = [row for row in rows if row["suspect"] == "1"]
  assert 5 < len(suspects) < NUM
  done = sum(row["reviewed"] == "1" for row in suspects)
  said = f"Suspects: {done} of {len(suspects)} done. 2 images were kept in an earlier review."
  assert watched.text("#suspects-done") == said
  page.select_option("#by-kind", "suspects")
  assert shown(watched) == [row["example_id"] for row in suspects]
  page.select_option("#by-state", "todo")
  for _ in range(len(suspects) - done):
    page.keyboard.press("k")
  assert watched.text("#suspects-done").startswith(f"Suspects: {len(suspects)} of {len(suspects)} ")
  assert page.evaluate("progress.value / progress.max") == 1
  # All is done: the page says so, and what leads on.
  assert watched.text("#nothing-why") == "Nothing is left to do here."
  assert watched.text("#heading") == "No image matches"
  page.keyboard.press("u")
  assert page.is_hidden("#nothing")
  assert len(shown(watched)) == 1
  # Every suspect is in one pair, and nobody else is in any.
  page.click("#unfilter")
  options = page.eval_on_selector_all("#by-pair option", "all => all.map(one => one.value)")[1:]
  found = []
  for option in options:
    page.select_option("#by-pair", option)
    found += shown(watched)
    assert (
      page.locator(f'#by-pair option[value="{option}"]')
      .inner_text()
      .endswith(f": {len(shown(watched))}")
    )
  assert sorted(found) == sorted(row["example_id"] for row in suspects)


def test_an_earlier_review_is_shown_as_done_and_is_in_no_file(run, watched):
  page, rows = watched.page, run[1]
  page.select_option("#by-state", "earlier")
  assert shown(watched) == [rows[1]["example_id"], rows[4]["example_id"]]
  assert watched.text("#decision") == "✓ kept in an earlier review"
  assert page.is_disabled("#download")
  page.keyboard.press("d")
  assert shown(watched) == [rows[4]["example_id"]]
  content = watched.downloaded(lambda: page.keyboard.press("s")).decode().splitlines()
  assert content[1:] == [f"{rows[1]['example_id']},,{rows[1]['given']},drop,"]
  page.keyboard.press("u")
  assert len(shown(watched)) == 2
  page.select_option("#by-state", "todo")
  assert rows[1]["example_id"] not in shown(watched)


def test_filters_that_nothing_passes_are_named_with_a_way_out(watched):
  page = watched.page
  page.select_option("#by-kind", "suspects")
  page.select_option("#by-state", "drop")
  why = watched.text("#nothing-why")
  assert why.startswith("No image passes these filters together (Decision – drop; Show – suspects:")
  box = page.locator("#unfilter-too").bounding_box()
  assert 0 <= box["y"] < 800  # it is seen at once
  page.click("#unfilter-too")
  assert len(shown(watched)) == NUM
  assert page.is_hidden("#nothing")
