"""The space of a search: what its items mean, which points it has, what is refused and why."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdt.config import from_dict, resolve, search_space, to_dict
from sdt.config.search_space import corners, grid, space_of, texts
from sdt.errors import ConfigError
from tests.support import tiny


def config(*items, **changes):
  given_too = {"arms": ("baseline", "method", "uniform_tuned"), "select__space": items}
  return tiny.config(**(given_too | changes))


@given(
  st.sampled_from(["log", "uniform"]),
  st.floats(1e-6, 1e3),
  st.floats(1.001, 1e6),
  st.floats(0, 1),
)
@example("log", 1e-3, 1e3, 1.0)
def test_a_range_gives_numbers_within_its_bounds_at_their_place(kind, low, factor, unit):
  high = low * factor
  (dimension,) = space_of([f"optim.learning_rate = {kind}({low!r}, {high!r})"])
  value = float(dimension.text(unit))
  assert low <= value <= high
  place = math.log(value / low, factor) if kind == "log" else (value - low) / (high - low)
  # Three digits: half of the third of 1.00 is 0.5 %.
  step = math.log(1.0051, factor) if kind == "log" else 0.0051
  assert abs(place - unit) <= step + 1e-9


@pytest.mark.parametrize(
  ("item", "expected"),
  [
    ("optim.learning_rate = log(1e-3, 1, 4)", ("0.001", "0.01", "0.1", "1.0")),
    ("optim.momentum=uniform(0.8, 0.9, 3)", ("0.8", "0.85", "0.9")),
    ("batch_size = log(16, 128, 4)", ("16", "32", "64", "128")),
    ("batch_size = log(1, 4, 9)", ("1", "2", "3", "4")),  # each once
    ("model.widths = choice((8, 16), (16,))", ("(8, 16)", "(16,)")),
    ("augment.ops = choice('crop(1) flip', '')", ("'crop(1) flip'", "''")),
    ("model.dropout = choice(None, 0.3)", ("None", "0.3")),
  ],
)
def test_an_item_of_few_values_has_these(item, expected):
  assert space_of([item])[0].values == expected


def test_a_grid_is_the_product_of_the_values_in_order():
  space = space_of(
    [
      "optim.learning_rate = log(1e-3, 1, 4)",
      "model.hidden_sizes = choice((8,), (16, 16), (4,))",
      "optim.momentum = uniform(0.5, 0.9, 2)",
    ]
  )
  expected = list(itertools.product(*(one.values for one in space)))
  points = [tuple(text for _, text in texts(space, point)) for point in grid(space)]
  assert points == expected
  assert search_space.num_points(space) == 24


def test_the_values_of_a_point_are_those_that_the_command_line_gives():
  of = config("optim.learning_rate = log(1e-3, 1, 4)", "model.hidden_sizes = choice((8,), (4, 4))")
  space, base = space_of(of.select.space), search_space.without_selection(of)
  found = search_space.at_point(base, space, (0.6, 0.7))
  expected = resolve(to_dict(base), [("optim.learning_rate", "0.1"), ("model.hidden_sizes", "4,4")])
  assert found == expected
  values = search_space.values_at(found, space)
  assert values == {"optim.learning_rate": 0.1, "model.hidden_sizes": (4, 4)}
  plain = {"optim.learning_rate": 0.1, "model.hidden_sizes": [4, 4]}  # as JSON has them
  assert search_space.with_values(base, plain) == expected


def test_each_key_is_chosen_by_the_arm_that_reads_it_and_ordinary_training_comes_first():
  space = space_of(
    [
      "method.lambda_tuned = log(1e-5, 1e-2)",
      "method.lambda_A = log(1e-4, 1)",
      "optim.learning_rate = log(1e-3, 1)",
      "method.order = choice(easy_first, hard_first)",
    ]
  )
  parts = search_space.by_arm(space)
  assert {arm: [one.key for one in part] for arm, part in parts.items()} == {
    "baseline": ["optim.learning_rate"],
    "method": ["method.lambda_A", "method.order"],
    "uniform_tuned": ["method.lambda_tuned"],
  }
  assert list(parts) == ["baseline", "method", "uniform_tuned"]


def test_corners_are_all_ends_and_of_many_all_pairs():
  few = space_of(["optim.learning_rate = log(1e-3, 1)", "model.activation = choice(relu, tanh)"])
  assert sorted(corners(few)) == [(0.0, 0.25), (0.0, 0.75), (1.0, 0.25), (1.0, 0.75)]
  keys = ["learning_rate", "momentum", "weight_decay", "l1"]
  many = space_of(
    [f"optim.{key} = uniform(0.1, 0.5, 9)" for key in keys] + ["batch_size = log(2, 8)"]
  )
  found = set(corners(many))
  assert len(found) < 9**4
  ends = [one.ends() for one in many]
  for one, other in itertools.combinations(range(len(many)), 2):
    pairs = {(point[one], point[other]) for point in found}
    assert pairs == set(itertools.product(ends[one], ends[other]))


def test_without_a_search_a_config_is_recorded_as_it_was_before_there_was_one():
  assert set(to_dict(tiny.config())["select"]) == {
    "lambda_A",
    "fraction",
    "weight_decay",
    "num_seeds",
  }
  of = config("optim.learning_rate = log(1e-3, 1)", select__method="bayes", select__trials=5)
  assert from_dict(to_dict(of)) == of
  search_space.check(tiny.config())


@pytest.mark.parametrize(
  ("items", "changes", "message"),
  [
    (["optim.learning_rate log(1, 2)"], {}, r"expected KEY = log\(low, high, count=0\) or"),
    (["optim.lr = log(1, 2)"], {}, "no such key; did you mean optim.learning_rate"),
    (["optim.learning_rate = lag(1, 2)"], {}, "there is no 'lag'; did you mean 'log'"),
    (["optim.learning_rate = log(0, 2)"], {}, "low = 0 of log.*expected a number above 0"),
    (["optim.learning_rate = log(2, 1)"], {}, "the lower bound first"),
    (["optim.learning_rate = log(1e-320, 1e300)"], {}, "the bounds are too far apart"),
    (["batch_size = log(1.5, 8)"], {}, "expected whole bounds, as batch_size is an integer"),
    (["model.widths = log(1, 8)"], {}, r"only numbers have a range; give choice\(A, B"),
    (["model.activation = choice(relu)"], {}, "two or more choices"),
    (["model.activation = choice(relu, relu)"], {}, "none of them twice"),
    (["data.crop_size = choice(4, 8)"], {}, "cannot be searched; every trial is judged on the"),
    (["rounds = choice(4, 8)"], {}, "cannot be searched; all trials train equally long"),
    (["seeds = choice(4, 8)"], {}, "cannot be searched; every value runs with all seeds"),
    (["method.num_easy = log(4, 8)"], {}, "search method.fraction"),
    (["regularise.dropout = uniform(0, 1)"], {}, "everywhere='dropout=0.3' reaches every phase"),
    (
      ["optim.momentum = uniform(0, 0.5)", "optim.momentum=uniform(0.5, 0.9)"],
      {},
      "optim.momentum stands in it twice",
    ),
    (
      ["method.lambda_A = log(1e-4, 1)"],
      {"arms": ("baseline",)},
      "chosen for the arm 'method'; add it to arms",
    ),
    (
      ["optim.learning_rate = log(1e-3, 1)"],
      {"select__method": "grid"},
      r"a grid needs to know how many values of optim.learning_rate there are; give a count",
    ),
    (
      ["optim.learning_rate = log(1e-3, 1, 4)"],
      {},
      "select.trials = 20: the keys of baseline .* have only 4 points; give fewer trials",
    ),
    (
      ["method.lambda_A = log(1e-4, 1, 3)", "method.lambda_tuned = log(1e-4, 1, 4)"],
      {"select__method": "grid"},
      "method has 3 and uniform_tuned has 4 trials; .* give both equally many",
    ),
    (
      ["optim.learning_rate = log(1e-3, 1)"],
      {"baseline_from": "runs/other"},
      "select.space chooses optim.learning_rate, which the baseline reads; leave one",
    ),
    (
      ["method.lambda_A = log(1e-3, 1)"],
      {"score__folds": 3},
      "score.folds = 3: every trial of method.lambda_A would train the folds again",
    ),
    # Points that are impossible, found among the corners.
    (
      ["optim.momentum = uniform(0.5, 1.5)"],
      {},
      r"select.space, at optim.momentum=1.5: --config.optim.momentum=1.5: expected .* below 1",
    ),
    (
      ["optim.name = choice(sgd, adam)", "optim.momentum = uniform(0.5, 0.8)"],
      {},
      "at optim.name=adam optim.momentum=0.5: optim.momentum = 0.5 has no meaning with optim.name",
    ),
  ],
)
def test_a_space_that_cannot_be_searched_is_refused_and_the_message_says_what_to_do(
  items, changes, message
):
  of = config(*items, **changes)
  with pytest.raises(ConfigError, match=message):
    search_space.check(of)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"select__lambda_A": (1e-3,)}, "select.lambda_A = .* with select.space: .* leave one"),
    ({"sweep__key": "batch_size", "sweep__values": ("4",)}, "sweep.key = 'batch_size' with select"),
    ({"select__factor": 2}, "select.factor = 2 has no meaning with select.method = 'random'"),
    (
      {"select__method": "grid", "select__trials": 3},
      "select.trials = 3 has no meaning with select.method = 'grid'",
    ),
    ({"select__method": "halving", "select__min_rounds": 9}, "expected at most rounds = 4"),
    ({"select__num_seeds": 3}, "select.num_seeds = 3: expected at most 2"),
    ({"stop__patience": 2}, "stop.patience = 2 with select.space"),
    ({"select__space": (), "select__trials": 3}, "has no meaning without select.space"),
  ],
)
def test_keys_that_do_not_go_with_a_search_are_refused(changes, message):
  with pytest.raises(ConfigError, match=message):
    config(**({"select__space": ("optim.learning_rate = log(1e-3, 1)",)} | changes))


def test_the_command_line_takes_a_space_with_commas_in_its_brackets():
  text = "optim.learning_rate = log(1e-3, 1), model.widths = choice((8, 16), (16,))"
  for written in (text, f"({text})"):
    of = resolve({}, [("select.space", written)])
    assert of.select.space == (
      "optim.learning_rate = log(1e-3, 1)",
      "model.widths = choice((8, 16), (16,))",
    )
  assert dataclasses.replace(of.select, space=()) == resolve({}).select
