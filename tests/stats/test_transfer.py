"""The advice on what to train: every cell of the table of two by two, and training from scratch."""

import numpy as np
import pytest

from sdt.stats.linear_probe import Probe
from sdt.stats.transfer import advise


def probes(**shares):
  """Returns probes that are right on the first of 200 held-out and of 1,000 test examples."""
  return {
    stage: Probe(0.1, np.arange(200) < 200 * share, np.arange(1000) < 1000 * share)
    for stage, share in shares.items()
  }


LIKE = {"stem": 0.5, "stage1": 0.7, "stage2": 0.81, "final": 0.8}
UNLIKE = {"stem": 0.5, "stage1": 0.9, "stage2": 0.81, "final": 0.8}


@pytest.mark.parametrize(
  ("shares", "num_train", "train_from", "is_slow", "words"),
  [
    (LIKE, 999, "head", False, "Train only a linear classifier on top"),
    (UNLIKE, 999, "stage2", True, "Take a linear classifier on stage1, as in the table"),
    (LIKE, 1000, "stage2", True, "Fine-tune a few layers, stage2 and what follows"),
    (UNLIKE, 1000, None, True, "Fine-tune all stages, at a tenth"),
  ],
)
def test_little_or_much_and_like_or_unlike_make_four_pieces_of_advice(
  shares, num_train, train_from, is_slow, words
):
  advice = advise(probes(**shares), num_train, 10)
  assert (advice.train_from, advice.is_slow) == (train_from, is_slow)
  assert advice.action.startswith(words)
  amount, likeness = advice.reasons
  assert f"{num_train:,} training images of 10 classes are " in amount
  assert ("much" if num_train == 1000 else "little") in amount
  assert likeness.startswith("They count as like" if shares is LIKE else "They are unlike")


def test_an_earlier_stage_that_is_better_by_chance_alone_is_not_unlike():
  # One more of 200 is right: stage2 in LIKE has two more than the last.
  assert advise(probes(**LIKE), 50, 10).train_from == "head"
  # Seven of seven: p = 1/128, times the two earlier stages below 0.05, times seven not.
  few = {"one": 0.1, "two": 0.535, "last": 0.5}
  assert advise(probes(**few), 50, 10).train_from == "last"
  more = {**{f"s{number}": 0.1 for number in range(5)}, **few}
  assert advise(probes(**more), 50, 10).train_from == "head"


def test_training_from_scratch_that_is_better_beyond_the_interval_asks_for_all_stages():
  one = probes(**LIKE)
  assert advise(one, 50, 10, scratch=0.82).train_from == "head"
  better = advise(one, 50, 10, scratch=0.9)
  assert (better.train_from, better.is_slow) == (None, False)
  assert (
    "is right on 90.0% of the test set, the best linear classifier (stage2) on 81.0%"
    in (better.reasons[-1])
  )


def test_a_network_of_one_stage_has_no_earlier_one_to_compare_with():
  advice = advise(probes(hidden1=0.8), 50, 10)
  assert (advice.train_from, len(advice.reasons)) == ("head", 1)
