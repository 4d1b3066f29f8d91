"""Training dynamics: the running summaries against the full history, and by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.score_names import DYNAMICS, SCORES
from sdt.engine.state import Position
from sdt.engine.step import train_step
from sdt.inputs.order import order_key
from sdt.scores.dynamics import Dynamics, Seen, dynamics_scores, no_dynamics, record, see
from tests.inputs.test_order import jit_batches
from tests.support import one_step, tiny

NAMES = {"forgetting", "first_learned", "mean_confidence", "variability", "correctness", "aum"}


def twin(logits, labels):
  """Returns every score by its definition from logits [rounds, N, K] and labels [N], in float64."""
  rounds, num_examples = logits.shape[:2]
  logits, rows = logits.astype(np.float64), np.arange(num_examples)
  p = np.exp(logits - logits.max(axis=2, keepdims=True))
  p = (p / p.sum(axis=2, keepdims=True))[:, rows, labels]
  others = logits.copy()
  others[:, rows, labels] = -np.inf
  right = logits.argmax(axis=2) == labels
  events = [sum(right[at, i] and not right[at + 1, i] for at in range(rounds - 1)) for i in rows]
  ever = right.any(axis=0)
  return {
    "forgetting": np.where(ever, events, rounds),
    "first_learned": np.where(ever, right.argmax(axis=0) + 1, rounds + 1),
    "mean_confidence": p.mean(axis=0),
    "variability": p.std(axis=0),
    "correctness": right.mean(axis=0),
    "aum": (logits[:, rows, labels] - others.max(axis=2)).mean(axis=0),
  }


@jax.jit
def _recorded(seen: Seen) -> Dynamics:
  """Returns the summaries of examples that are all presented in every round; seen [rounds, N]."""
  rounds, num_examples = seen.right.shape
  everything, counts = jnp.arange(num_examples, dtype=jnp.int32), jnp.ones(num_examples, bool)

  def body(dynamics, now):
    return record(dynamics, now[0], everything, counts=counts, seen=now[1]), None

  empty = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), no_dynamics(1, num_examples))
  return jax.lax.scan(body, empty, (jnp.arange(1, rounds + 1, dtype=jnp.int32), seen))[0]


def scores_of(seen: Seen) -> dict[str, np.ndarray]:
  """Returns the scores [N] of examples that are all presented in every round; seen [rounds, N]."""
  dynamics = jax.tree.map(lambda leaf: np.asarray(leaf)[None], _recorded(seen))
  return {name: values[0] for name, values in dynamics_scores(dynamics, len(seen.right)).items()}


def test_forgetting_by_hand():
  """Right, wrong, right, wrong is two events; always right is none; never right is one a round."""
  history = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]], bool).T
  zeros = np.zeros(history.shape, np.float32)
  scores = scores_of(Seen(history, zeros, zeros))
  assert scores["forgetting"].tolist() == [2, 4, 0, 1, 0]
  assert scores["first_learned"].tolist() == [1, 5, 1, 2, 4]
  assert scores["correctness"].tolist() == [0.5, 0.0, 1.0, 0.5, 0.25]


seen_by_round = jax.jit(jax.vmap(see, in_axes=(0, None)))


@given(
  st.sampled_from([(1, 2), (2, 3), (12, 4)]),
  st.integers(0, 2**31),
  st.sampled_from([0.1, 1.0, 10.0]),
)
def test_running_summaries_equal_the_whole_history(sizes, seed, scale):
  rng, (rounds, num_classes) = np.random.default_rng(seed), sizes
  logits = (scale * rng.normal(size=(rounds, 20, num_classes))).astype(np.float32)
  labels = rng.integers(0, num_classes, 20).astype(np.int32)
  actual = scores_of(seen_by_round(logits, labels))
  for name, expected in twin(logits, labels).items():
    np.testing.assert_allclose(actual[name], expected, rtol=2e-5, atol=2e-6 * scale, err_msg=name)


@given(st.floats(0.0, 1.0, width=32), st.integers(-8, 0), st.integers(0, 2**31))
def test_three_hundred_rounds_in_float32_keep_the_spread_of_any_probability(level, exponent, seed):
  """Compared with float64 of the same float32 doubts, whose rounding limits the spread."""
  doubts = np.clip(
    level + 10.0**exponent * np.random.default_rng(seed).normal(size=(300, 3)), 0.0, 1.0
  ).astype(np.float32)
  actual = scores_of(Seen(doubts < 0.5, doubts, doubts))
  exact = doubts.astype(np.float64)
  np.testing.assert_allclose(actual["variability"], exact.std(axis=0), rtol=1e-4, atol=2e-7 * level)
  # The running mean is off by some roundings of the doubts (6e-8 each), however near it is to 1.
  np.testing.assert_allclose(actual["mean_confidence"], 1 - exact.mean(axis=0), rtol=0, atol=1e-6)


def test_the_spread_of_probabilities_that_are_1_in_float32_is_right():
  """With margins from 18 to 40, p is 1 in float32 everywhere; the sd is still that of 1 - p."""
  margins = np.random.default_rng(0).uniform(18.0, 40.0, size=(300, 4))
  logits = np.stack([margins, np.zeros_like(margins)], axis=2).astype(np.float32)
  seen = seen_by_round(logits, np.zeros(4, np.int32))
  assert (1 - np.asarray(seen.doubt) == 1).all()
  actual = scores_of(seen)
  expected = (1 / (1 + np.exp(logits[:, :, 0].astype(np.float64)))).std(axis=0)
  assert (expected < 1e-8).all()
  np.testing.assert_allclose(actual["variability"], expected, rtol=1e-4)


def test_examples_that_do_not_count_record_nothing():
  dynamics = jax.tree.map(lambda leaf: leaf[0], no_dynamics(1, 4))
  seen = Seen(np.ones(3, bool), np.full(3, 0.5, np.float32), np.full(3, 2.0, np.float32))
  recorded = jax.jit(record)
  # Padding points at place 0, which counts once in the same batch.
  after = recorded(
    dynamics, np.int32(1), np.int32([0, 2, 0]), counts=np.array([True, True, False]), seen=seen
  )
  assert after.num_seen.tolist() == [1, 0, 1, 0]
  none = recorded(dynamics, np.int32(1), np.int32([3, 0, 0]), counts=np.zeros(3, bool), seen=seen)
  tiny.assert_equal(none, dynamics)
  actual = dynamics_scores(jax.tree.map(lambda leaf: np.asarray(leaf)[None], after), 5)
  assert np.isnan(actual["mean_confidence"][0]).tolist() == [False, True, False, True]
  assert actual["forgetting"][0].tolist() == [0, 5, 0, 5]


OF = tiny.config(
  rounds=5,
  optim__milestones=(4,),
  optim__learning_rate=0.2,
  augment__pad_crop=0,
  score__course=True,
)
OFF = dataclasses.replace(OF, score=dataclasses.replace(OF.score, dynamics=False, course=False))


@pytest.fixture(scope="module")
def replayed():
  """Returns the history of a training, taken step by step on the host, and the engine's."""
  data = tiny.data(OF)
  plan = tiny.everything(OF, len(data.train))
  made = tiny.trainer(OF, plan, data)
  state = made.get_state().state
  rates = np.repeat(np.float32([0.2, 0.02]), [4, 1])
  step_fn = jax.jit(functools.partial(train_step, network=made.program.network))
  inputs = (np.float32(data.train.inputs) / 255 - np.float32(data.mean)) / np.float32(data.std)
  histories = []
  for replica, seed in enumerate(OF.seeds):
    of_replica = jax.tree.map(lambda leaf, r=replica: leaf[r], state)
    history = np.zeros((OF.rounds, len(data.train), len(data.class_names)), np.float32)
    for index in range(OF.rounds):
      positions, mask = jit_batches(
        order_key(np.uint32(seed), 0, np.int32(index)),
        len(data.train),
        plan.steps_per_round,
        batch_size=OF.batch_size,
      )
      for ids, counts in zip(np.asarray(positions), np.asarray(mask), strict=True):
        batch = one_step.batch(inputs[ids], data.train.labels[ids], counts)
        of_replica, measured = step_fn(
          of_replica, batch, one_step.now(rates[index], np.float32([1e-4]))
        )
        history[index, ids[counts]] = np.asarray(measured.logits)[counts]
    histories.append(history)
  finished = [ended.sums for progress in made.run(Position()) for ended in progress.finished]
  return data, histories, made.get_state(), finished


def test_the_engine_records_what_a_replay_step_by_step_gives(replayed):
  data, histories, snapshot, _ = replayed
  dynamics = snapshot.dynamics
  assert (dynamics.num_seen == OF.rounds).all()
  actual = dynamics_scores(dynamics, OF.rounds)
  assert (
    set(actual) == NAMES == {name for name, score in SCORES.items() if score.source == DYNAMICS}
  )
  for replica, history in enumerate(histories):
    for name, expected in twin(history, data.train.labels).items():
      is_count = name in ("forgetting", "first_learned")
      tolerance = {"rtol": 0, "atol": 0} if is_count else {"rtol": 1e-4, "atol": 1e-5}
      np.testing.assert_allclose(actual[name][replica], expected, **tolerance, err_msg=name)
      low, high = SCORES[name].range
      assert low is None or actual[name].min() >= low, name
      assert high is None or actual[name].max() <= high, name
  assert {0, 1} <= set(actual["forgetting"].ravel())


def test_the_course_is_the_probability_of_the_label_in_each_step_of_the_replay(replayed):
  data, histories, snapshot, _ = replayed
  course = snapshot.dynamics.course
  assert (course.dtype, course.shape) == (np.uint8, (2, len(data.train), OF.rounds))
  for replica, history in enumerate(histories):
    for index, logits in enumerate(history.astype(np.float64)):
      p = np.exp(logits - logits.max(axis=1, keepdims=True))
      p = (p / p.sum(axis=1, keepdims=True))[np.arange(len(p)), data.train.labels]
      # Half a step of the rounding, and what the engine's float32 differs by.
      assert np.abs(course[replica, :, index] - 255 * p).max() < 0.5 + 0.05


@pytest.mark.slow_rows("jit-vmap")
@pytest.mark.parametrize(
  ("mode", "replicas"),
  [
    ("jit", "vmap"),
    ("pmap", "unroll"),
    pytest.param("jit", "loop", marks=pytest.mark.slow),
    pytest.param("pmap", "vmap", marks=pytest.mark.slow),
  ],
)
def test_two_devices_record_what_one_does(replayed, mode, replicas):
  """Counts are equal, values agree to rounding.

  The last batch has 6 examples: the second device's part is padding alone.
  """
  data, _, snapshot, _ = replayed
  expected = snapshot.dynamics
  of = dataclasses.replace(
    OF, parallel=dataclasses.replace(OF.parallel, mode=mode, num_devices=2, replicas=replicas)
  )
  made = tiny.trainer(of, tiny.everything(of, len(data.train)), data)
  for _ in made.run(Position()):
    pass
  for name, leaf in tiny.leaves(made.get_state().dynamics).items():
    whole = leaf.dtype != np.float32
    atol = 1 if name == ".course" else 0 if whole else 1e-5  # a rounding may go the other way
    np.testing.assert_allclose(
      leaf.astype(float),
      tiny.leaves(expected)[name].astype(float),
      rtol=0 if whole else 1e-4,
      atol=atol,
      err_msg=name,
    )


def test_a_frozen_replica_records_nothing_more_and_the_other_everything():
  data = tiny.data(OF)
  plan = tiny.everything(OF, len(data.train))
  wild = dataclasses.replace(
    plan, phases=(dataclasses.replace(plan.phases[0], weight_decay=np.array([1e30, 1e-4])),)
  )
  made = tiny.trainer(OF, wild, data)
  for _ in made.run(Position()):
    pass
  snapshot = made.get_state()
  state, dynamics = snapshot.state, snapshot.dynamics
  assert dynamics.num_seen[0].sum() == state.step[0] * OF.batch_size < len(data.train)
  assert (dynamics.num_seen[1] == OF.rounds).all()
  assert not dynamics.course[0, :, 1:].any()
  assert (dynamics.course[0, :, 0] > 0).sum() <= dynamics.num_seen[0].sum()
  assert (dynamics.course[1] > 0).any(axis=0).all()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dynamics))


def test_every_further_pass_of_a_round_counts_as_a_presentation():
  of = tiny.config(seeds=(0,), rounds=2, optim__milestones=())
  data = tiny.data(of)
  made = tiny.trainer(of, tiny.everything(of, len(data.train), steps=2 * 5), data)
  for _ in made.run(Position()):
    pass
  dynamics = made.get_state().dynamics
  assert (dynamics.num_seen == 4).all()
  assert set(np.unique(dynamics.first_right)) <= {0, 1, 2}


def test_only_the_baseline_records_and_only_if_it_is_asked_to():
  data = tiny.data(OF)
  trainer = tiny.trainer(OFF, tiny.everything(OFF, len(data.train)), data)
  assert trainer.program.num_recorded == 0
  assert trainer.get_state().dynamics is None
  program = tiny.trainer(OF, tiny.alternating(OF, len(data.train), 20), data).program
  assert (program.num_recorded, program.course_rounds) == (0, 0)


def test_recording_changes_no_bit_of_the_training(replayed):
  data, _, snapshot, finished = replayed
  without, rounds = tiny.train(OFF, tiny.everything(OFF, len(data.train)), data)
  tiny.assert_equal(without, snapshot.state)
  tiny.assert_equal([ended.sums for ended in rounds], finished)


def test_a_dispatch_that_ends_at_a_round_changes_no_bit(replayed):
  data, _, expected, finished = replayed
  made = tiny.trainer(OF, tiny.everything(OF, len(data.train)), data)
  assert made.program.rounds_per_dispatch > 2
  ends, sums = [], []
  for progress in made.run(Position(), halts_after=(3,)):
    ends.append(progress.position)
    sums += [ended.sums for ended in progress.finished]
  assert ends == [Position(1), Position(3), Position(5)]
  tiny.assert_equal(made.get_state(), expected)
  tiny.assert_equal(sums, finished)
