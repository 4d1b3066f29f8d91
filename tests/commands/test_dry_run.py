"""The dry run: what it tells, what it finds in the workdir, and that it neither writes, nor
downloads, nor fills the device.
"""

import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from sdt import experiment, files
from sdt.arms.catalogue import ARM_NAMES
from sdt.commands import dry_run, sweep
from sdt.config import to_dict
from sdt.config.sweep_points import expand
from sdt.data.stand_in import stand_in
from sdt.errors import ConfigError, DataError, Interrupted, MissingDataError, WorkdirError
from sdt.run import load_inputs
from sdt.run.identity import Identity
from tests.support import tiny, whole
from tests.support.paper_rows import SETS, config_of, each_row, steps_of
from tests.support.places import ROOT

CONFIG = whole.CONFIG


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
  """No set lies on this machine, and whoever asks the network fails the test."""
  asked = []

  def refuse(address, *args, **kwargs):
    asked.append(address)
    raise OSError("no network")

  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "data"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
  monkeypatch.setattr(socket, "create_connection", refuse)
  yield
  assert asked == []


def until_missing(lines):
  """Returns the lines of a description that ends with a missing set, and what the error says."""
  seen = []

  def collect():
    for line in lines:
      seen.append(line)

  with pytest.raises(MissingDataError) as caught:
    collect()
  return seen, str(caught.value)


def before_compiling(lines):
  return list(itertools.takewhile(lambda line: not line.startswith("workdir "), lines))


def test_a_dry_run_tells_what_every_arm_would_do_and_writes_nothing(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  arms = tuple(arm for arm in ARM_NAMES if arm != "depth_easy")  # an MLP has no residual blocks
  config = tiny.config(arms=arms, method__lambda_tuned=3e-4, seeds=(0, 1, 2), augment__flip=True)
  lines = list(dry_run.describe(config, tmp_path / "run", detail=dry_run.Detail(every_key=True)))
  assert json.loads(lines[0]) == to_dict(config, every_key=True)
  for part in (
    "70 training and 30 test examples of shape [8, 8, 3], 3 classes; A gets 7",
    "3,139 parameters, 0.0 M multiply-adds",
    "learning rate 0.05 to 0.0005",
    f"workdir   {tmp_path / 'run'}: nothing there yet",
  ):
    assert any(part in line for line in lines), part
  first = lines.index("optimiser steps a round:") + 1
  steps = {
    line.split(":")[0].strip(): line.partition(": ")[2] for line in lines[first : first + len(arms)]
  }
  assert tuple(steps) == arms
  of_arms = {arm: text.partition("; ")[2] for arm, text in steps.items()}
  steps = {arm: text.partition(";")[0] for arm, text in steps.items()}
  assert of_arms["baseline"].startswith("smallest batch 6, decay ")
  assert of_arms["less_data"].startswith("smallest batch 3, decay ")
  (of_batches,) = (line for line in lines if line.startswith("warning   the smallest batch"))
  assert "3 in arm less_data and 15 in arm drop_subset" in of_batches
  assert any(line.startswith("warning   what weight decay does can hardly") for line in lines)
  assert steps["smooth_easy"] == "A 1 [label_smoothing=0.1] + B 4 = 5"
  assert (steps["baseline"], steps["method"], steps["less_data"]) == (
    "all 5 = 5",
    "A 1 + B 4 = 5",
    "half 5 = 5",
  )
  # 100 images of 192 bytes, their labels and sizes; weights, gradients, momentum and a copy of
  # three networks.
  memory, disk, time = lines[-3:]
  assert memory.startswith("device memory about ")
  assert f"{(100 * (192 + 4 + 8)) / 1e6:.1f} data" in memory
  assert f"{4 * 4 * 3139 * 3 / 1e6:.1f} weights, gradients, momentum" in memory
  num_networks = 3 * len(arms) + 1
  assert f"{4 * 3139 * num_networks / 1e6:.1f} for the weights of {num_networks} network(s)" in disk
  of_predictions = 4 * len(arms) * 3 * len(tiny.data(config).test) * 3
  assert f"{of_predictions / 1e6:.1f} for predictions;" in disk
  assert re.fullmatch(
    r"time      roughly \d+ (s|minutes) on this machine, by dispatches that ran just now: "
    rf"\d+ s to train {len(arms)} arm\(s\) with 3 seed\(s\), "
    r"\d+ (s|minutes) to compile \d+ training program\(s\) and those that score, 8 s for start "
    r"and report",
    time,
  )
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("name", "sizes", "may_download"),
  [
    (
      "svhn",
      "73257 training and 26032 test examples of shape [32, 32, 3], 10 classes; A gets 7325",
      True,
    ),
    (
      "cifar10",
      "50000 training and 10000 test examples of shape [32, 32, 3], 10 classes; A gets 5000",
      True,
    ),
    (
      "cifar100",
      "50000 training and 10000 test examples of shape [32, 32, 3], 100 classes; A gets 5000",
      True,
    ),
    (
      "tiny_imagenet",
      "100000 training and 10000 test examples of shape [64, 64, 3], 200 classes; A gets 10000",
      False,
    ),
    (
      "cub",
      "5994 training and 5794 test examples of shape [384, 384, 3], 200 classes; A gets 599",
      True,
    ),
  ],
)
def test_a_set_that_is_not_there_is_told_with_its_published_sizes(
  name, sizes, may_download, tmp_path
):
  files_of = (
    {"data__image_size": 256, "data__resize": "short_side", "data__crop_size": 224}
    if name == "cub"
    else {}
  )
  config = tiny.config(data__name=name, **files_of)
  lines = before_compiling(dry_run.describe(config, tmp_path / "run"))
  assert f"data      {name} was not found on this machine; as published: {sizes}" in lines
  note = "note      the run would try to download the set; a dry run does not"
  assert (note in lines) == may_download
  assert note not in before_compiling(
    dry_run.describe(
      tiny.config(data__name=name, data__download=False, **files_of), tmp_path / "run"
    )
  )
  assert list(tmp_path.iterdir()) == []


def test_after_the_description_of_a_missing_set_comes_how_to_get_it_and_no_image_was_on_a_device(
  tmp_path,
):
  before = {id(array) for array in jax.live_arrays()}
  lines, error = until_missing(
    dry_run.describe(tiny.config(data__name="tiny_imagenet", seeds=(0,)), tmp_path / "run")
  )
  assert sum(array.nbytes for array in jax.live_arrays() if id(array) not in before) < 1e6
  assert any(line.startswith("  method: A 625 + B 5625 = 6250; ") for line in lines)
  # 110,000 images of 12,288 bytes, and 12 bytes for label and size.
  assert f" {110_000 * (12_288 + 12) / 1e6:.1f} data" in "".join(
    line for line in lines if line.startswith("device memory ")
  )
  assert error.startswith("tiny_imagenet is missing: ")
  assert "get it with: curl " in error
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("changes", "kind", "part"),
  [
    (
      {"data__name": "svhn", "augment__pad_crop": 32},
      ConfigError,
      "the images of data.name='svhn' are 32 x 32 pixels",
    ),
    ({"data__name": "svhn", "data__test_fraction": 0.5}, ConfigError, "data.test_fraction"),
    (
      {
        "data__name": "svhn",
        "data__wrong_label_fraction": 0.15,
        "own_arms": ("oracle = clean@baseline",),
        "arms": ("baseline", "oracle"),
      },
      ConfigError,
      "end a phase of your arm with ':all'",
    ),
    (
      {"data__name": "svhn", "method__num_easy": 73_257},
      ConfigError,
      "of 73257 training examples A would get 73257",
    ),
    ({"data__name": "cub"}, ConfigError, "data.image_size"),
    ({"data__name": "npz", "data__path": "/no/such.npz"}, DataError, "/no/such.npz: no such file"),
  ],
)
def test_what_a_run_refuses_is_refused_before_the_first_line(changes, kind, part, tmp_path):
  with pytest.raises(kind) as caught:
    next(dry_run.describe(tiny.config(**changes), tmp_path / "run"))
  assert part in str(caught.value)


@pytest.mark.slow
def test_the_command_ends_with_3_after_the_whole_description_and_writes_nothing(tmp_path):
  command = [
    sys.executable,
    str(ROOT / "run.py"),
    f"--config={ROOT}/configs/svhn.py",
    "--config.model.name=mlp",
    "--dry_run",
  ]
  done = subprocess.run(
    command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
  )
  assert done.returncode == 3
  assert " MB and what the program needs, not known yet: " in done.stdout
  (error,) = done.stderr.splitlines()  # nothing was compiled for a run that cannot begin
  assert error.startswith("sdt: error: svhn is missing: ")
  assert os.listdir(tmp_path) == []


def test_images_that_were_kept_are_read_and_none_are_kept(tmp_path):
  rng = np.random.default_rng(0)
  for number in range(24):
    path = tmp_path / "images" / "abc"[number % 3] / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
  config = tiny.config(
    data__name="folder",
    data__path=str(tmp_path / "images"),
    data__image_size=8,
    data__test_fraction=0.5,
  )
  before_compiling(dry_run.describe(config, tmp_path / "run"))
  assert not (tmp_path / "data").exists()
  load_inputs.load_data(config, print)
  kept = whole.stamps(tmp_path / "data")
  log = []
  before_compiling(dry_run.describe(config, tmp_path / "run", log=log.append))
  assert any("prepared images" in line for line in log)
  assert whole.stamps(tmp_path / "data") == kept


@pytest.fixture
def copy(reference_run, tmp_path):
  """A run that ended, but for its report."""
  workdir = shutil.copytree(reference_run, tmp_path / "copy")
  (workdir / "report.html").unlink()
  return workdir


def standing(config, workdir):
  """Returns what the dry run says of the workdir, having seen that it changed nothing there."""
  there = {path: path.lstat().st_mtime_ns for path in workdir.rglob("*")}
  line = next(line for line in dry_run.describe(config, workdir) if line.startswith("workdir "))
  assert {path: path.lstat().st_mtime_ns for path in workdir.rglob("*")} == there
  return line.removeprefix(f"workdir   {workdir}: ")


def test_a_finished_run_is_told(copy):
  assert (
    standing(CONFIG, copy)
    == "a run of this config, complete but for its report, which would be made again"
  )
  for page in ("report.html", "review.html"):
    files.write_text(copy / page, "a report")
  assert standing(CONFIG, copy) == "a complete run of this config; nothing would be done"
  (copy / "scores.csv").unlink()
  assert (
    standing(CONFIG, copy)
    == "an unfinished run of this config, saved at the end of arm method; it would be continued"
  )


def test_an_unfinished_run_is_told_with_its_place_and_its_leftovers_stay(tmp_path, monkeypatch):
  workdir = tmp_path / "run"
  whole.signal_at(monkeypatch, "method", 2, signal.SIGTERM)
  with pytest.raises(Interrupted):
    experiment.run(CONFIG, workdir, "tiny")
  (workdir / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir()
  (workdir / ".sdt-tmp-1").touch()
  assert standing(CONFIG, workdir) == (
    "an unfinished run of this config, saved in arm method after round 1 of 4 and 5 steps; it "
    "would be continued"
  )
  (workdir / "config.json").unlink()  # the checkpoint tells which run it was
  assert standing(CONFIG, workdir).startswith("an unfinished run")
  shutil.rmtree(workdir / "checkpoints")
  (workdir / "metrics.jsonl").unlink()
  assert standing(CONFIG, workdir) == "nothing to continue; the run would begin"


def refusal(call):
  with pytest.raises((ConfigError, DataError, WorkdirError)) as caught:
    call()
  return type(caught.value), str(caught.value)


def test_what_the_run_would_refuse_in_its_workdir_is_refused_in_the_same_words(copy, tmp_path):
  others = [(dataclasses.replace(CONFIG, rounds=5), copy), (CONFIG, copy / "config.json")]
  damaged = shutil.copytree(copy, tmp_path / "other_data")
  environment = files.read_json(damaged / "environment.json")
  files.write_json(
    damaged / "environment.json",
    environment | {"data": environment["data"] | {"checksum": "0" * 64}},
  )
  machine = shutil.copytree(copy, tmp_path / "other_machine")
  files.write_json(
    machine / "environment.json",
    environment | {"choices": environment["choices"] | {"precision": "bfloat16"}},
  )
  (machine / "scores.csv").unlink()
  for config, workdir in [*others, (CONFIG, damaged), (CONFIG, machine)]:
    told = refusal(lambda c=config, w=workdir: next(dry_run.describe(c, w)))
    assert told == refusal(lambda c=config, w=workdir: experiment.run(c, w, "tiny"))


def test_a_workdir_is_not_refused_for_data_that_are_not_there():
  assert not Identity({}, "").is_other_data("a")
  assert not Identity({}, "a").is_other_data(None)
  assert Identity({}, "a").is_other_data("b")


def test_a_sweep_over_a_missing_set_is_told_value_by_value(tmp_path):
  config = tiny.config(
    data__name="svhn", seeds=(0,), sweep__key="method.lambda_A", sweep__values=("1e-3", "2e-3")
  )
  lines, error = until_missing(sweep.describe(config, expand(config), tmp_path / "run"))
  assert [
    line
    for line in lines
    if line.startswith(
      "  lambda_A=0.002: baseline all 4579, method A 458 + B 4121; A 7325; mean decay"
    )
  ]
  assert [line for line in lines if line.startswith("data      svhn was not found on this machine")]
  assert f"workdir   {tmp_path / 'run' / 'lambda_A=0.001'}: nothing there yet" in lines
  assert error.startswith("svhn is missing: ")
  assert list(tmp_path.iterdir()) == []


def test_a_sweep_in_the_workdir_of_a_run_is_refused(copy):
  config = dataclasses.replace(
    CONFIG, sweep=dataclasses.replace(CONFIG.sweep, key="method.lambda_A", values=("1e-3",))
  )
  with pytest.raises(ConfigError, match="holds a run of another config"):
    next(sweep.describe(config, expand(config), copy))


@each_row
def test_a_paper_rows_steps_follow_from_the_published_sizes(row):
  config = config_of(row)
  data = stand_in(config.data)
  size, plans = experiment.EXPERIMENT.plans(config, data)
  assert size == (row.num_easy or SETS[row.data][0] // 10)
  assert tuple(phase.num_steps for plan in plans for phase in plan.phases) == steps_of(row)
  assert load_inputs.load_data(config, print, data) is data


@pytest.mark.slow
@each_row
def test_a_paper_row_is_described_without_its_data(row, tmp_path):
  lines, error = until_missing(dry_run.describe(config_of(row), tmp_path / "run"))
  every, easy, rest = steps_of(row)
  (cost,) = [
    line
    for line in lines
    if line.startswith(f"network   {row.network}: {row.num_params:,} parameters, ")
  ]
  assert round(float(cost.split()[4]), 1 if row.millions < 500 else 0) == row.millions
  steps = [line.partition(";")[0] for line in lines]  # then batches and decay
  assert f"  baseline: all {every} = {every}" in steps
  assert f"  method: A {easy} + B {rest} = {easy + rest}" in steps
  assert lines[-3].startswith("device memory about ")
  assert lines[-2].startswith("disk      about ")
  assert lines[-1].startswith("time      ")
  assert error.startswith(f"{row.data} is missing: ")
  assert list(tmp_path.iterdir()) == []
