"""The language of arms: what is a phase, what is refused and with which remedy."""

import pytest

from sdt.arms.catalogue import ARMS
from sdt.arms.checks import check_arms
from sdt.arms.language import PhaseSpec, parse_own_arms, parse_phases
from sdt.errors import ConfigError
from tests.support import tiny


@pytest.mark.parametrize(("name", "low", "high"), [
  ("label_smoothing", 0.0, 0.999), ("augment_strength", 0.0, 1.0),
  ("mixup_alpha", 0.0, 1e3), ("dropout", 0.0, 0.999),
  ("drop_connect", 0.0, 0.999), ("stochastic_depth", 0.0, 0.999),
  ("loss_weight", 0.0, 1e3), ("loss_floor", 0.0, 1e3),
])  # fmt: skip
def test_values_out_of_range_are_refused_in_the_config_and_in_a_phase(name, low, high):
  for value in (low, high):
    assert getattr(tiny.config(**{f"regularise__{name}": value}).regularise, name) == value
    assert parse_phases(f"A@0[{name}={value}]", "x")[0].overrides == ((name, value),)
  for value in (-0.001, high + 0.002, float("nan")):
    with pytest.raises(
      ConfigError, match=f"regularise.{name} = .*: expected a finite number at least 0"
    ):
      tiny.config(**{f"regularise__{name}": value})
    with pytest.raises(ConfigError, match=f"x: {name} = .*: expected a finite number at least 0"):
      parse_phases(f"A@0[{name}={value}]", "x")


def test_the_shipped_arms_are_written_in_the_language():
  assert ARMS["method"].phases == (PhaseSpec("A", "lambda_A"), PhaseSpec("B", "lambda_B"))
  assert parse_phases("A@1e-3+B@0", "x") == (PhaseSpec("A", 1e-3), PhaseSpec("B", 0.0))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("A@1e-3", "'A@1e-3' has no name; expected NAME = PHASE"),
    ("mine", "'mine' has no name"),
    ("2 = A@0", "'2' is not a name for an arm; expected letters, digits and . _ -"),
    (" = A@0", "has no name"),
    ("mine = ", "own_arms: mine: '' is not a phase; expected SUBSET@DECAY"),
    ("mine = A", "'A' is not a phase"),
    ("mine = A@0 + ", "'' is not a phase"),
    ("mine = C@0", r"'C' is not a subset \(subsets: all, A, B"),
    ("mine = hardst_A@0", "'hardst_A' is not a subset; did you mean 'hardest_A'"),
    ("mine = A@lamda_A", "'lamda_A' is not a decay; did you mean 'lambda_A'"),
    ("mine = A@0:rond", "'rond' is not a length; did you mean 'round'"),
    ("mine = A@-1", "the decay -1 of 'A@-1' must be from 0 to 1000"),
    ("mine = A@nan", "the decay nan of 'A@nan' must be from 0 to 1000"),
    ("mine = A@0*2", "'A@0\\*2' is not a phase"),
    ("mine = A@0[dropot]", "'dropot' is not a regulariser; did you mean 'dropout'"),
    ("mine = A@0[]", r"'' is not a regulariser \(regularisers: label_smoothing, "),
    (
      "mine = A@0[loss_weight=x]",
      "mine: loss_weight = 'x': expected a finite number at least 0, at most 1000",
    ),
    ("mine = A@0[dropout, dropout=0.2]", "names dropout more than once"),
    ("method = A@0 + B@0", "the name 'method' is taken"),
    ("mine = A@0 against x y", "names no arm after 'against'"),
    ("mine = A@0 against ", "'A@0 against' is not a phase"),
  ],
)
def test_what_is_no_arm_is_refused_with_the_place_and_the_remedy(text, message):
  with pytest.raises(ConfigError, match=message):
    check_arms(tiny.config(own_arms=(text,)))


def test_two_arms_of_one_name_are_refused():
  with pytest.raises(ConfigError, match="the name 'mine' is taken"):
    parse_own_arms(("mine = A@0 + B@0", "mine = all@0"), ARMS)
