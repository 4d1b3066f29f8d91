"""Mixed phases: one batch, and regularisers that differ between its examples."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.arms.language import BY_EXAMPLE
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.schema import OptimConfig
from sdt.config.toolbox.operation_blocks import OPS
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.engine.program import Network
from sdt.inputs.operations.pipeline import draw
from sdt.models import make_model
from sdt.models.layers import Dropout
from sdt.scores.split import Partition
from tests.engine.test_regularisers import soft_twin, targets_of
from tests.support import one_step, tiny
from tests.support.quick import QUICK, only

STRENGTHS = [name for name in BY_EXAMPLE if name in OPS]


def test_a_step_follows_the_gradient_of_the_mean_of_losses_that_differ_by_example():
  of = tiny.config(seeds=(0,), model__activation="tanh")
  state, rng = tiny.first_state(of), np.random.default_rng(0)
  inputs = rng.normal(size=(9, 8, 8, 3)).astype(np.float32)
  labels, mask = rng.integers(0, 3, 9).astype(np.int32), np.arange(9) < 6
  inputs[6:] = 1e4
  smoothing = np.array([0.3, 0, 0.1, 0, 0.3, 0.6, 0.9, 0.9, 0.9], np.float32)
  weights = np.array([1, 2, 0, 0.5, 1, 3, 99, 99, 99], np.float32)
  batch = one_step.batch(inputs, labels, mask)
  by_example = {"label_smoothing": smoothing, "loss_weight": weights}
  batch = dataclasses.replace(batch, by_example=jax.tree.map(jnp.asarray, by_example))
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  now = one_step.now(np.float32(0.1), np.zeros(1, np.float32))
  after, measured = one_step.step(state, batch, now, network=network)

  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
  valid = inputs[:6].reshape(6, -1).astype(np.float64)
  expected = {layer: dict(group) for layer, group in params.items()}
  for index in range(6):  # one example at a time, each with its own numbers
    targets = targets_of(labels[index : index + 1], 3, float(smoothing[index]))
    _, grads = soft_twin(params, valid[index : index + 1], targets)
    for layer, group in grads.items():
      for name, grad in group.items():
        expected[layer][name] = expected[layer][name] - 0.1 * weights[index] * grad / 6
  for layer, group in expected.items():
    for name, value in group.items():
      np.testing.assert_allclose(after.params[layer][name], value, rtol=0, atol=3e-6)
  plain = soft_twin(params, valid, targets_of(labels[:6], 3))[0]
  np.testing.assert_allclose(float(measured.loss) / 6, plain, rtol=1e-5)


@pytest.mark.parametrize("per_example", [False, True])
def test_an_example_with_a_rate_of_its_own_drops_what_the_batch_drops_at_that_rate(per_example):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3, 4)), jnp.float32)
  rates = np.array([0.5, 0.1, 0.0, 0.5, 0.1, 0.0], np.float32)
  layer = Dropout(0.0, per_example=per_example)

  @jax.jit
  def dropped(rate):
    return layer.apply({}, x, train=True, rate=rate, rngs={"dropout": jax.random.key(3)})

  own = np.asarray(dropped(rates))
  for rate in (0.5, 0.1, 0.0):
    chosen = rates == np.float32(rate)
    alike = np.asarray(dropped(np.float32(rate)))[chosen]
    np.testing.assert_array_equal(own[chosen] == 0, alike == 0)
    np.testing.assert_allclose(own[chosen], alike, rtol=3e-7)
  assert (own != x).any()


def _strengths(names):
  """Returns for each operation a weak and a strong number."""
  rules = {name: OPS[name].numbers[0] for name in names}
  largest = {name: 0.9 * (rule.high or rule.below) for name, rule in rules.items()}
  strong = {name: 4.0 if rules[name].whole else min(value, 4.0) for name, value in largest.items()}
  return {name: (0.25 * value, value) for name, value in strong.items()}


@pytest.mark.parametrize("case", only(["few"], ["few", "crop", "resized_crop", "augment_strength"]))
def test_an_example_with_a_strength_of_its_own_draws_what_the_batch_draws_at_that_strength(case):
  # Every operation draws by its own key, so all of them stand in one pipeline.
  first = "resized_crop" if case == "resized_crop" else "crop"
  others = [name for name in STRENGTHS if name not in ("crop", "resized_crop")]
  others = ["flip", "rotate", "pca_colour", "cutout"] if case == "few" else others
  values = _strengths([first, *others])
  ops = " ".join(f"{name}({value[1]:g})" for name, value in values.items())
  pipeline = pipeline_of(dataclasses.replace(tiny.config().augment, ops=ops))
  values = {"augment_strength": (0.25, 1.0)} if case == "augment_strength" else values
  sizes = np.full((8, 2), 16, np.int32)

  def drawn(strengths):
    return draw(jax.random.key(5), sizes, (12, 12), pipeline=pipeline, strengths=strengths)

  compiled = jax.jit(drawn, compiler_options=QUICK)
  places = np.arange(8) % 2
  own = compiled({name: np.asarray(value, np.float32)[places] for name, value in values.items()})
  weak, strong = (
    compiled({name: np.float32(value[at]) for name, value in values.items()}) for at in (0, 1)
  )
  for name in others if case != "resized_crop" else [*others, first]:
    leaves = [jax.tree.leaves(of[name]) for of in (own, weak, strong)]
    for mixed, one, other in zip(*leaves, strict=True):
      np.testing.assert_array_equal(mixed[::2], one[::2], err_msg=name)
      np.testing.assert_array_equal(mixed[1::2], other[1::2], err_msg=name)
    pairs = zip(*leaves[1:], strict=True)
    assert any((np.asarray(one) != np.asarray(other)).any() for one, other in pairs), name


# ---- in the engine

ARMS = (
  "mixed = A@1e-3[label_smoothing=0.3, dropout=0.4, augment_strength=0] | B@1e-3",
  "shuffled = shuffled(A@1e-3[label_smoothing=0.3, dropout=0.4, augment_strength=0] | B@1e-3)",
)


def _setting(**changes):
  of = tiny.config(
    own_arms=ARMS,
    arms=("baseline", "method", "mixed", "shuffled"),
    rounds=2,
    optim__milestones=(1,),
    augment__pad_crop=2,
    augment__flip=True,
    parallel__steps_per_dispatch=3,
    **changes,
  )
  data = tiny.data(of)
  setting = Setting.of(of, data)
  easy = np.arange(0, 70, 9, dtype=np.int32)
  part = Partition(easy, np.setdiff1d(np.arange(70, dtype=np.int32), easy), 0)
  return dataclasses.replace(setting, partitions=(part,) * len(of.seeds)), data


@pytest.fixture(scope="module")
def alone():
  setting, data = _setting()
  plan = make_plan("mixed", setting)
  return setting, data, plan, tiny.train(setting.config, plan, data)[0]


def _alike(plan, values):
  """Returns a plan whose parts have the same values, and that of one phase with these values."""
  (phase,) = plan.phases
  alike = dataclasses.replace(phase, by_part={name: (one, one) for name, one in values.items()})
  plain = dataclasses.replace(phase, by_part={}, parts=None, overrides=values)
  return [dataclasses.replace(plan, phases=(one,)) for one in (alike, plain)]


def _assert_close(one, other, atol):
  for name, leaf in tiny.leaves({"params": one.params, "stats": one.batch_stats}).items():
    twin = tiny.leaves({"params": other.params, "stats": other.batch_stats})[name]
    np.testing.assert_allclose(leaf, twin, rtol=0, atol=atol, err_msg=name)


@pytest.mark.slow
def test_a_phase_whose_parts_are_alike_trains_as_the_phase_of_all(alone):
  setting, data, plan, _ = alone
  values = {"label_smoothing": 0.3, "dropout": 0.4, "augment_strength": 0.5, "loss_weight": 0.5}
  states = [tiny.train(setting.config, one, data)[0] for one in _alike(plan, values)]
  _assert_close(*states, atol=1e-6)


@pytest.mark.slow
def test_residual_branches_and_feature_maps_drop_by_example_as_for_all():
  setting, data = _setting(
    model__name="resnet",
    model__hidden_sizes=None,
    model__blocks=(1,),
    model__widths=(4,),
    seeds=(0,),
  )
  values = {"stochastic_depth": 0.4, "dropout": 0.3, "loss_weight": 0.5}
  plans = _alike(make_plan("mixed", setting), values)
  states = [
    tiny.train(setting.config, dataclasses.replace(one, rounds=1), data)[0] for one in plans
  ]
  _assert_close(*states, atol=1e-5)


def test_where_no_example_of_a_batch_has_a_weight_the_running_statistics_stay():
  of = tiny.resnet(seeds=(0,))
  state, rng = tiny.first_state(of), np.random.default_rng(0)
  inputs, labels = (
    rng.normal(size=(4, 8, 8, 3)).astype(np.float32),
    np.arange(4, dtype=np.int32) % 3,
  )
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  now = one_step.now(np.float32(0.1), np.zeros(1, np.float32))
  mask = np.arange(4) < 3

  def statistics(weights):
    by_example = {"loss_weight": jnp.asarray(weights, jnp.float32)}
    batch = one_step.batch(inputs, labels, mask)
    batch = dataclasses.replace(batch, by_example=by_example)
    return one_step.step(state, batch, now, network=network)[0].batch_stats

  tiny.assert_equal(statistics([0, 0, 0, 1]), state.batch_stats)  # the last one is padding
  before, after = (tiny.leaves(tree) for tree in (state.batch_stats, statistics([0, 0, 1, 0])))
  assert all((before[name] != after[name]).any() for name in before)


def test_other_values_and_other_examples_need_no_other_program_and_the_parts_matter(alone):
  setting, data, plan, final = alone
  trainer = tiny.trainer(setting.config, plan, data)
  assert trainer.program.by_part == ("augment_strength", "dropout", "label_smoothing")
  shuffled = make_plan("shuffled", setting)
  assert tiny.trainer(setting.config, shuffled, data).program == trainer.program
  other = tiny.train(setting.config, shuffled, data)[0]
  for seed in range(2):
    kernel, moved = (state.params["hidden1"]["kernel"][seed] for state in (final, other))
    assert (kernel != moved).any()


@pytest.mark.slow_rows("num_devices=2-mode=pmap")
@pytest.mark.parametrize(
  "changes",
  [
    pytest.param({"parallel__num_devices": 2}, marks=pytest.mark.slow),
    {"parallel__num_devices": 2, "parallel__mode": "pmap"},
    {"data__placement": "stream"},
    pytest.param({"parallel__replicas": "unroll"}, marks=pytest.mark.slow),
    pytest.param({"data__placement": "stream", "parallel__num_devices": 2}, marks=pytest.mark.slow),
  ],
  ids=lambda changes: "-".join(
    f"{key.partition('__')[2]}={value}" for key, value in changes.items()
  ),
)
def test_devices_streams_and_replicas_train_a_mixed_phase_as_one_device_does(alone, changes):
  setting, data = _setting(**changes)
  state = tiny.train(setting.config, make_plan("mixed", setting), data)[0]
  for name, leaf in tiny.leaves(state.params).items():
    other = tiny.leaves(alone[3].params)[name]
    np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-5, err_msg=name)
