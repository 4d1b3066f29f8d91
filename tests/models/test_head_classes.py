"""A head from a file of weights: its classes are those of the data, by name and in their order."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.errors import DataError
from sdt.models import init_variables
from sdt.models.pretrained import load
from sdt.models.resnet import ResNet


def named(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def with_classes(folder, tensors, class_names):
  """Writes the weights, their classes named as in model.safetensors; None names none."""
  path = folder / "classes.safetensors"
  text = class_names if isinstance(class_names, str) else json.dumps(class_names)
  path.write_bytes(save(tensors, None if class_names is None else {"class_names": text}))
  return path


@pytest.fixture
def three_classes():
  """A network of three classes, its variables by name, and those of a fresh start."""
  model = ResNet(3, blocks=(1,), widths=(4,))
  drawn = named(init_variables(model, (8, 8, 3), 5))
  drawn["params/head/bias"] = np.array([0.1, 0.2, 0.4], np.float32)
  return model, drawn, init_variables(model, (8, 8, 3), 0)


@pytest.mark.parametrize(
  ("of_data", "in_file"),
  [
    (("ant", "bee", "cat"), ("cat", "ant", "bee")),
    (("1", "2", "10"), ("1", "10", "2")),
    (("caf\u00e9", "bee", "cat"), ("bee", "cafe\u0301", "cat")),
  ],
)
def test_a_head_gives_each_class_of_the_data_what_it_gave_the_class_of_that_name(
  of_data, in_file, three_classes, tmp_path
):
  model, drawn, start = three_classes
  path = with_classes(tmp_path, drawn, in_file)
  weights = load(path, None, start, with_head=True, class_names=of_data)
  assert "another order" in weights.head
  images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
  as_stored = load(path, None, start, with_head=True).put_into(start)
  before, after = (
    np.asarray(model.apply(variables, images, train=False))
    for variables in (as_stored, weights.put_into(start))
  )
  composed = [name.replace("e\u0301", "\u00e9") for name in in_file]
  for label, name in enumerate(of_data):
    np.testing.assert_array_equal(after[:, label], before[:, composed.index(name)])


@pytest.mark.parametrize(
  ("in_file", "of_data", "told"),
  [
    (("ant", "bee", "cat"), ("ant", "bee", "cat"), "whose classes are those of the data"),
    (("ant", "bee", "bee"), ("ant", "bee", "bee"), "whose classes are those of the data"),
    (None, ("ant", "bee", "cat"), "does not name its classes"),
    ("[1, 2", ("ant", "bee", "cat"), "does not name its classes"),
    (("ant", "bee", "cat"), (), "the head too"),
  ],
)
def test_a_head_of_the_same_classes_or_of_unnamed_ones_stays_and_that_is_told(
  in_file, of_data, told, three_classes, tmp_path
):
  _, drawn, start = three_classes
  path = with_classes(tmp_path, drawn, in_file)
  weights = load(path, None, start, with_head=True, class_names=of_data)
  assert told in weights.head
  for name, leaf in weights.leaves.items():
    np.testing.assert_array_equal(leaf, drawn[name])


@pytest.mark.parametrize(
  ("of_data", "in_file", "part"),
  [
    (("ant", "bee", "cow"), ("ant", "bee", "cat"), "knows 'cat' where the data have 'cow'"),
    (("Ant", "bee", "cat"), ("ant", "bee", "cat"), "knows 'ant' where the data have 'Ant'"),
    (("ant", "ant", "bee"), ("ant", "bee", "bee"), "knows 3 classes, 'ant', 'bee', 'bee'; the"),
    (("ant", "bee", "bee"), ("bee", "ant", "bee"), "two of its classes have one name"),
    (("ant", "bee", "cat"), ("ant", "bee"), "knows 2 classes"),
  ],
)
def test_a_head_of_other_classes_is_refused_and_without_it_the_file_is_taken(
  of_data, in_file, part, three_classes, tmp_path
):
  _, drawn, start = three_classes
  path = with_classes(tmp_path, drawn, in_file)
  with pytest.raises(DataError, match=re.escape(part)) as caught:
    load(path, None, start, with_head=True, class_names=of_data)
  assert "leave model.pretrained_head off" in str(caught.value)
  assert load(path, None, start, with_head=False, class_names=of_data).leaves
