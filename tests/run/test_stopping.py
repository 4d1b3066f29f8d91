"""Early stopping: which round a seed ends at, what is kept of it, and that kills change nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdt import files
from sdt.config import resolve
from sdt.data.validation_split import hold_out, with_validation
from sdt.engine.state import Snapshot, TrainState, zero_sums
from sdt.errors import ConfigError
from sdt.run import load_inputs, stopping
from sdt.run.checkpoints import CheckpointStore
from sdt.run.programs import Setup
from sdt.run.saved_states import CheckpointKey, saved_like
from sdt.run.stopping import End, Stopper, ends_of
from sdt.stages.model_file import file_of
from sdt.trained.model import logits_of, preprocess, read_model
from tests.support import tiny, whole

FRACTION = {"data__validation_fraction": 0.3}
CONFIG = whole.config(
  stop__patience=2, rounds=8, optim__milestones=(), score__course=True, **FRACTION
)


def rows_of(*accuracies, arm="a", every=1):
  """Returns the rows of one arm: the accuracies of each seed by evaluated round."""
  return [
    {
      "arm": arm,
      "seed": seed,
      "round": number,
      "last_phase": True,
      **({"validation_accuracy": accuracy} if number % every == 0 else {}),
    }
    for number, of_round in enumerate(zip(*accuracies, strict=True), start=1)
    for seed, accuracy in enumerate(of_round)
  ]


@pytest.mark.parametrize(
  ("accuracies", "patience", "end"),
  [
    ([0.5, 0.6, 0.6, 0.5, 0.9], 2, End(2, stopped=4)),  # the first of equal ones
    ([0.5, 0.4, 0.6, 0.5, 0.7], 2, End(5)),
    ([0.5, 0.4, 0.3, 0.9], 1, End(1, stopped=2)),
    ([0.5, None, None, None], 3, End(1, stopped=4)),  # it diverged
    ([None, None, 0.9], 2, End(0, stopped=2)),
    ([0.0, 0.0], 2, End(1)),
  ],
)
def test_a_seed_ends_after_so_many_rounds_without_a_higher_accuracy(accuracies, patience, end):
  assert ends_of(rows_of(accuracies), patience) == {0: end}


def test_rounds_that_are_not_evaluated_decide_nothing_and_count():
  rows = rows_of([0.5] * 9, every=3)
  assert ends_of(rows, 4) == {0: End(3, stopped=9)}
  assert ends_of(rows, 3) == {0: End(3, stopped=6)}


def test_each_seed_and_arm_has_its_own_rows_and_an_arm_trains_to_its_last_seed():
  rows = rows_of([0.5, 0.4, 0.4, 0.4], [0.5, 0.6, 0.5, 0.5])
  assert ends_of(rows, 2) == {0: End(1, stopped=3), 1: End(2, stopped=4)}
  assert stopping.num_rounds(rows, 8, CONFIG) == 4
  assert stopping.num_rounds(rows[:6], 8, CONFIG) == 8  # one has not stopped
  assert stopping.num_rounds(rows, 8, tiny.config()) == 8
  other = rows_of([0.1, 0.2, 0.3, 0.4], [0.1] * 4, arm="b")
  kept = {(row["arm"], row["seed"], row["round"]) for row in stopping.judged(rows + other, CONFIG)}
  assert kept == {
    *(("a", 0, n) for n in (1,)),
    *(("a", 1, n) for n in (1, 2)),
    *(("b", 0, n) for n in (1, 2, 3, 4)),
    *(("b", 1, n) for n in (1,)),
  }
  assert stopping.judged(rows, tiny.config()) is rows


def state_of(values):
  return Snapshot(TrainState(np.array([1, 1]), {"w": np.array(values)}, {}, {}), zero_sums(2, 1, 1))


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from([None, 0.1, 0.2, 0.3]), min_size=2, max_size=2)))
def test_the_state_of_each_seed_s_best_round_is_kept_wherever_the_run_was_cut(accuracies):
  rows = rows_of(*zip(*accuracies, strict=True)) if accuracies else []
  by_round = [rows[2 * index : 2 * index + 2] for index in range(len(accuracies))]
  start = state_of([-1.0, -1.0])
  stopper = Stopper(CONFIG, "a", start, earlier=[])
  for index, of_round in enumerate(by_round):
    if stopper.is_over:
      break
    stopper.see(of_round, lambda now=index + 1.0: state_of([now, now]))
    # As after a kill: from what a checkpoint and the rows hold.
    stopper = Stopper(
      CONFIG, "a", stopper.beside(state_of([9.0, 9.0])), earlier=[*rows[: 2 * index + 2]]
    )
  seen = rows[: 2 * stopping.num_rounds(rows, len(accuracies), CONFIG)]
  ends = ends_of(seen, CONFIG.stop.patience)
  for seed, kept in enumerate(stopper.best.state.params["w"]):
    number = len(seen) // 2
    assert kept == ((ends[seed].best or number) if ends else -1.0)


def test_the_validation_split_is_that_of_a_selection_and_the_test_set_stays():
  data = tiny.data(CONFIG)
  cut, selected = with_validation(data, CONFIG.data), hold_out(data, CONFIG.data)
  np.testing.assert_array_equal(cut.train.example_ids, selected.train.example_ids)
  np.testing.assert_array_equal(cut.validation.example_ids, selected.test.example_ids)
  assert (cut.test, cut.checksum) == (data.test, data.checksum)
  both = [*cut.train.example_ids, *cut.validation.example_ids]
  assert sorted(both) == data.train.example_ids.tolist()
  assert load_inputs.load_data(tiny.config(), print).validation is None
  with pytest.raises(ConfigError, match="of 70 training examples the validation split would get 0"):
    with_validation(data, tiny.config(data__validation_fraction=0.001, stop__patience=1).data)


def test_the_validator_counts_right_answers_on_the_validation_split():
  config = tiny.config(stop__patience=1, **FRACTION)
  data = load_inputs.load_data(config, print)
  setup = Setup.make(config, data)
  state = setup.fresh_start.state
  _, accuracy = setup.validator.evaluate(state.params, state.batch_stats)
  for replica in range(2):
    params = {
      name: {kind: leaf[replica].astype(np.float64) for kind, leaf in layer.items()}
      for name, layer in state.params.items()
    }
    held = data.validation
    x = ((held.inputs / 255 - data.mean) / data.std).reshape(len(held), -1)
    hidden, head = params["hidden1"], params["head"]
    x = np.maximum(x @ hidden["kernel"] + hidden["bias"], 0)
    logits = x @ head["kernel"] + head["bias"]
    assert accuracy[replica] == np.mean(logits.argmax(axis=1) == held.labels)


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("stopped")
  with pytest.MonkeyPatch.context() as patch:
    whole.quick_report(patch)
    assert whole.run(CONFIG, workdir) == 0
  return workdir


def test_results_and_networks_are_those_of_the_best_rounds(left_alone):
  rows, results = (
    whole.rows(left_alone),
    files.read_json(left_alone / "results.json"),
  )
  data = load_inputs.load_data(CONFIG, print)
  told = results["early_stopping"]
  assert (told["patience"], results["data"]["num_validation"]) == (2, len(data.validation))
  assert told["sentence"] in results["sentence"]
  for arm, of_arm in told["arms"].items():
    own = [row for row in rows if row["arm"] == arm and row["last_phase"]]
    ends = ends_of(own, 2)
    last = max(row["round"] for row in own)
    assert last == stopping.num_rounds(own, 8, CONFIG)
    for seed in CONFIG.seeds:
      best = ends[seed].best
      assert of_arm["best_round"][str(seed)] == best
      assert of_arm["stopped_after"][str(seed)] == ends[seed].stopped
      (row,) = [one for one in own if (one["seed"], one["round"]) == (seed, best)]
      assert results["arms"][arm]["accuracy"][str(seed)] == row["test_accuracy"]
      model = read_model(left_alone / file_of(arm, seed))
      logits = np.asarray(logits_of(model)(preprocess(model, data.validation.inputs)))
      assert np.mean(logits.argmax(axis=1) == data.validation.labels) == row["validation_accuracy"]
  trained = {arm: max(row["round"] for row in rows if row["arm"] == arm) for arm in told["arms"]}
  assert min(trained.values()) < CONFIG.rounds, "no arm of this test stops early"
  scored = files.read_npz(left_alone / "scores.npz")
  np.testing.assert_array_equal(scored["example_id"], data.train.example_ids)
  for seed, course in zip(CONFIG.seeds, scored["course"], strict=True):
    best = told["arms"]["baseline"]["best_round"][str(seed)]
    assert course.shape == (len(data.train), CONFIG.rounds)
    assert course[:, :best].any(axis=0).all()
    assert not course[:, best:].any()


@pytest.mark.slow_rows("baseline-2.0")
@pytest.mark.parametrize(("task", "done"), [("baseline", 2.0), ("method", 1.4)])
def test_a_stopped_and_continued_run_ends_as_one_that_was_left_alone(
  left_alone, tmp_path, monkeypatch, task, done
):
  whole.quick_report(monkeypatch)
  whole.stopped(CONFIG, tmp_path, monkeypatch, task=task, done=done)
  assert whole.run(CONFIG, tmp_path) == 0
  ours, theirs = whole.outputs(tmp_path), whole.outputs(left_alone)
  assert ours.keys() == theirs.keys()
  assert [name for name in ours if ours[name] != theirs[name]] == []


def test_the_last_checkpoint_of_an_arm_has_the_best_states_as_its_state(left_alone):
  data = load_inputs.load_data(CONFIG, print)
  setup, store = Setup.make(CONFIG, data), CheckpointStore(left_alone / "checkpoints", 2)
  last = {CheckpointKey.of(step).arm: step for step in store.steps()}
  for arm, step in last.items():
    tree, meta = store.restore(step, saved_like(setup, arm))
    assert meta["round"] == CONFIG.rounds
    tiny.assert_equal(tree["state"], tree["best"].state)


@pytest.mark.parametrize(
  ("line", "told"),
  [
    ("stop.patience=8", "no training would stop before its last round"),
    ("stop.patience=2 score.at_round=3", "the network that scores is that of the best round"),
    ("stop.patience=2 select.lambda_A=1e-3,2e-3", "the validation split would choose twice"),
    ("stop.patience=2 baseline_from=runs/x", "may have held out other examples"),
    ("data.validation_fraction=0.2", "has no meaning without candidates to choose among"),
    (
      "stop.patience=2 sweep.key=data.validation_fraction sweep.values=0.1,0.2",
      "share a baseline",
    ),
    (
      "stop.patience=2 data.name=curve",
      "stop.patience = 2 has no meaning with data.name = 'curve'",
    ),
  ],
)
def test_what_cannot_stand_beside_early_stopping_is_refused(line, told):
  pairs = [("rounds", "8"), *((a, b) for a, _, b in (w.partition("=") for w in line.split()))]
  with pytest.raises(ConfigError, match=told):
    resolve({}, pairs)
