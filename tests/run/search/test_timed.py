"""The driver of a fit, with trials that train nothing and a clock that they push on."""

import json

import pytest

from sdt import files
from sdt.config import ready_spaces, resolve
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError, DivergedError
from sdt.run.search import timed
from sdt.run.search.budget import Plan, Repeat
from sdt.run.search.timed import Task, Trials
from tests.support import tiny

OF = tiny.config(data__shapes__num_train=400)
CUT = hold_out(tiny.data(OF), OF.data)  # 360 examples, of 8 x 8 pixels
NETWORK = "models/network"
KIND = ready_spaces.KINDS["tiny_images"]
# Seconds of a round by the number of stages.
PACE = {1: 0.1, 2: 0.2}


class World:
  """Runs that train nothing: their accuracy and their seconds follow from the config."""

  def __init__(self, *, diverges=lambda config: False):
    self.now, self.asked, self._diverges, self._programs = 0.0, [], diverges, set()

  def clock(self):
    return self.now

  def run(self, asked):
    self.asked.append(asked)
    config, folder, until = asked.config, asked.folder, asked.config.rounds
    if asked.pause is not None:
      until = asked.pause.round
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "timing.json"
    known = {"train_secs": {"baseline": 0.0}, "evaluation_secs": {}, "compile_secs": 0.0}
    known |= {"wall_secs": 0.0, "rounds": 0}
    told = files.read_json(path) if path.exists() else known
    pace = PACE[len(config.model.widths)] * len(asked.data.train) / len(CUT.train)
    training = pace * (until - told["rounds"])
    program = (config.model.widths, config.rounds, len(asked.data.train))
    compiling = 0.0 if program in self._programs else 4.0
    self._programs.add(program)
    secs = 1.0 + training + compiling
    told["train_secs"]["baseline"] += training
    told["compile_secs"] += compiling
    files.write_json(path, told | {"wall_secs": told["wall_secs"] + secs, "rounds": until})
    self.now += secs
    rows = [self._row(config, number) for number in range(told["rounds"] + 1, until + 1)]
    files.append_rows(folder / "metrics.jsonl", rows)
    if asked.pause is None:
      files.write_bytes(folder / NETWORK, b"a network")

  def _row(self, config, number):
    accuracy = round(0.9 - abs(config.optim.learning_rate - 0.1) + 0.0001 * number, 4)
    row = {"arm": "baseline", "seed": config.seeds[0], "round": number, "phase": "all"}
    row |= {"last_phase": True, "test_accuracy": accuracy, "test_loss": 1 - accuracy}
    return row | ({"diverged": True} if self._diverges(config) else {})


def trials(folder, world, seed=0):
  plain = ready_spaces.recipe(KIND, len(CUT.train)) | {"seeds": (seed,)}
  task = Task("tiny_images", resolve(plain), CUT, folder / "trials", network=NETWORK)
  return Trials(task, world.run, world.clock)


def fitted(folder, secs, world=None):
  """Returns (the plan, what its trials reached, the world) of a fit in so many seconds."""
  world, lines = world or World(), []
  own = trials(folder, world)
  watch = timed.forecast(own, lambda: secs - world.now, lines.append)
  return *timed.search(own, watch, lines.append), world


@pytest.mark.slow_rows("300.0")
@pytest.mark.parametrize("secs", [40.0, 300.0])
def test_a_fit_keeps_its_time_and_its_plan_comes_to_the_same_without_a_clock(tmp_path, secs):
  plan, entries, world = fitted(tmp_path / "timed", secs)
  assert 0.5 * secs < world.now <= secs
  assert plan.rungs[-1].num_trials == 3
  again = World()
  own = trials(tmp_path / "again", again)
  repeated = timed.search(own, Repeat(Plan.read(plan.to_dict()).rungs), lambda line: None)
  assert repeated == (plan, entries)
  # No measurement: each trial trains once up to the end of each of its rungs.
  assert len(again.asked) == sum(rung.num_trials for rung in plan.rungs)


def test_the_first_trial_is_the_middle_of_the_space_and_goes_on_from_the_measurement(tmp_path):
  _, _, world = fitted(tmp_path, 200.0)
  first, second = world.asked[:2]
  assert (first.pause.round, second.pause.round) == (1, 3)
  assert first.folder == second.folder
  assert first.config.optim.learning_rate == pytest.approx(0.1, rel=0.01)
  assert first.config.model.widths == (16, 32)
  asked = [one for one in world.asked if one.folder == first.folder]
  ends = [one.pause.round if one.pause else one.config.rounds for one in asked]
  assert ends == sorted(set(ends))


def test_the_best_of_a_rung_go_on_and_the_best_three_predict(tmp_path):
  plan, entries, _ = fitted(tmp_path, 200.0)
  reached = [one["round"] for one in entries]
  assert reached == sorted(reached, reverse=True)
  members = timed.best_of(entries)
  assert [one["trial"] for one in members] == [one["trial"] for one in entries[:3]]
  assert all((tmp_path / one["file"]).read_bytes() == b"a network" for one in members)
  distances = sorted(abs(one["values"]["optim.learning_rate"] - 0.1) for one in entries)
  assert (
    sorted(abs(one["values"]["optim.learning_rate"] - 0.1) for one in members) == (distances[:3])
  )
  assert len({json.dumps(one["values"]) for one in entries}) == plan.rungs[0].num_trials


def test_many_examples_are_measured_on_a_part_of_them(tmp_path, monkeypatch):
  small = dict(ready_spaces.KINDS)
  small["tiny_images"] = type(KIND)(**(vars(KIND) | {"pilot_examples": 80}))
  monkeypatch.setattr(ready_spaces, "KINDS", small)
  world = World()
  own = trials(tmp_path, world)
  own.pilot(81)
  assert {len(asked.data.train) for asked in world.asked} == {80}
  assert own.costs.round(own.program(0, 81)) == pytest.approx(PACE[2])


def test_a_time_that_is_too_short_for_one_trial_is_refused_with_what_is_enough(tmp_path):
  with pytest.raises(
    ConfigError, match=r"9 rounds, .* takes about .* minutes here.* give at least"
  ):
    fitted(tmp_path, 7.0)


@pytest.mark.slow
def test_recipes_that_diverge_are_no_members_and_where_all_do_there_is_no_fit(tmp_path):
  wild = World(diverges=lambda config: config.optim.learning_rate > 0.1)
  _, entries, _ = fitted(tmp_path / "some", 200.0, wild)
  assert all(not one["diverged"] for one in timed.best_of(entries))
  _, entries, _ = fitted(tmp_path / "all", 200.0, World(diverges=lambda config: True))
  with pytest.raises(DivergedError, match="every recipe that came to the end diverged"):
    timed.best_of(entries)
