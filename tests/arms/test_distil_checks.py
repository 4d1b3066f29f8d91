"""What is refused of phases with a teacher, each with its remedy."""

import pytest

from sdt.arms.checks import check, check_arms
from sdt.arms.distil_checks import check_distil
from sdt.errors import ConfigError
from tests.support import tiny

TAUGHT = ("mine = all@0[distil]",)


def config(own_arms=TAUGHT, **changes):
  return tiny.config(arms=("baseline", "mine"), own_arms=own_arms, **changes)


def test_what_goes_together_is_accepted():
  check(config(distil__temperature=4.0, regularise__distil=0.3))
  check(config(("mine = A@0 | B@0[distil=0.3]",)))
  check(config(("mine = A@lambda_A[distil=0.3, label_smoothing=0.1] + B@0",)))
  # Defined and not trained: a run of fewer arms of the same config.
  check_distil(tiny.config(own_arms=TAUGHT, distil__temperature=4.0))
  check_arms(config())


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"everywhere": ("distil=0.2",)}, "the baseline is the teacher, so it has none; name it in an"),
    (
      {"own_arms": ("mine = all@0[distil, class_weight]",)},
      "distil beside class_weight: an arm has one teacher, whose probabilities stand in for plain",
    ),
    ({"everywhere": ("logit_adjustment=1",)}, "'mine' asks for distil beside logit_adjustment"),
    (
      {"own_arms": ("mine = A&unlabelled@0[mixmatch] + B@0[distil]",), "data__labelled": 20},
      "distil beside mixmatch",
    ),
    (
      {"own_arms": ("mine = A@0[distil] + B@0[distil_mean]",)},
      "distil beside distil_mean: an arm has one teacher",
    ),
    ({"own_arms": ("mine = all@0",), "distil__temperature": 3.0}, "distil.temperature = 3.0: no"),
  ],
)
def test_what_would_do_nothing_or_cannot_be_is_refused(changes, message):
  with pytest.raises(ConfigError, match=message):
    check_distil(config(**changes))


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("distil__temperature", 0.0, r"distil.temperature = 0.0: expected .*0.1"),
    ("regularise__distil", 1.5, "regularise.distil"),
  ],
)
def test_values_out_of_range_are_refused(key, value, message):
  with pytest.raises(ConfigError, match=message):
    config(**{key: value})
