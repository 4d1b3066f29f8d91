"""Several views of new images: the mean of what the networks say of each, made by hand."""

import dataclasses
import itertools

import numpy as np
import pytest

from sdt.commands.predict import main
from sdt.errors import ConfigError
from sdt.trained.load import load
from sdt.trained.views import views_for
from tests.support import tiny, whole

TEXT = "flip shifts(2)"


@pytest.fixture(scope="module")
def images():
  return tiny.data(whole.CONFIG).test.inputs


def test_probabilities_are_the_mean_over_images_that_are_moved_and_mirrored_by_numpy(
  reference_run, images, tmp_path, capsys
):
  run = load(reference_run)
  wide = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
  moved = [
    wide[:, down : down + 8, right : right + 8]
    for down, right in itertools.product((0, 2, 4), repeat=2)
  ]
  views = np.concatenate([*moved, *(one[:, :, ::-1] for one in moved)])
  each = run.predict_proba(views).reshape(18, len(images), -1)
  found = run.predict_proba(images, views=TEXT)
  np.testing.assert_allclose(found, each.mean(axis=0), atol=1e-6)
  assert run.predict(images[:3], views=TEXT).tolist() == [
    run.class_names[label] for label in each[:, :3].mean(axis=0).argmax(axis=-1)
  ]
  np.savez(tmp_path / "x.npz", x=images[:5])
  assert main([str(reference_run), str(tmp_path / "x.npz"), f"--views={TEXT}"]) == 0
  told = capsys.readouterr()
  assert "seed(s) 0, 1, 18 views of each" in told.err
  numbers = [float(line.split(",")[2]) for line in told.out.splitlines()[1:]]
  np.testing.assert_allclose(numbers, found[:5].max(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
  ("text", "changes", "message"),
  [
    ("flp", {}, "there is no 'flp'; did you mean 'flip'?"),
    ("shifts(8)", {}, "a view is moved by 8 pixels, and the network sees 8 x 8"),
    ("crops(5)", {}, "cut to the middle that the network sees"),
    ("shifts(1)", {"crop_size": 8}, "cut to the middle that the network sees"),
    ("scales(0.9)", {"crop_size": 8}, "take flip alone, or evaluate.views in the run"),
    ("flip", {"input_shape": (5,)}, "the network takes vectors, which have no views"),
  ],
)
def test_views_that_a_network_cannot_be_given_are_refused(text, changes, message, reference_run):
  model = load(reference_run).network()
  if "crop_size" in changes:
    data = dataclasses.replace(model.config.data, **changes)
    changes = {"config": dataclasses.replace(model.config, data=data)}
  model = dataclasses.replace(model, **changes)
  assert len(views_for(model, "centre")) == 1
  with pytest.raises(ConfigError, match="views=") as caught:
    views_for(model, text)
  assert message in str(caught.value)


def test_a_flag_that_is_no_text_of_views_is_refused_before_anything_is_read(tmp_path):
  with pytest.raises(ConfigError, match=r"is not a name with numbers"):
    main([str(tmp_path / "none"), "x.png", "--views=flip("])
