"""Whether A is balanced by class where nobody says so: on own data, and not on the published."""

import runpy

import pytest

from sdt.arms.catalogue import spec_of
from sdt.config import config_hash, from_dict, resolve, to_dict
from sdt.config.sweep_points import expand
from sdt.data.published.catalogue import SETS
from sdt.errors import ConfigError
from sdt.run.identity import Identity
from tests.support.places import ROOT

OWN = ("folder", "csv", "npz", "arrays", "digits", "shapes")
AS_MEASURED = {  # their results were measured with the paper's A
  "controls/digits_regularisers.py",
  "controls/digits_tuned.py",
}
CHOSEN = {  # balanced on purpose
  "controls/cifar10_longtail.py",
  "controls/cifar10_mlp.py",
  "controls/cifar10_pruning.py",
  "controls/cifar10_saturated.py",
  "controls/cifar10_small.py",
}


def balanced(**changes):
  """Returns split.class_balanced of a config of these keys; dots are written as two underscores."""
  overrides = [(key.replace("__", "."), value) for key, value in changes.items()]
  return resolve({}, overrides).split.class_balanced


@pytest.mark.parametrize("name", OWN)
def test_a_is_balanced_on_own_data_unless_the_user_says_otherwise(name):
  assert balanced(data__name=name) is True
  assert balanced(data__name=name, split__class_balanced="None") is True
  assert balanced(data__name=name, split__class_balanced="False") is False
  assert balanced(data__name=name, split__policy="random") is True


@pytest.mark.parametrize("name", sorted(set(SETS) - {*OWN}))
def test_a_is_the_papers_on_a_published_set_unless_the_user_says_otherwise(name):
  assert balanced(data__name=name) is False
  assert balanced(data__name=name, split__class_balanced="True") is True


def test_a_is_not_balanced_where_nothing_would_read_it():
  assert balanced(data__name="digits", arms="baseline,") is False
  assert (
    balanced(data__name="digits", split__policy="threshold", split__threshold="3", seeds="0,")
    is False
  )
  assert balanced(data__name="curve", model__name="mlp") is False
  # Config files that set it go with --config.arms=baseline; who wants it is told.
  assert balanced(data__name="digits", arms="baseline,", split__class_balanced="False") is False
  with pytest.raises(ConfigError, match="class_balanced = True has no meaning with arms"):
    balanced(data__name="digits", arms="baseline,", split__class_balanced="True")
  with pytest.raises(ConfigError, match=r"class_balanced = True has no meaning with split\.policy"):
    balanced(
      data__name="digits",
      split__policy="threshold",
      split__threshold="3",
      seeds="0,",
      split__class_balanced="True",
    )


@pytest.mark.parametrize("name", ["digits", "cifar10", "curve"])
def test_what_is_stored_is_read_as_the_same_config(name):
  config = resolve({"data": {"name": name}, "model": {"name": "mlp"}})
  assert from_dict(to_dict(config)) == config
  said = resolve(to_dict(config), [("split.class_balanced", str(config.split.class_balanced))])
  assert config_hash(said) == config_hash(config)


def test_a_run_that_began_with_the_papers_a_is_refused_and_goes_on_with_its_own_value(tmp_path):
  before = resolve({"split": {"class_balanced": False}})
  now = Identity(to_dict(resolve({})), "sum")
  with pytest.raises(ConfigError, match=r"split.class_balanced: False -> True.*choose another"):
    now.refuse_other(to_dict(before), "sum", tmp_path, file_checksums={})
  again = Identity(to_dict(resolve({}, [("split.class_balanced", "False")])), "sum")
  again.refuse_other(to_dict(before), "sum", tmp_path, file_checksums={})


@pytest.mark.parametrize(
  ("key", "values", "expected"),
  [
    ("data.name", ("digits", "cifar10", "shapes"), [True, False, True]),
    ("split.policy", ("top", "random"), [True, True]),
    ("method.lambda_A", ("1e-3", "2e-3"), [True, True]),
    ("split.class_balanced", ("True", "False", "None"), [True, False, True]),
  ],
)
def test_every_value_of_a_sweep_has_the_default_of_its_own_config(key, values, expected):
  if key == "split.class_balanced":
    values, expected = values[:2], expected[:2]
  points = expand(resolve({"sweep": {"key": key, "values": values}}))
  assert [point.config.split.class_balanced for point in points] == expected


def test_a_value_that_was_given_stays_in_a_sweep():
  split = {"class_balanced": False}
  points = expand(
    resolve({"split": split, "sweep": {"key": "data.name", "values": ("digits", "shapes")}})
  )
  assert [point.config.split.class_balanced for point in points] == [False, False]


def test_every_config_file_has_the_a_that_its_data_ask_for():
  for path in sorted((ROOT / "configs").rglob("*.py")):
    name = str(path.relative_to(ROOT / "configs"))
    config = resolve(runpy.run_path(str(path))["get_config"]())
    subsets = [phase.subset for arm in config.arms for phase in spec_of(arm, config).phases]
    if set(subsets) == {"all"}:  # has no A
      continue
    expected = (config.data.name in OWN and name not in AS_MEASURED) or name in CHOSEN
    assert config.split.class_balanced is expected, name
    if not expected and config.data.name != "curve" and name not in AS_MEASURED:
      assert "may collapse" in path.read_text(), name
