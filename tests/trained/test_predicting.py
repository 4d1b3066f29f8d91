"""What a finished run predicts: its own accuracies, the mean of its seeds, any number of images."""

import dataclasses
import warnings

import jax
import numpy as np
import pytest
from PIL import Image

from sdt import files
from sdt.data import sources
from sdt.engine.evaluate import predict
from sdt.errors import ConfigError, DataError
from sdt.inputs.augment import normalise, shift_and_scale
from sdt.trained.fitted import Fitted
from sdt.trained.load import load
from sdt.trained.pictures import Pictures
from sdt.trained.predicting import Guesses, Predictor, guessed, probabilities
from tests.support import tiny, whole

CONFIG = whole.CONFIG
TRAININGS = [(arm, seed) for arm in CONFIG.arms for seed in CONFIG.seeds]


@pytest.fixture(scope="module")
def run(reference_run):
  return load(reference_run)


@pytest.fixture(scope="module")
def test_split():
  return tiny.data(CONFIG).test


@pytest.mark.parametrize(("arm", "seed"), TRAININGS)
@pytest.mark.parametrize("batch_size", [None, 7, 64])
def test_the_runs_own_test_set_has_the_accuracy_of_the_results(
  arm, seed, batch_size, run, test_split
):
  rows = run.predict_proba(test_split.inputs, arm=arm, seeds=seed, batch_size=batch_size)
  right = np.mean(rows.argmax(axis=1) == test_split.labels)
  assert right == run.results["arms"][arm]["accuracy"][str(seed)]
  named = run.predict(test_split.inputs, arm=arm, seeds=seed)
  assert list(named) == [run.class_names[label] for label in rows.argmax(axis=1)]


def test_the_probabilities_are_the_mean_of_the_seeds_softmax(run, test_split):
  networks = run.networks("method")
  assert [model.seed for model in networks.models] == list(CONFIG.seeds)
  each = []
  for model in networks.models:
    inputs = normalise(test_split.inputs, *shift_and_scale(model.mean, model.std, np.uint8))
    each.append(jax.nn.softmax(predict(model.module, model.variables, inputs)))
  rows = run.predict_proba(test_split.inputs, arm="method")
  np.testing.assert_allclose(rows, np.mean(each, axis=0), atol=1e-6)
  np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)


def test_by_default_the_recommended_arm_and_all_seeds_that_are_fit_predict(run, test_split):
  rows = run.predict_proba(test_split.inputs)
  np.testing.assert_array_equal(
    rows, run.predict_proba(test_split.inputs, arm="baseline", seeds=(0, 1))
  )
  entry = run.results["arms"]["baseline"]
  unfit = {**run.results["arms"], "baseline": {**entry, "fit": [1]}}
  lame = dataclasses.replace(run, results={**run.results, "arms": unfit})
  assert [model.seed for model in lame.networks().models] == [1]
  assert [model.seed for model in lame.networks(seeds=0).models] == [0]


def test_what_is_said_of_an_image_depends_on_nothing_else(run, test_split):
  together = run.predict_proba(test_split.inputs, batch_size=16)
  order = np.random.default_rng(0).permutation(30)
  shuffled = run.predict_proba(test_split.inputs[order], batch_size=16)
  np.testing.assert_array_equal(shuffled, together[order])
  for place in (0, 29):
    alone = run.predict_proba(test_split.inputs[place : place + 1], batch_size=16)
    np.testing.assert_array_equal(alone[0], together[place])


def test_by_default_too_the_number_of_images_changes_no_bit(run, test_split):
  together = run.predict_proba(test_split.inputs)
  for number in (1, 2, 29):
    some = run.predict_proba(test_split.inputs[:number])
    np.testing.assert_array_equal(some, together[:number])


def test_the_batch_is_smaller_for_large_images_and_small_score_batches_alone(run):
  networks = run.networks()
  (model, *_), config = networks.models, networks.models[0].config
  assert networks.batch_size == min(64, config.score.batch_size)

  def batch_of(shape, score_batch):
    score = dataclasses.replace(config.score, batch_size=score_batch)
    changed = dataclasses.replace(config, score=score)
    one = dataclasses.replace(model, input_shape=shape, config=changed)
    return dataclasses.replace(networks, models=(one,)).batch_size

  assert batch_of((224, 224, 3), 512) == 64
  assert batch_of((1024, 1024, 3), 512) == 4
  assert batch_of((9000, 9000, 3), 512) == 1
  assert batch_of((32, 32, 3), 16) == 16
  assert batch_of((10_000_000,), 512) == 64


@pytest.mark.parametrize("batch_size", [0, -1, True, 2**18])
def test_a_batch_size_that_is_none_is_refused(batch_size, run, test_split):
  with pytest.raises(ConfigError, match="expected a whole number from 1 to 131072"):
    run.predict_proba(test_split.inputs, batch_size=batch_size)


def test_the_callers_warnings_are_his_between_answers_and_after_an_error(run, test_split):
  before = list(warnings.filters)
  found = [Pictures(1, lambda: iter([(["a"], [test_split.inputs[0]])]))]
  for _ in run.networks().answers(found):
    assert list(warnings.filters) == before
  with pytest.raises(DataError, match="No such file"):
    run.predict_proba([test_split.inputs[0], "none.png"])
  assert list(warnings.filters) == before


def test_arrays_lists_pillows_images_and_files_are_predicted_alike(run, test_split, tmp_path):
  images = test_split.inputs[:9]
  expected = run.predict_proba(images, batch_size=16)
  pillow = [Image.fromarray(image) for image in images]
  paths = [tmp_path / f"{place}.png" for place in range(9)]
  for path, image in zip(paths, pillow, strict=True):
    image.save(path)
  np.savez(tmp_path / "x.npz", x=images)
  (tmp_path / "list.csv").write_text("label,path\n" + "".join(f"?,{p.name}\n" for p in paths))
  mixed = [*images[:3], *pillow[3:5], *paths[5:8], str(paths[8])]
  for same in (list(images), pillow, paths, mixed, tmp_path / "x.npz", tmp_path / "list.csv"):
    np.testing.assert_array_equal(run.predict_proba(same, batch_size=16), expected)
  np.testing.assert_array_equal(run.predict_proba(str(tmp_path), batch_size=16), expected)
  np.testing.assert_array_equal(run.predict_proba(pillow[4], batch_size=16), expected[4:5])
  assert run.predict_proba(images[:0]).shape == (0, 3)


def test_images_that_cannot_be_predicted_are_errors_in_python(run, tmp_path):
  with pytest.raises(DataError, match="none: No such file"):
    run.predict([tmp_path / "none"])
  with pytest.raises(DataError, match="none: no such file or folder"):
    run.predict(tmp_path / "none")
  for channels in (1, 3, 4):
    with pytest.raises(DataError, match=r"may be one image or many grey ones; .* as x\[None\]"):
      run.predict(np.zeros((8, 8, channels), np.uint8))


def test_the_program_is_warned_once_of_images_that_are_scaled(run, reference_run):
  one, two = (np.zeros((number, 9, 9, 3), np.uint8) for number in (1, 2))
  record = {"precision": "float32", "members": [{"file": "a"}, {"file": "b"}]}
  fit = Fitted(record, ((reference_run / "model.safetensors").read_bytes(),) * 2)
  for predict_proba in (run.predict_proba, fit.predict_proba):
    for images, told in ((one, "1 image of another size was"), (two, "2 images of another size w")):
      with pytest.warns(UserWarning, match=told) as caught:
        predict_proba(images)
      (warning,) = caught
      assert str(warning.message).endswith(" scaled to 8 x 8 pixels")


@pytest.mark.parametrize(
  ("images", "end"),
  [
    (np.zeros((8, 8), np.uint8), "3]; one image is x[None]"),
    (np.full((8, 8), 0.5), "3]; one image is x[None]; these become that by numpy.rint(255 * x)."),
    (np.full((2, 8, 8, 3), 0.5), "3]; these become that by numpy.rint(255 * x).clip(0, 255)."),
    (np.full((2, 8, 8, 3), 220.0), "3]; these become that by numpy.rint(x).clip(0, 255).astype("),
    (np.full((2, 8, 8, 3), 4095), "3]; make of these what was made of the images that the network"),
    (np.full((2, 8, 8, 3), -0.5), "3]; make of these what was made of the images that the networ"),
    (np.zeros((0, 8, 8, 3)), "3]; numbers from 0 to 1 become that by numpy.rint(255 * x)."),
    (np.zeros((2, 8, 8, 3), complex), "3]"),
    ([np.full((8, 8), 0.5)], "channels]; these become that by numpy.rint(255 * x)."),
  ],
  ids=["flat", "flat floats", "unit", "floats", "deep", "below 0", "none", "complex", "in a list"],
)
def test_arrays_that_are_no_images_are_told_what_makes_images_of_them(images, end, run):
  with pytest.raises(DataError) as caught:
    run.predict(images)
  said = str(caught.value)
  assert end in said
  assert ("x[None]" in said, "255 * x" in said) == ("x[None]" in end, "255 * x" in end)


@pytest.mark.slow_rows("csv")
@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_the_test_files_of_a_run_on_files_have_the_accuracy_of_the_results(
  kind, tmp_path, monkeypatch
):
  """The files are larger than what the network sees; the same programs as the reference run's."""
  data = tiny.data(CONFIG)
  rows = []
  for split in ("train", "test"):
    part = getattr(data, split)
    for number, (image, label) in enumerate(zip(part.inputs, part.labels, strict=True)):
      path = tmp_path / "set" / split / str(label) / f"{number}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image).resize((11, 9), Image.Resampling.NEAREST).save(path)
      rows.append(f"{path.relative_to(tmp_path)},{label},{split}\n")
  (tmp_path / "set.csv").write_text("path,label,split\n" + "".join(rows))
  test = tmp_path / "set" / "test"
  if kind == "csv":
    test = tmp_path / "test.csv"
    test.write_text("path,label,split\n" + "".join(row for row in rows if row.endswith("test\n")))
  where = tmp_path / ("set" if kind == "folder" else "set.csv")
  config = whole.config(data__name=kind, data__path=str(where), data__image_size=8)
  whole.without_report(monkeypatch)
  whole.run(config, tmp_path / "run")
  loaded, labels = load(tmp_path / "run"), sources.load(config.data).test.labels
  for arm, seed in TRAININGS:
    right = np.mean(loaded.predict_proba(test, arm=arm, seeds=seed).argmax(axis=1) == labels)
    assert right == loaded.results["arms"][arm]["accuracy"][str(seed)]


def test_grey_digits_have_their_accuracy_as_archive_as_arrays_and_as_files(tmp_path, monkeypatch):
  keys = {"data__name": "digits", "data__num_train": 70, "data__num_test": 30}
  config = whole.config(**keys, seeds=(0,), arms=("baseline",), rounds=2, optim__milestones=())
  whole.without_report(monkeypatch)
  whole.run(config, tmp_path / "run")
  run, test = load(tmp_path / "run"), sources.load(config.data).test
  np.savez(tmp_path / "digits.npz", test_x=test.inputs, test_y=test.labels)
  paths = [tmp_path / f"{place}.png" for place in range(30)]
  for path, image in zip(paths, test.inputs, strict=True):
    Image.fromarray(image[..., 0]).save(path)
  for images in (test.inputs, test.inputs[..., 0], tmp_path / "digits.npz", paths):
    rows = run.predict_proba(images, arm="baseline", seeds=0)
    right = np.mean(rows.argmax(axis=1) == test.labels)
    assert right == run.results["arms"]["baseline"]["accuracy"]["0"]
  coloured = np.stack([np.full((8, 8), value, np.uint8) for value in (9, 9, 8)], axis=-1)
  with pytest.raises(DataError, match="a colour image, where the network takes grey ones"):
    run.predict([Image.fromarray(coloured)])
  with pytest.raises(DataError, match="has 3 channels, this network was trained on images of 1"):
    run.predict(coloured[None])


def test_the_networks_compute_in_the_precision_of_the_run(run, reference_run, test_split):
  networks = run.networks("method", 1)
  choices = files.read_json(reference_run / "environment.json")["choices"]
  assert networks.precision == choices["precision"] == "float32"
  (model,) = networks.models
  inputs = normalise(test_split.inputs, *shift_and_scale(model.mean, model.std, np.uint8))
  expected = predict(model.module.clone(dtype=jax.numpy.bfloat16), model.variables, inputs)
  coarse = dataclasses.replace(networks, precision="bfloat16")
  rows = coarse.predict_proba(test_split.inputs)
  np.testing.assert_allclose(rows, jax.nn.softmax(expected.astype(np.float32)), atol=1e-6)
  assert np.abs(rows - networks.predict_proba(test_split.inputs)).max() > 1e-4


def test_only_some_pictures_are_read_ahead(run):
  drawn = []

  def draw():
    for place in range(400):
      drawn.append(place)
      yield [str(place)], [np.full((8, 8, 3), place % 256, np.uint8)]

  most, done = 0, 0
  for part, _ in run.networks().answers([Pictures(400, draw)], batch_size=4):
    assert list(part.names) == [str(done)]
    done += 1
    most = max(most, len(drawn) - done)
  assert done == 400
  assert most <= 40  # those that threads prepare, and three batches


def test_equal_logits_never_hide_the_larger_one():
  logits = np.array([[100.0, np.nextafter(np.float32(100), np.float32(200)), -1e4]], np.float32)
  rows = probabilities(logits)
  assert rows.argmax() == 1
  assert rows[0, 0] < rows[0, 1]


def test_the_spread_is_the_sample_deviation_of_the_predicted_classs_probability():
  logits = np.log(np.array([[[0.7, 0.3]], [[0.2, 0.8]], [[0.9, 0.1]]], np.float32))
  guesses = Guesses.of(logits)
  np.testing.assert_allclose(guesses.probabilities, [[0.6, 0.4]], atol=1e-6)
  assert guesses.spread[0] == pytest.approx(np.std([0.7, 0.2, 0.9], ddof=1), abs=1e-6)
  assert Guesses.of(logits[:1]).spread is None
  np.testing.assert_array_equal(guesses.best(5), [[0, 1]])


@pytest.mark.parametrize("sizes", [[0], [5], [0, 3, 0], [1] * 9, [30, 1, 0, 4], [16, 16]])
def test_parts_of_any_size_keep_their_order(sizes, run, test_split):
  models = run.networks("baseline", 0).models
  predictor = Predictor(models, batch_size=8)
  places = np.split(np.arange(sum(sizes)) % 30, np.cumsum(sizes)[:-1])
  found = list(guessed(predictor, places, inputs=lambda part: test_split.inputs[part]))
  expected = run.predict_proba(test_split.inputs, arm="baseline", seeds=0, batch_size=8)
  assert len(found) == len(sizes)
  for (part, guesses), asked in zip(found, places, strict=True):
    np.testing.assert_array_equal(part, asked)
    np.testing.assert_array_equal(guesses.probabilities, expected[part])


def test_scores_and_split_are_tables_by_name(run, reference_run):
  stored = files.read_npz(reference_run / "scores.npz")
  np.testing.assert_array_equal(run.scores["example_id"], stored["example_id"])
  np.testing.assert_allclose(run.scores["log_odds_seed1"], stored["log_odds"][1], rtol=1e-6)
  names = np.array(run.class_names)[stored["label"]]
  np.testing.assert_array_equal(run.scores["class_name"], names)
  assert set(run.split["subset"]) == {"A", "B"}
  assert np.sum(run.split["subset_seed0"] == "A") == run.results["num_easy"]
