"""The engine: a step against a NumPy twin, plans as data, resuming, replicas, divergence."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import OptimConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.data.dataset import image_sizes
from sdt.engine.norms import layer_names
from sdt.engine.optim import init_opt_state
from sdt.engine.program import Network
from sdt.engine.state import Position, TrainState
from sdt.engine.step import is_finite
from sdt.inputs.order import augment_key, order_key
from sdt.models import make_model
from sdt.run.programs import Setup
from tests.inputs.test_augment import draw
from tests.inputs.test_augment import twin as crop_and_flip_twin
from tests.inputs.test_order import jit_batches
from tests.support import one_step, tiny
from tests.support.quick import only


def perceptron_twin(params, inputs, labels):
  """Returns the summed loss and the gradients of the mean loss of a tanh network with one hidden
  layer, in float64, written out by hand.
  """
  hidden = np.tanh(inputs @ params["hidden1/kernel"] + params["hidden1/bias"])
  logits = hidden @ params["head/kernel"] + params["head/bias"]
  soft = np.exp(logits - logits.max(axis=1, keepdims=True))
  soft /= soft.sum(axis=1, keepdims=True)
  error = (soft - np.eye(logits.shape[1])[labels]) / len(labels)
  back = (error @ params["head/kernel"].T) * (1 - hidden**2)
  grads = {
    "hidden1/kernel": inputs.T @ back, "hidden1/bias": back.sum(axis=0),
    "head/kernel": hidden.T @ error, "head/bias": error.sum(axis=0),
  }  # fmt: skip
  return -np.log(soft[np.arange(len(labels)), labels]).sum(), grads


def inputs_by_hand(of, data, ids, key):
  """Returns the augmented and normalised inputs [B, D] of a step, float64."""
  draws = draw(key, image_sizes(data.train)[ids], (8, 8), pipeline=pipeline_of(of.augment))
  offsets, flips = np.asarray(draws["crop"]["offsets"]), np.asarray(draws["flip"]["is_on"])
  images = crop_and_flip_twin(data.train.inputs[ids], offsets, flips, 1)
  normalised = (images / 255 - data.mean.astype(np.float64)) / data.std
  return normalised.reshape(len(ids), -1)


def train_by_hand(of, data, plan, params):
  """Returns the parameters after the plan, and the summed loss of each phase of its last round."""
  momentum, clock = {path: np.zeros_like(leaf) for path, leaf in params.items()}, 0
  for round_index in range(plan.rounds):
    losses, rate = np.zeros(len(plan.phases)), of.optim.learning_rate * 0.1**round_index
    for number, phase in enumerate(plan.phases):
      decays = np.broadcast_to(phase.weight_decay.reshape(-1), phase.num_steps)
      size, key = phase.example_ids.shape[1], order_key(5, number, round_index)
      order = jit_batches(key, size, phase.num_steps, batch_size=of.batch_size)
      for picks, mask, decay in zip(*map(np.asarray, order), decays, strict=True):
        ids = phase.example_ids[0][picks]
        inputs = inputs_by_hand(of, data, ids, augment_key(5, number, clock))
        loss, grads = perceptron_twin(params, inputs[mask], data.train.labels[ids][mask])
        clock += 1
        losses[number] += loss
        for path in params:
          momentum[path] = 0.9 * momentum[path] + grads[path] + decay * params[path]
          params[path] = params[path] - rate * momentum[path]
  return params, losses


def test_a_training_of_alternating_phases_equals_a_numpy_twin():
  """Two rounds of A and B by hand: ids, partial batches, augmentation, decay per phase and step,
  one momentum, the clock of rounds.
  """
  of = tiny.config(
    model__hidden_sizes=(4,),
    model__activation="tanh",
    seeds=(5,),
    rounds=2,
    optim__milestones=(1,),
    augment__pad_crop=1,
    augment__flip=True,
  )
  data = tiny.data(of)
  plan = tiny.alternating(of, len(data.train), 20, (0.1, 0.01))
  ramp = dataclasses.replace(plan.phases[1], weight_decay=np.array([[0.01, 0.2, 0.0, 0.05]]))
  plan = dataclasses.replace(plan, rounds=2, phases=(plan.phases[0], ramp))
  made = tiny.trainer(of, plan, data)
  start = made.get_state().state
  for progress in made.run(Position()):
    sums = progress.finished[-1].sums
  final = made.get_state().state

  params, losses = train_by_hand(
    of,
    data,
    plan,
    {
      f"{layer}/{name}": leaf[0].astype(np.float64)
      for layer, group in start.params.items()
      for name, leaf in group.items()
    },
  )
  for layer, group in final.params.items():
    for name, leaf in group.items():
      path = f"{layer}/{name}"
      np.testing.assert_allclose(leaf[0], params[path], rtol=0, atol=2e-5, err_msg=path)
  np.testing.assert_allclose(sums.train_loss[0], losses, rtol=1e-4)
  np.testing.assert_array_equal(sums.train_count[0], [20, 50])
  assert final.step.tolist() == [2 * plan.steps_per_round]


def test_padding_changes_neither_gradient_nor_statistics():
  of = tiny.resnet(seeds=(0,))
  model = make_model(of.model, 3)
  state = tiny.first_state(of)
  rng = np.random.default_rng(0)
  inputs, labels = (
    rng.normal(size=(6, 8, 8, 3)).astype(np.float32),
    np.array([0, 1, 2, 0, 1, 2], np.int32),
  )
  network = Network(model, OptimConfig())
  now = one_step.now(np.float32(0.1), np.array([1e-3], np.float32))
  step = lambda *batch: one_step.step(state, one_step.batch(*batch), now, network=network)  # noqa: E731
  garbage = np.full((3, 8, 8, 3), 1e4, np.float32)
  alone, sums = step(inputs, labels, np.ones(6, bool))
  padded, padded_sums = step(
    np.concatenate([inputs, garbage]),
    np.concatenate([labels, np.zeros(3, np.int32)]),
    np.array([True] * 6 + [False] * 3),
  )
  for name, leaf in tiny.leaves(alone).items():
    np.testing.assert_allclose(tiny.leaves(padded)[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
  np.testing.assert_allclose(padded_sums[0], sums[0], rtol=1e-5)
  assert int(padded_sums[2]) == 6


@pytest.fixture(scope="module")
def trained():
  """A ResNet trained by A and B for four rounds, two seeds: the config, the plan, the data, the
  final state and the rounds.
  """
  of = tiny.resnet(augment__pad_crop=1, augment__flip=True)
  data = tiny.data(of)
  plan = tiny.alternating(of, len(data.train), 20)
  return of, plan, data, *tiny.train(of, plan, data)


def cut(of, steps):
  parallel = dataclasses.replace(of.parallel, steps_per_dispatch=steps)
  return dataclasses.replace(of, parallel=parallel)


def kernel_norms(params, replica):
  leaves = jax.tree_util.tree_leaves_with_path(params)
  named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
  return {
    name: np.linalg.norm(leaf[replica].astype(np.float64))
    for name, leaf in named.items()
    if name.endswith("kernel")
  }


def test_weight_norms_are_those_of_the_kernels_at_the_end_of_a_phase(trained):
  of, plan, data, final, finished = trained
  names = layer_names(final.params)
  assert [f"{name}/kernel" for name in names] == list(kernel_norms(final.params, 0))
  for replica in range(2):
    expected = list(kernel_norms(final.params, replica).values())
    np.testing.assert_allclose(finished[-1].sums.weight_norms[replica, 1], expected, rtol=1e-6)
  # After A, in the middle of a round, they are those after its two steps, the first dispatch here.
  made = tiny.trainer(cut(of, 2), plan, data)
  next(made.run(Position()))
  expected = list(kernel_norms(made.get_state().state.params, 0).values())
  np.testing.assert_allclose(finished[0].sums.weight_norms[0, 0], expected, rtol=1e-5)


def test_gradient_and_update_norms_are_those_of_the_loss_and_of_the_step():
  of = tiny.config(seeds=(0,), optim__momentum=0.0)
  model = make_model(of.model, 3)
  state = tiny.first_state(of)
  rng = np.random.default_rng(0)
  inputs, labels = (
    rng.normal(size=(4, 8, 8, 3)).astype(np.float32),
    np.array([0, 1, 2, 0], np.int32),
  )
  batch = one_step.batch(inputs, labels, np.ones(4, bool))
  now = one_step.now(np.float32(0.1), np.array([3e-2], np.float32))
  after, measured = one_step.step(state, batch, now, network=Network(model, of.optim))

  def flat(tree):
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])

  change = flat(after.params) - flat(state.params)
  np.testing.assert_allclose(measured.update_norm, np.linalg.norm(change), rtol=1e-4)
  # Without momentum the change is -rate (gradient + decay * w).
  np.testing.assert_allclose(
    measured.gradient_norm, np.linalg.norm(-change / 0.1 - 3e-2 * flat(state.params)), rtol=1e-4
  )
  assert measured.logits.shape == (4, 3)


# Four steps divide no round of six; a resumed training, below, is cut into two at a time.
@pytest.mark.parametrize("steps", only([4], [1, 4, 12]))
def test_cutting_the_work_into_other_dispatches_changes_no_bit(trained, steps):
  of, plan, data, final, finished = trained
  again, again_finished = tiny.train(cut(of, steps), plan, data)
  tiny.assert_equal(again, final)
  tiny.assert_equal([ended.sums for ended in again_finished], [ended.sums for ended in finished])


def test_a_stopped_and_resumed_training_equals_an_uninterrupted_one(trained):
  of, plan, data, final, finished = trained
  made = tiny.trainer(cut(of, 2), plan, data)
  start = made.get_state()
  for stop_after in (1, 4, 9):
    made.set_state(start)
    done, at = [], Position()
    for progress in itertools.islice(made.run(Position()), stop_after):
      done += progress.finished
      at = progress.position
    saved = made.get_state()
    made.set_state(start)  # whatever the trainer holds must not matter
    made.set_state(saved)
    for progress in made.run(at):
      done += progress.finished
    tiny.assert_equal(made.get_state().state, final)
    tiny.assert_equal([ended.sums for ended in done], [ended.sums for ended in finished])


@pytest.mark.parametrize("replicas", only(["loop"], ["unroll", "loop"]))
def test_seeds_together_equal_each_seed_alone_bit_for_bit(trained, replicas):
  of, plan, data, final, _ = trained
  together = dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, replicas=replicas))
  tiny.assert_equal(tiny.train(together, plan, data)[0], final)
  for index, seed in enumerate(of.seeds):
    alone = dataclasses.replace(of, seeds=(seed,))
    phases = tuple(
      dataclasses.replace(
        phase,
        weight_decay=phase.weight_decay[:1],
        example_ids=phase.example_ids[index : index + 1],
      )
      for phase in plan.phases
    )
    of_seed = dataclasses.replace(plan, phases=phases)
    tiny.assert_equal(tiny.train(alone, of_seed, data)[0], tiny.replica(final, index))


@pytest.mark.slow
def test_seeds_under_vmap_agree_to_rounding_after_one_round(trained):
  """Sums in another order; over many rounds such differences grow as with any change of a float32
  program, so one round is compared.
  """
  of, plan, data, _, _ = trained

  def after_one_round(of):
    made = tiny.trainer(of, plan, data)
    assert len(next(made.run(Position())).finished) == 1
    return tiny.leaves(made.get_state().state)

  mapped = dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, replicas="vmap"))
  expected = after_one_round(of)
  for name, leaf in after_one_round(mapped).items():
    np.testing.assert_allclose(leaf, expected[name], rtol=0, atol=1e-4, err_msg=name)


def test_other_decays_and_subsets_of_the_same_size_run_in_the_same_program(trained):
  of, _, data, _, _ = trained
  setup = Setup.make(of, data)
  start = setup.fresh_start
  finals = []
  for offset, decays in ((0, (1e-2, 1e-4)), (7, (2e-3, 0.0)), (30, (0.0, 5e-4))):
    plan = dataclasses.replace(
      tiny.alternating(of, len(data.train), 20, decays, offset), arm=f"arm{offset}"
    )
    made = setup.trainer(plan)
    made.set_state(start)
    for _ in made.run(Position()):
      pass
    finals.append(made.get_state().state)
    alone, _ = tiny.train(of, plan, data)
    tiny.assert_equal(finals[-1], alone)
  assert made.num_compilations == 1
  first, second = (tiny.leaves(final.params) for final in finals[:2])
  assert any((first[name] != second[name]).any() for name in first)


def test_a_stronger_decay_on_a_leaves_smaller_weights():
  of = tiny.config()
  data = tiny.data(of)
  norms = []
  for decay in (0.0, 0.1):
    state, _ = tiny.train(of, tiny.alternating(of, len(data.train), 20, (decay, 0.0)), data)
    norms.append(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(state.params)))
  assert norms[1] < 0.9 * norms[0]


def test_a_loss_weight_of_zero_moves_by_decay_and_momentum_alone():
  of = tiny.resnet(seeds=(0,), rounds=1, optim__momentum=0.0)
  data = tiny.data(of)
  plan = tiny.everything(of, len(data.train), 0.5, steps=1, rounds=1)
  plan = dataclasses.replace(
    plan, phases=(dataclasses.replace(plan.phases[0], overrides={"loss_weight": 0.0}),)
  )
  start = tiny.trainer(of, plan, data).get_state().state
  final, _ = tiny.train(of, plan, data)
  for name, leaf in tiny.leaves(start.params).items():
    np.testing.assert_allclose(
      tiny.leaves(final.params)[name], leaf * (1 - 0.05 * 0.5), rtol=1e-6, atol=1e-7, err_msg=name
    )
  tiny.assert_equal(final.batch_stats, start.batch_stats)


@pytest.mark.parametrize("threshold", [0, 2**22])
def test_whether_a_state_is_finite_is_computed_once_and_not_for_every_leaf(monkeypatch, threshold):
  """What a program of n leaves compiles to must grow with n; with n squared, a ResNet-50 took
  minutes to compile.
  """
  monkeypatch.setattr("sdt.engine.step.ONE_VECTOR", threshold)
  leaves = [np.ones((3, 5), np.float32) for _ in range(60)]

  def doubled_while_finite(leaves):
    def step(leaves, _):
      ok, doubled = is_finite(leaves), [2 * leaf for leaf in leaves]
      return [jnp.where(ok, new, old) for new, old in zip(doubled, leaves, strict=True)], ok

    return jax.lax.scan(step, leaves, None, length=3)

  compiled = jax.jit(doubled_while_finite).lower(leaves).compile()
  assert compiled.as_text().count(" and(") <= 3 * len(leaves)
  doubled, ok = compiled(leaves)
  assert np.array_equal(doubled[0], np.full((3, 5), 8.0))
  assert ok.all()
  same, ok = compiled([*leaves[:-1], np.full((3, 5), np.nan, np.float32)])
  assert np.array_equal(same[0], leaves[0])
  assert not ok.any()


def test_a_diverged_replica_is_frozen_finite_and_the_other_is_untouched():
  of = tiny.config()
  data = tiny.data(of)
  plan = tiny.everything(of, len(data.train))
  wild = dataclasses.replace(
    plan, phases=(dataclasses.replace(plan.phases[0], weight_decay=np.array([1e30, 1e-4])),)
  )
  final, finished = tiny.train(of, wild, data)
  healthy, _ = tiny.train(of, plan, data)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))
  assert final.step[0] < of.rounds * plan.steps_per_round == final.step[1]
  tiny.assert_equal(tiny.replica(final, 1), tiny.replica(healthy, 1))
  assert finished[-1].sums.train_count[0, 0] == 0
  assert finished[-1].sums.train_count[1, 0] == len(data.train)


FEW, MANY = (7, 32), (1, 7, 16, 30, 32)  # a rest in the last batch, a batch larger than the set


@pytest.mark.parametrize("sizes", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_the_test_set_is_counted_exactly_whatever_the_batch(sizes):
  of = tiny.config()
  data = tiny.data(of)
  plan = tiny.everything(of, len(data.train))
  results = []
  for size in sizes:
    of_size = dataclasses.replace(of, score=dataclasses.replace(of.score, batch_size=size))
    sums = tiny.train(of_size, plan, data)[1][-1].sums
    assert sums.test_count.tolist() == [30, 30]
    results.append((int(sums.test_correct[0]), float(sums.test_loss[0]) / 30))
  assert len({correct for correct, _ in results}) == 1
  np.testing.assert_allclose([loss for _, loss in results], results[0][1], rtol=1e-6)


@pytest.mark.parametrize("num_examples", only([1, 17], [1, 15, 16, 17]))
def test_fewer_examples_than_a_batch_and_every_remainder_run(num_examples):
  of = (tiny.resnet if num_examples == 1 else tiny.config)(seeds=(0,), rounds=1)
  final, finished = tiny.train(of, tiny.everything(of, num_examples, rounds=1), tiny.data(of))
  assert finished[0].sums.train_count.sum() == num_examples
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))


def test_rounds_that_are_not_evaluated_leave_no_test_sums():
  of = tiny.config(eval_every_rounds=3)
  _, finished = tiny.train(of, tiny.everything(of, 70), tiny.data(of))
  assert [int(ended.sums.test_count[0]) for ended in finished] == [0, 0, 30, 30]


def test_the_state_is_a_pytree_of_four_parts():
  state = TrainState(
    jnp.zeros(1, jnp.int32),
    {"w": jnp.ones((1, 2))},
    {},
    opt_state=init_opt_state(OptimConfig(), {"w": jnp.ones((1, 2))}),
  )
  assert len(jax.tree.leaves(state)) == 3
