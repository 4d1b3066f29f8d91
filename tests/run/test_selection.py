"""Selection: the validation split, the trials, the choice among them; what makes no selection."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt import experiment
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.commands import dry_run
from sdt.config import from_dict, resolve, to_dict
from sdt.config.schema import DataConfig
from sdt.config.sweep_points import expand
from sdt.data import seeded, sources
from sdt.data.dataset import RawSplit, make_dataset
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError, DivergedError
from sdt.run import selection
from sdt.run.search import deciding
from sdt.scores.split import Partition
from tests.support import tiny

CONFIG = tiny.config(
  arms=("baseline", "method", "uniform_tuned"),
  data__validation_fraction=0.2,
  select__lambda_A=(10.0, 1e-2),
  select__fraction=(0.2, 0.1),
  select__weight_decay=(10.0, 1e-1, 1e-4, 1e-2),
)
DATA = tiny.data(CONFIG)


def test_the_validation_split_is_made_without_the_test_set():
  blind = dataclasses.replace(DATA, checksum="of the whole", notes=("on the test images",))
  object.__setattr__(blind, "test", None)  # whatever reads it fails
  ours, theirs = hold_out(DATA, CONFIG.data), hold_out(blind, CONFIG.data)
  assert (ours.checksum, ours.notes) == (theirs.checksum, theirs.notes)
  for side in ("train", "test"):
    for field in ("inputs", "labels", "example_ids", "difficulty"):
      np.testing.assert_array_equal(
        getattr(getattr(ours, side), field), getattr(getattr(theirs, side), field)
      )


@given(
  st.lists(st.integers(0, 3), min_size=8, max_size=60), st.floats(0.05, 0.9), st.integers(0, 9)
)
def test_both_parts_of_the_training_set_are_a_stratified_partition_that_goes_by_the_ids(
  labels, fraction, seed
):
  labels, ids = np.array(labels, np.int32), np.arange(len(labels), dtype=np.int32) * 3 + 5
  inputs = (np.arange(len(labels) * 3) % 251).astype(np.uint8).reshape(-1, 1, 1, 3)
  train = make_dataset(RawSplit(inputs, labels, ids), num_classes=4, where="x")
  rule = DataConfig(validation_fraction=fraction, split_seed=seed)
  data = dataclasses.replace(DATA, train=train)
  count = round(fraction * len(labels))
  if not 0 < count < len(labels):
    with pytest.raises(
      ConfigError, match=r"data\.validation_fraction=.* both parts need at least one"
    ):
      hold_out(data, rule)
    return
  cut = hold_out(data, rule)
  assert len(cut.test) == count
  assert sorted([*cut.train.example_ids, *cut.test.example_ids]) == ids.tolist()
  for part in (cut.train, cut.test):
    places = np.searchsorted(ids, part.example_ids)
    np.testing.assert_array_equal(part.inputs, inputs[places])
    np.testing.assert_array_equal(part.labels, labels[places])
    assert not part.labels.flags.writeable
  for label in set(labels.tolist()):  # of a class those with the smallest hash of their id
    members = ids[labels == label]
    drawn = sorted(
      members[np.argsort(seeded.bits(seed, "validation split", members))][
        : (cut.test.labels == label).sum()
      ]
    )
    assert cut.test.example_ids[cut.test.labels == label].tolist() == drawn
  held = np.bincount(cut.test.labels, minlength=4)
  total = np.bincount(labels, minlength=4)
  if count <= (np.maximum(total, 1) - 1).sum():
    assert (held < np.maximum(total, 1)).all()  # every class keeps one for training


@pytest.mark.parametrize("init", ["scratch", "warm"])
@pytest.mark.parametrize("order", ["easy_first", "hard_first"])
def test_a_trial_has_the_plan_that_the_run_has_with_its_values(init, order):
  config = from_dict(
    to_dict(
      dataclasses.replace(CONFIG, method=dataclasses.replace(CONFIG.method, init=init, order=order))
    )
  )
  for own in selection.trial_runs(config, 70, 56):
    assert from_dict(to_dict(own.config)) == own.config  # an ordinary config
    size = int(own.config.method.fraction * 56)
    parts = (
      Partition(np.arange(size, dtype=np.int32), np.arange(size, 56, dtype=np.int32), 0),
    ) * 2
    labels, ids = np.zeros(56, np.int32), np.arange(56, dtype=np.int32)
    for trial in own.trials:
      later = selection.frozen(config, trial.values)
      ours = make_plan(trial.arm, Setting(own.config, labels, ids, scores=None, partitions=parts))
      theirs = make_plan(trial.of, Setting(later, labels, ids, scores=None, partitions=parts))
      assert (ours.init, ours.rounds, len(ours.phases)) == (
        theirs.init,
        theirs.rounds,
        len(theirs.phases),
      )
      for one, other in zip(ours.phases, theirs.phases, strict=True):
        for field in dataclasses.fields(one):
          np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_given_size_of_a_shrinks_with_the_training_set_and_fewer_seeds_are_the_first():
  config = tiny.config(
    arms=("baseline", "method"),
    method__num_easy=20,
    select__lambda_A=(1e-3,),
    select__num_seeds=1,
    seeds=(4, 2),
  )
  (own,) = selection.trial_runs(config, 70, 56)
  assert (own.folder, own.config.method.num_easy, own.config.seeds) == ("num_easy=16", 16, (4,))
  assert own.config.own_arms == ("lambda_A_0.001 = A@0.001 + B@lambda_B",)


def candidate(value, accuracy, loss, diverged=()):
  values = dict(enumerate(accuracy))
  mean, sd = np.mean(accuracy), np.std(accuracy, ddof=1) if len(accuracy) > 1 else None
  loss = dict.fromkeys(values, loss)
  entry = {
    "values": {"method.lambda_A": value},
    "arm": f"lambda_A_{value}",
    "accuracy": values,
    "loss": loss,
    "mean": mean,
    "sd": sd,
  }
  return entry | {"n": len(accuracy), "diverged": list(diverged)}


@pytest.mark.parametrize(
  ("candidates", "chosen", "at_edge"),
  [
    ([(1e-3, (0.8, 0.9), 1.0), (2e-3, (0.9, 0.9), 2.0), (3e-3, (0.7, 0.9), 0.1)], 2e-3, False),
    (
      [(1e-3, (0.8, 0.9), 1.0), (2e-3, (0.9, 0.8), 0.5)],
      2e-3,
      True,
    ),  # as many right answers: the lower loss
    (
      [(3e-3, (0.8, 0.9), 1.0), (2e-3, (0.9, 0.8), 1.0), (4e-3, (0.8, 0.9), 1.0)],
      2e-3,
      True,
    ),  # then the smaller value
    (
      [(1e-3, (0.8, 0.9), 1.0), (2e-3, (0.9, 0.9), 0.1, (1,)), (3e-3, (0.8, 0.8), 0.1)],
      1e-3,
      True,
    ),  # one that diverged is out
    ([(1e-3, (0.1, 0.2), 1.0)], 1e-3, False),  # no edge where there was no choice
    # The same 12 right answers of 10 in other parts: in floats 0.1 + 0.2 + 0.9 and 0.3 + 0.3 + 0.6
    # need not be equal.
    ([(1e-3, (0.1, 0.2, 0.9), 1.0), (2e-3, (0.3, 0.3, 0.6), 0.5)], 2e-3, True),
  ],
)
def test_the_highest_mean_wins_then_the_lower_loss_then_the_smaller_value(
  candidates, chosen, at_edge
):
  found = deciding.decide("method", [candidate(*one) for one in candidates], 10)
  assert found["chosen"] == {"method.lambda_A": chosen}
  assert found["at_edge"] == (["method.lambda_A"] if at_edge else [])
  assert found["num_trials"] == len(candidates)


def test_what_luck_alone_gives_is_the_expected_best_of_so_many_standard_errors():
  spread = [(1e-3, (0.80, 0.90), 1.0), (2e-3, (0.90, 0.94), 1.0), (3e-3, (0.70, 0.76), 1.0)]
  found = deciding.decide("method", [candidate(*one) for one in spread], 100)["best_of"]
  gaps = [
    later - first for _, (first, later), _ in spread
  ]  # with two seeds the residuals are half of how these differ
  error = np.sqrt(np.var(gaps, ddof=1) / 2 / 2)
  assert found["expected_gain"] == pytest.approx(
    1.5 / np.sqrt(np.pi) * error
  )  # known in closed form for three
  assert found["gain"] == pytest.approx(0.92 - np.mean([0.85, 0.92, 0.73]))
  assert (
    deciding.decide("method", [candidate(1e-3, (0.8,), 1.0), candidate(2e-3, (0.7,), 1.0)], 10)[
      "best_of"
    ]["expected_gain"]
    is None
  )


def test_what_a_seed_does_to_all_candidates_alike_is_no_luck():
  alike = [
    (1e-3, (0.70, 0.80, 0.95), 1.0),
    (2e-3, (0.71, 0.81, 0.96), 1.0),
    (3e-3, (0.69, 0.79, 0.94), 1.0),
  ]
  assert deciding.decide("method", [candidate(*one) for one in alike], 100)["best_of"][
    "expected_gain"
  ] == pytest.approx(0.0, abs=1e-12)


def test_the_luck_of_the_results_page_is_that_of_its_table():
  method = [
    "98.61 96.53 98.61",
    "97.92 96.53 98.61",
    "98.61 97.92 97.92",
    "98.61 97.22 98.61",
    "99.31 96.53 97.92",
  ]
  found = deciding.decide(
    "method",
    [candidate(i, [float(x) / 100 for x in row.split()], 1.0) for i, row in enumerate(method)],
    144,
  )
  assert found["best_of"]["expected_gain"] == pytest.approx(0.0039, abs=5e-5)


def test_where_every_candidate_diverged_nothing_is_chosen():
  with pytest.raises(
    DivergedError,
    match=r"nothing to choose for method, every one of 1 candidates .* lower optim\.learning_rate",
  ):
    deciding.decide("method", [candidate(1e-3, (0.8,), 1.0, (1,))], 10)


@pytest.mark.parametrize(
  ("line", "message"),
  [
    (
      "select.lambda_A=1e-3,2e-3 select.weight_decay=1e-4,2e-4,3e-4",
      (
        r"the method has 2 trials \(2 of lambda_A x 1 of fraction\), and uniform_tuned has 3 "
        r"\(select.weight_decay\); .* give both equally many"
      ),
    ),
    (
      "select.lambda_A=1e-3 select.fraction=0.1,0.2 select.weight_decay=1e-4",
      r"2 trials \(1 of lambda_A x 2 of fraction\), .* has 1 ",
    ),
    (
      "data.validation_fraction=0.2",
      (
        r"data.validation_fraction = 0.2 has no meaning without candidates .* or give "
        r"select.lambda_A, .* or select.space"
      ),
    ),
    ("select.num_seeds=1", "select.num_seeds = 1 has no meaning without candidates"),
    (
      "select.lambda_A=1e-3 select.num_seeds=3",
      "select.num_seeds = 3: expected at most 2, the number of seeds",
    ),
    ("select.lambda_A=1e-3 arms=baseline,less_data", "select.lambda_A = .* add the arm 'method'"),
    (
      "select.fraction=0.1,0.2 method.num_easy=7",
      "method.num_easy = 7 has no meaning .* leave select.fraction out",
    ),
    (
      "select.weight_decay=1e-3 method.lambda_tuned=1e-3",
      "method.lambda_tuned = .* leave select.weight_decay out",
    ),
    (
      "select.lambda_A=1e-3,2e-3 sweep.key=method.lambda_A sweep.values=1,2",
      (
        r"sweep: method.lambda_A is chosen among select.lambda_A = \(0.001, 0.002\) in every run, "
        r"so it cannot be swept"
      ),
    ),
    (
      (
        "select.fraction=0.1,0.2 sweep.key=rounds sweep.values=300 sweep.also_key=method.fraction "
        "sweep.also_values=1"
      ),
      "method.fraction is chosen",
    ),
  ],
)
def test_keys_that_make_no_selection_are_refused(line, message):
  with pytest.raises(ConfigError, match=message):
    resolve({}, [tuple(one.split("=", 1)) for one in line.split()])


def test_a_sweep_over_candidates_is_refused():
  with pytest.raises(
    ConfigError,
    match=r"select\.num_seeds.*cannot be swept; a selection tries its candidates itself",
  ):
    expand(
      tiny.config(select__lambda_A=(1e-3,), sweep__key="select.num_seeds", sweep__values=(1, 2))
    )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"arms": ("baseline", "uniform_tuned")},
      r"'uniform_tuned' needs its decay: give method\.lambda_tuned, or candidates",
    ),
    (
      {"arms": ("baseline", "mine"), "own_arms": ("mine = A@tuned + B@0",)},
      "'mine' needs its decay",
    ),
    (
      {"method__lambda_tuned": 1e-3},
      r"method\.lambda_tuned = 0\.001: no arm reads it; add the arm 'uniform_tuned'",
    ),
    ({"select__weight_decay": (1e-3,)}, r"select\.weight_decay = \(0\.001,\): no arm reads it"),
  ],
)
def test_the_tuned_decay_without_a_value_or_without_an_arm_is_refused_before_anything_is_read(
  tmp_path, monkeypatch, changes, message
):
  monkeypatch.setattr(sources, "load", lambda *args: pytest.fail("the data were read"))
  with pytest.raises(ConfigError, match=message):
    experiment.run(tiny.config(**changes), tmp_path / "run", "tiny")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"select__fraction": (0.1, 0.01)}, "fraction=0.01: .*A would get 0"),
    ({"data__validation_fraction": 0.001}, "validation split would get 0"),
  ],
)
def test_a_trial_that_cannot_be_is_refused_before_anything_is_written(tmp_path, changes, message):
  config = tiny.config(**({"select__lambda_A": (1e-3,)} | changes))
  config = dataclasses.replace(
    config,
    data=dataclasses.replace(
      config.data, validation_fraction=changes.get("data__validation_fraction", 0.1)
    ),
  )
  for act in (
    lambda: experiment.run(config, tmp_path / "run", "tiny"),
    lambda: list(dry_run.describe(config, tmp_path / "run")),
  ):
    with pytest.raises(ConfigError, match=message):
      act()
  assert not (tmp_path / "run").exists()
