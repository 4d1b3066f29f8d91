"""Runs with a mixed phase: what their files say of it."""

import json

import numpy as np
import pytest

from sdt.commands import dry_run
from tests.support import whole

SOFT = "A@mean[label_smoothing=0.2] | B@mean"


@pytest.mark.slow
def test_the_files_of_a_run_have_the_parts_and_their_values_and_the_control_has_a_verdict(tmp_path):
  config = whole.config(
    own_arms=(f"soft = {SOFT} against any", f"any = shuffled({SOFT})"),
    arms=("baseline", "soft", "any"),
    rounds=2,
    optim__milestones=(1,),
  )
  assert whole.run(config, tmp_path) == 0
  arrays = {arm: np.load(tmp_path / "arms" / f"{arm}.npz") for arm in ("soft", "any")}
  split = (tmp_path / "split.csv").read_text().splitlines()
  header, *rows = (line.split(",") for line in split)
  for replica in range(2):
    column = header.index(f"subset_seed{replica}")
    easy = {int(row[0]) for row in rows if row[column] == "A"}
    ids, parts = (arrays["soft"][name][replica] for name in ("mixed", "mixed_part"))
    assert set(ids[parts == 0].tolist()) == easy
    assert len(ids) == 70
    assert (arrays["any"]["mixed_part"][replica] == 0).sum() == len(easy)
  (first, *_) = (row for row in whole.rows(tmp_path) if row["arm"] == "soft")
  assert first["phase"] == "mixed"
  assert first["overrides"] == {"label_smoothing": [0.2, 0.0]}
  results = json.loads((tmp_path / "results.json").read_text())
  assert results["steps_per_round"]["soft"] == {"mixed": 5}
  assert set(results["against_control"]) == {"soft"}
  lines = dry_run.describe(config, tmp_path)
  soft = next(line for line in lines if line.startswith("  soft: "))
  assert soft.startswith("  soft: mixed 5 [label_smoothing=0.2|0] = 5; smallest batch 6, ")
