"""What a person sees: lines with the time left, durations, and the account of time."""

import time

import pytest

from sdt.run import progress, timing
from sdt.run.profiling import Profiler
from sdt.run.progress import Display, duration
from sdt.stages import train


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0, "0 s"),
    (0.4, "0 s"),
    (59.4, "59 s"),
    (59.6, "1:00"),
    (60, "1:00"),
    (187, "3:07"),
    (3599.7, "1:00:00"),
    (7387, "2:03:07"),
  ],
)
def test_durations_read_as_people_write_them(seconds, text):
  assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
  return now


def test_a_line_tells_the_time_left_from_the_work_done_by_now(clock, capsys):
  with Display(False).task("method", 10, "round", done=2) as task:
    clock[0] += 8.0
    task.line(
      3, "test 50 %", 6
    )  # four rounds came in one dispatch of 8 s: four more will take as long
    task.line(6, "test 60 %", 6)
    task.line(10, "test 70 %", 10)
  lines = capsys.readouterr().err.splitlines()
  assert lines == [
    "method  round 3/10  test 50 %  left 8 s",
    "method  round 6/10  test 60 %  left 8 s",
    "method  round 10/10  test 70 %",
  ]


def test_nothing_done_yet_has_no_time_left(clock):
  with Display(False).task("score", 4, "batch") as task:
    assert task.left() == "?"


def test_the_first_dispatch_is_no_measure_for_the_others(clock):
  with Display(False).task("baseline", 11, "round") as task:
    clock[0] += 30.0
    task.advance(1)
    assert task.left() == "5:00"  # there is nothing else yet
    clock[0] += 4.0
    task.advance(3)
    assert task.left() == "16 s"
    clock[0] += 12.0  # a slow one bends the estimate, by its share of the rounds so far
    task.advance(5)
    assert task.left() == "24 s"


def test_the_time_left_of_the_run_counts_the_trainings_to_come_at_the_pace_so_far(clock, capsys):
  display = Display(False)
  display.expect({"baseline": 5, "method": 5, "long_baseline": 10})
  with display.task("baseline", 5, "round") as task:
    for number in range(1, 6):
      clock[0] += 60.0 if number == 1 else 3.0
      task.line(number, "lr 1", number)
      task.advance(number)
  with display.task("score", 2, "batch") as task:  # another kind of work
    clock[0] += 9.0
    task.advance(1)
    assert task.left() == "9 s"
  with display.task("method", 5, "round") as task:
    assert task.left() == "15 s (run 45 s)"
    clock[0] += 60.0  # its first dispatch: the pace of the training before is the better guess
    task.line(1, "lr 1", 1)
    clock[0] += 4.0
    task.line(2, "lr 1", 2)
  with display.task("long_baseline", 10, "round", done=8) as task:
    assert task.left() == "8 s"
  ends = [line.partition("  left ")[2] for line in capsys.readouterr().err.splitlines()]
  assert ends == [
    "4:00 (run 19:00)",
    "9 s (run 54 s)",
    "6 s (run 51 s)",
    "3 s (run 48 s)",
    "",
    "12 s (run 42 s)",
    "12 s (run 52 s)",
  ]


def test_a_long_round_is_heard_of_every_half_minute(clock, capsys):
  with Display(False).task("baseline", 4, "round") as task:
    clock[0] += 20.0
    task.advance(0.1)
    clock[0] += 31.0
    task.advance(0.25)
    clock[0] += 1.0
    task.advance(0.3)
    task.advance(1)
  assert capsys.readouterr().err == "baseline  round 1/4  25% of it done  left 12:55\n"


def test_a_log_line_goes_to_stderr_as_it_is(capsys):
  Display(False).log("data.path=[x]: 50 %")
  assert capsys.readouterr() == ("", "data.path=[x]: 50 %\n")


def test_on_a_terminal_lines_stand_above_the_bar_and_markup_is_text(capsys):
  display = Display(True)
  with display.task("baseline", 4, "round") as task:
    task.line(2, "lr 0.1", 2)
    display.log("a [bold]line[/bold] that is longer than a terminal is wide " + "x" * 100)
    task.advance(4)
  display.log("after")
  text = capsys.readouterr().err
  assert "a [bold]line[/bold] that is longer than a terminal is wide " + "x" * 100 + "\n" in text
  assert "4/4 round" in text
  assert text.endswith("after\n")


def test_time_is_counted_over_all_starts(tmp_path, monkeypatch):
  first = timing.Timing.read(tmp_path / "timing.json", time.perf_counter() - 5.0)
  first.images["baseline"] = 700
  first.add_dispatch("baseline", 1.5, 0.0)
  first.add_dispatch("baseline", 1.5, 1.0)
  with first.stage("score"):
    pass
  train.files.write_json(tmp_path / "timing.json", first.to_dict())
  content = train.files.read_json(tmp_path / "timing.json")
  assert content["images_per_sec"] == {"baseline": 350.0}
  assert content["goodput"] == pytest.approx(3.0 / content["wall_secs"])
  assert (content["train_secs"], content["evaluation_secs"]) == (
    {"baseline": 2.0},
    {"baseline": 1.0},
  )
  assert "since" not in content
  again = timing.Timing.read(tmp_path / "timing.json", time.perf_counter() - 3.0)
  assert (again.num_starts, again.images, again.train_secs) == (
    2,
    {"baseline": 700},
    {"baseline": 2.0},
  )
  assert 8.0 <= again.to_dict()["wall_secs"] < 60.0


def test_the_second_dispatch_of_all_is_traced_and_no_other(tmp_path):
  lines = []
  profiler = Profiler(tmp_path / "profile", lines.append)
  assert list(profiler.watch([1])) == [1]
  assert list(profiler.watch([2, 3])) == [2, 3]
  assert list(profiler.watch(())) == []
  (line,) = lines
  assert line.startswith(f"profile: the trace of one dispatch is in {tmp_path / 'profile'}; ")
  assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) >= 1
  assert list(Profiler(None, lines.append).watch([1, 2, 3])) == [1, 2, 3]
  assert len(lines) == 1
