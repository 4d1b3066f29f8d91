"""What no sweep begins with, and what a dry run tells of one."""

import pytest

from sdt.commands import sweep
from sdt.config.sweep_points import expand
from sdt.errors import ConfigError, LockedError
from sdt.files.workdir import hold_workdir
from tests.commands.test_sweep import swept


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints"])
def test_a_run_that_nothing_describes_any_more_is_not_taken_for_a_sweep(
  tmp_path, left, no_training
):
  (tmp_path / "run" / left).mkdir(parents=True)
  (tmp_path / "run" / ".lock").touch()
  with pytest.raises(ConfigError, match="holds a run; choose another --workdir for the sweep"):
    sweep.run(swept(), expand(swept()), tmp_path / "run", "tiny")


@pytest.mark.parametrize(
  ("config", "part"),
  [
    (
      swept("model.name", ("mlp", "resnt"), model__hidden_sizes=None),
      "sweep, value name=resnt: model.name='resnt'",
    ),
    (
      swept("arms", (("baseline", "method"), ("baseline", "methd"))),
      "sweep, value arms=baseline%2Cmethd: arms: 'methd' is not an arm",
    ),
    (
      swept(
        "data.shapes.image_size",
        (8, 4),
        augment__pad_crop=5,
        model__name="resnet8",
        model__hidden_sizes=None,
      ),
      "value image_size=4",
    ),
  ],
  ids=["network", "arm", "data"],
)
def test_nothing_is_written_before_every_value_is_accepted_with_its_data(
  tmp_path, config, part, no_training
):
  with pytest.raises(ConfigError) as caught:
    sweep.run(config, expand(config), tmp_path / "sweep", "tiny")
  assert part.replace("%2C", ",") in str(caught.value).replace("%2C", ",")
  assert not (tmp_path / "sweep").exists()


def test_the_workdir_of_a_sweep_is_locked(tmp_path, no_training):
  with hold_workdir(tmp_path / "sweep"), pytest.raises(LockedError, match="in use by pid"):
    sweep.run(swept(), expand(swept()), tmp_path / "sweep", "tiny")


def test_a_dry_run_tells_what_every_value_changes_then_the_first_and_writes_nothing(tmp_path):
  config = swept(
    "method.fraction", (0.1, 0.3), sweep__also_key="method.lambda_A", sweep__also_values=(0.5, 0.25)
  )
  lines = list(sweep.describe(config, expand(config), tmp_path / "sweep"))
  assert (
    lines[0] == "2 runs over method.fraction (with method.lambda_A): 0.1, 0.3; one baseline for all"
  )
  assert (
    "  fraction=0.1, method.lambda_A=0.5: baseline all 5, method A 1 + B 4; A 7; mean decay 0.10008"
    in lines
  )
  # 21 examples in two batches of 16, 49 in four.
  assert (
    "  fraction=0.3, method.lambda_A=0.25: baseline all 5, method A 2 + B 4; A 21; mean decay "
    "0.0834"
  ) in lines
  at = lines.index("the first, fraction=0.1:")
  assert "method: A 1 + B 4 = 5" in "\n".join(lines[at:])
  assert not (tmp_path / "sweep").exists()
