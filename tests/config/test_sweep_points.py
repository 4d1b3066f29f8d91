"""The points of a sweep: its configs, and the sweeps that are refused before anything is loaded."""

import dataclasses
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.config.sweep_points import expand, shares_baseline
from sdt.errors import ConfigError
from tests.support.places import ROOT

SWEEPS = ROOT / "configs/sweeps"


def points_of(**sweep):
  return expand(resolve({"sweep": sweep}))


def test_a_config_without_a_sweep_has_no_points():
  assert expand(resolve({})) == []


def test_a_point_is_the_ordinary_config_of_its_value():
  points = expand(
    resolve({"rounds": 400, "sweep": {"key": "method.lambda_A", "values": (5e-4, "2e-3", 1)}})
  )
  assert [(point.value, point.folder) for point in points] == [
    (5e-4, "lambda_A=0.0005"),
    (2e-3, "lambda_A=0.002"),
    (1.0, "lambda_A=1.0"),
  ]
  for point, text in zip(points, ("0.0005", "0.002", "1"), strict=True):
    assert point.config == resolve({"rounds": 400}, [("method.lambda_A", text)])


def test_a_second_key_changes_along():
  points = points_of(
    key="method.fraction", values=(0.1, 0.2), also_key="method.lambda_A", also_values=(1e-3, 5e-4)
  )
  assert [(point.value, point.also_value, point.folder) for point in points] == [
    (0.1, 1e-3, "fraction=0.1"),
    (0.2, 5e-4, "fraction=0.2"),
  ]
  assert [(point.config.method.fraction, point.config.method.lambda_A) for point in points] == [
    (0.1, 1e-3),
    (0.2, 5e-4),
  ]


@pytest.mark.parametrize(
  ("key", "given", "values", "folders"),
  [
    (
      "arms",
      (("baseline", "method"), ["baseline"]),
      [("baseline", "method"), ("baseline",)],
      ["arms=baseline,method", "arms=baseline"],
    ),
    ("optim.nesterov", (True, "false"), [True, False], ["nesterov=True", "nesterov=False"]),
    ("method.num_easy", (None, 7), [None, 7], ["num_easy=None", "num_easy=7"]),
    (
      "model.name",
      ("resnet20", "resnet56"),
      ["resnet20", "resnet56"],
      ["name=resnet20", "name=resnet56"],
    ),
  ],
)
def test_values_of_every_type_are_read_as_on_the_command_line_or_as_python_has_them(
  key, given, values, folders
):
  points = points_of(key=key, values=given)
  assert [point.value for point in points] == values
  assert [point.folder for point in points] == folders


REFUSALS = [
  ({"values": (1, 2)}, "sweep.values = ('1', '2'): expected sweep.key too"),
  ({"key": "rounds"}, "sweep.key = 'rounds': expected sweep.values too"),
  ({"also_values": (1,)}, "sweep.also_values = ('1',): expected sweep.also_key too"),
  (
    {"key": "rounds", "values": (300,), "also_key": "batch_size"},
    "sweep.also_key = 'batch_size': expected sweep.also_values too",
  ),
  (
    {"also_key": "rounds", "also_values": (300,)},
    "sweep.also_key = 'rounds': expected sweep.key too",
  ),
  (
    {"key": "rounds", "values": (300,), "also_key": "rounds", "also_values": (300,)},
    "expected another key than sweep.key",
  ),
  (
    {"key": "rounds", "values": (300, 400), "also_key": "batch_size", "also_values": (8,)},
    "expected one for each of sweep.values, there are 1 for 2",
  ),
  (
    {"key": "method.lambda_A", "values": (1e-3, "0.0010")},
    "0.001 and 0.0010 are the same value of method.lambda_A, 0.001; give it once",
  ),
  ({"key": "method.lambda_A", "values": ("1e-3", "1e-3")}, "'1e-3' occurs more than once"),
  (
    {"key": "method.lambda_A", "values": (1e-3, -1)},
    "sweep, value 2 of 2 (method.lambda_A=-1): --config.method.lambda_A=-1: expected a",
  ),
  ({"key": "method.lambda_A", "values": ("x",)}, "sweep, value 1 of 1 (method.lambda_A=x): "),
  (
    {"key": "method.lambda_a", "values": (1,)},
    "no such key; did you mean --config.method.lambda_A?",
  ),
  ({"key": "optim", "values": (1,)}, "optim is a section, not a value"),
  (
    {"key": "eval_every_rounds", "values": (1,)},
    "this key cannot be swept; it changes no result of the last round",
  ),
  ({"key": "rounds", "values": (0, 10)}, "rounds=0: expected an integer at least 1"),
  ({"key": "optim.milestones", "values": ((10, 5),)}, "expected rounds in increasing order"),
  (
    {"key": "method.fraction", "values": (0.1,), "also_key": "optim.name", "also_values": ("adm",)},
    "(method.fraction=0.1 optim.name=adm)",
  ),
  ({"key": "method.lambda_A", "values": (Path("x"),)}, "expected a tuple of texts"),
  *(
    ({"key": key, "values": ("1",)}, f"sweep.key = '{key}': this key cannot be swept; ")
    for key in (
      "data.path",
      "data.download",
      "data.verify",
      "checkpoint.keep",
      "compilation_cache",
      "parallel.replicas",
      "seeds",
      "stats.margin",
      "stats.looks",
      "sweep.key",
      "sweep.values",
      "baseline_from",
      "model.pretrained",
    )
  ),
]


@pytest.mark.parametrize(("sweep", "part"), REFUSALS, ids=[part[:40] for _, part in REFUSALS])
def test_a_sweep_that_cannot_be_is_refused_in_one_line_that_says_which_value(sweep, part):
  with pytest.raises(ConfigError) as caught:
    points_of(**sweep)
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)


def test_one_baseline_cannot_be_taken_over_for_values_that_have_their_own():
  config = resolve({"sweep": {"key": "optim.momentum", "values": (0.8, 0.9)}, "baseline_from": "x"})
  with pytest.raises(
    ConfigError,
    match=r"baseline_from = 'x': every value of optim\.momentum has its own baseline",
  ):
    expand(config)
  assert [
    point.config.baseline_from for point in points_of(key="split.policy", values=("top", "random"))
  ] == [None, None]


@pytest.mark.parametrize(
  ("key", "also_key", "shared"),
  [
    ("method.lambda_A", None, True),
    ("arms", None, True),
    ("split.policy", "method.fraction", True),
    ("optim.learning_rate", None, False),
    ("method.lambda_A", "optim.weight_decay", False),
    ("data.name", None, False),
    ("score.name", None, True),
  ],
)
def test_a_baseline_is_shared_where_neither_key_is_read_by_it(key, also_key, shared):
  assert (
    shares_baseline(dataclasses.replace(resolve({}).sweep, key=key, also_key=also_key)) == shared
  )


@given(st.lists(st.floats(1e-12, 1e3), min_size=2, max_size=5, unique=True))
def test_folders_are_plain_names_that_tell_the_values_apart_and_give_them_back(values):
  points = points_of(key="method.lambda_A", values=tuple(values))
  folders = [point.folder for point in points]
  assert len(set(folders)) == len(values)
  assert [float(unquote(folder.partition("=")[2])) for folder in folders] == values
  assert not [folder for folder in folders if "/" in folder]


def test_the_fractions_at_one_mean_decay_have_one_mean_decay():
  points = expand(resolve(load_config_file(SWEEPS / "fraction_constant_mean.py")))
  assert [point.value for point in points] == [0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3]
  for point in points:
    assert point.config.batch_size == 128
    # Batch by batch, as the training goes through them: a last batch that is not full is a step
    # too.
    num_easy = round(point.value * 50_000)
    decays = [point.config.method.lambda_A for _ in range(0, num_easy, 128)]
    decays += [point.config.method.lambda_B for _ in range(num_easy, 50_000, 128)]
    assert sum(decays) / len(decays) == pytest.approx(2.42857e-4, rel=1e-5)
  assert points[4].also_value == pytest.approx(1.5e-3, rel=1e-12)


def test_the_shipped_sweeps_are_of_the_papers_values():
  five, nine = (
    expand(resolve(load_config_file(SWEEPS / f"{name}.py"))) for name in ("lambda_A", "fraction")
  )
  assert [point.config.method.lambda_A for point in five] == [5e-4, 1e-3, 1.5e-3, 2e-3, 2.5e-3]
  assert [point.config.method.fraction for point in nine] == [
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.125,
    0.15,
    0.2,
    0.3,
  ]
  assert {point.config.method.lambda_A for point in nine} == {1.5e-3}
  for point in (*five, *nine):
    assert (point.config.data.name, point.config.model.name, point.config.rounds) == (
      "cifar100",
      "paper_resnet56",
      300,
    )
