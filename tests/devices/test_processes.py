"""Several processes of one run: two of one device each against one of two devices, and what
processes that do not fit are told.
"""

import json
import os
import re
import sys

import pytest

from sdt.config.command_line import Launch, parse_arguments
from sdt.config.schema import DistributedConfig
from sdt.devices import processes
from sdt.errors import ConfigError, DataError
from sdt.run import shared_workdir
from tests.support import one_of_several, several, tiny, whole
from tests.support.places import ROOT


# BatchNorm's means go over all devices. Slow: six processes start, and compile for themselves.
@pytest.fixture(
  scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ("mlp", "resnet")]
)
def taught(request, tmp_path_factory):
  """Returns what two processes said that went through `one_of_several.lesson` together, their
  workdir, and their network.
  """
  folder = tmp_path_factory.mktemp("several")
  flags = ["--lesson", f"--network={request.param}"]
  ended = several.run(folder, folder / "run", [flags, flags])
  assert [one.code for one in ended] == [0, 0], "\n".join(one.err for one in ended)
  return ended, folder / "run", request.param


def test_two_processes_end_with_the_bytes_of_one_process_with_two_devices(
  taught, tmp_path, monkeypatch
):
  _, workdir, network = taught  # stopped once and resumed
  whole.without_report(monkeypatch)
  own = one_of_several.config(network, checkpoint__every_secs=None)
  assert whole.run(own, tmp_path / "one") == 0
  whole.assert_same(own, workdir, tmp_path / "one", report=False)
  choices = [
    json.loads((folder / "environment.json").read_text())["choices"]
    for folder in (workdir, tmp_path / "one")
  ]
  assert choices[0] == choices[1]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("flag", "key"), [("mode=pmap", "parallel__mode"), ("placement=stream", "data__placement")]
)
def test_under_pmap_and_with_streamed_inputs_too(flag, key, tmp_path, monkeypatch):
  ended = several.run(tmp_path, tmp_path / "two", [[f"--{flag}"]] * 2)
  assert [one.code for one in ended] == [0, 0], "\n".join(one.err for one in ended)
  whole.without_report(monkeypatch)
  own = one_of_several.config(**{key: flag.partition("=")[2]})
  assert whole.run(own, tmp_path / "one") == 0
  whole.assert_same(own, tmp_path / "two", tmp_path / "one", report=False)


def test_processes_with_other_configs_seeds_or_data_are_refused_before_anything_is_written(taught):
  ended, *_ = taught
  for one in ended:
    rounds, seeds, placement, _, _, data, *rest = one.lines
    start, end = (
      "ended with 2 process 1 was started with another config than process 0",
      "; give all the same command",
    )
    assert rounds == f"{start} (rounds: 4 -> 5){end}"
    assert seeds == f"{start} (seeds: [0, 1] -> [0, 2]){end}"
    assert placement == f"{start} (data.placement: 'device' -> 'stream'){end}"
    assert re.fullmatch(
      r"ended with 3 process 1 has other data than process 0 \(\w{64}, there \w{64}\); give all "
      r"the same data",
      data,
    )
    assert rest[0] == "workdir is there: False"


def test_an_error_of_either_process_ends_both_with_its_exit_code(taught):
  ended, workdir, _ = taught
  for index, one in enumerate(ended):
    of_second, of_first = one.lines[3:5]
    assert of_second.startswith(
      "ended with 3 "
      f"{'' if index else 'process 1: '}model.pretrained={workdir / 'none.safetensors'}: "
    )
    assert of_first.startswith("ended with 7 cannot write ")
  assert ended[0].lines[4] == ended[1].lines[4]


def test_a_signal_to_one_of_two_processes_stops_both_at_the_same_step_and_the_next_start_finishes(
  taught,
):
  ended, *_ = taught
  (first, *of_first), (second, *of_second) = (
    [line for line in one.lines[7:] if line.startswith("ended")] for one in ended
  )
  assert first.startswith("ended with 75 stopped by SIGTERM in arm ")
  assert first == second
  assert of_first == of_second == ["ended with 0", "ended with 0"]


def test_only_the_first_process_speaks(taught):
  (first, second), *_ = taught
  assert "round 4/4" in first.err
  assert second.err == ""
  assert "report: " in first.out
  assert "report: " not in second.out


def test_one_process_waits_for_nobody_and_sends_nothing(tmp_path):
  assert (processes.count(), processes.index()) == (1, 0)
  assert processes.gather({"a": 1}) == [{"a": 1}]
  assert processes.by_first(lambda: (1, 2)) == (1, 2)
  assert processes.in_turn(lambda: 3) == 3
  assert shared_workdir.copied(tmp_path) == tmp_path
  with pytest.raises(DataError), processes.together(tiny.config()):
    raise DataError("of this process")


SWEEP = """
from ml_collections import ConfigDict

def get_config():
  shapes = {"num_train": 70, "num_test": 30, "num_classes": 3, "image_size": 8}
  return ConfigDict({
    "data": {"name": "shapes", "shapes": shapes}, "model": {"name": "mlp", "hidden_sizes": (16,)},
    "rounds": 2, "batch_size": 16,
    "optim": {"milestones": (1,), "learning_rate": 0.05}, "arms": ("baseline", "method"),
    "select": {"lambda_A": (1e-3, 1e-2)},
    "sweep": {"key": "method.lambda_B", "values": ("1e-4", "1e-5")}, "parallel": {"num_devices": 2},
  })
"""


@pytest.mark.slow
def test_a_sweep_of_selections_by_two_processes_has_the_bytes_of_that_by_one(tmp_path):
  (tmp_path / "sweep.py").write_text(SWEEP)
  port = several.free_port()
  command = [sys.executable, str(ROOT / "run.py"), f"--config={tmp_path / 'sweep.py'}"]
  place = [f"--workdir={tmp_path / 'two'}", f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
  ended = several.run_all(
    tmp_path / "said", [[*command, *place, f"--process_id={index}"] for index in range(2)]
  )
  ended += several.run_all(
    tmp_path / "alone", [[*command, f"--workdir={tmp_path / 'one'}"]], devices=2
  )
  assert [one.code for one in ended] == [0, 0, 0], "\n".join(one.err for one in ended)
  assert (tmp_path / "two" / "sweep.json").read_bytes() == (
    tmp_path / "one" / "sweep.json"
  ).read_bytes()
  for value in ("lambda_B=0.0001", "lambda_B=1e-05"):
    ours, theirs = (whole.outputs(tmp_path / name / value) for name in ("two", "one"))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
  ("variables", "expected"),
  [
    ({}, False),
    (SLURM, False),  # the shell of an allocation: nobody has started the others
    (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, False),
    (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, True),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
    ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
    ({"TPU_WORKER_HOSTNAMES": "a,b,c,d"}, True),
    ({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, True),
    ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, True),
    ({"MEGASCALE_NUM_SLICES": "one"}, False),
  ],
)
def test_a_cluster_is_expected_only_where_several_processes_were_started(variables, expected):
  assert processes.is_launched(variables) == expected


def test_a_run_of_its_own_joins_nobody(monkeypatch):
  monkeypatch.setattr(os, "environ", SLURM | {"SLURM_STEP_NUM_TASKS": "4"})
  processes.join(DistributedConfig(join="off"), None)
  assert processes.count() == 1
  with pytest.raises(
    ConfigError, match=r"distributed\.join=off, and the command line names a coordinator"
  ):
    processes.join(DistributedConfig(join="off"), Launch("a:1", 2, 0))


def test_the_command_line_names_the_place_of_a_process():
  flags = ["--config=c.py", "--coordinator=[::1]:123", "--num_processes=8", "--process_id=7"]
  assert parse_arguments(flags).launch == Launch("[::1]:123", 8, 7)
  assert parse_arguments(["--config=c.py"]).launch is None


@pytest.mark.parametrize(
  ("flags", "told"),
  [
    ("--process_id=1", r"--process_id without --\w+ and --\w+: several processes need all three"),
    (
      "--coordinator=host --num_processes=2 --process_id=1",
      "--coordinator=host: expected HOST:PORT",
    ),
    ("--coordinator=:80 --num_processes=2 --process_id=1", "--coordinator=:80: expected HOST:PORT"),
    (
      "--coordinator=a:99999 --num_processes=2 --process_id=1",
      "--coordinator=a:99999: expected HOST:PORT",
    ),
    (
      "--coordinator=a:80 --num_processes=2 --process_id=2",
      "--num_processes=2 --process_id=2: expected whole numbers",
    ),
    (
      "--coordinator=a:80 --num_processes=two --process_id=0",
      "--num_processes=two --process_id=0: expected whole numbers",
    ),
  ],
)
def test_flags_of_several_processes_that_make_no_sense_are_refused(flags, told):
  with pytest.raises(ConfigError, match=told):
    parse_arguments(["--config=c.py", *flags.split()])


def test_a_coordinator_where_nobody_listens_is_named_with_what_to_do():
  port = several.free_port()
  with pytest.raises(
    ConfigError, match=r"--coordinator=a\.\.b:80: 'a\.\.b' cannot be the name of a machine"
  ):
    processes.join(DistributedConfig(), Launch("a..b:80", 2, 1))
  with pytest.raises(
    ConfigError,
    match=(
      rf"--coordinator=127\.0\.0\.1:{port}: no process 0 was there within .*_secs=1 "
      r".*--process_id=0"
    ),
  ):
    processes.join(DistributedConfig(connect_timeout_secs=1), Launch(f"127.0.0.1:{port}", 2, 1))
