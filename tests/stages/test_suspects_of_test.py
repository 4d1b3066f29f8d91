"""suspects_test.csv: test images whose label looks wrong, by networks that have not seen them."""

import csv

import numpy as np
import pytest

from sdt import files
from sdt.stages import suspects_of_test
from sdt.stages.suspects_of_test import NUM_RANDOM, random_sample, suspects_of
from tests.support import tiny, whole


def stored_of(probabilities, labels):
  """Returns what predictions.npz would hold of one arm with these answers [R, n, K]."""
  return {
    "arms": np.array(["baseline"]),
    "seeds": np.arange(len(probabilities)),
    "probabilities": probabilities[None],
    "predicted": probabilities.argmax(axis=2)[None],
    "label": labels,
  }


def test_the_odds_are_the_geometric_mean_over_the_seeds_that_are_asked():
  rng = np.random.default_rng(1)
  labels = rng.integers(0, 4, 50)
  logits = rng.normal(size=(3, 50, 4))
  logits *= 2
  logits[..., np.arange(50), labels] += 1.0
  probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
  found = suspects_of(stored_of(probabilities.astype(np.float32), labels), "baseline", [0, 2])
  for at in range(50):
    of_label = probabilities[[0, 2], at, labels[at]]
    others = np.delete(probabilities[[0, 2], at], labels[at], axis=1).max(axis=1)
    odds = np.sqrt(np.prod(others / of_label))
    assert np.exp(found.log_odds[at]) == pytest.approx(odds, rel=1e-3)
    assert found.is_flagged[at] == (odds > np.exp(2.5))
  assert 0 < found.is_flagged.sum() < 50
  assert not found.has_memorised


def test_an_answer_that_is_wrong_by_less_than_rounding_is_against_the_label_all_the_same():
  stored = stored_of(np.full((1, 2, 2), 0.5, np.float16), np.array([0, 0]))
  stored["predicted"] = np.array([[[1, 0]]])
  found = suspects_of(stored, "baseline", [0])
  assert found.seeds_agree.tolist() == [1, 0]


def test_the_random_sample_follows_from_the_ids_alone():
  split = tiny.data(tiny.config(data__shapes__num_test=400)).test
  drawn = random_sample(split, 0)
  assert drawn.sum() == NUM_RANDOM
  some = np.arange(0, 400, 2)
  kept = set(split.example_ids[drawn].tolist())
  again = random_sample(split.take(some), 0)
  assert kept & set(split.example_ids[some].tolist()) <= set(
    split.take(some).example_ids[again].tolist()
  )
  assert (random_sample(split, 1) != drawn).any()


def test_a_run_leaves_the_table_and_the_images_of_its_recommended_networks(reference_run):
  with open(reference_run / suspects_of_test.TABLE, newline="") as file:
    rows = list(csv.DictReader(file))
  test = tiny.data(whole.CONFIG).test
  stored = files.map_npz(reference_run / "predictions.npz")
  results = files.read_json(reference_run / "results.json")
  assert sorted(int(row["example_id"]) for row in rows) == test.example_ids.tolist()
  place = {number: at for at, number in enumerate(test.example_ids.tolist())}
  arm = stored["arms"].tolist().index(results["recommended"]["arm"])
  fit = results["arms"][results["recommended"]["arm"]]["fit"]
  seeds = [stored["seeds"].tolist().index(seed) for seed in fit]
  for row in rows:
    at = place[int(row["example_id"])]
    assert row["given"] == results["data"]["class_names"][test.labels[at]]
    said = stored["predicted"][arm, seeds, at]
    against = [results["data"]["class_names"][one] for one in said if one != test.labels[at]]
    assert int(row["seeds_agree"]) == against.count(row["suggested"])
    assert row["random"] == "1"  # of a set that is no larger than the sample
  images = files.read_npz(reference_run / suspects_of_test.IMAGES)
  assert images["example_id"].tolist() == [int(row["example_id"]) for row in rows]
  np.testing.assert_array_equal(
    images["images"], test.inputs[[place[number] for number in images["example_id"].tolist()]]
  )
