"""Proposals: what a search tries next is a function of the seed, the number and earlier results."""

import itertools

import numpy as np
import pytest

from sdt.config import search_space
from sdt.config.search_space import Dimension, space_of
from sdt.run.search import proposals
from sdt.run.search.proposals import Seen, propose

SQUARE = (Dimension("a", "uniform"), Dimension("b", "uniform"))
FEW = space_of(["optim.learning_rate = log(1e-3, 1, 4)", "model.activation = choice(relu, tanh)"])


def bowl(point):
  """Returns a value that is highest, 1, at (0.3, 0.62)."""
  return 1 - (point[0] - 0.3) ** 2 - (point[1] - 0.62) ** 2


def regret(method, seed, num_trials=24):
  """Returns how far the best of the trials, by noisy values, is below the highest."""
  noise, seen = np.random.default_rng(seed), []
  for _ in range(num_trials):
    point = propose(SQUARE, method, seed=seed, num_trials=num_trials, earlier=seen)
    seen.append(Seen(point, bowl(point) + 0.02 * noise.normal()))
  best = max(seen, key=lambda one: one.value)
  return 1 - bowl(best.point)


def trials(space, method, values, seed=0):
  """Returns the points that are proposed while the trials reach these values."""
  seen = []
  for value in values:
    point = propose(space, method, seed=seed, num_trials=len(values), earlier=seen)
    seen.append(Seen(point, value))
  return [one.point for one in seen]


@pytest.mark.parametrize("method", ["random", "halving", "bayes"])
def test_the_same_earlier_results_give_the_same_proposal_and_another_seed_others(method):
  values = [0.5, 0.7, None, 0.6, 0.65, 0.4, 0.3]
  first, again = trials(SQUARE, method, values), trials(SQUARE, method, values)
  assert first == again
  assert not set(first) & set(trials(SQUARE, method, values, seed=1))
  assert all(0 <= unit <= 1 for point in first for unit in point)


def test_only_bayes_looks_at_the_results():
  high, low = [0.5, 0.9, 0.1, 0.2, 0.3, 0.2, 0.1], [0.5, 0.1, 0.9, 0.2, 0.3, 0.2, 0.1]
  for method, is_equal in (("random", True), ("halving", True), ("bayes", False)):
    assert (trials(SQUARE, method, high) == trials(SQUARE, method, low)) == is_equal


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_no_point_is_tried_twice_and_a_small_space_is_tried_whole(method):
  values = [0.5, 0.6, 0.4, 0.7, 0.3, 0.2, 0.1, 0.3]
  found = [search_space.texts(FEW, point) for point in trials(FEW, method, values)]
  expected = [
    tuple(zip(("optim.learning_rate", "model.activation"), pair, strict=True))
    for pair in itertools.product(FEW[0].values, FEW[1].values)
  ]
  assert sorted(found) == sorted(expected)
  if method == "grid":
    assert found == expected


def test_random_points_fill_the_square_evenly():
  points = np.array(trials(SQUARE, "random", [0.0] * 200))
  counts, *_ = np.histogram2d(*points.T, bins=4, range=[(0, 1), (0, 1)])
  # Chi-square of 15 degrees of freedom is above 37.7 once in a thousand.
  assert ((counts - 12.5) ** 2 / 12.5).sum() < 37.7


def test_the_model_sees_places_in_ranges_and_choices_at_equal_distances():
  space = (*FEW, *space_of(["model.norm = choice(batch, layer, none)"]))
  points = np.array([(0.1, 0.1, 0.1), (0.9, 0.1, 0.5), (0.9, 0.9, 0.9)])
  seen = proposals._features(space, points)
  assert seen[:, 0].tolist() == [0, 1, 1]
  for columns in (slice(1, 3), slice(3, 6)):
    different = np.linalg.norm(seen[0, columns] - seen[2, columns])
    assert different == pytest.approx(1)


def test_the_expected_gain_is_that_of_the_formula():
  from scipy.integrate import quad
  from scipy.stats import norm

  seen = np.linspace(0, 1, 7)[:, None]
  values = np.sin(4 * seen[:, 0])
  gains = proposals._expected_gains(seen, values, np.array([[0.42], [0.9]]))
  # Close to the highest there is more to gain than far from it, and never less than nothing.
  assert gains[0] > gains[1] >= 0
  mean, sd, best = 0.4, 0.3, 0.5
  integral, _ = quad(lambda f: max(0, f - best) * norm.pdf(f, mean, sd), -5, 5, points=[best])
  assert proposals.expected_gain(np.array([mean]), np.array([sd]), best) == pytest.approx(
    integral, abs=1e-8
  )


@pytest.mark.slow
def test_over_twenty_repeats_bayes_is_at_a_regret_of_less_than_half_of_that_of_random():
  of_bayes, of_random = (
    np.array([regret(method, seed) for seed in range(20)]) for method in ("bayes", "random")
  )
  print(f"regret: bayes {of_bayes.mean():.4f}, random {of_random.mean():.4f}")
  assert of_bayes.mean() < 0.008
  assert of_bayes.mean() < 0.5 * of_random.mean()
  assert (of_bayes < of_random).sum() >= 14
