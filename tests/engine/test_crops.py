"""Crops in the engine: training takes a random part of an image, scoring and evaluation the middle,
whatever the images' own sizes are.
"""

import dataclasses

import numpy as np
import pytest

from sdt.data.dataset import image_sizes
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import Position
from sdt.run.programs import Setup
from tests.support import tiny
from tests.support.quick import only


def on_canvas(data, pixels, num_sizes):
  """Returns `data` with every image in the corner of a larger canvas, its margins (on both sides,
  by even numbers) filled with noise.
  """
  rng = np.random.default_rng(0)

  def grown(split):
    height, width = split.inputs.shape[1:3]
    canvas = np.zeros(
      (len(split), height + pixels, width + pixels, split.inputs.shape[3]), np.uint8
    )
    margins = 2 * rng.integers(0, num_sizes, (len(split), 2))
    for image, own, (rows, columns) in zip(canvas, split.inputs, margins, strict=True):
      image[: height + rows, : width + columns] = rng.integers(
        0, 256, (height + rows, width + columns, image.shape[2])
      )
      image[rows // 2 : rows // 2 + height, columns // 2 : columns // 2 + width] = own
    return dataclasses.replace(
      split, inputs=canvas, sizes=(margins + np.array([height, width])).astype(np.int32)
    )

  return dataclasses.replace(data, train=grown(data.train), test=grown(data.test))


def scores_of(of, data):
  setup = Setup.make(of, data)
  state = setup.fresh_start.state
  variables = state.variables
  return ScoreRunner(setup.score_program(), setup.source).scores(variables)


def rounds_of(of, data, rounds=2):
  made = tiny.trainer(of, tiny.everything(of, len(data.train), rounds=rounds), data)
  return [
    ended.sums for progress in made.run(Position()) for ended in progress.finished
  ], made.get_state().state


@pytest.mark.parametrize("network", only([tiny.config], [tiny.config, tiny.resnet]))
def test_scores_and_evaluation_see_the_middle_of_every_image(network):
  whole = network(rounds=1)
  cropped = dataclasses.replace(whole, data=dataclasses.replace(whole.data, crop_size=8))
  data = tiny.data(whole)
  large = on_canvas(data, 6, 4)
  assert len(np.unique(image_sizes(large.train), axis=0)) > 5
  expected, ours = scores_of(whole, data), scores_of(cropped, large)
  for name in expected:
    np.testing.assert_array_equal(ours[name], expected[name])
  # Untrained, so that both evaluate the same network.
  still = {"optim": dataclasses.replace(whole.optim, learning_rate=1e-30, weight_decay=0.0)}
  (before,), _ = rounds_of(dataclasses.replace(whole, **still), data, rounds=1)
  (after,), _ = rounds_of(dataclasses.replace(cropped, **still), large, rounds=1)
  if network is tiny.config:  # without BatchNorm, whose running statistics follow the random crops
    np.testing.assert_array_equal(after.test_correct, before.test_correct)
    np.testing.assert_allclose(after.test_loss, before.test_loss, rtol=1e-6)


@pytest.mark.slow
def test_a_crop_of_the_whole_image_trains_as_no_crop():
  whole = tiny.resnet(augment__pad_crop=1, augment__flip=True)
  cropped = dataclasses.replace(whole, data=dataclasses.replace(whole.data, crop_size=8))
  data = tiny.data(whole)
  (_, expected), (_, ours) = rounds_of(whole, data), rounds_of(cropped, data)
  tiny.assert_equal(ours, expected)


CROPS = (
  {"data__crop_size": 6},
  {"augment__resized_crop_area": 0.3},
  {"data__crop_size": 6, "augment__resized_crop_area": 0.3},
)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("network", "changes", "mode"),
  [
    (tiny.config, CROPS[0], "jit"),
    *(pytest.param(tiny.resnet, one, "jit", marks=pytest.mark.slow) for one in CROPS),
    *(pytest.param(tiny.resnet, one, "pmap", marks=pytest.mark.slow) for one in CROPS),
  ],
)
def test_two_devices_crop_as_one(network, changes, mode):
  """A round; the last batch of 70 = 4 * 16 + 6 leaves the second device without an example, and its
  padding must stay finite.
  """
  one = network(augment__flip=True, parallel__steps_per_dispatch=5, **changes)
  two = dataclasses.replace(
    one, parallel=dataclasses.replace(one.parallel, mode=mode, num_devices=2)
  )
  data = on_canvas(tiny.data(one), 6, 4)
  states = []
  for of in (one, two):
    made = tiny.trainer(of, tiny.everything(of, len(data.train)), data)
    next(made.run(Position()))
    states.append(tiny.leaves(made.get_state()))
  for name, leaf in states[0].items():
    assert np.isfinite(leaf).all()
    np.testing.assert_allclose(states[1][name], leaf, rtol=1e-4, atol=1e-4, err_msg=name)
