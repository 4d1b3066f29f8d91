"""Rungs: how many trials go on to which round."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.schema import SelectConfig
from sdt.run.search.rungs import Rung, rungs_of, work


def rungs(trials, rounds, *, every=1, **rule):
  rule = SelectConfig(method="halving", **rule)
  found = rungs_of(rule, rounds, num_trials=trials, every=every)
  return [(rung.num_trials, rung.round) for rung in found]


@pytest.mark.parametrize(
  ("found", "expected"),
  [
    (rungs(27, 27), [(27, 1), (9, 3), (3, 9), (1, 27)]),  # the textbook's bracket
    (rungs(20, 300), [(20, 34), (6, 100), (2, 300)]),
    (rungs(8, 4, factor=2), [(8, 1), (4, 2), (2, 4)]),  # no rung below a round
    (rungs(27, 30, min_rounds=5), [(27, 10), (9, 30)]),
    (rungs(20, 100, every=5), [(20, 15), (6, 35), (2, 100)]),  # where there is an evaluation
    (rungs(2, 9), [(2, 9)]),  # too few to leave one out
  ],
)
def test_halving_ends_at_the_whole_run_and_goes_down_from_there(found, expected):
  assert found == expected


@given(
  st.integers(2, 200), st.integers(1, 400), st.integers(2, 5), st.integers(1, 50), st.integers(1, 7)
)
def test_rungs_get_longer_and_have_fewer_trials(trials, rounds, factor, least, every):
  found = rungs(trials, rounds, factor=factor, min_rounds=least, every=every)
  assert found[0][0] == trials
  assert found[-1][1] == rounds
  for (many, early), (few, late) in itertools.pairwise(found):
    assert few in (many // factor, trials // factor ** round(math.log(trials / few, factor)))
    assert 1 <= few < many
    assert least <= early < late
    assert early % every == 0


def test_without_halving_every_trial_is_trained_to_the_end():
  rule = SelectConfig(method="random")
  assert rungs_of(rule, 30, num_trials=7, every=1) == (Rung(7, 30),)


def test_the_work_counts_every_round_of_a_trial_once():
  assert work((Rung(20, 34), Rung(6, 100), Rung(2, 300))) == 20 * 34 + 6 * 66 + 2 * 200
