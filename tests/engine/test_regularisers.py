"""Regularisers that differ by phase: each by its definition, neutral values, and what they do to
the steps of a plan.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta, kstest

from sdt.config.schema import NEUTRAL, OptimConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.data.dataset import image_sizes
from sdt.engine.program import Network
from sdt.engine.state import Position
from sdt.inputs.operations.mixing import Mixture, mixing_weight, mixup, partners
from sdt.inputs.operations.pipeline import draw
from sdt.inputs.order import augment_key, mixup_key, order_key
from sdt.losses import smoothed_cross_entropy
from sdt.models import make_model
from sdt.models.family import RATES
from sdt.run.programs import Setup
from tests.inputs.test_augment import twin as crop_and_flip_twin
from tests.inputs.test_order import jit_batches
from tests.support import one_step, tiny
from tests.support.places import GOLDEN

GOLDEN = GOLDEN / "label_smoothing.npz"
# One value of each that does something, and a second one.
VALUES = {
  "augment_strength": (0.2, 0.7),
  "drop_connect": (0.4, 0.1),
  "dropout": (0.4, 0.1),
  "label_smoothing": (0.3, 0.1),
  "loss_floor": (5.0, 1e-3),
  "loss_weight": (0.25, 3.0),
  "mixup_alpha": (0.4, 2.0),
  "stochastic_depth": (0.5, 0.2),
}
WITHOUT_RATES = {name: values for name, values in VALUES.items() if name not in RATES}


def scalars(**overrides):
  return {name: np.float32(value) for name, value in overrides.items()}


def with_overrides(plan, *overrides):
  """Returns the plan with the overrides of each of its phases."""
  return dataclasses.replace(
    plan,
    phases=tuple(map(lambda p, o: dataclasses.replace(p, overrides=o), plan.phases, overrides)),
  )


jit_weights = jax.jit(jax.vmap(mixing_weight, in_axes=(0, None)))


# ---- the loss


def test_label_smoothing_equals_torch_in_values_and_gradients():
  golden = np.load(GOLDEN)
  logits, labels = golden["logits"].astype(np.float32), golden["labels"]

  @jax.jit
  def losses_and_gradient(smoothing):
    of = functools.partial(smoothed_cross_entropy, labels=labels, smoothing=smoothing)
    return of(logits), jax.grad(lambda x: of(x).mean())(logits)

  for index, smoothing in enumerate(golden["smoothing"]):
    losses, gradient = losses_and_gradient(jnp.float32(smoothing))
    np.testing.assert_allclose(losses, golden[f"losses{index}"], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, golden[f"gradient{index}"], rtol=1e-5, atol=1e-7)


def soft_twin(params, inputs, targets):
  """Returns the mean cross-entropy to the distributions `targets` [B, K] of a network with one
  hidden layer, and its gradients; float64.
  """
  hidden = np.tanh(inputs @ params["hidden1"]["kernel"] + params["hidden1"]["bias"])
  logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
  soft = np.exp(logits - logits.max(axis=1, keepdims=True))
  soft /= soft.sum(axis=1, keepdims=True)
  error = (soft - targets) / len(targets)
  back = (error @ params["head"]["kernel"].T) * (1 - hidden**2)
  grads = {
    "hidden1": {"kernel": inputs.T @ back, "bias": back.sum(axis=0)},
    "head": {"kernel": hidden.T @ error, "bias": error.sum(axis=0)},
  }  # fmt: skip
  return -(targets * np.log(soft)).sum() / len(targets), grads


def targets_of(labels, num_classes, smoothing=0.0, other_labels=None, weight=1.0):
  hot = np.eye(num_classes)
  own = weight * hot[labels] + (1 - weight) * hot[labels if other_labels is None else other_labels]
  return (1 - smoothing) * own + smoothing / num_classes


@pytest.mark.parametrize(
  ("overrides", "mixed", "sign"),
  [
    ({}, False, 1),
    ({"label_smoothing": 0.3}, False, 1),
    ({"loss_weight": 0.25}, False, 1),
    ({"loss_floor": 0.5}, False, 1),
    ({"loss_floor": 5.0}, False, -1),
    ({"mixup_alpha": 0.4}, True, 1),
    ({"label_smoothing": 0.3, "loss_weight": 3.0, "loss_floor": 5.0, "mixup_alpha": 0.4}, True, -1),
  ],
)
def test_a_step_follows_the_gradient_of_the_regularised_loss_whatever_the_padding_holds(
  overrides, mixed, sign
):
  of = tiny.config(seeds=(0,), model__activation="tanh")
  state = tiny.first_state(of)
  rng = np.random.default_rng(0)
  inputs, labels = (
    rng.normal(size=(9, 8, 8, 3)).astype(np.float32),
    rng.integers(0, 3, 9).astype(np.int32),
  )
  mask, others, weight = np.arange(9) < 6, np.roll(labels, 4), 0.8
  inputs[6:] = 1e4
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  mixture = (
    Mixture((others,), (np.float32(weight), np.float32(1) - np.float32(weight))) if mixed else None
  )
  batch = one_step.batch(inputs, labels, mask, mixture)
  now = one_step.now(np.float32(0.1), np.zeros(1, np.float32), overrides=scalars(**overrides))
  after, measured = one_step.step(state, batch, now, network=network)

  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
  valid = inputs[:6].reshape(6, -1).astype(np.float64)
  mixing = {"other_labels": others[:6], "weight": weight} if mixed else {}
  targets = targets_of(labels[:6], 3, overrides.get("label_smoothing", 0.0), **mixing)
  loss, grads = soft_twin(params, valid, targets)
  assert (loss < overrides.get("loss_floor", 0.0)) == (sign < 0)
  factor = sign * overrides.get("loss_weight", 1.0)
  for layer, group in grads.items():
    for name, grad in group.items():
      expected = params[layer][name] - 0.1 * factor * grad
      np.testing.assert_allclose(
        after.params[layer][name], expected, rtol=0, atol=3e-6, err_msg=f"{layer}/{name}"
      )
  # What is reported is the plain loss of the own labels.
  np.testing.assert_allclose(
    float(measured.loss) / 6, soft_twin(params, valid, targets_of(labels[:6], 3))[0], rtol=1e-5
  )
  assert int(measured.count) == 6


def test_a_floor_that_equals_the_loss_goes_downhill():
  of = tiny.config(seeds=(0,))
  state = tiny.first_state(of)
  batch = one_step.batch(
    np.zeros((1, 8, 8, 3), np.float32), np.zeros(1, np.int32), np.ones(1, bool)
  )
  network = Network(make_model(of.model, 3), OptimConfig())

  def step(floor):
    overrides = {"loss_floor": floor}
    now = one_step.now(np.float32(0.1), np.zeros(1, np.float32), overrides=overrides)
    return one_step.step(state, batch, now, network=network)

  plain, measured = step(np.float32(0.0))
  loss = np.asarray(measured.loss)
  tiny.assert_equal(step(loss)[0], plain)
  uphill = tiny.leaves(step(np.nextafter(loss, np.float32(9)))[0].params)
  assert any((leaf != tiny.leaves(plain.params)[name]).any() for name, leaf in uphill.items())


# ---- mixup


def test_the_partner_is_the_next_valid_example_and_padding_never_mixes_in():
  of_mask = jax.jit(partners)
  assert of_mask(np.array([True, True, True, False, False])).tolist() == [1, 2, 0, 3, 4]
  assert of_mask(np.array([True, False])).tolist() == [0, 1]
  assert of_mask(np.zeros(2, bool)).tolist() == [0, 1]
  images = np.array([[1.0], [3.0], [7.0]], np.float32)
  mixed = jax.jit(mixup)((images, images[[1, 2, 0]]), {"weight": np.float32(0.75)})
  np.testing.assert_allclose(mixed, [[1.5], [4.0], [5.5]])


@pytest.mark.parametrize("alpha", [0.4, 1.0, 5.0])
def test_the_mixing_weight_is_drawn_from_the_symmetric_beta(alpha):
  keys = jax.random.split(jax.random.key(0), 4000)
  drawn = np.asarray(jit_weights(keys, np.float32(alpha)))
  assert drawn.min() >= 0.0
  assert drawn.max() <= 1.0
  assert kstest(drawn, beta(alpha, alpha).cdf).pvalue > 1e-3
  assert (np.asarray(jit_weights(keys, np.float32(0.0))) == 1.0).all()


# ---- in the engine


@pytest.fixture(scope="module")
def problem():
  """An MLP on augmented images and a plan of A and B; five regularisers go with it."""
  of = tiny.config(
    seeds=(0,),
    rounds=2,
    optim__milestones=(1,),
    augment__pad_crop=2,
    augment__flip=True,
    parallel__steps_per_dispatch=1,
  )
  data = tiny.data(of)
  return (
    of,
    data,
    dataclasses.replace(tiny.alternating(of, len(data.train), 20), rounds=2),
    Setup.make(of, data),
  )


def states(setup, plan):
  """Returns the state after every dispatch of a step, and the sums of every round."""
  made, start = setup.trainer(plan), setup.fresh_start
  made.set_state(start)
  after, rounds = [], []
  for progress in made.run(Position()):
    after.append(made.get_state().state)
    rounds += [ended.sums for ended in progress.finished]
  return made, after, rounds


def test_neutral_values_are_not_computed_so_that_they_change_no_bit(problem):
  _, _, plan, setup = problem
  made = setup.trainer(plan)
  assert made.program.regularisers == ()
  assert setup.trainer(with_overrides(plan, NEUTRAL, {})) is made
  assert setup.trainer(
    with_overrides(plan, NEUTRAL, {"loss_weight": 0.5})
  ).program.regularisers == ("loss_weight",)


@pytest.mark.slow
def test_each_regulariser_changes_its_own_phase_alone_and_other_values_need_no_other_program(
  problem,
):
  """B comes first here, without any; A with all of them, one after the other at another value."""
  _, _, plan, setup = problem
  strong = {name: values[0] for name, values in WITHOUT_RATES.items()}
  swapped = dataclasses.replace(plan, phases=plan.phases[::-1])
  steps = swapped.phases[0].num_steps
  made, reference, _ = states(setup, with_overrides(swapped, {}, strong))
  # What is neutral in B changes nothing there but rounding.
  plain = tiny.leaves(states(setup, swapped)[1][steps - 1])
  for name, leaf in tiny.leaves(reference[steps - 1]).items():
    np.testing.assert_allclose(leaf, plain[name], rtol=0, atol=1e-6, err_msg=name)
  firsts, later = [reference[steps]], []
  for name, values in WITHOUT_RATES.items():
    used, after, _ = states(setup, with_overrides(swapped, {}, strong | {name: values[1]}))
    assert used is made
    tiny.assert_equal(after[:steps], reference[:steps])
    firsts.append(after[steps])
    # B again, in the second round, from one state: whatever A has.
    made.set_state(dataclasses.replace(setup.fresh_start, state=reference[-1]))
    next(made.run(Position(1, 0)))
    later.append(made.get_state().state)
  assert made.num_compilations == 1
  kernels = [state.params["hidden1"]["kernel"] for state in firsts]
  for index, one in enumerate(kernels):
    assert all((one != other).any() for other in kernels[index + 1 :])
  for state in later[1:]:
    tiny.assert_equal(state, later[0])


@pytest.fixture(scope="module")
def by_hand():
  """Two rounds of an MLP: weaker augmentation, smoothed labels, pairs and half the loss on A, other
  pairs and a floor on B.
  """
  of = tiny.config(
    model__hidden_sizes=(4,),
    model__activation="tanh",
    seeds=(5,),
    rounds=2,
    batch_size=15,
    optim__milestones=(1,),
    augment__pad_crop=2,
    augment__flip=True,
  )
  data = tiny.data(of)
  easy = {"label_smoothing": 0.2, "augment_strength": 0.6, "mixup_alpha": 0.7, "loss_weight": 0.5}
  rest = {"mixup_alpha": 2.0, "loss_floor": 1.08}
  plan = with_overrides(
    dataclasses.replace(tiny.alternating(of, len(data.train), 20, (0.1, 0.01)), rounds=2),
    easy,
    rest,
  )
  return of, data, plan, *tiny.train(of, plan, data)


@functools.partial(jax.jit, static_argnames="pipeline")
def draws_and_weight(number, clock, sizes, value, pipeline):
  """Returns what augmentation and mixup draw in a step of the seed 5."""
  draws = draw(augment_key(5, number, clock), sizes, (8, 8), pipeline, strengths=value)
  return draws, mixing_weight(mixup_key(5, number, clock), value["mixup_alpha"])


def mixed_by_hand(of, data, ids, mask, step, value):
  """Returns the augmented, normalised and mixed inputs of the valid examples, and the weight."""
  sizes = image_sizes(data.train)[ids]
  draws, weight = draws_and_weight(*step, sizes, scalars(**value), pipeline=pipeline_of(of.augment))
  images = crop_and_flip_twin(
    data.train.inputs[ids],
    np.asarray(draws["crop"]["offsets"]),
    np.asarray(draws["flip"]["is_on"]),
    2,
  )
  normalised = (images / 255 - data.mean.astype(np.float64)) / data.std
  inputs = normalised.reshape(of.batch_size, -1)[mask]
  weight = float(weight)
  return weight * inputs + (1 - weight) * np.roll(inputs, -1, axis=0), weight


def train_by_hand(of, data, plan, params):
  """Returns the parameters after the plan, the losses of its last round, and every step's sign."""
  momentum, clock, signs = jax.tree.map(np.zeros_like, params), 0, []
  for round_index in range(plan.rounds):
    losses, rate = np.zeros(len(plan.phases)), of.optim.learning_rate * 0.1**round_index
    for number, phase in enumerate(plan.phases):
      value, decay = NEUTRAL | phase.overrides, phase.weight_decay[0]
      size, key = phase.example_ids.shape[1], order_key(5, number, round_index)
      order = jit_batches(key, size, phase.num_steps, batch_size=of.batch_size)
      for picks, mask in zip(*map(np.asarray, order), strict=True):
        ids = phase.example_ids[0][picks]
        step = number, np.int32(clock)
        mixed, weight = mixed_by_hand(of, data, ids, mask, step=step, value=value)
        labels = data.train.labels[ids][mask]
        losses[number] += soft_twin(params, mixed, targets_of(labels, 3))[0] * len(labels)
        others, smoothing = np.roll(labels, -1), value["label_smoothing"]
        targets = targets_of(labels, 3, smoothing, other_labels=others, weight=weight)
        loss, grads = soft_twin(params, mixed, targets)
        signs.append(-1 if loss < value["loss_floor"] else 1)
        factor = signs[-1] * value["loss_weight"]
        pushed = functools.partial(lambda m, g, p, f, d: 0.9 * m + f * g + d * p, f=factor, d=decay)
        momentum = jax.tree.map(pushed, momentum, grads, params)
        params = jax.tree.map(lambda p, m, r=rate: p - r * m, params, momentum)
        clock += 1
  return params, losses, signs


def test_a_training_with_every_regulariser_of_an_mlp_equals_a_numpy_twin(by_hand):
  of, data, plan, final, rounds = by_hand
  start = Setup.make(of, data).fresh_start.state.params
  params, losses, signs = train_by_hand(
    of, data, plan, jax.tree.map(lambda leaf: leaf[0].astype(np.float64), start)
  )
  assert set(signs) == {1, -1}
  for name, leaf in tiny.leaves(final.params).items():
    np.testing.assert_allclose(leaf[0], tiny.leaves(params)[name], rtol=0, atol=2e-5, err_msg=name)
  np.testing.assert_allclose(rounds[-1].sums.train_loss[0], losses, rtol=1e-4)


@pytest.mark.parametrize("mode", [pytest.param("jit", marks=pytest.mark.slow), "pmap"])
def test_two_devices_train_as_one_where_pairs_reach_over_the_border_and_the_floor_sees_all(
  by_hand, mode
):
  of, data, plan, final, _ = by_hand
  two = dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, mode=mode, num_devices=2))
  for name, leaf in tiny.leaves(tiny.train(two, plan, data)[0].params).items():
    np.testing.assert_allclose(
      leaf, tiny.leaves(final.params)[name], rtol=0, atol=1e-5, err_msg=name
    )
