"""Every arm through a whole run: equal work, its own account, and the same bytes after a stop in the longest of them."""

import json
import signal

import tiny
import whole

from sdt.arms import ARM_NAMES

# Of the arms that give A a regulariser of its own, one: their programs are compared in test_regularisers.py.
ARMS = tuple(arm for arm in ARM_NAMES if not arm.endswith("_easy") or arm == "smooth_easy")
CONFIG = tiny.config(
  arms=(*ARMS, "mine"),
  own_arms=("mine = A@2e-3 + B@0 + A@1e-4:pass",),
  method__lambda_tuned=3e-4,
  rounds=2,
  optim__milestones=(1,),
  compilation_cache=False,
)


def test_every_arm_runs_and_a_stop_in_the_long_one_changes_nothing(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  assert whole.run(CONFIG, tmp_path / "whole") == 0
  results = json.loads((tmp_path / "whole/results.json").read_text())
  assert set(results["arms"]) == {*ARMS, "mine"}
  assert {arm: entry["last_round"] for arm, entry in results["arms"].items() if entry["last_round"] != 2} == {"long_baseline": 4}
  assert {arm for arm, entry in results["arms"].items() if not entry["equal_work"]} == {"long_baseline", "warm_start"}
  assert results["steps_per_round"]["mine"] == {"A": 1, "B": 4, "A2": 1}
  assert set(results["contrasts"]) == set(results["arms"]) - {"method"}
  overrides = {(row["arm"], row["phase"]): row["overrides"] for row in whole.rows(tmp_path / "whole") if "overrides" in row}
  assert overrides == {("smooth_easy", "A"): {"label_smoothing": 0.1}, ("decay_steps_only", "A"): {"loss_weight": 0.0}}
  rates = {row["round"]: row["learning_rate"] for row in whole.rows(tmp_path / "whole") if row["arm"] == "long_baseline"}
  assert list(rates) == [1, 2, 3, 4]
  assert rates[1] == rates[2] > rates[3] == rates[4]

  with monkeypatch.context() as patch:
    whole.signal_at(patch, "long_baseline", 2.5, signal.SIGTERM)
    assert whole.run(CONFIG, tmp_path / "stopped") == 75
  assert not (tmp_path / "stopped/results.json").exists()
  assert whole.run(CONFIG, tmp_path / "stopped") == 0
  whole.assert_same(CONFIG, tmp_path / "whole", tmp_path / "stopped", report=False)
