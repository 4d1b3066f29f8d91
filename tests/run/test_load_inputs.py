"""What is checked and told before a run begins: `load_inputs.load_data` and `load_inputs.notes`."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from sdt import experiment
from sdt.commands import dry_run, sweep
from sdt.config import Config, to_dict
from sdt.config.schema import OptimConfig
from sdt.config.sweep_points import expand
from sdt.devices import memory
from sdt.errors import ConfigError, DataError, LockedError
from sdt.run import load_inputs, shared_workdir
from tests.support import tiny, whole


def _wide(tmp_path):
  """Writes images of height 12 and width 6; returns their keys."""
  images, labels = (
    np.random.default_rng(0).integers(0, 256, (30, 12, 6, 1), dtype=np.uint8),
    np.arange(30) % 3,
  )
  np.savez(
    tmp_path / "wide.npz", train_x=images, train_y=labels, test_x=images[:6], test_y=labels[:6]
  )
  return {"data__name": "npz", "data__path": str(tmp_path / "wide.npz")}


@pytest.mark.slow
def test_a_run_with_batch_size_auto_is_the_run_with_the_number_that_it_finds(tmp_path, capsys):
  changes = {"arms": ("baseline",), "rounds": 1, "seeds": (0,), "optim__milestones": ()}
  auto = whole.config(batch_size="auto", **changes)
  auto = dataclasses.replace(auto, batch_size=16)
  assert whole.run(auto, tmp_path) == 0
  note = "note: batch_size=auto: 14, the nearest to 16 for the sizes of all parts"  # 70 examples
  assert note in capsys.readouterr().err
  given = dataclasses.replace(auto, batch_size=14, fit_batch=False)
  assert json.loads((tmp_path / "config.json").read_text())["config"] == to_dict(given)
  for again in (auto, given):
    before = whole.stamps(tmp_path)
    assert whole.run(again, tmp_path) == 0
    assert whole.stamps(tmp_path) == before
  described = list(dry_run.describe(auto, tmp_path))
  assert f"note      {note.removeprefix('note: ')}" in described
  assert f"workdir   {tmp_path}: a complete run of this config; nothing would be done" in described
  other = dataclasses.replace(given, batch_size=16)
  assert whole.run(other, tmp_path) == 2


def test_a_sweep_with_batch_size_auto_finds_it_for_each_value_and_says_so(tmp_path, capsys):
  config = tiny.config(
    batch_size="auto",
    sweep__key="data.shapes.num_train",
    sweep__values=("70", "128"),
    arms=("baseline",),
  )
  lines = sweep.describe(config, expand(config), tmp_path)
  told = [next(lines) for _ in range(4)]
  assert "baseline all 1" in told[2]
  said = capsys.readouterr().err
  assert "note: num_train=70: batch_size=auto: 70, the nearest to 128" in said
  assert "note: num_train=128: batch_size=auto: 128, the nearest to 128" in said


@pytest.mark.parametrize("pad_crop", [6, 7, 12, 64])
def test_a_crop_that_may_miss_the_whole_image_is_refused(tmp_path, pad_crop):
  config = tiny.config(augment__pad_crop=pad_crop, **_wide(tmp_path))
  for call in (
    lambda: load_inputs.load_data(config, print),
    lambda: list(dry_run.describe(config)),
  ):
    with pytest.raises(ConfigError) as caught:
      call()
    text = (
      f"augment.pad_crop={pad_crop}: "
      "the images of data.name='npz' are 12 x 6 pixels, so some "
      "crops would hold nothing of them"
    )
    assert str(caught.value) == f"{text}; expected less than 6"


@pytest.mark.parametrize(
  ("ops", "message"),
  [
    ("crop(6) flip", "augment.ops: crop(6): the images of data.name='npz' are 12 x 6 pixels"),
    ("flip hue(0.1) colour(0.2)", "have 1 channel; leave hue, colour out (brightness and contrast"),
  ],
)
def test_operations_that_these_images_cannot_have_are_refused(tmp_path, ops, message):
  config = tiny.config(augment__ops=ops, **_wide(tmp_path))
  with pytest.raises(ConfigError, match=re.escape(message)):
    load_inputs.load_data(config, print)


@pytest.mark.parametrize("ops", ["rotate(15)", "flip", "cutmix(1)"])
def test_operations_on_vectors_are_refused_but_mixup(tmp_path, ops):
  inputs, labels = (
    np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32),
    np.arange(30) % 3,
  )
  path = tmp_path / "vectors.npz"
  np.savez(path, train_x=inputs, train_y=labels, test_x=inputs[:6], test_y=labels[:6])
  keys = {"data__name": "npz", "data__path": str(path)}
  with pytest.raises(ConfigError, match="augment: the data are vectors"):
    load_inputs.load_data(tiny.config(augment__ops=ops, **keys), print)
  assert len(load_inputs.load_data(tiny.config(augment__ops="mixup(0.2)", **keys), print).train)


def test_a_crop_that_keeps_a_pixel_of_every_image_is_accepted(tmp_path):
  assert (
    len(load_inputs.load_data(tiny.config(augment__pad_crop=5, **_wide(tmp_path)), print).train)
    == 30
  )


@pytest.mark.parametrize(
  ("milestones", "rounds", "schedule", "told"),
  [
    ((15, 22), 10, "step", "the learning rate never drops at rounds (15, 22): the run has 10"),
    ((15, 22), 15, "step", "the learning rate never drops at rounds (15, 22): the run has 15"),
    ((15, 22), 16, "step", "the learning rate never drops at round 22: the run has 16"),
    ((15, 22), 23, "step", None),
    ((), 10, "step", None),
    ((150, 225), 10, "cosine", None),
    ((150, 225), 10, "constant", None),
  ],
)
def test_milestones_that_are_never_reached_are_told(milestones, rounds, schedule, told):
  data = dataclasses.replace(tiny.data(tiny.config()), notes=("of the data",))
  config = Config(rounds=rounds, optim=OptimConfig(schedule=schedule, milestones=milestones))
  assert load_inputs.notes(config, data) == ["of the data", *([told] if told else [])]


@pytest.mark.parametrize(
  ("name", "rate", "is_told"),
  [
    ("adam", 0.1, True),
    ("adam", 0.01, False),
    ("adagrad", 0.2, True),
    ("adagrad", 0.05, False),
    ("sgd", 1.0, False),
  ],
)
def test_a_rate_of_sgd_beside_an_adaptive_optimiser_is_told(name, rate, is_told):
  config = Config(rounds=300, optim=OptimConfig(name=name, learning_rate=rate))
  notes = load_inputs.notes(config, tiny.data(tiny.config()))
  assert any(f"{rate:g} is high for {name}, whose steps" in note for note in notes) == is_told


@pytest.mark.parametrize(
  ("ops", "arms", "most"),
  [
    ("cutout(7.4)", (), None),
    ("cutout(7.6)", (), 7),
    ("cutout(0)", ("mine = A@0[cutout=8] + B@0",), 7),
    ("translate(8)", (), None),
    ("translate(9)", (), 8),
  ],
)
def test_operations_that_could_leave_nothing_of_an_image_are_refused(ops, arms, most):
  config = tiny.config(augment__ops=ops, own_arms=arms, arms=("baseline", *["mine"] * len(arms)))
  if most is None:
    load_inputs.load_data(config, print)
    return
  told = rf"augment.ops or an arm: .* are 8 x 8 pixels, .* expected at most {most}"
  with pytest.raises(ConfigError, match=told):
    load_inputs.load_data(config, print)


def test_the_operations_of_the_unlabelled_images_are_refused_by_their_own_key():
  config = tiny.config(
    data__labelled=30,
    augment__ops="flip",
    augment__strong="flip cutout(8)",
    own_arms=("mine = all&unlabelled@baseline[fixmatch]",),
    arms=("baseline", "mine"),
  )
  with pytest.raises(ConfigError, match=r"^augment.strong: cutout\(8\): .* expected at most 7"):
    load_inputs.load_data(config, print)


@pytest.mark.parametrize("patch_size", [2, 7, 8, 16])
def test_a_transformer_that_would_see_one_patch_alone_is_refused(patch_size):
  config = tiny.config(
    model__name="vit", model__hidden_sizes=None, model__patch_size=patch_size, model__width=12
  )
  if patch_size < 8:  # of images of 8 x 8
    load_inputs.load_data(config, print, tiny.data(config))
    return
  said = f"model.patch_size={patch_size} of model.name='vit': the network sees 8 x 8 pixels, which"
  with pytest.raises(ConfigError, match=rf"{said} are one patch; .* model.patch_size=1"):
    load_inputs.load_data(config, print, tiny.data(config))


def test_a_dry_run_tells_milestones_that_are_never_reached():
  told = "note      the learning rate never drops at round 9: the run has 4"
  assert told in list(dry_run.describe(tiny.config(optim__milestones=(2, 9))))


def test_the_machine_the_classes_and_the_notes_are_told_once_the_data_is_accepted(
  tmp_path, monkeypatch, capsys
):
  def held(workdir):
    raise LockedError(f"{workdir} is held")

  monkeypatch.setattr(shared_workdir, "hold_workdir", held)
  with pytest.raises(LockedError):
    experiment.run(tiny.config(optim__milestones=(2, 9)), tmp_path / "run", "tiny")
  machine, classes, note = capsys.readouterr().err.splitlines()
  assert machine == "sdt: tiny: 1 cpu device(s), float32, seeds 0, 1"
  assert classes == (
    "data: 3 classes, training + test examples: disc red on black 24 + 10, square red on black 23 "
    "+ 10, frame red on black 23 + 10"
  )
  assert note == "note: the learning rate never drops at round 9: the run has 4"


def test_a_device_out_of_memory_names_the_keys_to_change():
  with (
    pytest.raises(
      ConfigError, match=r"out of memory \(RESOURCE_EXHAUSTED: no room\); lower batch_size"
    ),
    memory.device_memory_errors(),
  ):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room\nmore")
  with (
    pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"),
    memory.device_memory_errors(),
  ):
    raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_a_crop_must_fit_into_every_image(tmp_path):
  wide = _wide(tmp_path)
  assert len(load_inputs.load_data(tiny.config(data__crop_size=6, **wide), print).train) == 30
  with pytest.raises(
    ConfigError,
    match=(
      r"data.crop_size=7: "
      r"expected at most 6, the shortest side of an image of data.name='npz'.* "
      r"example 0 of the training"
    ),
  ):
    load_inputs.load_data(tiny.config(data__crop_size=7, **wide), print)
  with pytest.raises(
    ConfigError,
    match=r"augment.pad_crop=4: the images of data.name='npz' are 4 x 4 pixels, so some crops",
  ):
    load_inputs.load_data(tiny.config(data__crop_size=4, augment__pad_crop=4, **wide), print)


def test_the_first_image_that_a_crop_does_not_fit_is_named_by_its_id_and_file():
  config = tiny.config(data__crop_size=6)
  data = tiny.data(config)
  sizes = np.full((len(data.test), 2), 8, np.int32)
  sizes[3], sizes[5] = (8, 5), (4, 8)
  inputs = np.where(
    (np.indices((8, 8)).transpose(1, 2, 0) < sizes[:, None, None]).all(-1)[..., None],
    data.test.inputs,
    np.uint8(0),
  )
  files = tuple(f"{i}.png" for i in range(len(data.test)))
  test = dataclasses.replace(
    data.test,
    inputs=inputs,
    sizes=sizes,
    source_files=files,
    example_ids=data.test.example_ids + 10,
  )
  with pytest.raises(
    ConfigError,
    match=(
      r"expected at most 4, .* the first that is too small is example 13 of the test set, "
      r"3\.png"
    ),
  ):
    load_inputs.load_data(config, print, dataclasses.replace(data, test=test))


def test_vectors_can_be_neither_cropped_nor_mirrored(tmp_path):
  x, y = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32), np.arange(30) % 3
  np.savez(tmp_path / "vectors.npz", train_x=x, train_y=y, test_x=x, test_y=y)
  data = {"data__name": "npz", "data__path": str(tmp_path / "vectors.npz")}
  for key, value in (
    ("augment__flip", True),
    ("augment__pad_crop", 1),
    ("augment__resized_crop_area", 0.5),
    ("data__crop_size", 4),
  ):
    with pytest.raises(
      ConfigError, match="augment: the data are vectors, which can be neither cropped nor mirrored"
    ):
      load_inputs.load_data(tiny.config(**data, **{key: value}), print)


def mistakes(tmp_path):
  vectors = tmp_path / "vectors.npz"
  rng = np.random.default_rng(0)
  labels = np.arange(30, dtype=np.int64) % 3
  arrays = {
    "train_x": rng.normal(size=(30, 5)).astype(np.float32),
    "train_y": labels,
    "test_x": np.ones((3, 5), np.float32),
  }
  np.savez(vectors, **arrays, test_y=labels[:3])
  np.savez(tmp_path / "bad_label.npz", **arrays, test_y=labels[:3] - 1)
  return {
    "no such file": ({"data__name": "npz", "data__path": str(tmp_path / "none.npz")}, DataError),
    "label": ({"data__name": "npz", "data__path": str(tmp_path / "bad_label.npz")}, DataError),
    "'methd' is not an arm; did you mean 'method'?": ({"arms": ("baseline", "methd")}, ConfigError),
    "'baseline' is missing": ({"arms": ("method",)}, ConfigError),
    "is not a network": ({"model__name": "resnt", "model__hidden_sizes": None}, ConfigError),
    "A would be empty": ({"method__fraction": 0.01}, ConfigError),
    "B would be empty": ({"method__num_easy": 70}, ConfigError),
    "this network wants images": (
      {
        "data__name": "npz",
        "data__path": str(vectors),
        "model__name": "resnet8",
        "model__hidden_sizes": None,
      },
      ConfigError,
    ),
    "neither cropped nor mirrored": (
      {"data__name": "npz", "data__path": str(vectors), "augment__flip": True},
      ConfigError,
    ),
    "device(s)": ({"parallel__num_devices": 99}, ConfigError),
  }


@pytest.mark.parametrize(
  "part",
  [
    "no such file",
    "label",
    "'methd' is not an arm; did you mean 'method'?",
    "'baseline' is missing",
    "is not a network",
    "A would be empty",
    "B would be empty",
    "this network wants images",
    "neither cropped nor mirrored",
    "device(s)",
  ],
)
def test_nothing_is_written_before_config_and_data_are_accepted(tmp_path, part):
  changes, kind = mistakes(tmp_path)[part]
  with pytest.raises(kind) as caught:
    experiment.run(tiny.config(**changes), tmp_path / "run", "tiny")
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_a_dry_run_refuses_what_a_run_refuses(tmp_path):
  changes, kind = mistakes(tmp_path)["this network wants images"]
  with pytest.raises(kind, match="this network wants images"):
    next(dry_run.describe(tiny.config(**changes)))
