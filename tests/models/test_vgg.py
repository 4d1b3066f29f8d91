"""VGG: the head's initial values, images of every size, and the numbers of torch."""

import jax
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import count_params, init_variables, make_model
from sdt.models.vgg import VGG
from tests.golden import drawn
from tests.support.agreement import check_agreement, check_evaluation, load_golden
from tests.support.networks import check_bfloat16, check_distributions, check_masked_rows

SMALL = ModelConfig(name="vgg16", blocks=(1, 1), widths=(8, 16))


@pytest.mark.slow_rows("five_stages")
@pytest.mark.parametrize("name", sorted(drawn.VGGS))
def test_vggs_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(VGG(10, **drawn.VGGS[name]), "vgg.npz", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_full_vggs_evaluate_as_torch_does(name):
  check_evaluation(
    make_model(ModelConfig(name=name), 10),
    load_golden("vgg.npz"),
    name,
    drawn.FULL_SHAPE,
    1e-4,
    drawn.FULL_GAINS[name],
  )


def test_initial_values_have_the_declared_distributions():
  model = make_model(ModelConfig(name="vgg16", widths=(8, 16, 32, 64, 64)), 100)
  check_distributions(model, num_kernels=13, head_scale=0.01)
  layer = init_variables(model, (32, 32, 3), 0)["params"]["stage1_conv1"]
  assert layer["bias"].shape == (8,)
  assert not layer["bias"].any()


def test_a_masked_example_changes_nothing():
  check_masked_rows(make_model(SMALL, 10))


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(make_model(SMALL, 10))


@pytest.mark.parametrize("size", [1, 8, 28, 32, 64])
def test_images_of_every_size_have_the_same_parameters_and_finite_logits(size):
  model = make_model(ModelConfig(name="vgg16", blocks=(1,) * 5, widths=(4,) * 5), 10)
  assert count_params(model, (size, size, 3)) == count_params(model, (32, 32, 3))
  variables = init_variables(model, (size, size, 3), 0)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(
    variables, np.ones((1, size, size, 3), np.float32)
  )
  assert np.isfinite(logits).all()


def test_a_value_per_stage_is_wanted():
  with pytest.raises(
    ConfigError,
    match=(
      r"model.blocks=\(2, 2, 4, 4, 4\) and model.widths=\(8, 16\) of model.name='vgg19'.*give "
      r"both"
    ),
  ):
    make_model(ModelConfig(name="vgg19", widths=(8, 16)), 10)
