"""What results say of an imbalanced training set: moved thresholds, thirds, balanced verdicts."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from sdt import files
from sdt.arms.class_shares import learned_counts
from sdt.data.dataset import RawSplit, make_dataset
from sdt.engine.plan import Phase, Plan
from sdt.report import imbalance_section, tables
from sdt.run.collapse import stuck_seeds
from sdt.stages import imbalance
from sdt.stages.imbalance import class_shares
from tests.support import tiny, whole

LABELS = np.repeat(np.arange(3), (60, 30, 10)).astype(np.int32)
SEEDS = (0, 1)


def phase(overrides=None, ids=None, steps=7):
  ids = np.arange(100) if ids is None else ids
  return Phase(
    "all",
    np.tile(ids.astype(np.int32), (2, 1)),
    steps,
    weight_decay=np.zeros(2),
    overrides=overrides or {},
  )


def plan(arm, *phases):
  return Plan(arm, phases or (phase(),), 10)


def data(labels=LABELS):
  made = tiny.data(tiny.config())
  inputs = np.tile(made.train.inputs, (2, 1, 1, 1))[: len(labels)]
  train = make_dataset(RawSplit(inputs, labels), num_classes=3, where="test")
  return dataclasses.replace(made, train=train)


@pytest.mark.parametrize(
  ("overrides", "expected"),
  [
    ({}, [60, 30, 10]),
    ({"class_balance": 1.0}, [100 / 3] * 3),
    ({"class_weight": 0.5, "logit_adjustment": 0.5}, [100 / 3] * 3),
    ({"logit_adjustment": 1.0}, [100 / 3] * 3),
    ({"logit_adjustment": 2.0}, 100 * np.array([1 / 6, 1 / 3, 1]) / 1.5),
    ({"class_weight": 0.5}, 100 * np.sqrt([6, 3, 1]) / np.sqrt([6, 3, 1]).sum()),
  ],
)
def test_a_strength_against_imbalance_lets_the_classes_count_so_much_less(overrides, expected):
  np.testing.assert_allclose(learned_counts(phase(overrides), LABELS)[1], expected)


def test_a_class_counts_by_the_weight_of_its_losses():
  halves = np.arange(0, 60), np.arange(60, 100)  # class 0 alone, and the others
  weightless = plan("x", phase({"loss_weight": 0.0}, halves[0]), phase({}, halves[1]))
  np.testing.assert_allclose(class_shares(weightless, LABELS, 3)[0], [0.2, 0.6, 0.2])
  parts = np.tile((LABELS == 2).astype(np.int32), (2, 1))
  mixed = dataclasses.replace(phase(), parts=parts, by_part={"loss_weight": (0.5, 1.0)})
  expected = np.array([30, 15, 10]) / 55
  nothing = plan("x", phase({"loss_weight": 0.0}))  # then by its examples
  np.testing.assert_allclose(class_shares(nothing, LABELS, 3)[0], [0.6, 0.3, 0.1])
  np.testing.assert_allclose(class_shares(plan("x", mixed), LABELS, 3)[1], expected)


def written(workdir, probabilities, labels, arms):
  predicted = np.where(
    np.isnan(probabilities).any(axis=-1), -1, np.nan_to_num(probabilities).argmax(axis=-1)
  )
  files.write_npz(
    workdir / "predictions.npz",
    probabilities=probabilities.astype(np.float32),
    predicted=predicted,
    label=labels,
    arms=np.array(arms),
    seeds=np.array(SEEDS),
  )


def test_moved_answers_are_those_of_probabilities_over_the_shares_of_the_classes(tmp_path):
  rng = np.random.default_rng(0)
  probabilities = rng.dirichlet([4, 2, 1], size=(3, 2, 50))
  probabilities[0, 1] = np.nan  # this seed of the first arm diverged
  labels = rng.integers(0, 3, 50)
  arms = ["baseline", "weighted", "method"]
  written(tmp_path, probabilities, labels, arms)
  easy = np.arange(0, 100, 5)
  plans = {
    "baseline": plan("baseline"),
    "weighted": plan("weighted", phase({"class_weight": 1.0})),
    "method": plan(
      "method", phase(ids=easy, steps=20), phase(ids=np.setdiff1d(np.arange(100), easy), steps=80)
    ),
  }
  found = imbalance.moved_of(tmp_path, plans, data())
  assert list(found) == ["baseline", "method"]  # on equal classes nothing moves
  answers = (probabilities[0, 0] / [0.6, 0.3, 0.1]).argmax(axis=1)
  assert found["baseline"]["accuracy"]["per_seed"] == {"0": (answers == labels).mean(), "1": None}
  balanced = found["baseline"]["balanced_accuracy"]["per_seed"]["0"]
  assert balanced == pytest.approx(balanced_accuracy_score(labels, answers))
  # A and B together are the whole set, so the method's classes are as frequent as the baseline's.
  answers = (probabilities[2, 1] / [0.6, 0.3, 0.1]).argmax(axis=1)
  assert found["method"]["accuracy"]["per_seed"]["1"] == (answers == labels).mean()


def test_thirds_of_the_classes_by_their_examples():
  assert imbalance.thirds(np.array([5, 100, 7, 90, 20])).tolist() == [2, 0, 1, 1, 1]
  assert imbalance.thirds(np.array([5, 100])).tolist() == [2, 0]
  assert imbalance.thirds(np.full(6, 3)).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
  ("counts", "changes", "expected"),
  [
    ((60, 30, 20), {}, False),
    ((61, 30, 20), {}, True),
    ((40, 40, 40), {"data__imbalance": "longtail(2)"}, True),
  ],
)
def test_results_speak_of_imbalance_above_three_to_one_or_where_it_is_made(
  counts, changes, expected
):
  labels = np.repeat(np.arange(3), counts).astype(np.int32)
  of = data(labels)
  assert imbalance.is_imbalanced(tiny.config(**changes), of) == expected


def entry(recall, accuracy):
  return {
    "accuracy": dict(zip(SEEDS, accuracy, strict=True)),
    "mean": float(np.mean(accuracy)),
    "class_accuracy": {"mean": recall},
    "balanced_accuracy": {
      "per_seed": {str(seed): float(np.mean(recall)) for seed in SEEDS},
      "mean": float(np.mean(recall)),
    },
  }


def test_the_entry_compares_by_balanced_accuracy_and_tells_where_it_is_accuracy():
  config = tiny.config(data__imbalance="longtail(6)")
  arms = {"baseline": entry([0.9, 0.6, 0.3], (0.8, 0.7)), "method": entry([0.8] * 3, (0.7, 0.7))}
  content = {"arms": arms, "sentence": "First."}
  moved = {"baseline": {"accuracy": {"mean": 0.5}, "balanced_accuracy": {"mean": 0.6}}}
  added = imbalance.added(content, config, data(), moved=moved)
  found = added["imbalance"]
  assert (found["ratio"], found["class_counts"].tolist()) == (6.0, [60, 30, 10])
  contrast = found["by_balanced_accuracy"]["contrasts"]["baseline"]
  assert contrast["mean"] == pytest.approx(0.2)
  assert found["arms"]["baseline"]["rare"] == 0.3
  assert "moved" not in found["arms"]["method"]
  assert added["sentence"].startswith("First. By balanced accuracy: the method reached 80.00 % ")
  shown = imbalance_section.columns({"arms": arms, **added})
  assert [column[1] for column in shown] == [
    "baseline", "75.00", "60.00", "90.00", "60.00", "30.00", "50.00", "60.00",
  ]  # fmt: skip
  assert len({column[0] for column in shown}) == len(shown)
  results = {"arms": arms, **added, "data": {"class_names": ["cow", "ant", "bee"]}}
  columns, verdict = imbalance_section.legend(results)
  assert "Rare are bee (10). Balanced, bal.: the mean over the classes. Moved: if every" in columns
  assert verdict.startswith("By balanced accuracy: the method reached 80.00 % ")
  assert "at least 3 seeds" not in verdict
  alone = {**found, "by_balanced_accuracy": {"contrasts": {}, "sentence": ""}}
  assert imbalance_section.legend({**results, "imbalance": alone}) == [columns]
  arms["baseline"]["accuracy"] = arms["method"]["accuracy"] = {}
  same = {
    arm: one | {"accuracy": {seed: np.mean(one["class_accuracy"]["mean"]) for seed in SEEDS}}
    for arm, one in arms.items()
  }
  text = imbalance.added({**content, "arms": same}, config, data(), moved={})["sentence"]
  assert text.startswith("First. Balanced accuracy is accuracy here")


def test_a_network_that_answers_evenly_on_a_long_tail_is_not_called_collapsed():
  """Of 60 : 30 : 10 a balanced answer may be right less often than naming the first class."""
  row = {"arm": "mine", "phase": "all", "seed": 0, "train_accuracy": 0.55, "train_loss": 0.95}
  rows = [{**row, "round": number, "overrides": {}} for number in range(1, 11)]
  even = plan("mine", phase({"logit_adjustment": 1.0}, steps=50))
  plain = plan("mine", phase(steps=50))
  assert stuck_seeds(rows, even, LABELS, seeds=(0,)) == {}
  assert stuck_seeds(rows, plain, LABELS, seeds=(0,)) != {}


@pytest.mark.slow
def test_a_whole_run_on_an_imbalanced_set_has_the_section(tmp_path):
  of = whole.config(
    data__imbalance="longtail(6)",
    arms=("baseline", "method", "drawn", "over"),
    own_arms=("drawn = all@baseline[class_balance]", "over = over_all@baseline:all"),
  )
  assert whole.run(of, tmp_path) == 0
  results = files.read_json(tmp_path / "results.json")
  assert list(results["imbalance"]["arms"]) == list(of.arms)
  assert f"imbalance {results['imbalance']['ratio']:.3g}:1" in tables.result_table_text(results)
  assert '<section id="imbalance">' in (tmp_path / "report.html").read_text(encoding="utf-8")
