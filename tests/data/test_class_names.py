"""The order of class names, names that are alike, and the line with the examples of each class."""

import numpy as np
import pytest

from sdt.config.schema import DataConfig, ShapesConfig
from sdt.data import class_names, sources
from sdt.errors import DataError


@pytest.mark.parametrize(
  ("names", "expected"),
  [
    (["10", "2", "1"], ("1", "2", "10")),
    (["1.5", "-3", "10", "1e1"], ("-3", "1.5", "10", "1e1")),
    (["10", "2", "x"], ("10", "2", "x")),
    (["b", "B", "a"], ("B", "a", "b")),
    (["nan", "1"], ("1", "nan")),
    (["9" * 60, "1"], ("1", "9" * 60)),
    ([], ()),
  ],
)
def test_names_are_in_the_order_of_their_numbers_only_if_all_are_numbers(names, expected):
  assert class_names.ordered(names) == expected


@pytest.mark.parametrize(
  "pair",
  [
    ("Cat", "cat"),
    ("cat ", "cat"),
    ("1", "1.0"),
    ("01", "1"),
    ("\u00e9", "e\u0301"),
    ("a  b", "a b"),
    ("cat\u200b", "cat"),
    ("\u200fcat", "cat"),
    ("c\u00adat", "cat"),
  ],
)
def test_names_that_are_nearly_alike_are_told(pair):
  (note,) = class_names.alike_notes(("x", *pair))
  assert note == (
    f"the names of the classes 1 ({pair[0]!a}), 2 ({pair[1]!a}) differ only in case, Unicode form, "
    "blanks, invisible letters or number format; are they one class?"
  )


def test_equal_names_are_told_and_others_are_not():
  (note,) = class_names.alike_notes(("a", "b", "a"))
  assert note.startswith("the names of the classes 0 ('a'), 2 ('a') are equal")
  assert not list(class_names.alike_notes(("cat", "cats", "1", "10", "1.01", "é", "e")))
  many = list(class_names.alike_notes([name for i in range(9) for name in (f"a{i}", f"A{i}")]))
  assert len(many) == 6
  assert many[-1] == "4 more groups of classes have names that are alike"


@pytest.mark.parametrize(
  ("name", "problem"),
  [
    ("", "'', is empty"),
    (" ", "' ', is empty"),
    ("a\nb", "'a\\nb', holds characters that cannot be written"),
    ("a\0", "'a\\x00', holds characters"),
    ("\x9b", "'\\x9b', holds characters"),
    ("\ud800x", "'\\ud800x', holds characters"),
    ("x" * 256, f"'{'x' * 20}'..., has 256 characters, at most 255"),
  ],
)
def test_a_name_that_cannot_be_written_is_refused(name, problem):
  with pytest.raises(DataError) as caught:
    class_names.refuse_unwritable(("fine", name), "the set")
  assert str(caught.value).startswith(f"the set: the name of class 1, {problem}")
  str(caught.value).encode()


def test_names_of_every_script_may_be_written():
  class_names.refuse_unwritable(
    ("猫", "قط", "😀", "$x^2_", "<b>", "-", "c,d", "x" * 255), "the set"
  )


@pytest.mark.parametrize(
  ("names", "odd"),
  [
    (("cat", "dog", "nan"), "'nan' (3 training examples)"),
    (("1.0", "2.0", "NaN"), "'NaN' (3 training examples)"),
    (("None", "cat", "#N/A"), "'None' (1 training examples), '#N/A' (3 training examples)"),
    (("-1", "0", "1"), "'-1' (1 training examples)"),
  ],
)
def test_classes_that_may_be_no_label_are_told(names, odd):
  (note,) = class_names.no_label_notes(names, np.array([1, 2, 3]))
  assert note.startswith(f"the class {odd} is trained as any other")


@pytest.mark.parametrize(
  "names", [("-1", "1"), ("-2", "-1", "0"), ("nancy", "nano", "0"), ("a", "-1")]
)
def test_names_that_only_look_like_none_are_not_told(names):
  assert not list(class_names.no_label_notes(names, np.ones(3, int)))


def _shapes(num_classes, num_train):
  shapes = ShapesConfig(num_classes=num_classes, num_train=num_train, num_test=num_classes + 1)
  return sources.load(DataConfig(name="shapes", shapes=shapes))


def test_up_to_twelve_classes_are_listed_with_their_examples():
  line = class_names.counts_line(_shapes(12, 13))
  assert line.startswith("12 classes, training + test examples: disc red on black 2 + 2, ")
  assert line.count(" 1 + 1") == 11


def test_of_many_classes_the_smallest_and_the_largest_are_told():
  assert class_names.counts_line(_shapes(13, 14)) == (
    "13 classes, training + test examples: the smallest is square red on black 1 + 1, the largest "
    "disc red on black 2 + 2"
  )


def test_numbers_that_are_no_classes_have_no_line():
  assert class_names.counts_line(sources.load(DataConfig(name="curve"))) is None
