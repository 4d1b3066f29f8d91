"""The config: what is accepted, and that its hash never drifts."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config import config_hash, from_dict, resolve, to_dict, values
from sdt.config.config_file import load_config_file
from sdt.config.differences import SAFE_TO_CHANGE, diff, leaves
from sdt.config.resolve import _keys, describe_keys, key_names
from sdt.errors import ConfigError
from tests.support.blocks import written
from tests.support.overrides import overrides_of
from tests.support.places import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.py"))
KEYS = _keys()


@pytest.mark.parametrize(
  ("override", "value"),
  [
    ("optim.learning_rate=1", 1.0),
    ("optim.learning_rate=5e-2", 0.05),
    ("optim.milestones=(10, 20)", (10, 20)),
    ("optim.milestones=[10,20]", (10, 20)),
    ("optim.milestones=10,20", (10, 20)),
    ("optim.milestones=()", ()),
    ("seeds=(3,)", (3,)),
    ("seeds=[3]", (3,)),
    ("seeds=3,", (3,)),
    ("rounds=1_000", 1000),
    ("augment.flip=True", True),
    ("augment.flip=false", False),
    ("arms=('baseline', \"method\")", ("baseline", "method")),
    ("arms=baseline,method", ("baseline", "method")),
    ("data.path=None", None),
    ("data.path='None'", "None"),
    ("data.path=/a dir/with = sign", "/a dir/with = sign"),
    ("data.path='quoted'", "quoted"),
    ("model.blocks=None", None),
    ("model.blocks=(2,2)", (2, 2)),
  ],
)
def test_an_override_is_read_by_the_type_of_its_key(override, value):
  name, _, text = override.partition("=")
  at = resolve({}, [(name, text)])
  for part in name.split("."):
    at = getattr(at, part)
  assert at == value
  assert type(at) is type(value)


def test_an_override_wins_over_the_file_and_the_file_over_the_default():
  file = ml_collections.ConfigDict({"rounds": 7, "optim": {"learning_rate": 1}})
  config = resolve(file, [("rounds", "9")])
  assert (config.rounds, config.optim.learning_rate, config.batch_size) == (9, 1.0, 128)
  assert type(config.optim.learning_rate) is float


def test_the_size_of_the_easy_subset_is_checked_in_exact_decimals():
  # As a float, 6.4e-05 is a little less than 1 / 15625, and floor(6.4e-05 * 15625) would be 0.
  assert (
    resolve({"data": {"num_train": 15625}, "method": {"fraction": 6.4e-05}}).method.fraction
    == 6.4e-05
  )
  with pytest.raises(ConfigError, match="A would be empty"):
    resolve({"data": {"num_train": 15624}, "method": {"fraction": 6.4e-05}})
  assert resolve({"data": {"num_train": 10}, "method": {"fraction": 0.1}}).method.fraction == 0.1
  assert (
    repr(
      from_dict(
        json.loads(json.dumps(to_dict(resolve({"method": {"fraction": 0.29}}))))
      ).method.fraction
    )
    == "0.29"
  )


def test_a_given_size_of_the_easy_subset_replaces_the_fraction():
  assert resolve({"data": {"num_train": 5}, "method": {"num_easy": 2}}).method.num_easy == 2


@pytest.mark.parametrize(
  "line",
  [
    "optim.name=adam optim.momentum=0.9",
    "optim.schedule=cosine optim.milestones=5,7",
    "method.num_easy=7 method.fraction=0.1",
    "method.init=warm arms=baseline,method,less_data",
    "arms=baseline,hardest_subset split.policy=random",
    # of a config file; what baseline_from may need
    "arms=baseline method.lambda_A=5e-4 method.num_easy=7 score.at_round=3",
    "arms=baseline,random_subset split.policy=random",
  ],
)
def test_keys_that_go_together_and_idle_keys_at_their_defaults_are_accepted(line):
  config = resolve({}, overrides_of(line))
  assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_loads_and_round_trips_through_json(path):
  config = resolve(load_config_file(path))
  plain = to_dict(config)
  text = json.dumps(plain, allow_nan=False)
  assert json.loads(text) == plain
  assert from_dict(json.loads(text)) == config
  assert config_hash(from_dict(json.loads(text))) == config_hash(config)
  assert plain["data"]["name"] == {"toy": "curve"}.get(path.stem, path.stem.split("_")[0])
  assert (
    (path.read_text().splitlines()[2:] or [""])[0]
    .strip()
    .startswith(f"python run.py --config=configs/{path.name}")
  )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_holds_only_what_differs_from_the_defaults_or_is_its_recipe(path):
  recipe = {
    "seeds",
    "arms",
    "data.name",
    "model.name",
    "rounds",
    "augment.flip",
    "optim.learning_rate",
    "method.lambda_A",
    "method.lambda_B",
  }
  given = dict(leaves(load_config_file(path).to_dict()))
  assert {name for name in given if given[name] == KEYS[name].default} <= recipe


def test_every_shipped_config_has_seeds_enough_for_a_verdict():
  shipped = sorted((ROOT / "configs").rglob("*.py"))
  assert len(shipped) > 30
  few = [path for path in shipped if len(resolve(load_config_file(path)).seeds) < 3]
  assert few == []


def test_hashes_are_the_same_in_a_fresh_process():
  code = (
    "import sys; from pathlib import Path; from sdt.config.config_file import load_config_file\n"
    "from sdt.config import config_hash, resolve\n"
    "for path in sys.argv[1:]: print(config_hash(resolve(load_config_file(Path(path)))))"
  )
  environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
  fresh = subprocess.run(
    [sys.executable, "-c", code, *CONFIGS],
    capture_output=True,
    text=True,
    check=True,
    env=environment,
  )
  assert fresh.stdout.split() == [config_hash(resolve(load_config_file(path))) for path in CONFIGS]


def test_an_unbounded_number_must_be_finite_too():
  key = values.Key("a.b", float, False, optional=False, default=0.0, help="a number", rule={})
  for text in ("nan", "inf", "-inf", "1e400"):
    with pytest.raises(ConfigError, match="expected a finite number"):
      values.parse(key, text)


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("select.lambda_A", "0,001"),
    ("select.weight_decay", "1e-4, 0,0005"),
    ("data.value_range", "(0,05, 1)"),
    ("model.widths", "16,032"),
    ("optim.learning_rate", "0,05"),
    ("optim.learning_rate", "1,5e-3"),
    ("rounds", "010"),
    ("seeds", "00,01"),
    ("method.lambda_A", "-00.1"),
  ],
)
def test_a_comma_in_place_of_the_point_is_never_taken_for_two_numbers(name, text):
  with pytest.raises(ConfigError, match=r"fractions are written with a point, such as 0\.001"):
    values.parse(KEYS[name], text)


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("select.lambda_A", "0,1", (0.0, 1.0)),
    ("select.lambda_A", "0.001,0", (0.001, 0.0)),
    ("optim.momentum", "0", 0.0),
    ("optim.learning_rate", "0.05", 0.05),
    ("optim.learning_rate", "1e-03 ", 0.001),
    ("rounds", "100", 100),
  ],
)
def test_other_zeros_are_zeros(name, text, value):
  assert values.parse(KEYS[name], text) == value


def test_a_comma_or_a_bracket_within_an_item_does_not_end_it():
  key = KEYS["own_arms"]
  one, two = "mine = A@0[label_smoothing=0.2, dropout] + B@0[dropout]", "other = B@0[loss_floor]"
  for text in (one, f"({one},)", f"['{one}']", f"'{one}',"):
    assert values.parse(key, text) == (one,)
  for text in (f"{one}, {two}", f"({one}, {two})", f"[{one},{two},]", f"'{one}','{two}'"):
    assert values.parse(key, text) == (one, two)
  for text in ("a,b]", "(a]", "a[0]]", "[a,b"):
    with pytest.raises(ConfigError, match="its brackets do not match"):
      values.parse(key, text)


def test_the_hash_is_that_of_the_canonical_json():
  plain = to_dict(resolve({"method": {"fraction": 0.29}}))
  backwards = {name: plain[name] for name in sorted(plain, reverse=True)}
  text = json.dumps(backwards, sort_keys=True, separators=(",", ":"))
  assert '"fraction":0.29,' in text
  assert config_hash(from_dict(backwards)) == hashlib.sha256(text.encode()).hexdigest()


def test_a_key_that_came_later_is_no_part_of_a_config_that_does_not_use_it():
  """So older runs, which lack the key, can be continued, and keep their hash."""
  config = resolve({})
  later = [name for name, key in KEYS.items() if key.rule.get("is_later")]
  assert "stats.looks" in later
  assert not set(later) & dict(leaves(to_dict(config))).keys()
  assert set(later) <= dict(leaves(to_dict(config, every_key=True))).keys()
  used = resolve({}, [("stats.looks", "5,10")])
  assert to_dict(used)["stats"]["looks"] == [5, 10]
  assert from_dict(to_dict(used)) == used
  assert config_hash(used) != config_hash(config)
  assert diff(to_dict(config), to_dict(used)) == ["stats.looks: (absent) -> [5, 10]"]


def test_the_hash_depends_on_values_only():
  assert config_hash(resolve({"optim": {"weight_decay": 1, "momentum": 0.5}})) == config_hash(
    resolve({"optim": {"momentum": 0.5, "weight_decay": 1.0}})
  )
  assert config_hash(resolve({"method": {"lambda_B": -0.0}})) == config_hash(
    resolve({"method": {"lambda_B": 0.0}})
  )
  assert config_hash(resolve({"method": {"lambda_A": 0.1 + 0.2}})) != config_hash(
    resolve({"method": {"lambda_A": 0.3}})
  )
  assert config_hash(resolve({"seeds": [0, 1]})) == config_hash(resolve({}))


# Of `resolve({})` before there was any key that is declared `is_later`.
HASH_OF_THE_DEFAULTS = "2adac0f28e71f2adb260e237196b16657157d78f2f57310c74299d363c47209a"
LATER = [name for name, key in KEYS.items() if key.rule.get("is_later")]


def test_keys_that_came_later_leave_the_bytes_and_the_hash_of_a_config_without_them():
  assert LATER
  given = resolve({}, [(name, str(KEYS[name].default)) for name in LATER])
  assert config_hash(given) == config_hash(resolve({})) == HASH_OF_THE_DEFAULTS
  names = {name for name, _ in leaves(to_dict(given))}
  assert names == KEYS.keys() - set(LATER)
  assert from_dict(to_dict(given)) == given


def test_a_key_that_changes_no_result_is_recorded_and_in_no_hash():
  shown = resolve({}, [("log.tensorboard", "True")])
  assert to_dict(shown)["log"] == {"tensorboard": True}
  assert from_dict(to_dict(shown)) == shown != resolve({})
  assert config_hash(shown) == config_hash(resolve({}))
  unhashed = {name for name, key in KEYS.items() if key.rule.get("is_unhashed")}
  assert unhashed <= SAFE_TO_CHANGE.keys()


def samples(key: values.Key) -> st.SearchStrategy:
  """Returns values that `key` accepts."""
  rule = key.rule
  if "choices" in rule:
    items = st.sampled_from(rule["choices"])
  elif table := rule.get("calls") or rule.get("call"):
    items = st.sampled_from([written(name, block) for name, block in table.items()])
  elif key.base is bool:
    items = st.booleans()
  elif key.base is int:
    items = st.integers(rule.get("low", 0), rule.get("high", values.LARGEST_INT))
  elif key.base is float:
    low, high = rule.get("low", rule.get("above", -1e9)), rule.get("high", rule.get("below", 1e9))
    items = st.floats(low, high, exclude_min="above" in rule, exclude_max="below" in rule)
  else:
    items = st.text(
      st.characters(blacklist_characters="\0'\",()[]", blacklist_categories=["Cs"]), min_size=1
    ).filter(lambda text: text == text.strip())
  whole = (
    st.lists(items, min_size=rule.get("min_length", 0), max_size=4, unique=True).map(tuple)
    if key.is_tuple
    else items
  )
  return st.none() | whole if key.optional else whole


@given(st.data())
def test_every_value_in_range_survives_json_and_the_command_line(data):
  name = data.draw(st.sampled_from(sorted(KEYS)))
  key = KEYS[name]
  value = data.draw(samples(key))
  assert values.check(key, value) == value
  assert values.check(key, json.loads(json.dumps(value))) == value
  # Not str() of a tuple: it writes control characters and backslashes as escapes, which the command
  # line does not know.
  text = (
    "'None'"
    if value == "None"
    else f"({''.join(f'{item},' for item in value)})"
    if isinstance(value, tuple)
    else str(value)
  )
  assert values.parse(key, text) == value


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=20))
def test_any_text_is_a_value_or_a_one_line_refusal_that_names_the_key(name, text):
  message = name
  try:
    resolve({}, [(name, text)])
  except ConfigError as error:
    message = str(error)
  assert len(message.splitlines()) == 1
  assert name in message


def test_diff_tells_every_change_key_by_key():
  old, new = (
    to_dict(resolve({})),
    to_dict(
      resolve({"seeds": (0,), "checkpoint": {"keep": 5}, "parallel": {"steps_per_dispatch": 5}})
    ),
  )
  del new["precision"]
  assert diff(old, old) == []
  assert diff(old, new) == [
    "checkpoint.keep: 2 -> 5",
    "parallel.steps_per_dispatch: None -> 5",
    "precision: 'auto' -> (absent)",
    "seeds: [0, 1] -> [0]",
  ]
  assert diff(old, new, ignore=SAFE_TO_CHANGE) == diff(old, new)[1:]


def test_safe_keys_exist_and_say_why():
  assert SAFE_TO_CHANGE.keys() <= KEYS.keys()
  assert all(SAFE_TO_CHANGE.values())
  # What forms the program or its numbers is never safe.
  never = (
    "parallel.",
    "seeds",
    "precision",
    "optim.",
    "method.",
    "model.",
    "rounds",
    "batch_size",
    "score.",
    "split.",
    "augment.",
    "eval_every_rounds",
  )
  # Paths, whose files are compared by their checksums.
  assert [name for name in SAFE_TO_CHANGE if name.startswith(never)] == [
    "model.pretrained",
    "score.path",
  ]


def test_every_default_is_in_its_own_range():
  for key in KEYS.values():
    assert values.check(key, key.default) == key.default
    assert values.parse(key, str(key.default)) == key.default


def test_help_describes_every_key():
  text = describe_keys(key_names())
  for key in KEYS.values():
    assert f"  {key.name} = {key.default!r}\n" in text
    assert key.help in text
  assert "[float; above 0, below 1]" in text


def test_the_config_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    resolve({}).rounds = 5
