"""Where the channels of arrays are, and how many: silence only where there is no doubt."""

import re

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError


def _load(path, images, **keys):
  np.savez(path, train_x=images, train_y=np.arange(len(images)) % 2)
  return sources.load(DataConfig(name="npz", path=str(path), test_fraction=0.25, **keys))


def _images(*shape):
  return np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32, 1), (32, 32, 4), (8, 8), (3, 32, 3)])
def test_usual_images_need_no_key(tmp_path, shape):
  images = _images(*shape)
  data = _load(tmp_path / "set.npz", images)
  expected = images.reshape(*images.shape[:3], -1)
  np.testing.assert_array_equal(data.train.inputs, expected[data.train.example_ids])


# Shape -> what the message says, and the data.channels to give, if any.
_REFUSED = {
  (3, 32, 32): ("write it anew as x.transpose(0, 2, 3, 1)", None),
  (1, 28, 28): ("write it anew as x.transpose(0, 2, 3, 1)", None),
  (4, 8, 6): ("write it anew as x.transpose(0, 2, 3, 1)", None),
  (2, 32, 32): ("x.transpose(0, 2, 3, 1), and give --config.data.channels=2", 2),
  (12, 64, 64): ("x.transpose(0, 2, 3, 1), and give --config.data.channels=12", 12),
  (3, 4, 4): ("x.transpose(0, 2, 3, 1), or give --config.data.channels=4", 3),
  (8, 8, 2): ("if it has 2, say so: --config.data.channels=2", 2),
  (20, 20, 5): ("if it has 5, say so: --config.data.channels=5", 5),
}


@pytest.mark.parametrize("shape", _REFUSED, ids=str)
def test_doubtful_channels_are_refused_and_the_advice_works(tmp_path, shape):
  images, (message, channels) = _images(*shape), _REFUSED[shape]
  with pytest.raises(DataError, match=re.escape(message)) as caught:
    _load(tmp_path / "set.npz", images)
  assert f"train_x is [12, {', '.join(map(str, shape))}]" in str(caught.value)
  if "transpose" in message:
    images = images.transpose(0, 2, 3, 1)
  data = _load(tmp_path / "set.npz", images, channels=channels)
  np.testing.assert_array_equal(data.train.inputs, images[data.train.example_ids])


def test_the_key_says_what_the_last_size_is_and_a_wrong_key_is_refused(tmp_path):
  images = _images(3, 32, 32)
  assert _load(tmp_path / "a.npz", images, channels=32).train.inputs.shape == (9, 3, 32, 32)
  with pytest.raises(DataError, match=r"x\.transpose\(0, 2, 3, 1\)"):
    _load(tmp_path / "b.npz", images, channels=3)
  with pytest.raises(DataError, match=r"data\.channels=5 is not one of its sizes"):
    _load(tmp_path / "c.npz", images, channels=5)


@pytest.mark.parametrize(
  ("values", "recipe"),
  [
    (np.float32([0, 0.5, 1.0]), "255 * x"),
    (np.int64([0, 7, 255]), "x"),
    (np.uint16([0, 100, 4095]), "255 / 4095 * x"),
  ],
  ids=["floats to 1", "integers", "16 bits"],
)
def test_other_types_are_refused_and_the_recipe_gives_the_whole_range(tmp_path, values, recipe):
  x = np.random.default_rng(0).choice(values, (12, 3, 8, 8))
  x[0, 0, 0] = values[-1]
  with pytest.raises(DataError, match="images must be uint8, 0 to 255") as caught:
    _load(tmp_path / "set.npz", x)
  assert recipe in str(caught.value)
  call = str(caught.value).split("such as ")[1]
  assert call == f"numpy.rint({recipe}).clip(0, 255).astype(numpy.uint8).transpose(0, 2, 3, 1)"
  images = np.rint(255 / values[-1] * x).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
  assert _load(tmp_path / "set.npz", images).train.inputs.max() == 255
