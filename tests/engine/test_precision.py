"""bfloat16 compute beside float32 on the demo: the two must differ no more than two seeds of the
same one do.
"""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import Position
from sdt.run.programs import Setup
from sdt.scores.split import num_easy
from tests.support import tiny
from tests.support.places import ROOT

DIGITS = ROOT / "configs/controls/digits.py"
SEEDS = (0, 1, 2, 3, 4)
AS_MEASURED = [  # docs/results/precision.md
  ("seeds", str(SEEDS)),
  ("batch_size", "64"),
  ("optim.weight_decay", "1e-4"),
]


def trained(precision):
  """Returns the test accuracy [R] of the baseline and the log-odds [R, N] of the training set."""
  of = dataclasses.replace(resolve(load_config_file(DIGITS), AS_MEASURED), precision=precision)
  data = tiny.data(of)
  setup = Setup.make(of, data)
  start = setup.fresh_start
  trainer = setup.trainer(tiny.everything(of, len(data.train)))
  trainer.set_state(start)
  *_, last = (ended for progress in trainer.run(Position()) for ended in progress.finished)
  state = trainer.get_state().state
  assert {leaf.dtype for name, leaf in tiny.leaves(state).items() if "step" not in name} == {
    np.dtype(np.float32)
  }
  variables = state.variables
  scores = ScoreRunner(setup.score_program(), setup.source).scores(variables)["log_odds"]
  return (
    last.sums.test_correct / last.sums.test_count,
    scores,
    num_easy(of.method.fraction, len(data.train), None),
  )


def agreement(one, other, size):
  """Returns (Spearman's correlation, overlap of the easiest `size`) of two scores [N]."""
  easiest = [set(np.argsort(-scores)[:size].tolist()) for scores in (one, other)]
  return stats.spearmanr(one, other).statistic, len(easiest[0] & easiest[1]) / size


@pytest.mark.slow
def test_bfloat16_and_float32_agree_within_the_noise_of_seeds():
  (exact, exact_scores, size), (short, short_scores, _) = trained("float32"), trained("bfloat16")
  difference = short - exact
  interval = stats.t.interval(0.95, len(SEEDS) - 1, difference.mean(), stats.sem(difference))
  same = np.array([agreement(a, b, size) for a, b in zip(exact_scores, short_scores, strict=True)])
  between = np.array(
    [agreement(exact_scores[a], exact_scores[b], size) for a in range(len(SEEDS)) for b in range(a)]
  )
  for name, accuracy in (("float32", exact), ("bfloat16", short)):
    print(f"\n{name} {100 * accuracy.mean():.2f} +- {100 * accuracy.std(ddof=1):.2f} %", end="")
  print(
    f"\ndifference {100 * difference.mean():+.2f} points, 95 % interval {100 * interval[0]:+.2f} "
    f"to {100 * interval[1]:+.2f}"
  )
  print(
    f"Spearman, overlap of A: same seed in two precisions {same.mean(0)}, two seeds in float32 "
    f"{between.mean(0)}"
  )
  assert not np.array_equal(exact_scores, short_scores)  # the precision was in force
  assert interval[0] <= 0 <= interval[1]
  assert abs(difference.mean()) < 2 * exact.std(ddof=1)
  assert (same.mean(0) > between.mean(0)).all()
