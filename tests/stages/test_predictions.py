"""The predictions stage: its files, the figures that follow from them, what a run does with it."""

import csv
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from sdt import files
from sdt.data.dataset import Data, RawSplit, make_dataset
from sdt.engine.prediction_pass import Said
from sdt.stages import prediction_files, predictions
from sdt.stages.prediction_files import Stretch, write_predictions, write_table
from sdt.stages.results import Outcome, results_of
from sdt.stats import classification
from tests.support import tiny, whole
from tests.support.fake_predictions import said_by

CONFIG = tiny.config(seeds=(3, 8, 9), arms=("baseline", "method"))
ARMS = CONFIG.arms


def data_of(labels, num_classes, names=None, sources=None):
  n = len(labels)
  ids = np.arange(n, dtype=np.int32) * 2 + 5
  split = RawSplit(np.zeros((n, 1, 1, 1), np.uint8), np.asarray(labels, np.int32), ids, sources)
  test = make_dataset(split, num_classes=num_classes, where="test")
  names = names or tuple(f"class {index}" for index in range(num_classes))
  return Data(
    test, test, names, "made", "custom", "0", np.zeros(1, np.float32), np.ones(1, np.float32)
  )


def drawn(num_classes, n=60, seed=0):
  """Returns labels [n] and what both arms say, by arm."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, num_classes, n).astype(np.int32)
  logits = rng.normal(size=(2, 3, n, num_classes))
  logits[..., np.arange(n), labels] += 1.0
  return labels, {arm: said_by(one, labels) for arm, one in zip(ARMS, logits, strict=True)}


def stretches_of(said, cuts):
  """Yields the answers of each arm, cut at these examples."""
  for arm, one in said.items():
    for start, stop in zip((0, *cuts), (*cuts, None), strict=True):
      yield Stretch(arm, start, Said(*(leaf[:, start:stop] for leaf in one)))


def stored(path, num_classes, lost=(), **made):
  """Writes predictions.npz of drawn answers; returns the data, the answers and the file's content.

  `lost`: numbers of the seeds that diverged in the method.
  """
  labels, said = drawn(num_classes, **made)
  is_lost = np.isin(np.arange(3), lost)
  said["method"] = predictions.without(said["method"], is_lost)
  data = data_of(labels, num_classes)
  write_predictions(path, data, CONFIG, stretches_of(said, (17,)), ARMS)
  return data, said, files.map_npz(path)


def test_the_file_holds_all_that_was_said(tmp_path):
  data, said, content = stored(tmp_path / "predictions.npz", 4, lost=[1])
  assert files.is_intact(tmp_path / "predictions.npz")
  assert content["probabilities"].shape == (2, 3, 60, 4)
  for name in Said._fields:
    for arm, values in zip(ARMS, content[name], strict=True):
      np.testing.assert_array_equal(values, getattr(said[arm], name))
  assert np.isnan(content["probabilities"][1, 1]).all()
  assert (content["predicted"][1, 1] == -1).all()
  assert content["label"].tolist() == data.test.labels.tolist()
  assert content["example_id"][:3].tolist() == [5, 7, 9]
  assert content["arms"].tolist() == list(ARMS)
  assert content["seeds"].tolist() == [3, 8, 9]
  assert content["class_names"].tolist() == [f"class {index}" for index in range(4)]
  with np.load(tmp_path / "predictions.npz") as by_numpy:
    for name, values in content.items():
      np.testing.assert_array_equal(by_numpy[name], values)


def test_its_bytes_do_not_depend_on_the_stretches_nor_on_where_they_wait(tmp_path, monkeypatch):
  labels, said = drawn(4)
  data, found = data_of(labels, 4), []
  for number, (cuts, in_memory) in enumerate([((), 2**26), ((1, 40), 2**26), ((30,), 10)]):
    monkeypatch.setattr(prediction_files, "_IN_MEMORY", in_memory)
    path = tmp_path / str(number) / "predictions.npz"
    write_predictions(path, data, CONFIG, stretches_of(said, cuts), ARMS)
    found.append(path.read_bytes())
    assert sorted(one.name for one in path.parent.iterdir()) == [".sha256", path.name]
  assert found[0] == found[1] == found[2]


def test_an_answer_that_is_missing_leaves_no_file(tmp_path):
  labels, said = drawn(4)
  short = [one for one in stretches_of(said, (30,)) if (one.arm, one.start) != ("method", 30)]
  with pytest.raises(ValueError, match="do not fill"):
    write_predictions(tmp_path / "predictions.npz", data_of(labels, 4), CONFIG, iter(short), ARMS)
  assert not [one for one in tmp_path.iterdir() if one.is_file()]


def test_many_probabilities_are_float16_and_change_no_class(tmp_path, monkeypatch):
  data, said, _ = stored(tmp_path / "a.npz", 8)
  exact = predictions.figures_of(tmp_path / "a.npz")
  assert prediction_files.num_bytes(CONFIG, data) == 4 * 2 * 3 * 60 * 8
  monkeypatch.setattr(prediction_files, "_MOST_FLOAT32", 1000)
  assert prediction_files.num_bytes(CONFIG, data) == 2 * 2 * 3 * 60 * 8
  write_predictions(tmp_path / "b.npz", data, CONFIG, stretches_of(said, ()), ARMS)
  assert files.map_npz(tmp_path / "b.npz")["probabilities"].dtype == np.float16
  rounded = predictions.figures_of(tmp_path / "b.npz")
  for arm in ARMS:
    for seed, figures in rounded[arm]["per_seed"].items():
      theirs = exact[arm]["per_seed"][seed]
      for name in ("accuracy", "top5_accuracy", "nll", "confusion", "recall"):
        assert figures[name] == theirs[name], name
      assert figures["brier"] == pytest.approx(theirs["brier"], abs=1e-3)


def test_a_seed_that_diverged_has_no_figures_and_is_not_in_the_ensemble(tmp_path):
  data, said, _ = stored(tmp_path / "predictions.npz", 4, lost=[1])
  method = predictions.figures_of(tmp_path / "predictions.npz")["method"]
  assert method["per_seed"]["8"] is None
  mean = said["method"].probabilities[[0, 2]].astype(np.float64).mean(axis=0)
  assert method["ensemble"]["accuracy"] == np.mean(mean.argmax(axis=1) == data.test.labels)
  found = predictions.Predicted(**method)
  assert found.accuracies["8"] is None
  assert np.isnan(found.recalls(4)[1]).all()
  entries = found.entries(CONFIG.seeds, 4)
  assert (entries["nll"]["n"], entries["nll"]["per_seed"]["8"]) == (2, None)
  assert entries["class_accuracy"]["mean"] == found.recalls(4)[[0, 2]].mean(axis=0).tolist()
  assert entries["class_accuracy"]["per_seed"][8] is None


def test_where_all_or_all_but_one_diverged_there_is_no_ensemble(tmp_path):
  stored(tmp_path / "one.npz", 4, lost=[0, 1])
  one = predictions.figures_of(tmp_path / "one.npz")["method"]
  assert one["ensemble"] is None
  assert one["per_seed"]["9"]["accuracy"] > 0
  stored(tmp_path / "none.npz", 4, lost=[0, 1, 2])
  none = predictions.Predicted(**predictions.figures_of(tmp_path / "none.npz")["method"])
  assert none.ensemble is None
  entries = none.entries(CONFIG.seeds, 4)
  assert (entries["ece"]["n"], entries["class_accuracy"]["mean"]) == (0, None)


def test_of_many_classes_results_have_the_confusions_of_those_with_the_most_errors(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(predictions, "MOST_CONFUSED", 3)
  data, said, _ = stored(tmp_path / "predictions.npz", 5)
  of_arm = predictions.figures_of(tmp_path / "predictions.npz")["baseline"]
  labels, predicted = data.test.labels, said["baseline"].predicted
  matrices = [classification.confusion_matrix(labels, one, 5) for one in predicted]
  classes = classification.most_confused_classes(np.sum(matrices, axis=0), 3).tolist()
  assert of_arm["confusion_classes"] == classes
  for figures, matrix in zip(of_arm["per_seed"].values(), matrices, strict=True):
    np.testing.assert_array_equal(figures["confusion"], matrix[np.ix_(classes, classes)])
  assert np.shape(of_arm["ensemble"]["confusion"]) == (3, 3)


def table_of(path):
  with open(path, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def test_the_table_has_the_five_first_classes_and_names_as_they_are(tmp_path):
  names = ('cat, "big"', "dog\nsmall", "=cow", *(f"class {index}" for index in range(3, 7)))
  labels = np.array([0, 1], np.int32)
  # The first network is sure, by a margin that float16 does not tell: the predicted class leads.
  logits = np.zeros((3, 2, 7))
  logits[:, :, 4], logits[:, :, 2] = 5.0 + 1e-5, 5.0
  logits[0, 0, 0] = 9.0
  said = said_by(logits, labels, np.float16)
  data = data_of(labels, 7, names, ("a.png", "b,c.png"))
  npz = tmp_path / "predictions.npz"
  write_predictions(npz, data, CONFIG, stretches_of(dict.fromkeys(ARMS, said), ()), ARMS)
  write_table(tmp_path / "predictions.csv", files.map_npz(npz), data, "method", 3)
  first, second = table_of(tmp_path / "predictions.csv")
  assert (first["source_file"], first["class_name"]) == ("a.png", names[0])
  assert (first["predicted_name"], first["right"], first["seeds_right"]) == (names[0], "1", "1")
  assert (second["source_file"], second["class_name"]) == ("b,c.png", names[1])
  assert (second["predicted"], second["predicted_name"], second["right"]) == ("4", "class 4", "0")
  assert [second[f"best_{place}"] for place in range(1, 6)] == [
    *("class 4", "=cow", names[0], names[1], "class 3")
  ]
  assert second["probability"] == second["best_1_probability"] == second["best_2_probability"]
  assert second["label_probability"] == second[f"probability_of_{names[1]}"]


def test_the_table_of_a_network_that_diverged_has_empty_answers_and_of_many_classes_no_columns(
  tmp_path,
):
  data, _, content = stored(tmp_path / "predictions.npz", 30, lost=[0])
  write_table(tmp_path / "predictions.csv", content, data, "method", 3)
  rows = table_of(tmp_path / "predictions.csv")
  assert len(rows) == 60
  assert list(rows[0])[-1] == "best_5_probability"
  answers = [value for row in rows for value in list(row.values())[4:]]
  assert set(answers) == {""}
  assert all(row["class_name"] for row in rows)


def test_neither_writing_nor_counting_holds_all_probabilities(tmp_path, monkeypatch):
  n, num_classes = 3000, 300
  labels = np.arange(n, dtype=np.int32) % num_classes
  data = data_of(labels, num_classes)
  monkeypatch.setattr(prediction_files, "_IN_MEMORY", 2**18)
  monkeypatch.setattr(classification, "_CHUNK_NUMBERS", 2**15)
  rng = np.random.default_rng(0)

  def stretches():
    for arm in ARMS:
      for start in range(0, n, 50):
        logits = rng.normal(size=(3, 50, num_classes))
        yield Stretch(arm, start, said_by(logits, labels[start : start + 50]))

  path, total = tmp_path / "predictions.npz", prediction_files.num_bytes(CONFIG, data)
  tracemalloc.start()
  try:
    write_predictions(path, data, CONFIG, stretches(), ARMS)
    predictions.figures_of(path)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert total == 2 * 3 * n * num_classes * 4
  assert peak < total / 3  # most of it are the confusions of 300 classes


def test_the_figures_of_a_run_are_those_of_scikit_learn_on_its_table(reference_run):
  results, rows = (
    files.read_json(reference_run / "results.json"),
    table_of(reference_run / "predictions.csv"),
  )
  entry, names = results["predictions"], results["data"]["class_names"]
  arm, seed = entry["table"]["arm"], entry["table"]["seed"]
  assert (arm, seed) == (results["recommended"]["arm"], results["recommended"]["seed"])
  figures = entry["arms"][arm]["per_seed"][str(seed)]
  label, answer = ([row[name] for row in rows] for name in ("class_name", "predicted_name"))
  values = np.array([[row[f"probability_of_{name}"] for name in names] for row in rows], float)
  exact = values / values.sum(axis=1, keepdims=True)
  assert [row["right"] for row in rows] == [
    str(int(one == other)) for one, other in zip(label, answer, strict=True)
  ]
  accuracy = metrics.accuracy_score(label, answer)
  assert results["arms"][arm]["accuracy"][str(seed)] == figures["accuracy"] == accuracy
  scores = metrics.precision_recall_fscore_support(
    label, answer, labels=names, zero_division=np.nan
  )
  for name, expected in zip(("precision", "recall", "f1"), scores, strict=False):
    assert figures[name] == pytest.approx(expected, nan_ok=True), name
  matrix = metrics.confusion_matrix(label, answer, labels=names)
  np.testing.assert_array_equal(figures["confusion"], matrix)
  balanced = metrics.balanced_accuracy_score(label, answer)
  assert figures["balanced_accuracy"] == pytest.approx(balanced)
  numbers = [names.index(name) for name in label]
  assert figures["nll"] == pytest.approx(metrics.log_loss(numbers, exact), rel=1e-5)
  brier = metrics.brier_score_loss(numbers, exact, scale_by_half=False)
  assert figures["brier"] == pytest.approx(brier, rel=1e-5)


def test_where_the_evaluation_in_training_differs_the_accuracy_is_that_of_the_predictions(tmp_path):
  of = tiny.config(seeds=(3, 8), arms=("baseline",), rounds=2)
  rows = [
    {
      **{"arm": "baseline", "seed": seed, "round": number, "phase": "all", "last_phase": True},
      **{"train_accuracy": 0.5, "train_loss": 0.9, "test_accuracy": 0.9, "test_loss": 0.4},
      "learning_rate": 0.1,
    }
    for number in (1, 2)
    for seed in (3, 8)
  ]
  files.append_rows(tmp_path / "metrics.jsonl", rows)
  scalars = dict.fromkeys(("balanced_accuracy", "nll", "brier", "ece"), 0.5)
  figures = {"accuracy": 28 / 30, "recall": [0.9, 0.9, 1.0], **scalars}
  predicted = {"baseline": predictions.Predicted({"3": figures, "8": figures}, None)}
  plans = {"baseline": tiny.everything(of, 70)}
  content = results_of(tmp_path, tiny.data(of), of, Outcome(plans, 0, {}, predicted=predicted))
  entry = content["arms"]["baseline"]
  assert entry["accuracy"] == {3: 28 / 30, 8: 28 / 30}
  assert entry["gap"]["per_seed"]["3"] == pytest.approx(0.5 - 28 / 30)
  assert entry["loss"] == {3: 0.5, 8: 0.5}  # the negative log-likelihood of the predictions
  assert (entry["best_round"][3], entry["paper_protocol"][3]) == (2, 28 / 30)


def test_every_accuracy_of_a_run_is_that_of_its_predictions_exactly(reference_run):
  results = files.read_json(reference_run / "results.json")
  content = files.map_npz(reference_run / "predictions.npz")
  right = content["predicted"] == content["label"]
  assert (right == (content["label_rank"] == 0)).all()
  last = {
    (row["arm"], row["seed"]): row["test_accuracy"]
    for row in whole.rows(reference_run)
    if row["last_phase"] and row["round"] == 4
  }
  for arm, of_arm in zip(content["arms"].tolist(), right, strict=True):
    entry = results["arms"][arm]
    for seed, of_seed in zip(content["seeds"].tolist(), of_arm, strict=True):
      assert entry["accuracy"][str(seed)] == of_seed.mean() == last[arm, seed]
    mean = content["probabilities"][content["arms"].tolist().index(arm)].astype(float).mean(axis=0)
    ensemble = results["predictions"]["arms"][arm]["ensemble"]
    assert ensemble["accuracy"] == np.mean(mean.argmax(axis=1) == content["label"])


def test_the_ensemble_is_of_the_networks_that_are_fit(tmp_path):
  _, said, content = stored(tmp_path / "predictions.npz", 4)
  fit = {"baseline": [3, 9], "method": [8]}
  found = predictions.figures_of(tmp_path / "predictions.npz", lambda arm, _: fit[arm])
  mean = said["baseline"].probabilities[[0, 2]].astype(np.float64).mean(axis=0)
  accuracy = found["baseline"]["ensemble"]["accuracy"]
  assert accuracy == np.mean(mean.argmax(axis=1) == content["label"])
  assert found["method"]["ensemble"] is None
  assert all(found["method"]["per_seed"].values())


def test_the_first_stretch_of_a_large_arm_takes_no_memory_for_the_others(tmp_path, monkeypatch):
  monkeypatch.setattr(prediction_files, "_IN_MEMORY", 2**20)
  labels, said = drawn(50, n=20_000)  # 4 MB a network
  data = data_of(labels, 50)
  stretches = list(stretches_of(said, range(100, 20_000, 100)))
  assert prediction_files.temporary_bytes(CONFIG, data) == 4 * 3 * 20_000 * 50
  tracemalloc.start()
  try:
    write_predictions(tmp_path / "predictions.npz", data, CONFIG, iter(stretches), ARMS)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert peak < 4e6  # the gap before the second network alone would be that
