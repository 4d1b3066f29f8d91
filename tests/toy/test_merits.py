"""The toy's figures of merit by hand-made cases, the choice, the sign test and the checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.errors import DivergedError
from sdt.stats.paired import per_seed
from sdt.toy.merits import checks, choose, end_bias, roughness, sign_test, squared_error


def test_error_roughness_and_bias_of_a_hand_made_fit():
  fits, truth = (
    np.array([[0.0, 1.0, 0.0, 3.0], [1.0, 2.0, 3.0, 4.0]]),
    np.array([1.0, 1.0, 1.0, 1.0]),
  )
  np.testing.assert_allclose(squared_error(fits, truth), [(1 + 0 + 1 + 4) / 4, (0 + 1 + 4 + 9) / 4])
  np.testing.assert_allclose(
    roughness(fits), [(2 + 4) / 2, 0]
  )  # second differences -2, 4; and none of a line
  np.testing.assert_allclose(end_bias(fits, truth), [(-1 + 2) / 2, (0 + 3) / 2])


def test_the_roughness_of_a_parabola_is_twice_the_square_of_the_step():
  grid = np.linspace(-1, 1, 201)
  np.testing.assert_allclose(roughness(grid[None] ** 2), [2e-4])


def test_a_constant_shift_changes_the_bias_by_itself_and_the_roughness_not_at_all():
  rng = np.random.default_rng(0)
  fits, truth = rng.normal(size=(3, 9)), rng.normal(size=9)
  np.testing.assert_allclose(end_bias(fits + 0.25, truth), end_bias(fits, truth) + 0.25)
  np.testing.assert_allclose(roughness(fits + 0.25), roughness(fits))


def test_the_candidate_of_the_smallest_mean_error_is_chosen_and_an_edge_is_said():
  errors = np.array([[3.0, 3.0], [1.0, 2.0], [2.0, 2.0]])
  assert (choose(errors).index, choose(errors).at_edge) == (1, False)
  assert (choose(errors[1:]).index, choose(errors[1:]).at_edge) == (0, True)
  assert (choose(errors[:2]).index, choose(errors[:2]).at_edge) == (1, True)


def test_a_candidate_of_which_a_seed_diverged_is_not_chosen():
  errors = np.array([[1.0, 9.0, 1.0], [2.0, 0.5, 2.0], [0.0, np.nan, 0.0]])
  assert choose(errors).index == 1
  with pytest.raises(
    DivergedError,
    match=r"toy\.lambdas: no decay can be chosen: a seed diverged under each",
  ):
    choose(np.array([[np.nan, 1.0], [1.0, np.nan]]))


def test_the_sign_test_leaves_ties_and_missing_values_out():
  test = sign_test([1.0, 1.0, 1.0, 1.0, 5.0, None], [2.0, 2.0, 2.0, 1.0, 4.0, 1.0])
  assert (test["smaller"], test["larger"], test["equal"], test["n"]) == (3, 1, 1, 5)
  assert test["p"] == pytest.approx(2 * (1 + 4) / 2**4)
  assert test["mean"] == pytest.approx((-3 + 1) / 5)
  assert sign_test([1.0], [1.0])["p"] is None


def test_a_difference_below_a_thousandth_is_none():
  test = sign_test([1.0, 1.0, -1.0, 0.0], [1.0009, 1.0011, -1.0009, 0.0])
  assert (test["smaller"], test["larger"], test["equal"]) == (1, 0, 3)


@given(st.integers(0, 20))
def test_the_p_of_the_sign_test_is_the_two_sided_binomial_tail(smaller):
  from math import comb

  first, second = [0.0] * smaller + [2.0] * (20 - smaller), [1.0] * 20
  k = min(smaller, 20 - smaller)
  expected = min(1.0, 2 * sum(comb(20, i) for i in range(k + 1)) / 2**20)
  assert sign_test(first, second)["p"] == pytest.approx(expected)


def arm(train, error, rough):
  values = {"train_error": train, "error": error, "roughness": rough}
  return {name: per_seed(dict(enumerate(own))) for name, own in values.items()}


def test_what_must_hold_is_held_to_its_bounds():
  uniform = arm([0.08] * 10, [0.02] * 10, [1.0] * 10)
  good = checks(
    {"no_decay": arm([0.04] * 10, [0.03] * 10, [2.0] * 9 + [0.5]), "uniform": uniform}, 1 / 12
  )
  assert [check["holds"] for check in good] == [True, True, True]
  assert [check["value"] for check in good] == pytest.approx([0.48, 1.5, 0.9])
  bad = checks(
    {"no_decay": arm([0.05] * 10, [0.0299] * 10, [2.0] * 8 + [0.5] * 2), "uniform": uniform}, 1 / 12
  )
  assert [check["holds"] for check in bad] == [False, False, False]
  lost = checks(
    {"no_decay": arm([None], [None], [None]), "uniform": arm([0.08], [0.02], [1.0])}, 1 / 12
  )
  assert [check["holds"] for check in lost] == [None, None, None]
