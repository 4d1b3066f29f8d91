"""What is refused of phases that see unlabelled examples, each with its remedy."""

import pytest

from sdt.arms.language import PhaseSpec, parse_phases
from sdt.arms.semi_checks import check_semi
from sdt.errors import ConfigError
from tests.support import tiny

FIX = ("mine = all&unlabelled@0[fixmatch]",)
MIX = ("mine = A&unlabelled@lambda_A[mixmatch=5] + B@0",)
STRONG = {"augment__strong": "crop(1) noise(0.2)"}


def config(own_arms, *, labelled=20, **changes):
  changes = {"data__labelled": labelled} | changes
  return tiny.config(arms=("baseline", "mine"), own_arms=own_arms, **changes)


def test_a_phase_with_a_partner_is_read_and_named_by_its_subset():
  (phase,) = parse_phases("A&unlabelled@lambda_A[mixmatch=75]:all", "x")
  assert phase == PhaseSpec("A", "lambda_A", (("mixmatch", 75.0),), "all", "unlabelled")
  assert phase.name == "A"
  with pytest.raises(ConfigError, match=r"'unlabeled' is not a partner; did you mean 'unlabelled'"):
    parse_phases("all&unlabeled@0[fixmatch]", "x")


def test_what_goes_together_is_accepted():
  check_semi(config(FIX, **STRONG, semi__threshold=0.9))
  check_semi(config(MIX, semi__ramp_rounds=2))
  check_semi(tiny.config())
  # Defined and not trained: a run of fewer arms of the same config.
  check_semi(tiny.config(data__labelled=20, own_arms=FIX, **STRONG, semi__ratio=2))


@pytest.mark.parametrize(
  ("own_arms", "changes", "message"),
  [
    (FIX, {}, "'mine' asks for fixmatch, which needs a second, strong augmentation"),
    (FIX, {"labelled": None, **STRONG}, "'mine' asks for fixmatch, and all labels are known"),
    (
      ("mine = all@0[fixmatch]",),
      STRONG,
      "a phase that sees no unlabelled examples; write all&",
    ),
    (("mine = all&unlabelled@0",), {}, r"nothing learns from them; name fixmatch or mixmatch"),
    (
      ("mine = A&unlabelled@0[fixmatch] + B&unlabelled@0[mixmatch]",),
      STRONG,
      "asks for fixmatch and mixmatch; an arm has one of them",
    ),
    (MIX, {"augment__ops": "mixup(0.2)"}, "beside mixup, cutmix or ricap: a batch is mixed once"),
    (MIX, {"everywhere": ("label_smoothing=0.1",)}, "mixmatch beside label_smoothing: its labels"),
    (MIX, {"parallel__batch_norm": "device"}, "parallel.batch_norm='device' would cut"),
    (FIX, {**STRONG, "everywhere": ("mixmatch=1",)}, "everywhere asks for mixmatch, and the"),
    (MIX, STRONG, "augment.strong: no arm reads it; define one in own_arms"),
    (("mine = all@0",), {"semi__ratio": 2}, "semi.ratio: no arm reads it"),
    (("mine = all@0",), {"semi__ramp_rounds": 2}, "semi.ramp_rounds: no arm reads it"),
    (MIX, {"semi__threshold": 0.5}, r"semi.threshold: no arm reads it; .*baseline\[fixmatch\]"),
    (FIX, {**STRONG, "semi__temperature": 0.7}, r"semi.temperature: no arm .*\[mixmatch\]"),
    (FIX, {**STRONG, "semi__mixing_alpha": 0.5}, "semi.mixing_alpha: no arm reads it"),
    (FIX, {**STRONG, "semi__ramp_rounds": 2}, "semi.ramp_rounds: no arm reads it"),
  ],
)
def test_what_would_do_nothing_or_cannot_be_is_refused(own_arms, changes, message):
  with pytest.raises(ConfigError, match=message):
    check_semi(config(own_arms, **changes))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"augment__strong": "crop(1) cutmix(1)"}, "a guess belongs to one image"),
    ({"augment__strong": "noise(0.1) crop(1)"}, "a crop sets the size of the images"),
    ({"augment__strong": "noise(0.1) noise(0.2)"}, "an operation stands in it twice"),
    ({"data__name": "curve"}, "the targets of the curve are numbers"),
  ],
)
def test_the_config_alone_tells_what_cannot_stand_together(changes, message):
  with pytest.raises(ConfigError, match=message):
    tiny.config(data__labelled=20, **changes)
