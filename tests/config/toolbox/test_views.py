"""The texts of `evaluate.views`: what each block makes of the views before it; what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config import Config, resolve, to_dict
from sdt.config.answer_conflicts import read_views
from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.view_blocks import CENTRE, VIEWS, View, views_of
from sdt.errors import ConfigError
from tests.support import tiny


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("", [CENTRE]),
    ("centre", [CENTRE]),
    ("flip", [CENTRE, View(flip=True)]),
    ("scales(0.9, 1, 1.1)", [View(scale=0.9), CENTRE, View(scale=1.1)]),
    (
      "crops(5)",
      [CENTRE, *(View(place=place) for place in itertools.product((0, 2), repeat=2))],
    ),
    (
      "flip scales(1, 2)",
      [View(flip, scale=scale) for flip in (False, True) for scale in (1.0, 2.0)],
    ),
  ],
)
def test_a_text_names_views_in_order(text, expected):
  assert list(views_of(text)) == expected


def test_shifts_are_all_nine_moves_and_those_of_two_blocks_add_up():
  nine = {view.shift for view in views_of("shifts(2)")}
  assert nine == set(itertools.product((-2, 0, 2), repeat=2))
  assert views_of("shifts") == views_of("shifts(1)")
  both = {view.shift for view in views_of("shifts(1) shifts(3)")}
  assert both == set(itertools.product((-4, -3, -2, -1, 0, 1, 2, 3, 4), repeat=2))


@given(st.permutations(["flip", "shifts(1)", "crops(9)", "scales(0.8,1)"]))
def test_the_order_of_the_blocks_changes_no_view_but_their_order(blocks):
  views = views_of(" ".join(blocks))
  assert len(views) == len(set(views)) == 2 * 9 * 9 * 2
  assert set(views) == set(views_of("flip shifts(1) crops(9) scales(0.8,1)"))


def test_the_last_number_of_scales_stands_as_often_as_one_likes_and_is_checked_each_time():
  assert VIEWS["scales"].form("scales") == "scales(factor, ...)"
  (call,) = parse_calls("scales(0.5, 1, 2, 4)", VIEWS)
  assert call.numbers == (0.5, 1.0, 2.0, 4.0)
  for text in ("scales()", "scales(1, 5)", "scales(1, x)", "flip(0.5)", "shifts(1, 2)"):
    with pytest.raises(ValueError, match=r"scales\(factor, \.\.\.\)|flip is|shifts is"):
      parse_calls(text, VIEWS)


CYCLES = "rounds=12; optim.schedule=warm_restarts; optim.cycle_rounds=4; "


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ("evaluate.views=flp", "there is no 'flp'; did you mean 'flip'?"),
    ("evaluate.views=flip flip", "a view stands in it twice"),
    ("evaluate.views=scales(1,1)", "a view stands in it twice"),
    ("evaluate.views=shifts(1) shifts(1)", "a view stands in it twice"),
    ("evaluate.views=shifts(1) shifts(3) shifts(9) flip", "more than 256 views"),
    ("evaluate.views=crops(5)", "whole images, which have no other part; give data.crop_size"),
    ("evaluate.views=crops(7); data.crop_size=4", "there are five crops, or nine"),
    ("evaluate.views=scales(1)", "leave the centre as it is"),
    ("evaluate.views=scales(5)", "at most 4"),
    ("evaluate.dropout_samples=5", "the samples need a rate of dropout"),
    ("evaluate.dropout_samples=5; model.dropout=0.0", "give model.dropout, such as 0.1"),
    ("evaluate.ensemble=True; seeds=3", "one network is no ensemble; give more seeds"),
    (CYCLES + "evaluate.snapshots=1", "one snapshot is the final network"),
    ("evaluate.snapshots=2", "at the end of a cycle, and this schedule has none; choose warm"),
    (CYCLES + "evaluate.snapshots=4", "there are fewer cycles than that"),
    (CYCLES + "evaluate.snapshots=2; optim.warmup_rounds=2", " = 12 and optim.cycle_rounds = 4: "),
    (CYCLES + "evaluate.snapshots=2; stop.patience=2", "the network of the best round counts"),
    ("evaluate.prior_shift=0.05", "strengths are tried in steps of 0.1"),
    ("evaluate.prior_shift=-1", "expected"),
    (
      "evaluate.prior_shift=2; select.lambda_A=1e-3,2e-3; select.weight_decay=1e-4,2e-4",
      "the validation split would choose twice, the values and the strengths; select without",
    ),
    ("evaluate.prior_shift=2; baseline_from=x", "the other run may have held out other examples"),
    (
      "evaluate.prior_shift=2; sweep.key=data.validation_fraction; sweep.values=0.1,0.2",
      "which this key changes beside held-out examples; make a run for each value",
    ),
    ("data.validation_fraction=0.2", "no meaning without candidates to choose among"),
    ("data.name=curve; evaluate.prior_shift=2", "evaluate.prior_shift = 2.0 has no meaning with"),
    ("data.name=curve; evaluate.views=flip", "evaluate.views = 'flip' has no meaning with data"),
  ],
)
def test_what_cannot_be_is_refused_with_the_way_out(overrides, message):
  with pytest.raises(ConfigError) as caught:
    resolve(
      {},
      [(name, text) for name, _, text in (part.partition("=") for part in overrides.split("; "))],
    )
  assert message in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_config_without_these_keys_is_recorded_as_before_they_came():
  assert "evaluate" not in to_dict(Config())
  assert to_dict(tiny.config(evaluate__views="flip"))["evaluate"] == {"views": "flip"}


def test_moved_thresholds_read_the_share_that_is_held_out():
  overrides = [("evaluate.prior_shift", "2"), ("data.validation_fraction", "0.2")]
  assert resolve({}, overrides).data.validation_fraction == 0.2


def test_a_flag_refuses_the_same_texts_of_views():
  assert read_views("flip", "--views") == views_of("flip")
  refused = {
    "flp": "did you mean 'flip'?",
    "flip flip": "a view stands in it",
    "crops(7)": "there are five crops, or nine",
  }
  for text, message in refused.items():
    with pytest.raises(ConfigError, match="--views=") as caught:
      read_views(text, "--views")
    assert message in str(caught.value)
