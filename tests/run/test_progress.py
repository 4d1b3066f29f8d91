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
    "method  round 3/10  test 50 %  left: 8 s",
    "method  round 6/10  test 60 %  left: 8 s",
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
    assert task.left() == "arm 15 s, run 45 s"
    clock[0] += 60.0  # its first dispatch: the pace of the training before is the better guess
    task.line(1, "lr 1", 1)
    clock[0] += 4.0
    task.line(2, "lr 1", 2)
  with display.task("long_baseline", 10, "round", done=8) as task:
    assert task.left() == "8 s"
  ends = [line.partition("  left: ")[2] for line in capsys.readouterr().err.splitlines()]
  assert ends == [
    "arm 4:00, run 19:00",
    "arm 9 s, run 54 s",
    "arm 6 s, run 51 s",
    "arm 3 s, run 48 s",
    "",
    "arm 12 s, run 42 s",
    "arm 12 s, run 52 s",
  ]


def test_a_long_round_is_heard_of_after_half_a_minute(clock, capsys):
  with Display(False).task("baseline", 4, "round") as task:
    clock[0] += 20.0
    task.advance(0.1)
    clock[0] += 31.0
    task.advance(0.25)
    clock[0] += 1.0
    task.advance(0.3)
    task.advance(1)
  assert capsys.readouterr().err == "baseline  round 1/4  25% of it done  left: 12:55\n"


def test_each_silence_is_twice_as_long_as_the_one_before(clock, capsys):
  heard = []
  with Display(False).task("baseline", 1, "round") as task:
    for second in range(1, 4001):
      clock[0] += 1.0
      task.advance(second / 4000)
      heard += [second] if capsys.readouterr().err else []
  assert heard == [31, 92, 213, 454, 935, 1896, 3817]


@pytest.mark.parametrize(("told", "silences"), [(31, 8), (20, 19), (500, 8)])
def test_lines_of_rounds_and_of_silences_come_to_forty_at_most(told, silences, clock, capsys):
  with Display(False).task("baseline", 1000, "round", told=range(1, told + 1)) as task:
    for number in range(900):
      clock[0] += 2.0**number
      task.advance(number + 0.5)
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == silences
  assert told > 31 or len(lines) + told + 1 <= 40  # one says that it compiles


def told(rounds, rates=(), every=1):
  numbers = [number for number in range(1, rounds + 1) if number % every == 0 or number == rounds]
  return sorted(progress.rounds_to_tell(numbers, rates or [0.1] * rounds))


def test_few_rounds_have_a_line_each_and_of_many_every_so_many_with_the_first_and_the_last():
  assert told(31) == list(range(1, 32))
  assert told(32) == [1, *range(2, 33, 2)]
  assert told(300) == [1, *range(10, 301, 10)]
  assert told(299) == [1, *range(10, 291, 10), 299]
  assert told(5000, every=10) == [10, *range(200, 5001, 200)]
  assert progress.rounds_to_tell([], []) == frozenset()
  for rounds in range(1, 700):
    lines = told(rounds)
    assert (lines[0], lines[-1], len(lines) <= 31) == (1, rounds, True)


def test_each_drop_of_the_rate_has_a_line_and_a_rate_that_always_drops_has_no_more_lines():
  rates = [0.1] * 149 + [0.01] * 76 + [0.001] * 75
  assert told(300, rates) == sorted({1, *range(20, 301, 20), 150, 226})
  # Only every seventh round has figures: the next that has them tells of the drop.
  assert {154, 231} <= set(told(300, rates, every=7))
  # The falls come before the regular lines, while there is room for them.
  for falls in (16, 20, 29):
    steps = [0.1 * 0.5 ** (number * (falls + 1) // 300) for number in range(300)]
    first = {n + 1 for n in range(1, 300) if steps[n] < steps[n - 1]}
    assert len(first) == falls
    lines = told(300, steps)
    assert ({1, 300} | first <= set(lines), len(lines) <= 31) == (True, True)
  steps = [0.1 * 0.5 ** (number * 32 // 300) for number in range(300)]  # one more than fit
  assert told(300, steps) == told(300)
  falling = [1.0 / number for number in range(1, 301)]
  assert told(300, falling) == told(300)
  rising = falling[::-1]
  assert told(300, rising) == told(300)


def test_off_a_terminal_only_the_told_rounds_have_a_line_and_a_line_is_said_once(clock, capsys):
  display = Display(False)
  with display.task("baseline", 4, "round", told={1, 4}) as task:
    for number in range(1, 5):
      display.log_once("what the figures are")
      task.line(number, "lr 1", number)
  assert capsys.readouterr().err.splitlines() == [
    "what the figures are",
    "baseline  round 1/4  lr 1  left: 0 s",
    "baseline  round 4/4  lr 1",
  ]


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
