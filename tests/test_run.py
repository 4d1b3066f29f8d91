"""The command line: exit codes, messages, and that a mistake writes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdt.command_line import help_text, parse_arguments
from sdt.errors import ConfigError

ROOT = Path(__file__).parent.parent
CONFIG = f"--config={ROOT}/configs/digits.py"


def run(arguments, folder):
  """Runs run.py in `folder` as a user does; PYTHONPROFILEIMPORTTIME tells on stderr what was imported."""
  command = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), *arguments]
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
  lines = done.stderr.splitlines()
  imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
  return done, [line for line in lines if not line.startswith("import time:")], imported


@pytest.mark.parametrize(
  ("arguments", "part"),
  [
    ([], "--config is missing; usage: python run.py --config=configs/NAME.py"),
    (["digits"], "unexpected argument 'digits'; usage: python run.py"),
    ([CONFIG, "--config.optim.lr=1"], "--config.optim.lr: no such key; did you mean --config.optim.learning_rate?"),
    ([CONFIG, "--config.method.fraction", "nan"], "--config.method.fraction=nan: expected a finite number above 0, below 1"),
  ],
)
def test_a_mistake_exits_with_2_and_one_line_before_jax_is_imported_and_writes_nothing(arguments, part, tmp_path):
  done, errors, imported = run(arguments, tmp_path)
  assert done.returncode == 2
  assert len(errors) == 1
  assert errors[0].startswith("sdt: error: ")
  assert part in errors[0]
  assert done.stdout == ""
  assert "sdt.config" in imported
  assert not imported & {"jax", "numpy", "flax"}
  assert os.listdir(tmp_path) == []


def test_help_needs_no_config_and_names_flags_files_and_keys(tmp_path):
  done, errors, imported = run(["--help"], tmp_path)
  assert (done.returncode, errors) == (0, [])
  assert "jax" not in imported
  assert done.stdout == help_text(ROOT / "configs") + "\n"
  for part in ("usage: python run.py --config=", "--workdir=DIR", "--dry_run", "configs/cifar10_small.py", "optim.learning_rate = 0.1"):
    assert part in done.stdout
  assert len([line for line in done.stdout.splitlines() if line.startswith("  configs/")]) == len(list((ROOT / "configs").glob("*.py")))


def test_the_workdir_is_named_after_the_config_file():
  request = parse_arguments(["--config=configs/digits.py"])
  assert (str(request.workdir), request.name, request.dry_run, request.overrides) == ("runs/digits", "digits", False, ())
  assert str(parse_arguments(["--config=x/mine.py", "--workdir", "a dir"]).workdir) == "a dir"
  assert parse_arguments(["--config=x.py", "--workdir=~/runs"]).workdir == Path.home() / "runs"


def test_flags_take_their_value_after_a_space_or_an_equals_sign():
  one = parse_arguments(["--config=x.py", "--config.seeds=1,2", "--config.data.path=a=b", "--config.optim.momentum=-1", "--dry_run"])
  two = parse_arguments(
    ["--config", "x.py", "--config.seeds", "1,2", "--config.data.path", "a=b", "--config.optim.momentum", "-1", "--dry_run"]
  )
  assert one == two
  assert one.overrides == (("seeds", "1,2"), ("data.path", "a=b"), ("optim.momentum", "-1"))
  assert one.dry_run


def test_help_wins_over_everything_else():
  assert parse_arguments(["nonsense", "--help"]) is None
  assert parse_arguments(["-h"]) is None


@pytest.mark.parametrize(
  ("arguments", "part"),
  [
    (["--config"], "--config needs a value: --config=VALUE"),
    (["--config="], "--config needs a value: --config=VALUE"),
    (["--config=x.py", "--workdir="], "--workdir needs a value"),
    (["--config", "--dry_run"], "--config needs a value"),
    (["--config=x.py", "--config.rounds"], "--config.rounds needs a value"),
    (["--config=x.py", "--config=y.py"], "--config is given twice: 'x.py' and 'y.py'"),
    (["--config=x.py", "--dry_run=True"], "--dry_run takes no value"),
    (["--config=x.py", "--dryrun"], "unknown flag --dryrun; did you mean --dry_run?"),
    (["--config=x.py", "--dry-run"], "unknown flag --dry-run; did you mean --dry_run?"),
    (["--config=x.py", "--optim.momentum=0"], "unknown flag --optim.momentum; did you mean --config.optim.momentum?"),
    (["--config=x.py", "--config.=1"], "unknown flag --config."),
    (["--config=x.py", "-v"], "unknown flag -v"),
    (["--config=x.py", ""], "unexpected argument ''"),
  ],
)
def test_a_wrong_flag_is_refused_with_the_usage(arguments, part):
  with pytest.raises(ConfigError) as caught:
    parse_arguments(arguments)
  assert part in str(caught.value)
  assert "usage: python run.py" in str(caught.value)
