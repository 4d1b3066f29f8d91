"""What the statistics promise, over thousands of drawn experiments.

Only the drawing is vectorised; the verdicts are sdt's.

With 2,000 experiments a share of 5 % has a standard error of 0.5, one of 80 % of 0.9 points.
"""

import numpy as np
import pytest

from sdt.stats import paired

EXPERIMENTS = 2_000
# One number of seeds in every run of the tests, the others in `make slow`.
SIZES = (5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 10)))
SD = 0.003  # of one arm over its seeds; the margin of "equal" is 0.0025


def _drawn(n, num_arms, seed, shifts=0.0):
  """Returns accuracies [experiments, arms, n]; the method is first.

  All arms are drawn alike; the method is better than each by its shift.
  """
  accuracy = np.random.default_rng(seed).normal(0.75, SD, (EXPERIMENTS, num_arms, n))
  accuracy[:, 1:] -= np.reshape(np.broadcast_to(shifts, num_arms - 1), (-1, 1))
  return accuracy.tolist()


def _verdicts(drawn, **settings):
  """Yields the contrasts of each experiment.

  Those of one family share the method's numbers, so their correlation is a half.
  """
  for method, *others in drawn:
    first, pairs = dict(enumerate(method)), enumerate(others)
    yield paired.contrasts(
      {
        str(arm): paired.Pair("method", str(arm), first, of_second=dict(enumerate(values)))
        for arm, values in pairs
      },
      **settings,
    )


def _share(events):
  return sum(events) / EXPERIMENTS


def _holds(contrast, true):
  return contrast["interval"][0] <= true <= contrast["interval"][1]


@pytest.mark.parametrize("n", SIZES)
def test_an_unadjusted_t_test_rejects_a_true_null_in_5_percent(n):
  actual = [contrast["0"] for contrast in _verdicts(_drawn(n, 2, seed=n))]
  assert _share(contrast["p"] < 0.05 for contrast in actual) == pytest.approx(0.05, abs=0.015)
  assert _share(contrast["verdict"] in ("better", "worse") for contrast in actual) == pytest.approx(
    0.05, abs=0.015
  )
  assert _share(_holds(contrast, 0.0) for contrast in actual) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("n", SIZES)
def test_of_six_true_nulls_any_is_called_a_difference_in_at_most_5_percent(n):
  wrong = missed = unadjusted = 0
  for actual in _verdicts(_drawn(n, 7, seed=10 + n)):
    wrong += any(contrast["verdict"] in ("better", "worse") for contrast in actual.values())
    missed += not all(_holds(contrast, 0.0) for contrast in actual.values())
    unadjusted += any(contrast["p"] < 0.05 for contrast in actual.values())
  assert wrong / EXPERIMENTS <= 0.065
  assert missed == wrong  # the interval and the verdict never disagree
  assert unadjusted / EXPERIMENTS > 0.13  # so there was something to correct


@pytest.mark.parametrize("n", SIZES)
def test_beside_three_large_effects_a_true_null_is_called_a_difference_in_at_most_5_percent(n):
  """After Holm's test finds the effects, only the three nulls share the level.

  What they reject must still be rare.
  """
  shifts = np.array([0.05, 0.05, 0.05, 0.0, 0.0, 0.0])
  wrong = found_all = 0
  for actual in _verdicts(_drawn(n, 7, seed=20 + n, shifts=shifts)):
    wrong += any(actual[str(arm)]["verdict"] in ("better", "worse") for arm in (3, 4, 5))
    found_all += all(actual[str(arm)]["verdict"] == "better" for arm in (0, 1, 2))
  assert wrong / EXPERIMENTS <= 0.065
  assert found_all / EXPERIMENTS > 0.9


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_of_the_smallest_detectable_size_is_found_in_80_percent(n, sign):
  shift = sign * paired.smallest_detectable(SD * np.sqrt(2), n)
  actual = [contrast["0"] for contrast in _verdicts(_drawn(n, 2, seed=30 + n, shifts=shift))]
  assert _share(
    contrast["verdict"] == ("better" if sign > 0 else "worse") for contrast in actual
  ) == pytest.approx(0.8, abs=0.03)
  assert _share(_holds(contrast, shift) for contrast in actual) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("n", SIZES)
def test_in_a_family_of_six_it_is_found_in_80_percent_at_the_level_of_the_family(n):
  """The other five are nulls: Holm's first step decides, at a sixth of the level.

  Later steps add a little.
  """
  shift = paired.smallest_detectable(SD * np.sqrt(2), n, 0.05 / 6)
  actual = _share(
    actual["0"]["verdict"] == "better"
    for actual in _verdicts(_drawn(n, 7, seed=40 + n, shifts=[shift, 0, 0, 0, 0, 0]))
  )
  assert 0.77 <= actual <= 0.84


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("spread", [0.8, 1.0, 1.5])
def test_a_difference_at_the_margin_is_called_equal_in_at_most_5_percent(n, spread):
  """`spread` is the sd of the differences, in margins.

  With a smaller one such a difference is called better, and hardly ever equal.
  """
  margin = SD * np.sqrt(2) / spread
  drawn = _drawn(n, 2, seed=50 + n, shifts=margin)
  equal = _share(
    contrast["0"]["verdict"].startswith("equal") for contrast in _verdicts(drawn, margin=margin)
  )
  assert 0.01 < equal <= 0.065


@pytest.mark.parametrize("n", SIZES)
def test_no_difference_and_little_spread_is_called_equal(n):
  verdicts = [
    actual["0"]["verdict"] for actual in _verdicts(_drawn(n, 2, seed=60 + n), margin=40 * SD)
  ]
  assert _share(verdict.startswith("equal") for verdict in verdicts) == pytest.approx(
    0.95, abs=0.015
  )
  assert _share(verdict in ("better", "worse") for verdict in verdicts) == pytest.approx(
    0.05, abs=0.015
  )


def test_a_percentile_bootstrap_of_five_pairs_would_reject_far_too_often():
  """Why the bootstrap begins at ten pairs: all 3,125 resamples of five values."""
  values = np.random.default_rng(70).normal(0.0, SD, (EXPERIMENTS, 5))
  resamples = np.stack(np.meshgrid(*[np.arange(5)] * 5), axis=-1).reshape(-1, 5)
  counts = np.stack([(resamples == index).mean(axis=1) for index in range(5)])
  low, high = np.quantile(values @ counts, [0.025, 0.975], axis=1)
  assert ((low > 0) | (high < 0)).mean() == pytest.approx(0.17, abs=0.025)
