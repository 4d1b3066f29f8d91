"""The command line: exit codes, messages, and that a mistake writes nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sdt.commands import program
from sdt.commands.help import help_text
from tests.support.places import ROOT

CONFIG = f"--config={ROOT}/configs/digits.py"


def run(arguments, folder):
  """Runs run.py in `folder` as a user does; PYTHONPROFILEIMPORTTIME tells on stderr what was
  imported.
  """
  command = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), *arguments]
  done = subprocess.run(
    command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
  )
  lines = done.stderr.splitlines()
  imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
  return done, [line for line in lines if not line.startswith("import time:")], imported


def test_a_python_without_the_packages_is_told_in_one_line_where_they_are(tmp_path):
  bare = [sys.executable, "-S", str(ROOT / "run.py"), CONFIG]  # -S: without installed packages
  done = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert done.stdout == ""
  assert "has no absl; `make demo` builds .venv" in done.stderr
  assert ". .venv/bin/activate" in done.stderr
  assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
  ("arguments", "part"),
  [
    ([], "--config is missing; usage: python run.py --config=configs/NAME.py"),
    (["digits"], "unexpected argument 'digits'; did you mean --config=digits?; usage: python"),
    (
      [CONFIG, "--config.optim.lr=1"],
      "--config.optim.lr: no such key; did you mean --config.optim.learning_rate?",
    ),
    (
      [CONFIG, "--config.method.fraction", "nan"],
      "--config.method.fraction=nan: expected a finite number above 0, below 1",
    ),
  ],
)
def test_a_mistake_exits_with_2_and_one_line_before_jax_is_imported_and_writes_nothing(
  arguments, part, tmp_path
):
  done, errors, imported = run(arguments, tmp_path)
  assert done.returncode == 2
  assert len(errors) == 1
  assert errors[0].startswith("sdt: error: ")
  assert part in errors[0]
  assert done.stdout == ""
  assert "sdt.config" in imported
  assert not imported & {"jax", "numpy", "flax"}
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
  ("labels", "part"),
  [
    (None, "set.npz: no such file; expected "),
    pytest.param(
      [0, 1, 2, -1],
      "the labels are -1 to 2; expected class numbers 0, 1, ...: integers [N]",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      [0, 0, 0, 0], "there is only 1 class (0), at least 2 are needed", marks=pytest.mark.slow
    ),
  ],
)
def test_bad_data_exits_with_3_and_exactly_one_line_and_writes_nothing(labels, part, tmp_path):
  if labels is not None:
    np.savez(
      tmp_path / "set.npz", train_x=np.zeros((4, 8, 8, 1), np.uint8), train_y=np.array(labels)
    )
  before = os.listdir(tmp_path)
  done, errors, _ = run(
    [
      f"--config={ROOT}/configs/npz.py",
      "--config.data.path=set.npz",
      "--config.data.test_fraction=0.5",
    ],
    tmp_path,
  )
  assert (done.returncode, done.stdout, len(errors)) == (3, "", 1)
  assert errors[0].startswith("sdt: error: ")
  assert part in errors[0]
  assert os.listdir(tmp_path) == before


@pytest.mark.slow
def test_a_dry_run_tells_config_parameters_steps_and_memory_and_writes_nothing(tmp_path):
  small = [
    "shapes.num_train=50",
    "shapes.num_test=20",
    "shapes.num_classes=3",
    "shapes.image_size=8",
  ]
  overrides = [f"--config.data.{key}" for key in small] + [
    "--config.model.blocks=1,",
    "--config.model.widths=4,",
    "--config.batch_size=20",
  ]
  done, errors, _ = run([f"--config={ROOT}/configs/shapes.py", *overrides, "--dry_run"], tmp_path)
  assert done.returncode == 0
  assert [line.split()[0] for line in errors] == ["compiling", "compiled", "running"]
  told = done.stdout.partition("\ndata  ")[0].splitlines()
  assert told[0].startswith("config    what differs from the defaults; --dry_run=full shows")
  assert "  data.shapes.num_train = 50" in told
  assert not [line for line in told if line.startswith("  optim.momentum")]
  # 3x3x3x4 + 2 * 3x3x4x4 kernels, three BatchNorms of 4 + 4, and a head of 4x3 + 3.
  assert "435 parameters" in done.stdout
  assert "classes   3 classes, training + test examples: disc red on black 17 + 7," in done.stdout
  assert "baseline: all 3 = 3" in done.stdout
  assert "method: A 1 + B 3 = 4" in done.stdout
  assert "memory" in done.stdout
  assert "by dispatches that ran just now" in done.stdout
  assert os.listdir(tmp_path) == []


def test_help_needs_no_config_and_names_flags_files_and_keys(tmp_path):
  done, errors, imported = run(["--help"], tmp_path)
  assert (done.returncode, errors) == (0, [])
  assert "jax" not in imported
  assert done.stdout == help_text("", {n: line for n, (_, line) in program.COMMANDS.items()}) + "\n"
  for part in (
    "usage: python run.py --config=",
    "--workdir=DIR",
    "--dry_run",
    "  cifar10_small  ",
    "optim.learning_rate = 0.1",
  ):
    assert part in done.stdout
  assert [
    path.name for path in (ROOT / "configs").rglob("*.py") if path.stem not in done.stdout
  ] == []


SWALLOWED = """
import os, signal, sys
from sdt.commands import program, train
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
def resolve(*_):
  try:
    os.kill(os.getpid(), signal.{name})
    signal.pause()
  except BaseException:
    pass
  return None
train.resolve = resolve
sys.exit(program.main(["--config=configs/digits.py"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_before_the_training_ends_at_once_though_a_library_would_swallow_it(name, code):
  done = subprocess.run(
    [sys.executable, "-c", SWALLOWED.format(name=name)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert (done.returncode, done.stdout, done.stderr) == (
    code,
    "",
    "sdt: stopped before there was anything to save\n",
  )


def test_an_error_is_one_line_whatever_the_user_wrote(capsys):
  assert program.main([CONFIG, "--config.a\nb=1"]) == 2
  assert capsys.readouterr().err.startswith(
    "sdt: error: --config.a b: no such key; did you mean --config."
  )
