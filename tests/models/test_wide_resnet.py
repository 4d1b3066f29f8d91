"""Wide ResNets: depth and width, initial values, and the numbers of torch."""

import dataclasses

import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import make_model
from sdt.models.wide_resnet import WideResNet
from tests.golden import drawn
from tests.support.agreement import check_agreement, check_evaluation, load_golden
from tests.support.networks import check_bfloat16, check_distributions, check_masked_rows
from tests.support.quick import only

SMALL = ModelConfig(name="wrn", depth=10, widen_factor=1)


def _named(name):
  return make_model(dataclasses.replace(SMALL, **drawn.WIDE_RESNETS[name]), 10)


@pytest.mark.parametrize("name", only(["wrn10_2"], sorted(drawn.WIDE_RESNETS)))
def test_wide_resnets_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(_named(name), "wide_resnet.npz", name)


@pytest.mark.slow
def test_the_full_wide_resnet_evaluates_as_torch_does():
  model = make_model(ModelConfig(name="wrn28_10"), 10)
  check_evaluation(
    model,
    load_golden("wide_resnet.npz"),
    "wrn28_10",
    drawn.FULL_SHAPE,
    1e-4,
    drawn.FULL_GAINS["wrn28_10"],
  )


def test_initial_values_have_the_declared_distributions():
  check_distributions(_named("wrn10_2").clone(num_classes=100), num_kernels=1 + 6 + 3)


@pytest.mark.slow
def test_a_masked_example_changes_nothing():
  check_masked_rows(make_model(SMALL, 10))


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(make_model(SMALL, 10))


@pytest.mark.parametrize("name", ["wrn", "wrn28_10"])
@pytest.mark.parametrize(("depth", "num_blocks"), [(10, 1), (16, 2), (28, 4), (40, 6)])
def test_depth_is_six_times_the_blocks_of_a_stage_and_four(name, depth, num_blocks):
  model = make_model(ModelConfig(name=name, depth=depth, widen_factor=3), 10)
  assert model == WideResNet(10, num_blocks=num_blocks, widen_factor=3)


@pytest.mark.parametrize(
  ("depth", "near"), [(4, "10 or 16"), (9, "10 or 16"), (27, "22 or 28"), (29, "28 or 34")]
)
def test_impossible_depths_name_possible_ones(depth, near):
  with pytest.raises(
    ConfigError,
    match=rf"model.depth={depth} of model.name='wrn': expected 6 n \+ 4 .*, such as {near}",
  ):
    make_model(dataclasses.replace(SMALL, depth=depth), 10)
