"""The dry run of a search, before anything is chosen."""

from sdt.commands import dry_run
from tests.support import tiny


def test_before_a_search_the_design_is_that_of_the_middle_of_the_space(tmp_path):
  config = tiny.config(
    select__space=("batch_size = choice(10, 20, 35)",), select__trials=2, stop__patience=0
  )
  lines = dry_run.describe(config, tmp_path / "run")
  baseline = next(line for line in lines if line.startswith("  baseline: "))
  assert "all 4 = 4; smallest batch 10," in baseline  # 70 examples in batches of 20, not of 16
