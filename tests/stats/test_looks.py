"""Several looks at one experiment: published bounds, and 5 % over all looks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from sdt.stats import looks, paired
from sdt.stats.comparison import compare
from sdt.stats.look_record import Standing, made_before, made_of
from sdt.stats.looks import Look

PLAN = (5, 10, 20)
LONG = pytest.mark.slow


# Lan and DeMets' bounds for O'Brien-Fleming-like spending, as ldbounds, gsDesign and SeqBounds
# print them. The last row is one-sided at 5 % there: two-sided at 10 %.
PUBLISHED = [
  (0.05, (2.9626, 1.9686)),
  (0.05, (3.7103, 2.5114, 1.9930)),
  (0.05, (4.3326, 2.9631, 2.3590, 2.0141)),
  (0.05, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
  (0.10, (3.74955, 2.53993, 2.01604, 1.72014)),
]


@pytest.mark.parametrize(("level", "bounds"), PUBLISHED)
def test_the_bounds_for_a_known_spread_are_the_published_ones_to_three_digits(level, bounds):
  plan = tuple(range(1, len(bounds) + 1))
  steps = [
    looks.brownian_transition(a / plan[-1], b / plan[-1]) for a, b in itertools.pairwise(plan)
  ]
  actual = [-special.ndtri(nominal / 2) for nominal in looks.levels(plan, steps, level)]
  np.testing.assert_allclose(actual, bounds, atol=5e-4)


def test_what_is_spent_is_the_published_share_and_all_at_the_last_look():
  published = {0.2: 0.00000, 0.4: 0.00079, 0.6: 0.00762, 0.8: 0.02442, 1.0: 0.05}
  for share, spent in published.items():
    assert looks.spent(share, 0.05) == pytest.approx(spent, abs=1e-5)


def t_statistics(plan, experiments, seed):
  """Yields |t| of each experiment at every look, without a difference."""
  values = np.random.default_rng(seed).standard_normal((experiments, plan[-1]))
  for n in plan:
    seen = values[:, :n]
    yield np.abs(seen.mean(axis=1)) / (seen.std(axis=1, ddof=1) / math.sqrt(n))


def share_crossing(plan, nominal, experiments, seed):
  crossed = np.zeros(experiments, bool)
  for n, level, t in zip(plan, nominal, t_statistics(plan, experiments, seed), strict=True):
    crossed |= 2 * special.stdtr(n - 1, -t) < level
  return crossed.mean()


@pytest.mark.slow_rows("plan0-100000")
@pytest.mark.parametrize(
  ("plan", "experiments"),
  [
    (PLAN, 100_000),
    ((3, 5), 100_000),
    pytest.param(PLAN, 500_000, marks=LONG),
    pytest.param((3, 4, 5, 6, 7, 8, 9, 10), 500_000, marks=LONG),
    pytest.param((20, 60, 120), 200_000, marks=LONG),
  ],
)
def test_all_looks_together_call_a_true_zero_a_difference_in_5_percent_and_naive_ones_more(
  plan, experiments
):
  nominal = [Look(plan, number).nominal(0.05) for number in range(1, len(plan) + 1)]
  actual = share_crossing(plan, nominal, experiments, seed=1)
  error = 3 * math.sqrt(0.05 * 0.95 / experiments)
  assert 0.05 - error < actual < 0.05 + error
  assert share_crossing(plan, [0.05] * len(plan), experiments, seed=1) > 0.08


def test_levels_for_a_known_spread_would_let_more_than_5_percent_through():
  """Why the recursion is that of t: eight looks at three to ten seeds."""
  plan = tuple(range(3, 11))
  steps = [looks.brownian_transition(a / 10, b / 10) for a, b in itertools.pairwise(plan)]
  assert share_crossing(plan, looks.levels(plan, steps, 0.05), 100_000, seed=2) > 0.054


@pytest.mark.slow_rows("300")
@pytest.mark.parametrize("experiments", [300, pytest.param(4_000, marks=LONG)])
def test_no_verdict_of_a_family_is_false_in_more_than_5_percent_over_all_planned_looks(experiments):
  """The verdicts are sdt's own, of three true nulls against one method."""
  accuracy = np.random.default_rng(3).normal(0.75, 0.003, (experiments, 4, PLAN[-1]))
  arms = ["method", *map(str, range(3))]
  wrong = dict.fromkeys(("planned", "naive"), 0)
  for drawn in accuracy:
    found = dict.fromkeys(wrong, False)
    for n in PLAN:
      of = {arm: dict(enumerate(row[:n].tolist())) for arm, row in zip(arms, drawn, strict=True)}
      for name, plan in (("planned", PLAN), ("naive", ())):
        standing = Standing(plan, range(n), arms)
        pairs = {
          arm: paired.Pair("method", arm, of["method"], of_second=of[arm]) for arm in arms[1:]
        }
        actual = paired.contrasts(pairs, 1e-9, look=standing.look)
        found[name] |= any(one["verdict"] in ("better", "worse") for one in actual.values())
    for name in wrong:
      wrong[name] += found[name]
  error = 3 * math.sqrt(0.05 * 0.95 / experiments)
  assert wrong["planned"] / experiments <= 0.05 + (0 if experiments > 1000 else error)
  assert wrong["naive"] / experiments > 0.06


def test_a_large_difference_is_found_at_the_first_look():
  first, second = ({seed: base + seed * 1e-4 for seed in range(5)} for base in (0.8, 0.7))
  second[0] += 3e-4
  pairs = {"other": paired.Pair("method", "other", first, of_second=second)}
  actual = paired.contrasts(pairs, look=Look(PLAN, 1))["other"]
  assert actual["verdict"] == "better"
  assert actual["p"] < actual["p_holm"] < 0.05


@given(
  number=st.integers(1, 3),
  values=st.lists(st.floats(0.6, 0.8), min_size=20, max_size=20),
  shift=st.sampled_from([0.0, 0.02, 0.1]),
)
def test_the_interval_excludes_zero_exactly_when_the_look_names_a_side(number, values, shift):
  n = PLAN[number - 1]
  first, pairs = dict(enumerate(values[:n])), {}
  for arm in range(3):
    other = {seed: values[(seed * 7 + arm) % 20] - shift * arm for seed in range(n)}
    pairs[str(arm)] = paired.Pair("method", str(arm), first, of_second=other)
  for one in paired.contrasts(pairs, look=Look(PLAN, number)).values():
    if one["interval"] is not None:
      low, high = one["interval"]
      assert (low > 0 or high < 0) == (one["verdict"] in ("better", "worse"))


@given(level=st.floats(1e-12, 0.9), number=st.integers(1, 3))
def test_the_p_value_for_all_looks_undoes_the_level_of_a_look(level, number):
  look = Look(PLAN, number)
  nominal = look.nominal(level)
  assert nominal <= level
  assert look.adjusted(nominal) == pytest.approx(level, rel=1e-6)


def test_one_look_alone_is_the_test_that_it_was_to_the_last_bit():
  for plan in ((), (5,)):
    look = Look(plan, 1)
    for level in (0.05, 0.05 / 3, 1e-30):
      assert (look.nominal(level), look.adjusted(level)) == (level, level)


def test_one_contrast_at_the_last_look_is_the_t_interval_at_its_nominal_level():
  rng = np.random.default_rng(4)
  values = rng.normal(0.001, 0.003, 20)
  first, second = dict(enumerate(values.tolist())), dict.fromkeys(range(20), 0.0)
  pairs = {"other": paired.Pair("method", "other", first, of_second=second)}
  actual = paired.contrasts(pairs, look=Look(PLAN, 3))["other"]
  level = Look(PLAN, 3).nominal(0.05)
  assert 0.0470 < level < 0.0490  # between what the last look adds, and a known spread's
  expected = scipy_stats.t.interval(1 - level, 19, values.mean(), scipy_stats.sem(values))
  np.testing.assert_allclose(actual["interval"], expected, rtol=1e-9)


def test_a_first_look_at_next_to_no_level_says_nothing_and_nothing_absurd():
  first, second = ({seed: base + seed**2 * 1e-3 for seed in range(3)} for base in (0.8, 0.7))
  second[1] += 2e-3
  pairs = {"other": paired.Pair("method", "other", first, of_second=second)}
  actual = paired.contrasts(pairs, look=Look((3, 100), 1))["other"]
  assert (actual["verdict"], actual["smallest_detectable"]) == ("not resolved", None)
  assert -1 <= actual["interval"][0] < 0 < actual["interval"][1] <= 1.2


def made(n, arms=("baseline", "method")):
  return {"seeds": list(range(n)), "arms": list(arms), "verdicts": {"method - baseline": "worse"}}


# Of each: the plan, the numbers of seeds seen before, those now, and whether that was planned.
CASES = [
  ((), (), 5, True),
  ((), (5,), 10, False),
  ((), (2,), 5, True),  # two seeds gave no verdict, so no false one
  ((), (1, 2), 5, True),
  ((), (2, 5), 6, False),
  ((), (5,), 5, True),
  (PLAN, (), 5, True),
  (PLAN, (5,), 10, True),
  (PLAN, (5,), 20, True),
  (PLAN, (5,), 7, False),
  (PLAN, (5, 7), 10, True),
  (PLAN, (), 4, False),
  (PLAN, (5, 10, 20), 25, False),
]


@pytest.mark.parametrize(("plan", "before", "now", "is_planned"), CASES)
def test_which_looks_were_planned(plan, before, now, is_planned):
  arms = ("baseline", "method")
  standing = Standing(plan, range(now), arms, earlier=[made(n) for n in before])
  assert standing.is_planned(*arms) == is_planned
  accuracy = {arm: {seed: 0.5 + 0.01 * seed**2 for seed in range(now)} for arm in arms}
  comparison = compare(accuracy, 0.0025, standing=standing)
  contrast = comparison["contrasts"]["baseline"]
  assert contrast.get("planned", True) == is_planned
  assert ("exploratory" in comparison["sentence"]) == (not is_planned)
  found = standing.described(comparison).get("looks")
  assert (found is None) == (not plan and not before)
  if found is not None:
    assert found["exploratory"] == ([] if is_planned else ["method - baseline"])
    assert ("Exploratory" in found["sentence"]) == (not is_planned)
    assert [len(one["seeds"]) for one in found["made"]] == [*before, now]
    assert made_before({"looks": found}) == found["made"]


def test_of_arms_added_after_a_look_only_their_own_differences_are_exploratory():
  arms = ("baseline", "method", "random_subset")
  standing = Standing((), range(5), arms, earlier=[made(5)])
  rng = np.random.default_rng(5)
  accuracy = {arm: dict(enumerate(rng.uniform(0.6, 0.8, 5).tolist())) for arm in arms}
  comparison = compare(accuracy, 0.0025, standing=standing)
  planned = {arm: one.get("planned", True) for arm, one in comparison["contrasts"].items()}
  assert planned == {"baseline": True, "random_subset": False}
  found = standing.described(comparison)["looks"]
  assert found["exploratory"] == ["method - random_subset"]
  assert found["sentence"] == (
    "Exploratory: method - random_subset. The run was looked at before, at 5 seeds, and these arms "
    "were added after that."
  )


def test_the_sentence_of_a_second_look():
  standing = Standing((), range(5), ("baseline", "method"), earlier=[made(3)])
  accuracy = {arm: {seed: 0.5 + 0.01 * seed for seed in range(5)} for arm in standing.arms}
  comparison = compare(accuracy, 0.0025, standing=standing)
  assert standing.described(comparison)["looks"]["sentence"] == (
    "Exploratory: all verdicts. The run was looked at before, at 3 seeds. This look, at 5 seeds, "
    "was not planned: over all looks such verdicts find differences that are not there in more "
    "than 5 % of the runs."
  )
  looked = {"seeds": [0], "arms": {"baseline": {}}, "contrasts": {}}
  assert made_before(looked) == [made_of(looked)]
