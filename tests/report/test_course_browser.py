"""The chart of an image's course in review.html, in a real browser."""

import numpy as np
import pytest

from sdt.report import read, review_page
from tests.support import browser
from tests.support.fake_review import add_course, add_review
from tests.support.fake_run import make_fake_run

pytestmark = pytest.mark.slow
LEFT, RIGHT, TOP, BOTTOM = 26, 352, 8, 78  # of the chart, in its own units


@pytest.fixture(scope="module")
def chromium():
  with browser.chromium() as one:
    yield one


@pytest.fixture
def opened(chromium, tmp_path):
  """Returns a function that opens the page of a run; in the end it must be quiet."""
  contexts, pages = [], []

  def open_page(*, rounds, width=1280, seeds=(0, 1, 2)):
    workdir = make_fake_run(tmp_path / "run", rounds=2, num_mosaic=2, num_train=60, seeds=seeds)
    ids = add_review(workdir, num_images=10, size=16)
    course = add_course(workdir, rounds=rounds) if rounds else None
    path = review_page.write(workdir, read.load(workdir))
    contexts.append(chromium.new_context(viewport={"width": width, "height": 800}))
    pages.append(browser.Watched(contexts[-1], path))
    return pages[-1], ids, course

  yield open_page
  for watched in pages:
    watched.assert_quiet()
  for context in contexts:
    context.close()


def places(values, rounds):
  """Returns where values in percent stand in the chart, [rounds, 2]."""
  across = LEFT + (np.arange(rounds)) / (rounds - 1) * (RIGHT - LEFT)
  return np.stack([across, BOTTOM - np.array(values) / 100 * (BOTTOM - TOP)], axis=1)


def drawn(watched, name):
  """Returns the points of a line or a band."""
  points = watched.page.get_attribute(f"#course-{name}", "points").split()
  return np.array([[float(number) for number in point.split(",")] for point in points])


@pytest.mark.parametrize("width", [400, 1280])
def test_each_image_has_its_own_line_and_band_with_the_same_in_words(opened, width):
  watched, ids, course = opened(rounds=15, width=width)
  page = watched.page
  for number in ids[:3]:
    percent = np.rint(course[:, number] * (100 / 255))
    mean = np.rint(course[:, number].mean(axis=0) * (100 / 255))
    band = np.concatenate([places(percent.max(axis=0), 15), places(percent.min(axis=0), 15)[::-1]])
    np.testing.assert_allclose(drawn(watched, "line"), places(mean, 15), atol=0.06)
    np.testing.assert_allclose(drawn(watched, "band"), band, atol=0.06)
    best = int(mean.argmax())
    assert page.get_attribute("#course-chart", "aria-label") == (
      f"Probability of the given label: {mean[0] / 100:.2f} in round 1, {mean[-1] / 100:.2f} in "
      f"round 15, highest {mean[best] / 100:.2f} in round {best + 1}"
    )
    page.keyboard.press("n")
  assert watched.text("#course-about") == (
    "Probability of the given label: mean and range of 3 seeds"
  )
  assert [watched.text(f"#course-{name}") for name in ("first", "middle", "last")] == [
    *("round 1", "8", "15"),
  ]
  box = page.locator("#course-chart").bounding_box()
  assert box["x"] >= 0
  assert box["x"] + box["width"] <= width
  assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
  session = page.context.new_cdp_session(page)
  nodes = session.send("Accessibility.getFullAXTree")["nodes"]
  names = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "image"]
  assert any(name.startswith("Probability of the given label: 0.") for name in names)


def test_of_a_long_training_60_points_are_drawn_and_one_seed_has_no_band(opened):
  watched, _, _ = opened(rounds=200, seeds=(0,))
  assert watched.text("#course-about") == "Probability of the given label: 60 of 200 rounds"
  assert len(drawn(watched, "line")) == 60
  assert watched.page.get_attribute("#course-band", "points") == ""
  assert watched.text("#course-last") == "200"


def test_one_round_is_a_dot(opened):
  watched, _, _ = opened(rounds=1)
  assert float(watched.page.get_attribute("#course-end", "cx")) == (LEFT + RIGHT) / 2
  assert watched.text("#course-first") == "round 1"
  assert watched.text("#course-last") == ""


def test_without_a_course_and_without_an_image_there_is_no_chart(opened):
  watched, _, _ = opened(rounds=0)
  assert not watched.page.is_visible("#course")
  watched, _, _ = opened(rounds=5)
  assert watched.page.is_visible("#course")
  watched.page.select_option("#by-state", "done")
  assert not watched.page.is_visible("#course")
