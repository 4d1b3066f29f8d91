"""Building blocks as text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.toolbox.block import Block, Call, Number
from sdt.config.toolbox.parse import parse_call, parse_calls

TABLE = {
  "crop": Block("", "", numbers=(Number("pixels", low=0, whole=True),)),
  "flip": Block("", ""),
  "rotate": Block(
    "",
    "",
    numbers=(Number("degrees", low=0, high=180), Number("chance", 0.5, 0, 1)),
    also=("turn",),
  ),
}


def test_names_numbers_and_defaults_are_read_in_order():
  calls = parse_calls("crop(4) flip  rotate( 15 ),rotate(1e1, 1)", TABLE)
  assert calls == (
    Call("crop", (4.0,)),
    Call("flip"),
    Call("rotate", (15.0, 0.5)),
    Call("rotate", (10.0, 1.0)),
  )
  assert parse_calls(" ", TABLE) == ()


def test_a_number_may_stand_behind_its_name_as_a_form_shows_it():
  assert parse_calls("rotate(chance=1, degrees = 10)", TABLE) == (Call("rotate", (10.0, 1.0)),)
  assert parse_calls("rotate(10, chance=0.25)", TABLE) == (Call("rotate", (10.0, 0.25)),)


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("rotat(15)", "there is no 'rotat'; did you mean 'rotate'?"),
    ("crop", "crop is written crop(pixels), here with no number"),
    ("flip(1)", "flip is written flip, here with one number"),
    ("rotate(1, 2, 3)", "rotate is written rotate(degrees, chance=0.5), here with 3 numbers"),
    ("crop(4.5)", r"pixels = 4.5 of crop(pixels): expected a whole number at least 0"),
    (
      "rotate(200)",
      "degrees = 200 of rotate(degrees, chance=0.5): expected a number at least 0, at",
    ),
    ("rotate(nan)", "degrees = nan"),
    ("rotate(ten)", "degrees = ten"),
    ("rotate(10, odds=1)", "odds=1 of rotate(degrees, chance=0.5): expected the number alone, or"),
    ("rotate(chance=1, 10)", "10 of rotate(degrees, chance=0.5): chance is given twice, or stands"),
    ("rotate(10, degrees=1)", "degrees=1 of rotate(degrees, chance=0.5): degrees is given twice"),
    ("rotate(degrees=1, degrees=2)", "degrees is given twice"),
    ("rotate(chance=1)", "rotate is written rotate(degrees, chance=0.5), here with one number"),
    ("rotate(chance=2, degrees=1)", "chance = 2 of rotate(degrees, chance=0.5): expected a number"),
    ("crop(4", "'crop(4' is not a name with numbers in brackets, such as crop(pixels)"),
    ("crop(4) 15", "'15' is not a name with numbers in brackets, such as crop(pixels)"),
    ("turn(15)", "there is no 'turn'; did you mean 'rotate'?"),
    ("Turns(15)", "there is no 'Turns'; did you mean 'rotate'?"),
  ],
)
def test_what_cannot_be_read_is_told(text, told):
  with pytest.raises(ValueError, match=re.escape(told)):
    parse_calls(text, TABLE)


@pytest.mark.parametrize("text", ["", "flip flip"])
def test_where_one_block_is_expected_no_other_number_of_them_is_taken(text):
  with pytest.raises(ValueError, match="one name is expected"):
    parse_call(text, TABLE)


@given(
  st.lists(
    st.one_of(
      st.just(Call("flip")),
      st.integers(0, 64).map(lambda n: Call("crop", (float(n),))),
      st.tuples(st.integers(0, 180), st.sampled_from([0.0, 0.25, 1.0])).map(
        lambda pair: Call("rotate", tuple(map(float, pair)))
      ),
    )
  )
)
def test_a_written_call_reads_as_itself(calls):
  assert parse_calls(" ".join(map(str, calls)), TABLE) == tuple(calls)


def test_bounds_are_told_as_they_are_checked():
  number = Number("n", low=0, below=1)
  assert number.bounds == "at least 0, below 1"
  assert [number.takes(x) for x in (-0.1, 0, 0.5, 1, math.inf)] == [False, True, True, False, False]
