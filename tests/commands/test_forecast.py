"""The time that a dry run foretells: what it measures, what it counts, and how it is told."""

from types import SimpleNamespace

import pytest

from sdt.commands import dry_run, estimates, forecast
from sdt.engine.state import Position
from sdt.engine.trainer import Passes, Progress
from sdt.errors import MissingDataError
from sdt.experiment import EXPERIMENT
from sdt.run.programs import Setup
from sdt.stages import prediction_files
from tests.commands.test_dry_run import until_missing
from tests.support import tiny

PRODUCTS = 2 * (8 * 8 * 3 * 16 + 16 * 3)  # of two networks


PASSES = (
  2 * 4 * (5 * 3 * 16 + 32)
)  # of two arms of four rounds of five steps and one evaluation batch


def test_without_the_data_the_time_is_guessed_from_the_steps_of_every_arm(tmp_path, monkeypatch):
  monkeypatch.setattr(forecast, "estimated_secs", lambda products: products * 1e-6)
  config = tiny.config(data__download=False)
  data = tiny.data(config)
  missing = MissingDataError("it is not there")
  lines, _ = until_missing(dry_run.describe(config, tmp_path / "run", dry_run.Found(data, missing)))
  assert (
    f"time      roughly {PASSES * PRODUCTS * 1e-6:.0f} s to train 2 arm(s) with 2 seed(s) on "
    "this machine, a guess"
  ) in lines[-1]


def test_the_time_is_that_of_a_pass_through_the_network_times_the_passes_of_the_run(monkeypatch):
  monkeypatch.setattr(estimates, "measure_pace", lambda *_, compile_secs: forecast.Pace(0.1, 30.0))
  line = list(dry_run.describe(tiny.config()))[-1]
  training, scoring, compiling = 0.1 * PASSES, 0.1 * 70, 30.0 * (2 + 1)
  total = training + scoring + compiling + forecast.SECS_AROUND
  assert line.startswith(
    f"time      roughly {estimates._rounded(total)} on this machine, by dispatches that ran just "
    "now: "
  )
  assert (
    f"{estimates._rounded(training)} to train 2 arm(s) with 2 seed(s), "
    f"{estimates._rounded(compiling)} to compile 2 training prog"
  ) in line


@pytest.mark.parametrize(
  ("first_secs", "secs", "rounds", "expected"),
  [
    (
      0.5,
      0.4,
      1,
      [0.5, 0.4, 0.4, 0.4],
      # until the trial has lasted 1.5 s, or a round has ended for each such time as the first took
    ),
    (0.5, 0.1, 50, [0.5, 0.1, 0.2]),  # a dispatch of many rounds is cut
    (2.0, 1.9, 1, [2.0, 1.9]),
    (7.0, 5.0, 1, [7.0]),
  ],
)
def test_a_trial_lasts_a_second_or_two_and_leaves_out_its_first_dispatch(
  first_secs, secs, rounds, expected
):
  """A dispatch has one round at the start, as the engine's, then `rounds`; each takes `secs`."""
  ran = []

  class Slow:
    def take_programs(self, compiled):
      assert compiled == "compiled"

    def set_state(self, state):
      assert state == "fresh"

    def run(self, start, halts_after=()):
      at, halt = start.round_index, next(iter(halts_after), 0)
      while at < 1000:
        number = min(
          1 if at == start.round_index else rounds,
          1000 if at >= halt else halt - at,
        )
        at += number
        ran.append(first_secs if not ran else number * secs)
        yield Progress(Position(at), (), ran[-1], passes=Passes(90 * number, 10 * number))

  setup = SimpleNamespace(trainer=lambda plan: Slow(), fresh_start="fresh")
  pace = forecast.measure_pace(
    setup, SimpleNamespace(rounds=1000, phases=(), by_part=()), "compiled", compile_secs=4.0
  )
  assert ran == pytest.approx(expected)
  assert pace.pass_secs == pytest.approx((first_secs if len(ran) == 1 else secs) / 100)
  assert pace.compile_secs == 4.0


def test_recalibration_and_the_gradients_of_all_parameters_count_as_passes():
  config = tiny.resnet(score__grand=True)
  setup = Setup.make(config, tiny.data(config), is_abstract=True)
  num_train, num_test = len(setup.data.train), len(setup.data.test)
  of_final_networks = len(config.arms) * (num_train + 2 * num_test)  # with two kinds of statistics
  assert forecast.scoring_passes(setup, has_baseline=False) == 4 * num_train + of_final_networks
  assert forecast.scoring_passes(setup, has_baseline=True) == of_final_networks


def test_what_does_not_fit_a_device_is_told_and_not_tried(monkeypatch):
  monkeypatch.setattr("sdt.inputs.placement._device_bytes", lambda layout: 100_000)
  monkeypatch.setattr(estimates, "measure_pace", None)
  lines = list(dry_run.describe(tiny.config()))
  assert lines[-2].startswith("note      a device has 0 MB: lower batch_size")
  assert "a guess from the multiply-adds" in lines[-1]


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0.2, "1 s"),
    (90, "90 s"),
    (180, "3 minutes"),
    (7_100, "118 minutes"),
    (61_200, "17 hours"),
    (86_400 * 4.4, "4 days"),
  ],
)
def test_a_guess_has_no_more_digits_than_it_is_worth(seconds, text):
  assert estimates._rounded(seconds) == text


def test_the_disk_has_room_for_the_temporary_file_of_an_arm(monkeypatch):
  of = tiny.config(arms=("baseline", "method", "less_data"))
  data = tiny.data(of)
  setup, (_, plans) = Setup.make(of, data, is_abstract=True), EXPERIMENT.plans(of, data)
  of_arm = prediction_files.num_bytes(of, data) // 3
  for limit, expected in ((of_arm, 0), (of_arm - 1, of_arm)):
    monkeypatch.setattr(prediction_files, "_IN_MEMORY", limit)
    assert prediction_files.temporary_bytes(of, data) == expected
    line = estimates.disk_line(setup, plans, EXPERIMENT.outputs(of, data))
    assert ("for a temporary file while they are written" in line) == (expected > 0)
