"""Regularisers against imbalance, by phase: weighted drawing, weighted losses, shifted logits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare
from sklearn.utils.class_weight import compute_class_weight

from sdt.arms import class_shares
from sdt.arms.checks import check_overrides
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.schema import OptimConfig
from sdt.engine.examples import round_ids
from sdt.engine.program import Network
from sdt.engine.state import Position
from sdt.errors import ConfigError
from sdt.inputs.order import Draw, draw_thresholds
from sdt.models import make_model
from sdt.run.programs import Setup
from sdt.scores.split import split
from tests.engine.test_regularisers import soft_twin
from tests.inputs.test_order import jit_batches
from tests.support import one_step, tiny

LABELS = np.repeat(np.arange(4), (60, 25, 10, 5))[None]


# ---- the numbers


def test_weights_at_full_strength_are_scikit_learn_s_balanced_ones():
  expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS[0])
  np.testing.assert_allclose(class_shares.loss_weights(LABELS, 4, 1.0)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_weights_of_the_loss_are_1_on_average_and_exactly_1_without_strength(strength):
  weights = class_shares.loss_weights(LABELS, 5, strength)[0]
  assert weights[LABELS[0]].mean() == pytest.approx(1.0, rel=1e-12)
  assert np.isfinite(weights).all()  # of a class without an example too
  assert strength > 0 or (weights == 1.0).all()


def test_logits_are_shifted_by_the_logarithm_of_the_shares():
  shifts = class_shares.logit_offsets(LABELS, 4, 2.0)[0]
  np.testing.assert_allclose(shifts, 2.0 * np.log([0.6, 0.25, 0.1, 0.05]), rtol=1e-12)


# ---- the loss


@pytest.mark.parametrize(
  "strengths", [{"class_weight": 1.0}, {"class_weight": 0.5, "logit_adjustment": 1.5}]
)
def test_a_step_follows_the_gradient_of_weighted_losses_and_shifted_logits(strengths):
  """Shifted logits are a bias of the head that is not learned, and weights repeat examples."""
  of = tiny.config(seeds=(0,), model__activation="tanh")
  state = tiny.first_state(of)
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(9, 8, 8, 3)).astype(np.float32)
  labels = np.array([0, 0, 0, 1, 1, 2, 0, 0, 0], np.int32)
  mask, counted = np.arange(9) < 6, labels[:6]
  inputs[6:] = 1e4
  numbers = class_shares.by_class(LABELS[:, :95], 3, strengths)
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  overrides = {name: values[0].astype(np.float32) for name, values in numbers.items()}
  now = one_step.now(np.float32(0.1), np.zeros(1, np.float32), overrides=overrides)
  after, measured = one_step.step(state, one_step.batch(inputs, labels, mask), now, network=network)

  params = jax.tree.map(lambda leaf: np.array(leaf, np.float64), state.params)
  plain_loss = soft_twin(params, inputs[:6].reshape(6, -1).astype(np.float64), np.eye(3)[counted])
  params["head"]["bias"] += numbers.get("logit_adjustment", np.zeros((1, 3)))[0]
  weights = numbers.get("class_weight", np.ones((1, 3)))[0][counted]
  total = jax.tree.map(np.zeros_like, params)
  for index, weight in enumerate(weights):
    one = inputs[index : index + 1].reshape(1, -1).astype(np.float64)
    _, grads = soft_twin(params, one, np.eye(3)[counted[index : index + 1]])
    total = jax.tree.map(lambda sum_, grad, w=weight: sum_ + w * grad / 6, total, grads)
  for layer, group in total.items():
    for name, grad in group.items():
      expected = np.asarray(state.params[layer][name], np.float64) - 0.1 * grad
      np.testing.assert_allclose(after.params[layer][name], expected, rtol=0, atol=3e-6)
  # What is reported is the plain loss.
  np.testing.assert_allclose(float(measured.loss) / 6, plain_loss[0], rtol=1e-5)


# ---- what is drawn


def drawn_shares(strength, passes=40):
  """Returns how often each class is drawn in some passes, and the examples drawn [T, B]."""
  weights = class_shares.draw_weights(LABELS, 4, strength)[0]
  draw = Draw(draw_thresholds(weights), np.bool_(True))
  keys = jax.random.split(jax.random.key(7), passes)
  batches = [jit_batches(key, 100, 7, batch_size=16, draw=draw) for key in keys]
  return np.concatenate([np.asarray(one[0])[np.asarray(one[1])] for one in batches])


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_classes_and_examples_are_drawn_in_proportion_to_their_weights(strength):
  drawn = drawn_shares(strength)
  assert len(drawn) == 40 * 100
  shares = np.bincount(LABELS[0]) ** (1.0 - strength)
  counts = np.bincount(LABELS[0][drawn], minlength=4)
  assert chisquare(counts, shares / shares.sum() * len(drawn)).pvalue > 1e-3
  weights = class_shares.draw_weights(LABELS, 4, strength)[0]
  of_examples = np.bincount(drawn, minlength=100)
  assert chisquare(of_examples, weights / weights.sum() * len(drawn)).pvalue > 1e-3


def test_thresholds_are_exact_shares_of_all_bits():
  thresholds = draw_thresholds(np.array([1.0, 0.0, 2.0, 1.0]))
  assert thresholds.tolist() == [2**30, 2**30, 3 * 2**30, 2**32 - 1]


def test_where_nothing_is_drawn_a_phase_has_the_order_that_it_always_had():
  draw = Draw(draw_thresholds(np.ones(100)), np.bool_(False))
  key = jax.random.key(3)
  for ours, plain in zip(
    jit_batches(key, 100, 7, batch_size=16, draw=draw),
    jit_batches(key, 100, 7, batch_size=16),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, plain)


# ---- in the engine

ALL = "class_balance=1"
LINES = (
  "drawn = A@0[class_balance=1] + B@0[class_weight=0.5, logit_adjustment=1]",
  "other = A@0[class_balance=0.5] + B@0[class_weight=1, logit_adjustment=0.3]",
)


@pytest.fixture(scope="module")
def problem():
  of = tiny.config(
    data__imbalance="longtail(6)",
    rounds=1,
    optim__milestones=(),
    own_arms=LINES,
    arms=("baseline", "method", "drawn", "other"),
    parallel__steps_per_dispatch=1,
  )
  data = tiny.data(of)
  setup = Setup.make(of, data)
  setting = Setting.of(of, data)
  scores = np.random.default_rng(0).normal(size=(2, len(data.train)))
  parts = tuple(
    split(row, setting, 12, seed=seed) for row, seed in zip(scores, of.seeds, strict=True)
  )
  return setup, dataclasses.replace(setting, scores=scores, partitions=parts)


def states(setup, plan):
  made, after = setup.trainer(plan), []
  made.set_state(setup.fresh_start)
  for _ in made.run(Position()):
    after.append(made.get_state().state)
  return made, after


@pytest.mark.slow
def test_a_plan_draws_weighs_and_shifts_by_the_classes_of_its_phases_in_one_program(problem):
  setup, setting = problem
  plan, other = (make_plan(arm, setting) for arm in ("drawn", "other"))
  made, after = states(setup, plan)
  assert made.program.regularisers == ("class_balance", "class_weight", "logit_adjustment")
  used, changed = states(setup, other)
  assert (used is made, made.num_compilations) == (True, 1)
  kernels = [[state.params["hidden1"]["kernel"] for state in one] for one in (after, changed)]
  assert all((one != two).any() for one, two in zip(*kernels, strict=True))


def test_the_numbers_of_a_plan_are_neutral_in_the_phases_that_name_none(problem):
  setup, setting = problem
  plan = make_plan("drawn", setting)
  arrays = setup.trainer(plan)._host_plan
  labels = setting.labels[plan.phases[1].example_ids]
  np.testing.assert_allclose(
    arrays.overrides["class_weight"],
    np.stack([np.ones((2, 3)), class_shares.loss_weights(labels, 3, 0.5)], axis=1),
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    arrays.overrides["logit_adjustment"],
    np.stack([np.zeros((2, 3)), class_shares.logit_offsets(labels, 3, 1.0)], axis=1),
    rtol=1e-6,
  )
  assert arrays.overrides["class_balance"].tolist() == [[1.0, 0.0]] * 2
  assert [draw.shape for draw in arrays.draws] == [p.example_ids.shape for p in plan.phases]


def test_a_phase_that_draws_nothing_beside_one_that_does_sees_each_example_once(problem):
  setup, setting = problem
  made = setup.trainer(make_plan("drawn", setting))
  one = jax.tree.map(lambda leaf: leaf[0], made._host_plan.of_replicas)
  ids, masks = jax.jit(lambda plan: round_ids(made.program, plan, jnp.int32(0)))(one)
  steps, parts = made.program.phase_steps[0], setting.partitions[0]
  phases = (slice(steps), slice(steps, None))
  of_A, of_B = (np.asarray(ids)[phase][np.asarray(masks)[phase]] for phase in phases)
  assert set(of_A.tolist()) <= set(parts.easy.tolist())
  assert len(set(of_A.tolist())) < len(of_A)  # with replacement
  assert sorted(of_B.tolist()) == parts.rest.tolist()


# ---- refusals


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"own_arms": ("mine = all@0[class_balance, class_weight=0.5]",)},
      "'mine' asks for class_balance beside class_weight: both make up for rare classes",
    ),
    (
      {"own_arms": ("mine = all@0[class_balance]",), "everywhere": ("logit_adjustment=1",)},
      "'mine' asks for class_balance beside logit_adjustment",
    ),
    (
      {"own_arms": ("mine = all@0[class_weight, logit_adjustment=0.5]",)},
      "'mine' asks for class_weight=1 and logit_adjustment=0.5: both make up for rare classes",
    ),
    (
      {"own_arms": ("mine = over_all@0[class_weight]:all",)},
      "'mine' asks for class_weight on over_all, whose classes are equally frequent",
    ),
    (
      {"own_arms": ("mine = all@0",), "everywhere": ("class_balance=1",)},
      "everywhere asks for class_balance: an example that is not drawn has no training dynamics",
    ),
  ],
)
def test_what_corrects_twice_or_cannot_be_is_refused(changes, message):
  with pytest.raises(ConfigError, match=message):
    check_overrides(tiny.config(arms=("baseline", "mine"), **changes))


def test_a_weighted_loss_and_adjusted_logits_may_share_one_correction():
  own = ("mine = all@0[class_weight=0.5, logit_adjustment=0.5]",)
  check_overrides(tiny.config(arms=("baseline", "mine"), own_arms=own))


def test_weighted_drawing_of_all_arms_goes_without_training_dynamics():
  check_overrides(
    tiny.config(arms=("baseline", "method"), everywhere=(ALL,), score__dynamics=False)
  )
