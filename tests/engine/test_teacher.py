"""Distillation: one step against NumPy, the kinds of teacher, and what they leave as it was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.schema import DISTIL, OptimConfig
from sdt.engine.program import Network
from sdt.engine.state import Position
from sdt.engine.teacher import TEACHERS, Teacher, taught, teacher_of
from sdt.inputs.operations.mixing import Mixture
from sdt.models import make_model
from sdt.run.programs import Setup
from sdt.scores.split import Partition
from tests.engine.test_regularisers import targets_of
from tests.engine.test_semi import RATE, Twin, softmax
from tests.support import one_step, tiny

TEMPERATURE = 2.5
WEIGHTS = np.array([0.7, 1, 0.5, 0.9, 0, 0.3, 1, 1, 1], np.float32)
TABLE = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.25, 0.25, 0.5]], np.float32)


# ---- one step


@pytest.fixture(scope="module")
def problem():
  """A student, two teachers, and six examples that count before padding of large numbers."""
  of = tiny.config(seeds=(0, 7), model__activation="tanh")
  start = Setup.make(of, tiny.data(of)).fresh_start.state
  # Weights larger than the drawn ones, so that the teachers are sure of something.
  teachers = jax.tree.map(lambda leaf: 3 * leaf[::-1], start.variables)
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(9, 8, 8, 3)).astype(np.float32)
  inputs[6:] = 1e3
  batch = one_step.batch(inputs, rng.integers(0, 3, 9).astype(np.int32), np.arange(9) < 6)
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  return tiny.first_state(of), teachers, batch, network


def said_by(kind, problem, *, acts=True, mixture=None):
  """Returns the batch with what a kind of teacher says of it."""
  _, teachers, batch, network = problem
  first = jax.tree.map(lambda leaf: leaf[0], teachers)
  own, shared = {
    "distil": (first, None),
    "distil_mean": (None, teachers),
    "distil_classes": (TABLE, None),
  }[kind]
  teaching = {"acts": acts, "temperature": np.float32(TEMPERATURE), "shared": shared}
  batch = dataclasses.replace(batch, mixture=mixture)
  said = jax.jit(
    lambda own, teaching: taught(kind, network.model, batch, own=own, teaching=teaching)
  )
  return dataclasses.replace(batch, taught=said(own, jax.tree.map(jnp.asarray, teaching)))


def expected_of(kind, problem):
  """Returns the probabilities of a kind of teacher in float64."""
  _, teachers, batch, _ = problem
  valid = np.asarray(batch.inputs[:6], np.float64).reshape(6, -1)
  each = [
    softmax(
      Twin(jax.tree.map(lambda leaf, at=at: leaf[at], teachers["params"])).logits(valid)
      / TEMPERATURE
    )
    for at in (0, 1)
  ]
  return {
    "distil": each[0],
    "distil_mean": (each[0] + each[1]) / 2,
    "distil_classes": TABLE[np.asarray(batch.labels[:6])],
  }[kind]


def test_every_kind_that_a_config_may_name_is_there():
  assert tuple(TEACHERS) == DISTIL


@pytest.mark.parametrize("kind", TEACHERS)
def test_a_teacher_says_its_probabilities_at_the_temperature(kind, problem):
  said = said_by(kind, problem).taught.probabilities
  np.testing.assert_allclose(said[:6], expected_of(kind, problem), rtol=0, atol=2e-6)
  np.testing.assert_allclose(np.asarray(said).sum(axis=1), 1, rtol=1e-5)
  assert not np.asarray(said_by(kind, problem, acts=False).taught.probabilities).any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("share", [0.4, WEIGHTS], ids=["phase", "example"])
@pytest.mark.parametrize("kind", TEACHERS)
def test_a_step_follows_the_gradient_of_the_labels_and_of_the_teacher(
  kind, share, smoothing, problem
):
  state, _, _, network = problem
  batch, overrides = said_by(kind, problem), {}
  if np.ndim(share):
    batch = dataclasses.replace(batch, by_example={kind: jnp.asarray(share)})
    share = share[:6, None].astype(np.float64)
  else:
    overrides[kind] = np.float32(share)
  if smoothing:
    overrides["label_smoothing"] = np.float32(smoothing)
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32), overrides=overrides)
  after, measured = one_step.step(state, batch, now, network=network)

  twin = Twin(state.params)
  valid = np.asarray(batch.inputs[:6], np.float64).reshape(6, -1)
  logits, labels = twin.logits(valid), np.asarray(batch.labels[:6])
  of_labels = softmax(logits) - targets_of(labels, 3, smoothing)
  of_teacher = TEMPERATURE * (softmax(logits / TEMPERATURE) - expected_of(kind, problem))
  twin.add(valid, ((1 - share) * of_labels + share * of_teacher) / 6)
  twin.assert_is_after(after)
  plain = -np.log(softmax(logits)[np.arange(6), labels]).sum()
  np.testing.assert_allclose(float(measured.loss), plain, rtol=1e-5)


def test_at_a_share_of_one_the_labels_do_not_matter(problem):
  state, _, _, network = problem
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32), overrides={"distil": np.float32(1)})
  batch = said_by("distil", problem)
  other = dataclasses.replace(batch, labels=(batch.labels + 1) % 3)
  one, two = (one_step.step(state, each, now, network=network)[0] for each in (batch, other))
  tiny.assert_equal(one.params, two.params)


def test_at_a_share_of_zero_the_step_is_the_plain_one(problem):
  state, _, batch, network = problem
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32))
  plain = one_step.step(state, batch, now, network=network)[0]
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32), overrides={"distil": np.float32(0)})
  batch = said_by("distil", problem, acts=False)
  other = one_step.step(state, batch, now, network=network)[0]
  for name, leaf in tiny.leaves(plain.params).items():
    np.testing.assert_allclose(leaf, tiny.leaves(other.params)[name], rtol=0, atol=1e-7)


def test_a_teacher_that_is_not_finite_does_not_reach_the_examples_without_a_share(problem):
  state, _, batch, network = problem
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32))
  plain = one_step.step(state, batch, now, network=network)[0]
  said = said_by("distil", problem)
  lost = said.taught._replace(probabilities=jnp.full_like(said.taught.probabilities, jnp.nan))
  none = {"distil": jnp.zeros(9, jnp.float32)}
  batch = dataclasses.replace(said, taught=lost, by_example=none)
  other = one_step.step(state, batch, now, network=network)[0]
  for name, leaf in tiny.leaves(plain.params).items():
    np.testing.assert_allclose(leaf, tiny.leaves(other.params)[name], rtol=0, atol=1e-7)


def test_classes_teach_a_mixed_example_the_mixture_of_their_rows(problem):
  batch = problem[2]
  labels = np.asarray(batch.labels)
  others = (labels + 1) % 3
  weight = np.linspace(0, 1, 9, dtype=np.float32)
  mixture = Mixture((jnp.asarray(others),), (jnp.asarray(weight), jnp.asarray(1 - weight)))
  said = said_by("distil_classes", problem, mixture=mixture).taught.probabilities
  expected = weight[:, None] * TABLE[labels] + (1 - weight)[:, None] * TABLE[others]
  np.testing.assert_allclose(said, expected, rtol=0, atol=1e-7)


# ---- in the engine

ARMS = (
  "distil = A@1e-3[distil=0.6] + B@1e-3",
  "distil_mean = A@1e-3[distil_mean=0.6] + B@1e-3",
  "mixed = A@1e-3 | B@1e-3[distil_classes=0.6]",
  "none = A@1e-3[distil=0] + B@1e-3",
  "plain = A@1e-3 + B@1e-3",
)


def _setting(**changes):
  of = tiny.config(
    model__norm="batch",
    own_arms=ARMS,
    arms=("baseline", "method", "distil", "distil_mean", "mixed", "plain"),
    rounds=2,
    optim__milestones=(1,),
    augment__pad_crop=2,
    augment__flip=True,
    parallel__steps_per_dispatch=3,
    **changes,
  )
  data = tiny.data(of)
  easy = np.arange(0, 70, 9, dtype=np.int32)
  part = Partition(easy, np.setdiff1d(np.arange(70, dtype=np.int32), easy), 0)
  setting = Setting.of(of, data)
  return dataclasses.replace(setting, partitions=(part,) * len(of.seeds)), data


def _teacher(setup, kind, scale=4.0):
  """Returns a teacher of a kind, of networks that nobody has trained."""
  state = tiny.with_statistics(setup.fresh_start.state)
  variables = jax.tree.map(lambda leaf: scale * leaf, state.variables)
  if kind == "distil_classes":
    return Teacher(np.stack([TABLE, TABLE[::-1, ::-1]]), None, TEMPERATURE)
  own, shared = TEACHERS[kind].stand_in(variables, 3)
  return Teacher(own, shared, TEMPERATURE)


def _trained(kind, teacher=None, **changes):
  """Returns the parameters at the end of the arm that has this kind of teacher."""
  setting, data = _setting(**changes)
  setup = Setup.make(setting.config, data)
  made = setup.trainer(make_plan(kind, setting), teacher or _teacher(setup, kind))
  made.set_state(setup.fresh_start)
  for _ in made.run(Position()):
    pass
  return tiny.leaves(made.get_state().state.params)


@pytest.fixture(scope="module")
def alone():
  return {kind: _trained(kind) for kind in ("distil", "distil_mean")}


@pytest.mark.slow_rows("distil-{'parallel__num_devices': 2, 'parallel__mode': 'pmap'}")
@pytest.mark.parametrize(
  ("kind", "changes"),
  [
    ("distil", {"parallel__num_devices": 2, "parallel__mode": "pmap"}),
    pytest.param(
      "distil_mean",
      {"parallel__num_devices": 2, "parallel__divide": "seeds"},
      marks=pytest.mark.slow,
    ),
    ("distil", {"data__placement": "stream"}),
    pytest.param("distil", {"parallel__num_devices": 2}, marks=pytest.mark.slow),
    pytest.param("distil_mean", {"parallel__replicas": "vmap"}, marks=pytest.mark.slow),
    pytest.param(
      "distil", {"parallel__num_devices": 2, "parallel__divide": "seeds"}, marks=pytest.mark.slow
    ),
    pytest.param(
      "distil_mean", {"parallel__num_devices": 2, "parallel__mode": "pmap"}, marks=pytest.mark.slow
    ),
  ],
  ids=str,
)
def test_devices_streams_and_replicas_learn_the_same_from_a_teacher(alone, kind, changes):
  for name, leaf in _trained(kind, **changes).items():
    np.testing.assert_allclose(leaf, alone[kind][name], rtol=0, atol=2e-5, err_msg=name)


def test_each_seed_learns_from_its_own_teacher_and_from_the_mean_as_if_it_were_alone(alone):
  setting, data = _setting()
  setup = Setup.make(setting.config, data)
  for kind, both in alone.items():
    of_both = _teacher(setup, kind)
    for row, seed in enumerate((0, 1)):
      own = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], of_both.own)
      for name, leaf in _trained(kind, of_both._replace(own=own), seeds=(seed,)).items():
        np.testing.assert_array_equal(leaf[0], both[name][row], err_msg=f"{kind} {seed} {name}")


def test_without_a_share_the_program_is_the_plain_one_and_another_teacher_needs_no_other():
  setting, data = _setting()
  setup = Setup.make(setting.config, data)
  plain = setup.trainer(make_plan("plain", setting))
  none = make_plan("none", setting)
  assert not teacher_of(none)
  assert setup.trainer(none) is plain
  assert plain.program.teacher is None
  plan = make_plan("distil", setting)
  with pytest.raises(ValueError, match="phases with a teacher, and none was given"):
    setup.trainer(plan)
  made = setup.trainer(plan, _teacher(setup, "distil"))
  assert (made.program.teacher, made.program.trained_rows) == ("distil", (5 * 3 * 16 + 16) // 15)
  kernels = []
  for scale in (1.0, 4.0):
    again = setup.trainer(plan, _teacher(setup, "distil", scale))
    again.set_state(setup.fresh_start)
    for _ in again.run(Position()):
      pass
    assert (again is made, again.num_compilations) == (True, 1)
    kernels.append(tiny.leaves(again.get_state().state.params))
  assert all((kernels[0][name] != kernels[1][name]).any() for name in kernels[0])


def test_of_a_mixed_phase_the_part_without_a_share_learns_from_labels_alone():
  """Where the teacher is the labels themselves at T = 1, both parts learn the same."""
  setting, data = _setting(seeds=(0,))
  setup = Setup.make(setting.config, data)
  ends = []
  for arm, table in (("mixed", np.eye(3)), ("mixed", TABLE)):
    teacher = Teacher(np.asarray(table[None], np.float32), None, 1.0)
    made = setup.trainer(make_plan(arm, setting), teacher)
    made.set_state(setup.fresh_start)
    for _ in made.run(Position()):
      pass
    ends.append(tiny.leaves(made.get_state().state.params))
  plan = make_plan("mixed", setting)
  (phase,) = plan.phases
  whole = dataclasses.replace(phase, by_part={}, parts=None)
  plain = tiny.train(setting.config, dataclasses.replace(plan, phases=(whole,)), data)[0].params
  for name, leaf in tiny.leaves(plain).items():
    np.testing.assert_allclose(ends[0][name], leaf, rtol=0, atol=2e-5, err_msg=name)
  assert all((ends[0][name] != ends[1][name]).any() for name in ends[0])
