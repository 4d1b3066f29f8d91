"""The course of single examples in review.html: its points against a loop over the stored bytes."""

import json
import re

import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError
from sdt.report import course, read, review_page
from tests.support.fake_review import add_course, add_review
from tests.support.fake_run import make_fake_run

FEW = {"num_train": 60, "rounds": 2, "num_mosaic": 2}


def data_of(workdir):
  page = review_page.write(workdir, read.load(workdir)).read_text(encoding="utf-8")
  return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def run_of(folder, *, rounds, num_images=20, **changes):
  """Returns a run with a course, its ids and its course."""
  workdir = make_fake_run(folder / "run", **(FEW | changes))
  ids = add_review(workdir, num_images=num_images)
  return workdir, ids, add_course(workdir, rounds=rounds)


def test_a_point_is_the_mean_of_the_sound_seeds_and_the_band_their_range(tmp_path):
  workdir, ids, stored = run_of(tmp_path, rounds=15)
  scores = files.read_npz(workdir / "scores.npz")
  files.write_npz(workdir / "scores.npz", **scores | {"sound": np.array([True, False, True])})
  data = data_of(workdir)
  assert data["run"]["course"] == {"rounds": list(range(1, 16)), "numSeeds": 2}
  for number, lines in zip(ids, data["examples"]["course"], strict=True):
    for at in range(15):
      seen = [int(stored[seed, number, at]) / 255 for seed in (0, 2)]
      expected = [sum(seen) / 2, min(seen), max(seen)]
      assert [line[at] for line in lines] == [round(100 * value) for value in expected]


def test_one_seed_has_a_line_and_no_band(tmp_path):
  workdir, ids, stored = run_of(tmp_path, rounds=3, seeds=(4,))
  data = data_of(workdir)
  assert data["run"]["course"]["numSeeds"] == 1
  expected = [[np.rint(stored[0, number] / 2.55).astype(int).tolist()] for number in ids]
  assert data["examples"]["course"] == expected


def test_a_long_training_has_60_points_from_the_first_round_to_the_last(tmp_path):
  workdir, ids, stored = run_of(tmp_path, rounds=300, seeds=(0,))
  data = data_of(workdir)
  rounds = data["run"]["course"]["rounds"]
  assert (len(rounds), rounds[0], rounds[-1]) == (60, 1, 300)
  assert set(np.diff(rounds)) == {5, 6}
  own = stored[0, ids[0], np.array(rounds) - 1]
  assert data["examples"]["course"][0] == [np.rint(own / 2.55).astype(int).tolist()]


def test_a_seed_that_stopped_early_counts_up_to_its_best_round():
  stored = np.full((2, 3, 6), 51, np.uint8)
  stored[0, :, 2:] = 0
  stored[1, :, 5:] = 0
  stored[1, 1] = [0, 153, 0, 255, 0, 0]
  stored[1, :, 3] = 0  # in a round that was trained, 0 is a probability
  described, lines = course.points(stored, [2, 1], sound=None, remedy="")
  assert described == {"rounds": [1, 2, 3, 4, 5], "numSeeds": 2}
  assert lines[0] == [[20, 20, 20, 0, 20]] * 3
  assert lines[1] == [[10, 40, 0, 0, 0], [0, 20, 0, 0, 0], [20, 60, 0, 0, 0]]


def test_where_every_seed_diverged_all_count_and_an_empty_course_has_no_points():
  stored = np.zeros((2, 3, 4), np.uint8)
  stored[:, :, 0] = [[255], [51]]
  described, lines = course.points(stored, [0], sound=np.zeros(2, bool), remedy="")
  assert (described["rounds"], lines) == ([1], [[[60], [20], [100]]])
  described, lines = course.points(stored[:, :, 1:], [0], sound=None, remedy="")
  assert (described["rounds"], lines) == ([], [[[], [], []]])


@pytest.mark.parametrize("wrong", [np.zeros((2, 60, 4)), np.zeros((2, 60), np.uint8)])
def test_another_array_is_refused(wrong):
  with pytest.raises(DataError, match=r"scores\.npz: expected a course .* remove it and do so"):
    course.points(wrong, [0], sound=None, remedy="do so")


def test_without_a_course_the_data_are_as_they_were(tmp_path):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  add_review(workdir, num_images=20)
  data = data_of(workdir)
  add_course(workdir)
  with_course = data_of(workdir)
  assert with_course["run"].pop("course")
  assert with_course["examples"].pop("course")
  assert with_course == data


def test_the_course_takes_less_than_a_kilobyte_an_image_and_counts_for_the_size_of_the_page(
  tmp_path, monkeypatch
):
  workdir, _, _ = run_of(tmp_path, rounds=200, num_images=200, num_train=200)
  text = files.json_text(data_of(workdir)["examples"]["course"], indent=None)
  assert len(text) < 200 * 1000
  monkeypatch.setattr(review_page, "MAX_BYTES", 230_000)
  examples = data_of(workdir)["examples"]
  assert 0 < len(examples["id"]) == len(examples["course"]) < 200
  assert (workdir / review_page.FILE).stat().st_size < 230_000 + 50_000  # the script comes on top
