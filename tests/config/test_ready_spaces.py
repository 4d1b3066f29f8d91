"""The ready-made spaces: every corner is a config, and the first trial is as it is said."""

import pytest

from sdt.config import ready_spaces, resolve, search_space


@pytest.mark.parametrize("name", ready_spaces.KINDS)
def test_every_corner_of_a_space_is_a_config(name):
  kind = ready_spaces.KINDS[name]
  config = resolve(ready_spaces.recipe(kind, 1000))
  points = list(search_space.corners(kind.dimensions))
  for point in points:
    search_space.at_point(config, kind.dimensions, point)
  assert config.arms == ("baseline",)
  assert {search_space.arm_of(one.key) for one in kind.dimensions} == {"baseline"}


@pytest.mark.parametrize("name", ["tiny_images", "small_images", "large_images"])
def test_all_augmentations_of_a_kind_name_the_same_operations(name):
  (ops,) = [one for one in ready_spaces.KINDS[name].dimensions if one.key == "augment.ops"]
  named = {tuple(call.split("(")[0] for call in text.split()) for text in ops.values}
  assert len(named) == 1


def test_inputs_find_their_kind_by_their_longest_side():
  shapes = [(64,), (8, 8, 1), (16, 4, 3), (17, 2, 3), (48, 48, 3), (49, 8, 3), (500, 500, 3)]
  assert [ready_spaces.kind_of(shape) for shape in shapes] == [
    *("vectors", "tiny_images", "tiny_images"),
    *("small_images", "small_images", "large_images", "large_images"),
  ]


def test_a_training_has_at_least_150_steps_and_a_round_of_few_examples_several():
  assert ready_spaces.lengths(1) == (243,)
  assert ready_spaces.lengths(20) == (9, 27, 81, 243)
  assert ready_spaces.lengths(400) == ready_spaces.ROUNDS
  assert [ready_spaces.least_round(steps) for steps in (1, 24, 50, 400)] == [50, 3, 1, 1]
  kind = ready_spaces.KINDS["vectors"]
  assert [ready_spaces.recipe(kind, number)["batch_size"] for number in (20, 160, 9999)] == [
    *(4, 10, 32)
  ]


def test_strengths_need_no_program_of_their_own_and_networks_and_mirrors_do():
  def programs(name):
    space = ready_spaces.KINDS[name].dimensions
    points = search_space.corners(space)
    return {ready_spaces.program_of(space, search_space.texts(space, point)) for point in points}

  assert programs("vectors") == {("(64,)",), ("(128,)",), ("(128, 128)",)}
  assert len(programs("tiny_images")) == 3
  assert len(programs("small_images")) == len(programs("large_images")) == 6
