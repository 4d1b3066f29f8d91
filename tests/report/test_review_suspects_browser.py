"""What review.html tells suspects from other images, and an earlier review from this one."""

import csv

import pytest

from sdt.report import read, review_page
from tests.support import browser
from tests.support.fake_review import add_review, add_test_review
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


@pytest.fixture(scope="module")
def chromium():
  with browser.chromium() as one:
    yield one


@pytest.fixture
def watched(chromium, run):
  context = chromium.new_context(viewport={"width": 400, "height": 800})
  page = browser.Watched(context, run[0])
  yield page
  page.assert_quiet()
  context.close()


def shown(watched):
  return watched.page.eval_on_selector_all(".tile", "all => all.map(one => one.value)")


def test_suspects_have_a_filter_a_counter_and_the_pairs_for_themselves(run, watched):
  page, rows = watched.page, run[1]
  suspects = [row for row in rows if row["suspect"] == "1"]
  assert 5 < len(suspects) < NUM
  done = sum(row["reviewed"] == "1" for row in suspects)
  said = f"Suspects: {done} of {len(suspects)} done. 2 kept in an earlier review."
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


def test_test_images_are_a_part_of_their_own_with_their_own_work_and_file(chromium, tmp_path):
  workdir = make_fake_run(tmp_path / "run", rounds=2, num_mosaic=2, num_train=60)
  add_review(workdir, num_images=10)
  add_test_review(workdir, num_images=20, reviewed=10)
  path = review_page.write(workdir, read.load(workdir))
  context = chromium.new_context(viewport={"width": 400, "height": 800})
  watched = browser.Watched(context, path)
  page = watched.page
  page.keyboard.press("k")
  assert page.is_hidden(".of-test")
  with page.expect_navigation(wait_until="load"):
    page.click("#to-test")
  page.wait_for_selector('[data-side="test"][data-ready]')
  assert page.is_visible(".of-test")
  assert watched.text("#about").startswith("20 of 20 test images, the most suspicious first")
  assert watched.text("#how") == "--config.data.corrections_test=corrections_test.csv"
  assert shown(watched) == [str(number) for number in range(20)]
  assert watched.text("#counter").startswith("0 of 20 decided")
  page.select_option("#by-subset", "random")
  assert shown(watched) == ["0", "5", "10", "15"]
  page.keyboard.press("a")
  page.keyboard.press("k")
  said = watched.text("#suspects-done")
  assert said.startswith("Suspects: 1 of 3 done. 1 kept")
  assert said.endswith("Random sample: 3 of 4 done, 1 of them mended.")
  content = watched.downloaded(lambda: page.keyboard.press("s"), "corrections_test.csv")
  assert content.decode().splitlines()[1:] == [
    "0,test/0.png,0,relabel,1",
    "5,test/5.png,5,keep,",
  ]
  assert page.evaluate("document.documentElement.scrollWidth") <= 400
  with page.expect_navigation(wait_until="load"):
    page.click("#to-training")
  page.wait_for_selector('[data-side="training"][data-ready]')
  assert watched.text("#counter") == "1 of 10 decided: 1 keep, 0 relabel, 0 drop"
  watched.assert_quiet()
  context.close()
