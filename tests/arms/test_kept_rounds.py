"""After which rounds states are kept: those that score, and the ends of the last cycles."""

import pytest

from sdt.arms.catalogue import fold_arms
from sdt.arms.kept_rounds import kept_rounds, snapshot_rounds
from tests.support import tiny

CYCLES = {"optim__schedule": "warm_restarts", "optim__cycle_rounds": 3, "rounds": 12}


def of(**changes):
  return tiny.config(arms=("baseline", "method", "long_baseline"), **CYCLES, **changes)


@pytest.mark.parametrize(
  ("arm", "changes", "snapshots", "kept"),
  [
    ("baseline", {}, (), ()),
    ("baseline", {"evaluate__snapshots": 2}, (9, 12), (9,)),
    ("method", {"evaluate__snapshots": 4}, (3, 6, 9, 12), (3, 6, 9)),
    # Twice as many rounds: its schedule, and so its cycles, are twice as slow.
    ("long_baseline", {"evaluate__snapshots": 2}, (18, 24), (18,)),
    ("baseline", {"evaluate__snapshots": 2, "score__at_round": 5}, (9, 12), (5, 9)),
    ("baseline", {"evaluate__snapshots": 2, "score__at_round": 9}, (9, 12), (9,)),
    ("baseline", {"score__at_round": 12}, (), ()),
    ("method", {"score__at_round": 5}, (), ()),
    ("a fold", {"evaluate__snapshots": 2, "score__folds": 2, "score__at_round": 5}, (), (5,)),
  ],
)
def test_the_snapshots_end_the_last_cycles_of_an_arm(arm, changes, snapshots, kept):
  config = of(**changes)
  arm = fold_arms(config)[0] if arm == "a fold" else arm
  assert snapshot_rounds(arm, config) == snapshots
  assert kept_rounds(arm, config) == kept
