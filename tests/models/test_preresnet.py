"""PreResNets: initial values, what makes them differ from ResNets, and the numbers of torch."""

import jax
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.preresnet import PreResNet
from tests.golden import drawn
from tests.support.agreement import check_agreement, check_evaluation, load_golden
from tests.support.networks import check_bfloat16, check_distributions, check_masked_rows
from tests.support.quick import only


@pytest.mark.parametrize("name", only(["basic"], sorted(drawn.PRERESNETS)))
def test_preresnets_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(PreResNet(10, **drawn.PRERESNETS[name]), "preresnet.npz", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["preresnet110", "paper_preresnet110"])
def test_full_preresnets_evaluate_as_torch_does(name):
  check_evaluation(
    make_model(ModelConfig(name=name), 10),
    load_golden("preresnet.npz"),
    name,
    drawn.FULL_SHAPE,
    1e-4,
    drawn.FULL_GAINS[name],
  )


def test_initial_values_have_the_declared_distributions():
  model = make_model(ModelConfig(name="paper_preresnet56", blocks=(2, 2, 2)), 100)
  check_distributions(model, num_kernels=3 * 6 + 3 + 1)


@pytest.mark.slow
def test_a_masked_example_changes_nothing():
  check_masked_rows(make_model(ModelConfig(name="preresnet", widths=(8, 16)), 10))


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(make_model(ModelConfig(name="preresnet", widths=(8, 16)), 10))


def test_neither_norm_nor_activation_stands_behind_the_stem_or_on_the_shortcut():
  """With F at zero all before the last norm is linear: doubling the input doubles what it reads."""
  model = make_model(ModelConfig(name="preresnet", widths=(4, 8)), 3)
  variables = init_variables(model, (8, 8, 1), 0)
  for block in ("stage1_block1", "stage2_block1"):
    variables["params"][block]["conv2"]["kernel"][:] = 0.0
  x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)

  @jax.jit
  def read(x):
    _, kept = model.apply(variables, x, train=False, capture_intermediates=True)
    return kept["intermediates"]

  once, twice = (
    jax.tree.leaves(read(factor * x)["stage2_block1"]["__call__"])[0] for factor in (1.0, 2.0)
  )
  assert np.abs(once).max() > 0.1
  assert np.array_equal(twice, 2.0 * once)


@pytest.mark.parametrize(
  ("changes", "blocks", "widths"),
  [
    ({}, (1, 1, 1), (16, 32, 64)),
    ({"widths": (4, 8)}, (1, 1), (4, 8)),
    ({"blocks": (1, 2, 1)}, (1, 2, 1), (16, 32, 64)),
  ],
)
def test_blocks_and_widths_override_the_registry(changes, blocks, widths):
  model = make_model(ModelConfig(name="preresnet", activation="tanh", **changes), 3)
  assert model == PreResNet(3, blocks=blocks, widths=widths, activation="tanh")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"name": "preresnet56", "widths": (8, 16)},
      r"model.blocks=\(9, 9, 9\) and model.widths=\(8, 16\).*give both",
    ),
    (
      {"name": "preresnet", "shortcut": "zero_pad"},
      r"model.shortcut='zero_pad' does not apply to model.name='preresnet'",
    ),
  ],
)
def test_impossible_preresnets_are_config_errors(changes, message):
  with pytest.raises(ConfigError, match=message):
    make_model(ModelConfig(**changes), 10)
