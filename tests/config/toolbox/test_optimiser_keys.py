"""The keys of optimisers, clips and schedules: what is accepted together, and what is refused."""

import pytest

from sdt.config import resolve
from sdt.config.resolve import describe_keys
from sdt.errors import ConfigError
from tests.support.overrides import overrides_of

FULL = "optim.name=lbfgs optim.decay_form=decoupled"
REFUSED = [
  ("optim.name=adagradd", "did you mean 'adagrad'?"),
  ("optim.clip=global_nrm(1)", "did you mean 'global_norm'?"),
  ("optim.clip=norm", "norm is written norm(x), here with no number"),
  ("optim.clip=norm(0)", "x = 0 of norm(x): expected a number above 0"),
  ("optim.clip=norm(1,2)", "norm is written norm(x), here with 2 numbers"),
  ("optim.clip=norm(1)norm(2)", "the second of two clips of one kind"),
  ("optim.schedule=", "it is empty"),
  ("optim.schedule=inverse_time", "inverse_time is written inverse_time(k), here with no number"),
  ("optim.schedule=exponential(2)", "factor = 2 of exponential(factor): expected a number above 0"),
  ("optim.schedule=linear(1)", "linear is written linear, here with one number"),
  ("optim.schedule=linear optim.decay_factor=0.5", "has no meaning with optim.schedule = 'linear'"),
  (
    "optim.schedule=triangular optim.cycle_rounds=4",
    "every cycle would begin with a round at rate 0",
  ),
  ("optim.schedule=warm_restarts", "how long a cycle is must be said"),
  ("optim.schedule=cosine optim.cycle_rounds=4", "this schedule has no cycles"),
  (
    "optim.floor=0.01",
    "optim.schedule = 'step' with optim.floor = 0.01: this schedule falls to no",
  ),
  ("optim.schedule=cosine optim.floor=0.1", "the lowest rate is not below the highest"),
  ("optim.warmup_rounds=300", "no round is left after the warm-up; lower optim.warmup_rounds"),
  ("optim.clock=steps", "expected one of 'round', 'step'"),
  ("optim.reference_batch=0", "at least 1"),
  ("optim.average=1", "below 1"),
  ("optim.l1=-1", "at least 0"),
  ("optim.betas=0.9,0.99", "has no meaning with optim.name = 'sgd'"),
  ("optim.epsilon=0.1 optim.name=lbfgs", "has no meaning with optim.name = 'lbfgs'"),
  ("optim.name=adam optim.betas=0.9", "rmsprop has one number, adam and adamw have two"),
  ("optim.name=rmsprop optim.betas=0.9,0.99", "rmsprop has one number"),
  ("optim.name=adam optim.betas=0.9,1", "below 1"),
  ("optim.name=adam optim.betas=", "it is empty"),
  ("optim.name=rmsprop optim.nesterov=True", "choose another optim.name, such as 'sgd'"),
  ("optim.name=adamw optim.decay_form=penalty", "the decay of adamw is decoupled"),
  ("optim.name=newton", "optim.decay_form = 'coupled': the curvature would be"),
  (f"{FULL} optim.clip=value(1)", "a clipped gradient is no gradient of a loss"),
  (f"{FULL} optim.l1=0.1", "the derivative of |w| has no curvature"),
  (f"{FULL} optim.body_rate_factor=0", "the curvature is that of all parameters together"),
  (f"{FULL} augment.flip=True", "has no curvature; leave augmentation out"),
  (f"{FULL} augment.pad_crop=4", "has no curvature; leave augmentation out"),
  (f"{FULL} augment.resized_crop_area=0.5", "has no curvature; leave augmentation out"),
  (f"{FULL} data.crop_size=4", "has no curvature"),
  (f"{FULL} model.name=wrn28_10 model.dropout=0.1", "has no curvature; leave dropout out"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_a_wrong_optimiser_clip_or_schedule_is_refused_in_one_line(line, message):
  with pytest.raises(ConfigError) as refused:
    resolve({}, overrides_of(line))
  assert message in str(refused.value)
  assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
  "line",
  [
    "optim.clip=",
    "optim.clip=value(1),norm(2) optim.l1=1e-5",
    "optim.name=rmsprop optim.momentum=0 optim.betas=0.95 optim.epsilon=1e-6",
    "optim.name=adamw optim.betas=0.9,0.95",
    "optim.name=newton optim.decay_form=decoupled optim.epsilon=0.1",
    f"{FULL} optim.average=0.9",
    "optim.schedule=cosine optim.floor=1e-3 optim.warmup_rounds=5 optim.clock=step",
    "optim.schedule=triangular optim.floor=1e-3 optim.cycle_rounds=10",
    "optim.schedule=inverse_time(0.5) optim.reference_batch=256",
  ],
)
def test_keys_that_go_together_are_accepted(line):
  resolve({}, overrides_of(line))


def test_help_lists_every_block_as_it_is_written():
  text = describe_keys(["optim.clip", "optim.schedule", "optim.name"])
  for form in ("average_norm(x)", "natural_exponential(k)", "lbfgs"):
    assert form in text
