"""Rows of metrics.jsonl and entries of results.json where rates change with every step, and of an
average of the weights.
"""

import dataclasses

import numpy as np
import pytest

from sdt.engine.evaluate import BatchSums
from sdt.engine.state import zero_sums
from sdt.engine.trainer import FinishedRound
from sdt.run import metrics
from sdt.stages.results import _average_accuracy
from tests.support import tiny

OF = tiny.config(seeds=(3, 8))


def rows_of(learning_rate, average=None, steps_done=(10, 10)):
  """Returns the rows of round 2 of a plan of one step on A and four on B."""
  plan = tiny.alternating(OF, 70, 7)
  sums = zero_sums(2, 2, 1)
  counts = np.array([30, 30], np.int32)
  sums = type(sums)(**{**vars(sums), "test_count": counts, "average": average})
  return metrics.rows_of_round(
    plan,
    OF,
    FinishedRound(1, sums, 1.0),
    learning_rate=learning_rate,
    steps_done=np.array(steps_done),
  )


def test_a_row_has_the_mean_rate_of_the_steps_of_its_phase():
  rates = np.array([0.5, 0.4, 0.3, 0.2, 0.1])
  assert [row["learning_rate"] for row in rows_of(rates)] == pytest.approx([0.5, 0.25] * 2)
  assert {row["learning_rate"] for row in rows_of(0.1 * 3)} == {0.3}


def test_rows_and_results_have_the_accuracy_of_the_average_of_each_seed():
  average = BatchSums(
    np.array([15.0, 60.0], np.float32), np.array([27, 24], np.int32), np.array([30, 30], np.int32)
  )
  rows = rows_of(0.1, average)
  assert [row["average_test_accuracy"] for row in rows] == [None, 0.9, None, 0.8]
  assert [row["average_test_loss"] for row in rows] == [None, 0.5, None, 2.0]
  ended = [row for row in rows if row["last_phase"]]
  entry = _average_accuracy(ended, OF.seeds, diverged=())["average_accuracy"]
  assert entry["per_seed"] == {"3": 0.9, "8": 0.8}
  assert entry["mean"] == pytest.approx(0.85)
  entry = _average_accuracy(ended, OF.seeds, diverged=(3,))["average_accuracy"]
  assert entry["per_seed"] == {"3": None, "8": 0.8}
  lost = rows_of(0.1, average, steps_done=(9, 10))[1]
  assert (lost["diverged"], lost["average_test_accuracy"]) == (True, None)


def test_a_phase_with_unlabelled_examples_has_the_share_of_guesses_that_taught():
  first, second = tiny.alternating(OF, 70, 7).phases
  plan = dataclasses.replace(
    tiny.alternating(OF, 70, 7), phases=(dataclasses.replace(first, num_unlabelled=9), second)
  )
  sums = dataclasses.replace(
    zero_sums(2, 2, 1, has_guesses=True),
    guesses_used=np.array([[0.75, 0.0], [0.5, 0.0]], np.float32),
    num_steps=np.array([[2, 4], [0, 0]], np.int32),
  )
  rows = metrics.rows_of_round(
    plan, OF, FinishedRound(1, sums, 1.0), learning_rate=0.1, steps_done=np.array([10, 10])
  )
  assert [row.get("guesses_used", "none") for row in rows] == [0.375, "none", None, "none"]
  assert not any("guesses_used" in row for row in rows_of(0.1))


def test_without_an_average_nothing_is_said_of_one():
  rows = rows_of(0.1)
  assert not any("average" in name for row in rows for name in row)
  assert _average_accuracy([rows[-1]], OF.seeds, diverged=()) == {}
