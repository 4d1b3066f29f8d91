"""What a run tells of its design: in the log, and in results.json."""

import json
import types

import numpy as np
import pytest

from sdt.engine.plan import Phase, Plan
from sdt.stages import designs
from tests.support import tiny


def plan(arm, decay, size=70):
  ids = np.tile(np.arange(size, dtype=np.int32), (2, 1))
  return Plan(arm, (Phase("all", ids, -(-size // 16), weight_decay=np.full(2, decay)),), 4)


PLANS = {"baseline": plan("baseline", 1e-4), "method": plan("method", 1e-3)}


def context(tmp_path, accuracies, **changes):
  """Returns what the stage reads of a run, and what it says; `accuracies` of the baseline's rounds,
  by seed, None where a seed has diverged.
  """
  rows = [
    {
      "arm": "baseline",
      "seed": seed,
      "round": at + 1,
      "last_phase": True,
      "train_accuracy": value,
      "diverged": value is None,
      "validation_accuracy": value,
      "validation_loss": None if value is None else 1.0 - value,
    }
    for seed, values in accuracies.items()
    for at, value in enumerate(values)
  ]
  (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
  told = []
  display = types.SimpleNamespace(log=told.append)
  return types.SimpleNamespace(
    config=tiny.config(**changes), workdir=tmp_path, display=display
  ), told


def test_the_log_and_the_results_tell_the_same_of_decay_and_batches(tmp_path):
  of, told = context(tmp_path, {0: [0.99], 1: [0.99]}, batch_size=64)
  plans = {**PLANS, "but_fold1": plan("but_fold1", 9.0, size=3)}  # for the scores alone
  designs.tell(of, list(plans.values()))
  warnings = designs.described(of, PLANS)["warnings"]
  assert told == [f"warning: {text}" for text in warnings]
  assert len(told) == 2
  assert "baseline, method" in told[0]
  assert "6 examples (arm baseline) at batch_size=64" in told[1]


@pytest.mark.parametrize(
  ("accuracies", "told"),
  [
    ({0: [0.2, 0.95], 1: [0.3, 0.89]}, None),  # 0.92 in the last round
    ({0: [0.95, 0.7], 1: [0.95, 0.6]}, "right on 65 %"),
    ({0: [0.95, 0.7], 1: [0.9, None]}, "right on 70 %"),  # a seed that diverged counts nowhere
    ({0: [None, None], 1: [None, None]}, None),
  ],
)
def test_a_baseline_is_called_underfit_by_the_last_round_of_its_sound_seeds(
  tmp_path, accuracies, told
):
  of, said = context(tmp_path, accuracies)
  designs.tell_of_baseline(of)
  warnings = designs.described(of, PLANS)["warnings"]
  assert designs.described(of, {"baseline": PLANS["baseline"]})["warnings"] == []  # nothing differs
  if told is None:
    assert said == []
    assert not any("underfit" in text for text in warnings)
  else:
    assert told in said[0]
    assert said == [f"warning: {warnings[-1]}"]


def test_with_early_stopping_the_round_that_counts_is_the_best(tmp_path):
  of, said = context(
    tmp_path,
    {0: [0.95, 0.7, 0.6], 1: [0.95, 0.6, 0.5]},
    stop__patience=2,
    data__validation_fraction=0.2,
  )
  designs.tell_of_baseline(of)
  assert said == []
