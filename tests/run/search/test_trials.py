"""The trials of a search: which runs it asks for, and that a stop at any moment changes nothing."""

import json
import re
import shutil

import pytest

from sdt import experiment, files
from sdt.config import from_dict, search_space, to_dict
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError, DivergedError, Interrupted
from sdt.run import lifecycle, metrics, reused_baseline, selection
from sdt.run.search import feasibility
from sdt.run.search.trials import Search, on_the_rest, parts_of, rounds_of
from sdt.run.signals import StopRequest
from tests.support import tiny, whole

RATE = "optim.learning_rate = log(1e-3, 1)"
DECAYS = ("method.lambda_A = log(1e-4, 1)", "method.lambda_tuned = log(1e-5, 1e-1)")


def config(*items, method="random", trials=4, **changes):
  given = {
    "arms": ("baseline", "method", "uniform_tuned"),
    "data__validation_fraction": 0.2,
    "select__space": items,
    "select__method": method,
  }
  given |= {} if method == "grid" else {"select__trials": trials}
  return whole.config(**(given | changes))


DATA = tiny.data(config(RATE))
CUT = hold_out(DATA, config(RATE).data)


class KilledError(Exception):
  """Stands for a kill."""


class Trained:
  """Runs what a search asks for without training: the accuracy follows from the config.

  It stops before ask number `kill_at`, from 0, and in the middle of it where `is_torn`.
  """

  def __init__(self, kill_at=None, *, is_torn=False, diverges=lambda of: False):
    self.asked, self._kill_at, self._is_torn = [], kill_at, is_torn
    self._diverges = diverges

  def __call__(self, asked):
    if len(self.asked) == self._kill_at and not self._is_torn:
      raise KilledError
    self.asked.append(asked)
    of, path = asked.config, asked.folder / "metrics.jsonl"
    arm = of.arms[-1] if asked.pause is None else asked.pause.arm
    until = of.rounds if asked.pause is None else asked.pause.round
    if path.exists():  # what no checkpoint covers is trained again
      metrics.drop_rows(asked.folder, lambda row: False)
    rows = [self._row(of, arm, number, seed) for number in range(1, until + 1) for seed in of.seeds]
    is_killed = len(self.asked) - 1 == self._kill_at
    files.append_rows(path, rows[:-1] if is_killed else rows)
    if is_killed:
      raise KilledError
    if asked.pause is None:
      files.write_json(asked.folder / "results.json", {})

  def _row(self, of, arm, number, seed):
    value = {"method": of.method.lambda_A, "uniform_tuned": of.method.lambda_tuned}.get(
      arm, of.optim.learning_rate
    )
    accuracy = round(0.9 - abs(value - 0.05) / 2 + 0.01 * number + 0.01 * seed, 3)
    row = {"arm": arm, "seed": seed, "round": number, "phase": "all", "last_phase": True}
    row |= {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
    return row | ({"diverged": True} if self._diverges(of) else {})


def search(of, folder, run, log=lambda line: None):
  """Returns what a search comes to, as the JSON that a run writes."""
  share = len(CUT.train) / len(DATA.train)
  found = Search(of, CUT, share=share, folder=folder, run=run, log=log).content()
  return json.loads(files.json_text(found))


SEARCHES = [
  config(RATE, *DECAYS, method="halving", trials=6, select__factor=2),
  config(RATE, *DECAYS, method="bayes", trials=5),
  config(RATE, "method.lambda_A = log(1e-4, 1, 3)", "method.lambda_tuned = log(1e-5, 1e-1, 3)"),
]


@pytest.mark.parametrize(
  ("method", "step", "is_torn"), [("halving", 5, False), ("random", 3, True)]
)
def test_a_search_that_is_killed_at_any_ask_asks_for_what_is_left_and_comes_to_the_same(
  method, step, is_torn, tmp_path
):
  factor = {"select__factor": 2} if method == "halving" else {}
  of, alone = config(RATE, DECAYS[0], method=method, **factor), Trained()
  expected = search(of, tmp_path / "alone", alone)
  for kill_at in range(0, len(alone.asked), step):
    folder, first, second = tmp_path / str(kill_at), Trained(kill_at, is_torn=is_torn), Trained()
    with pytest.raises(KilledError):
      search(of, folder, first)
    assert search(of, folder, second) == expected
    left = [*first.asked[:kill_at], *second.asked]
    assert [(one.folder.name, one.pause) for one in left] == [
      (one.folder.name, one.pause) for one in alone.asked
    ]


def test_a_bayesian_search_that_is_killed_proposes_the_same_again(tmp_path):
  of, folder = config(RATE, method="bayes", trials=5, arms=("baseline",)), tmp_path / "killed"
  expected = search(of, tmp_path / "alone", Trained())
  with pytest.raises(KilledError):
    search(of, folder, Trained(4))
  assert search(of, folder, Trained()) == expected


def test_halving_sends_the_best_of_each_rung_on_to_more_rounds(tmp_path):
  run, of = Trained(), SEARCHES[0]
  found = search(of, tmp_path, run)
  asked = [
    (one.folder.name, one.pause.round) for one in run.asked if one.folder.name.startswith("method_")
  ]
  tried = {one["folder"]: one for one in found["choices"]["method"]["candidates"]}
  distance = {name: abs(one["values"]["method.lambda_A"] - 0.05) for name, one in tried.items()}
  order = sorted(distance, key=distance.get)
  first, second, third = sorted(tried), sorted(order[:3]), order[:1]
  expected = [(name, 1) for name in first] + [(name, 2) for name in second]
  assert asked == expected + [(name, 4) for name in third]
  rounds = {name: 4 if name in third else 2 if name in second else 1 for name in tried}
  assert {name: one["round"] for name, one in tried.items()} == rounds
  assert found["choices"]["method"]["chosen"] == tried[third[0]]["values"]
  assert rounds_of(of)["method"] == 6 + 3 + 1 * 2


def test_what_ordinary_training_reads_is_chosen_first_and_its_best_trial_is_the_baseline_of_all(
  tmp_path,
):
  run, of = Trained(), config(RATE, *DECAYS, trials=5)
  found = search(of, tmp_path, run)
  best = min(
    found["choices"]["baseline"]["candidates"],
    key=lambda one: abs(one["values"]["optim.learning_rate"] - 0.05),
  )
  assert found["choices"]["baseline"]["chosen"] == best["values"]
  later = [one for one in run.asked if one.folder.name.startswith(("method", "uniform"))]
  assert {one.config.baseline_from for one in later} == {str(tmp_path / best["folder"])}
  assert {one.config.optim.learning_rate for one in later} == set(best["values"].values())
  (finished,) = [one for one in run.asked if one.pause is None]
  assert finished.folder.name == best["folder"]
  assert [len(choice["candidates"]) for choice in found["choices"].values()] == [5, 5, 5]


def test_without_a_key_of_ordinary_training_its_baseline_is_trained_once(tmp_path):
  run = Trained()
  found = search(config(*DECAYS, trials=2), tmp_path, run)
  assert [one.folder.name for one in run.asked] == [
    "baseline",
    *("method_001", "method_002", "uniform_tuned_001", "uniform_tuned_002"),
  ]
  assert found["baseline"]["mean"] == pytest.approx(0.9 - 0.0 + 0.04 + 0.005)


def test_a_trial_that_diverges_is_never_chosen_and_where_all_do_nothing_is(tmp_path):
  of = config(RATE, trials=4)
  found = search(of, tmp_path / "some", Trained(diverges=lambda of: of.optim.learning_rate > 0.1))
  tried = found["choices"]["baseline"]["candidates"]
  lost = [one for one in tried if one["values"]["optim.learning_rate"] > 0.1]
  assert lost
  assert all(one["diverged"] == [0, 1] and one["mean"] is None for one in lost)
  assert found["choices"]["baseline"]["chosen"]["optim.learning_rate"] <= 0.1
  with pytest.raises(DivergedError, match="nothing to choose for baseline, every one of 4"):
    search(of, tmp_path / "all", Trained(diverges=lambda of: True))


def test_a_line_tells_of_every_trial_the_best_so_far_and_the_time_left(tmp_path):
  lines = []
  search(config(RATE, trials=3), tmp_path, Trained(), lines.append)
  assert len(lines) == 3
  start = r"selection, baseline, trial 2 of 3, round 4: learning_rate = [\d.e-]+: [\d.]+ %; "
  pattern = start + r"best so far [\d.]+ %, trial [12]; left: about \d+ s"
  assert re.fullmatch(pattern, lines[1])
  assert "left" not in lines[2]


def test_the_trials_config_is_an_ordinary_one_without_what_only_other_arms_read():
  of = config(RATE, *DECAYS, method__init="warm", split__policy="random")
  for part in parts_of(of):
    own = on_the_rest(of, part.arm, 0.8)
    assert from_dict(to_dict(own)) == own
    assert own.arms == (("baseline",) if part.arm == "baseline" else ("baseline", part.arm))
    assert own.select.space == ()
    is_split = part.arm != "baseline"
    assert (own.method.init == "warm") == (own.split.policy == "random") == is_split


@pytest.mark.parametrize(
  ("item", "changes", "message"),
  [
    # One of the 70 examples is A, and none of the 56 without the validation split.
    (
      "method.fraction = uniform(0.015, 0.2)",
      {"arms": ("baseline", "method")},
      r"select.space, at method.fraction=0.015: .*A would get 0",
    ),
    (
      "everywhere = choice((stochastic_depth=0.1,), ())",
      {"arms": ("baseline",)},
      "at everywhere=.*stochastic_depth.* which model.name='mlp' has not",
    ),
  ],
)
def test_a_point_that_is_impossible_with_the_data_is_refused_before_any_trial(
  item, changes, message, tmp_path
):
  of = config(item, trials=2, **changes)
  with pytest.raises(ConfigError, match=message):
    feasibility.check(of, CUT, len(DATA.train))
  with pytest.raises(ConfigError, match=message):
    experiment.run(of, tmp_path / "run", "tiny", loaded=DATA)
  assert not (tmp_path / "run").exists()


HALVING = config(RATE, method="halving", trials=3, arms=("baseline",))


def really(asked):
  """Trains what a search asks for."""
  stop = StopRequest()
  with stop.listening(lambda line: None):
    lifecycle.answer(experiment.EXPERIMENT, asked, stop)


def trial_files(folder):
  """Returns all that the trials of a search leave, without times and checkpoints."""
  return {path.name: whole.rows(path) for path in sorted(folder.glob("baseline_*"))}


@pytest.mark.slow
def test_a_search_that_trains_and_is_stopped_within_a_rung_comes_to_the_same_bytes(
  tmp_path, monkeypatch
):
  expected = search(HALVING, tmp_path / "alone", really)
  assert [one["round"] for one in expected["choices"]["baseline"]["candidates"]].count(4) == 1
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "baseline", 2.4)
    said = r"^selection, baseline, trial \d of \d: stopped by SIGTERM in arm baseline, round 3, "
    with pytest.raises(Interrupted, match=said):
      search(HALVING, tmp_path / "stopped", really)
  assert search(HALVING, tmp_path / "stopped", really) == expected
  assert trial_files(tmp_path / "stopped") == trial_files(tmp_path / "alone")


@pytest.mark.slow
def test_a_trial_that_survived_every_rung_has_the_rows_of_a_run_that_was_never_interrupted(
  tmp_path,
):
  found = search(HALVING, tmp_path / "search", really)["choices"]["baseline"]["candidates"]
  best = next(one for one in found if one["round"] == 4)
  space = search_space.space_of(HALVING.select.space)
  alone = search_space.at_point(on_the_rest(HALVING, "baseline", 0.8), space, best["point"])
  assert experiment.run(alone, tmp_path / "whole", "tiny", loaded=CUT) == 0
  assert whole.rows(tmp_path / "whole") == whole.rows(tmp_path / "search" / best["folder"])


@pytest.mark.slow
@pytest.mark.parametrize("of", SEARCHES[:2], ids=["halving", "bayes"])
def test_a_run_whose_search_is_stopped_again_and_again_has_the_bytes_of_one_left_alone(
  of, tmp_path, monkeypatch
):
  whole.quick_report(monkeypatch)
  assert experiment.run(of, tmp_path / "alone", "tiny", loaded=DATA) == 0
  run = tmp_path / "run"
  for number, task in enumerate(("baseline", "baseline", "method", "uniform_tuned", "method")):
    with monkeypatch.context() as patch:
      whole.signal_at(patch, task, 0.4 + 0.4 * number)
      assert whole.run(of, run) in (75, 0)
  assert whole.run(of, run) == 0
  ours, theirs = (
    {name: value for name, value in whole.outputs(path).items() if "timing" not in name}
    for path in (run, tmp_path / "alone")
  )
  assert ours.keys() == theirs.keys()
  for name in ours:
    assert ours[name] == theirs[name], name
  # The run is the ordinary one of the chosen values.
  content = files.read_json(run / "selection.json")
  ordinary = tmp_path / "ordinary"
  assert experiment.run(selection.frozen(of, content["chosen"]), ordinary, "x", loaded=DATA) == 0
  assert whole.rows(ordinary) == whole.rows(run)
  shutil.rmtree(run / "selection")
  before = whole.stamps(run)
  assert whole.run(of, run) == 0
  assert whole.stamps(run) == before


def test_a_baseline_of_a_run_that_searched_is_that_of_the_chosen_values(tmp_path):
  chosen = {"optim.learning_rate": 0.03, "method.lambda_A": 0.2}
  files.write_json(tmp_path / "results.json", {"selection": {"chosen": chosen}})
  found = reused_baseline._as_trained(tmp_path, config(RATE))
  assert found.optim.learning_rate == 0.03
  assert found.method == config(RATE).method  # which no baseline reads
  files.write_json(tmp_path / "results.json", {})
  assert reused_baseline._as_trained(tmp_path, config(RATE)) == config(RATE)
