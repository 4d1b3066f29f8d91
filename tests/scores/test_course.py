"""The course: the label's probability of every example in every round, and what is without it."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.commands import dry_run, estimates
from sdt.config import config_hash, from_dict, to_dict
from sdt.errors import ConfigError
from sdt.run import recorded
from sdt.run.checkpoint_seals import named_leaves
from sdt.run.programs import Setup
from sdt.run.saved_states import saved_like
from sdt.scores.dynamics import Seen, no_dynamics, record
from tests.support import tiny

N, ROUNDS = 5, 4
jit_record = jax.jit(record)


def one_replica(rounds):
  return jax.tree.map(lambda leaf: leaf[0], no_dynamics(1, N, rounds))


def presented(dynamics, round_number, ids, doubts, counts=None):
  counts = np.ones(len(ids), bool) if counts is None else np.array(counts)
  doubts = np.array(doubts, np.float32)
  seen = Seen(doubts < 0.5, doubts, np.zeros(len(ids), np.float32))
  return jit_record(dynamics, np.int32(round_number), np.int32(ids), counts=counts, seen=seen)


def test_a_presentation_writes_its_round_and_the_last_one_of_a_round_counts():
  dynamics = presented(one_replica(ROUNDS), 1, [0, 3], [0.0, 0.9])
  dynamics = presented(dynamics, 1, [3, 3], [0.2, 1.0], counts=[True, False])  # padding
  dynamics = presented(dynamics, 4, [2, 0], [0.5, 0.998])
  assert dynamics.course.tolist() == [
    [255, 0, 0, 1],
    [0, 0, 0, 0],
    [0, 0, 0, 128],
    [204, 0, 0, 0],
    [0, 0, 0, 0],
  ]


@given(
  doubts=st.lists(st.floats(0, 1, width=32), min_size=N, max_size=N), at=st.integers(1, ROUNDS)
)
def test_every_probability_is_kept_to_half_a_step_and_no_other_round_changes(doubts, at):
  before = one_replica(ROUNDS)
  course = np.asarray(presented(before, at, range(N), doubts).course).astype(float)
  expected = np.zeros((N, ROUNDS))
  expected[:, at - 1] = 1 - np.array(doubts, float)
  assert np.abs(course / 255 - expected).max() <= 0.5 / 255 + 1e-6
  assert not np.delete(course, at - 1, axis=1).any()


def test_the_summaries_are_the_same_bits_with_a_course_and_without():
  rng = np.random.default_rng(0)
  plain, with_course = one_replica(0), one_replica(ROUNDS)
  for number in range(1, ROUNDS + 1):
    ids, doubts = rng.permutation(N)[:3], rng.random(3)
    plain, with_course = (presented(one, number, ids, doubts) for one in (plain, with_course))
  assert plain.course is None
  tiny.assert_equal(plain, dataclasses.replace(with_course, course=None))


def test_without_the_key_nothing_of_it_is_in_the_program_the_checkpoint_or_the_hash():
  seen = Seen(jnp.ones(2, bool), jnp.zeros(2), jnp.zeros(2))
  arguments = (np.int32(1), jnp.zeros(2, jnp.int32), jnp.ones(2, bool), seen)
  texts = [str(jax.make_jaxpr(record)(one_replica(rounds), *arguments)) for rounds in (0, ROUNDS)]
  assert ["u8[" in text for text in texts] == [False, True]
  of = tiny.config()
  data, key = tiny.data(of), tiny.config(score__course=True)
  assert not {name for name in to_dict(of)["score"]} & {"course"}
  assert config_hash(of) != config_hash(key)
  names, with_key = (
    {name for name in named_leaves(saved_like(Setup.make(one, data), 0)) if "dynamics" in name}
    for one in (of, key)
  )
  summaries = "num_seen num_right num_forgotten is_right first_right mean_doubt sum_squares"
  assert names == {f"dynamics/{name}" for name in (*summaries.split(), "mean_margin")}
  assert with_key - names == {"dynamics/course"}
  assert tiny.trainer(of, tiny.everything(of, len(data.train)), data).program.course_rounds == 0


def test_a_course_without_dynamics_is_refused():
  plain = to_dict(tiny.config())
  plain["score"] |= {"course": True, "dynamics": False}
  with pytest.raises(
    ConfigError, match=r"score\.course = True has no meaning with score\.dynamics"
  ):
    from_dict(plain)


def test_a_course_that_is_too_large_is_refused_with_its_size_before_anything_is_compiled(
  monkeypatch,
):
  of = tiny.config(score__course=True)
  monkeypatch.setattr(recorded, "MOST_BYTES", 2 * 70 * 4)
  recorded.check(of, tiny.data(of))  # just as much as may be
  monkeypatch.setattr(recorded, "MOST_BYTES", 2 * 70 * 4 - 1)
  monkeypatch.setattr(Setup, "make", lambda *_, **__: pytest.fail("it goes on"))
  told = re.escape("score.course = True: 2 seed(s) x 70 examples x 4 rounds take 0.0 GB")
  with pytest.raises(ConfigError, match=told):
    next(dry_run.describe(of))
  recorded.check(tiny.config(), tiny.data(of))


@pytest.mark.parametrize(
  ("changes", "copies"),
  [  # in scores.npz, at the end, in the newest checkpoints, and of the round that is scored
    ({}, 2 + 2),
    ({"score__at_round": 7}, 2 + 2 + 1),
    ({"stop__patience": 9, "data__validation_fraction": 0.2}, 1 + 2 * (1 + 2)),
  ],
)
def test_a_dry_run_counts_the_course_in_memory_and_on_disk(changes, copies):
  of = tiny.config(score__course=True, rounds=10_000, optim__milestones=(), **changes)
  assert of.checkpoint.keep == 2
  setup = Setup.make(of, tiny.data(of), is_abstract=True)
  size, plan = 2 * 70 * 10_000, tiny.everything(of, 70)
  assert recorded.course_bytes(of, setup.data) == size
  assert (size + 2 * 70 * 29, "training dynamics") in estimates.memory_parts(setup, [plan], None)
  disk = estimates.disk_line(setup, [plan], [])
  assert f"{copies * size / 1e6:.1f} for the course of the examples" in disk
