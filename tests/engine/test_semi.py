"""FixMatch and MixMatch: one step against NumPy on fixed draws, and what they leave as it was."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.schema import OptimConfig, SemiConfig
from sdt.devices.layout import sum_over
from sdt.engine.program import Network
from sdt.engine.semi import SEMI, Mixing, Seen, Unlabelled, draw_mixing, now_of, numbers_of_semi
from sdt.engine.step import StepKeys, _apply
from sdt.losses import cross_entropy
from sdt.models import make_model
from sdt.run.programs import Setup
from sdt.scores.split import Partition
from tests.support import one_step, tiny

RATE, FACTOR = 0.1, 3.0
NUMBERS = {"acts": True, "threshold": 0.4, "temperature": 0.5, "mixing_alpha": 0.75, "ramp": 0.5}
OWN = (
  "fix = A&unlabelled@0[fixmatch=2] + B@0",
  "none = A&unlabelled@0[fixmatch=0] + B@0",
  "plain = A@0 + B@0",
  "mix = all&unlabelled@0[mixmatch=5]",
)


# ---- one step


def softmax(logits):
  soft = np.exp(logits - logits.max(axis=1, keepdims=True))
  return soft / soft.sum(axis=1, keepdims=True)


class Twin:
  """A tanh network with one hidden layer in float64, and the gradients that it has gathered."""

  def __init__(self, params):
    self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    self.grads = jax.tree.map(np.zeros_like, self.params)

  def logits(self, inputs):
    hidden, head = self.params["hidden1"], self.params["head"]
    self.hidden = np.tanh(inputs @ hidden["kernel"] + hidden["bias"])
    return self.hidden @ head["kernel"] + head["bias"]

  def add(self, inputs, error):
    """Adds the gradient of a loss whose derivative by the logits is `error`."""
    self.logits(inputs)
    back = (error @ self.params["head"]["kernel"].T) * (1 - self.hidden**2)
    for name, kernel, bias in (
      ("head", self.hidden.T @ error, error.sum(axis=0)),
      ("hidden1", inputs.T @ back, back.sum(axis=0)),
    ):
      self.grads[name]["kernel"] += kernel
      self.grads[name]["bias"] += bias

  def assert_is_after(self, after):
    for path, leaf in tiny.leaves(after.params).items():
      expected = tiny.leaves(self.params)[path] - RATE * tiny.leaves(self.grads)[path]
      np.testing.assert_allclose(leaf, expected, rtol=0, atol=3e-6, err_msg=path)


@pytest.fixture(scope="module")
def problem():
  """Six labelled and four unlabelled examples that count, and padding of large numbers."""
  of = tiny.config(seeds=(0,), model__activation="tanh")
  rng = np.random.default_rng(0)
  inputs, first, second = (
    rng.normal(size=(size, 8, 8, 3)).astype(np.float32) for size in (9, 7, 7)
  )
  inputs[6:], first[4:], second[4:] = 1e3, 1e3, 1e3
  labels = rng.integers(0, 3, 9).astype(np.int32)
  batch = one_step.batch(inputs, labels, np.arange(9) < 6)
  network = Network(make_model(of.model, 3), OptimConfig(momentum=0.0))
  return tiny.first_state(of), batch, (first, second, np.arange(7) < 4), network


def step(problem, name, mixing=None, factor=FACTOR, **numbers):
  state, batch, (first, second, mask), network = problem
  others = jax.tree.map(jnp.asarray, Unlabelled(first, second, mask, mixing=mixing))
  now = one_step.now(
    np.float32(RATE), np.zeros(1, np.float32), overrides={name: np.float32(factor)}
  )
  given = NUMBERS | numbers
  types = {"acts": np.bool_}
  semi = {key: jnp.asarray(value, types.get(key, np.float32)) for key, value in given.items()}
  return one_step.step(
    state,
    dataclasses.replace(batch, unlabelled=others),
    dataclasses.replace(now, semi=semi),
    network=network,
  )


def flat(images):
  return np.asarray(images).reshape(len(images), -1).astype(np.float64)


def test_a_step_of_fixmatch_equals_a_numpy_twin(problem):
  state, batch, (first, second, _), _ = problem
  after, measured = step(problem, "fixmatch")
  twin = Twin(state.params)
  labels = np.asarray(batch.labels)[:6]
  own = twin.logits(flat(batch.inputs)[:6])
  twin.add(flat(batch.inputs)[:6], (softmax(own) - np.eye(3)[labels]) / 6)
  guesses = softmax(twin.logits(flat(first)[:4]))
  is_sure = guesses.max(axis=1) >= np.float32(0.4)
  assert 0 < is_sure.sum() < 4
  error = softmax(twin.logits(flat(second)[:4])) - np.eye(3)[guesses.argmax(axis=1)]
  twin.add(flat(second)[:4], 0.5 * FACTOR * error * is_sure[:, None] / 4)
  twin.assert_is_after(after)
  # What is measured is the plain loss of the labelled examples.
  expected = -np.log(softmax(own)[np.arange(6), labels]).sum()
  np.testing.assert_allclose(measured.loss, expected, rtol=1e-5)
  assert (int(measured.count), measured.logits.shape) == (6, (9, 3))
  assert float(measured.guesses_used) == is_sure.mean()


def test_a_guess_below_the_threshold_teaches_nothing(problem):
  state, batch, _, network = problem
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32))
  plain, _ = one_step.step(state, batch, now, network=network)
  after, measured = step(problem, "fixmatch", threshold=1.0)
  assert float(measured.guesses_used) == 0.0
  for path, leaf in tiny.leaves(after.params).items():
    np.testing.assert_allclose(leaf, tiny.leaves(plain.params)[path], rtol=0, atol=1e-6)


def test_a_step_of_mixmatch_equals_a_numpy_twin(problem):
  state, batch, (first, second, _), _ = problem
  rng = np.random.default_rng(1)
  valid = np.concatenate([np.arange(6), 9 + np.arange(4), 16 + np.arange(4)])
  partner, weight = np.arange(23), rng.uniform(0.5, 1, 23).astype(np.float32)
  partner[valid] = rng.permutation(valid)
  cut = functools.partial(np.split, indices_or_sections=[9, 16])
  mixing = Mixing(tuple(cut(partner.astype(np.int32))), tuple(cut(weight)))
  after, measured = step(problem, "mixmatch", mixing)
  assert float(measured.guesses_used) == 1.0

  twin = Twin(state.params)
  mean = (softmax(twin.logits(flat(first))) + softmax(twin.logits(flat(second)))) / 2
  guesses = mean**2 / (mean**2).sum(axis=1, keepdims=True)
  rows = np.concatenate([flat(batch.inputs), flat(first), flat(second)])
  targets = np.concatenate([np.eye(3)[np.asarray(batch.labels)], guesses, guesses])
  share = weight.astype(np.float64)[:, None]
  mixed, wanted = (
    (share * array + (1 - share) * array[partner])[valid] for array in (rows, targets)
  )
  twin.add(mixed[:6], (softmax(twin.logits(mixed[:6])) - wanted[:6]) / 6)
  soft = softmax(twin.logits(mixed[6:]))
  slope = 2 / 3 * (soft - wanted[6:]) / 8  # of the mean of |target - p|^2 / K by p
  error = soft * (slope - (slope * soft).sum(axis=1, keepdims=True))
  twin.add(mixed[6:], 0.5 * FACTOR * error)
  twin.assert_is_after(after)


@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_a_pass_that_guesses_drops_other_values_than_the_one_that_learns(problem, dropout):
  state, batch, _, network = problem
  given = one_step.now(np.float32(RATE), np.zeros(1, np.float32))
  now = dataclasses.replace(
    given, overrides={"dropout": jnp.float32(dropout)}, keys=StepKeys(dropout=jax.random.key(0))
  )
  apply = functools.partial(_apply, network, state.variables, now)
  learned, _ = apply(batch.inputs[:6], batch.mask[:6])
  guessed, _ = apply(batch.inputs[:6], batch.mask[:6], is_guess=True)
  assert (learned != guessed).any(axis=1).tolist() == [dropout > 0.0] * 6


@pytest.mark.parametrize("name", ["fixmatch", "mixmatch"])
def test_where_nothing_is_learned_of_them_the_step_is_the_one_without_them(problem, name):
  state, batch, _, network = problem
  zeros = [tuple(np.zeros(size, of) for size in (9, 7, 7)) for of in (np.int32, np.float32)]
  mixing = Mixing(*zeros) if name == "mixmatch" else None
  ours, measured = step(problem, name, mixing, acts=False)
  now = one_step.now(np.float32(RATE), np.zeros(1, np.float32))
  plain, expected = one_step.step(state, batch, now, network=network)
  tiny.assert_equal(ours, plain)
  tiny.assert_equal(measured._replace(guesses_used=None), expected)
  assert float(measured.guesses_used) == 0.0


@pytest.mark.slow
def test_valid_rows_are_mixed_with_valid_rows_each_once_and_keep_the_larger_share():
  masks = (np.arange(5) < 3, np.arange(7) < 6, np.arange(7) < 6)
  draw = jax.jit(draw_mixing, static_argnames="padded")
  partners, weights = draw(jax.random.key(0), masks, np.float32(0.75), padded=(6, 8, 8))
  assert [len(part) for part in partners] == [len(part) for part in weights] == [6, 8, 8]
  valid = [0, 1, 2, *range(6, 12), *range(14, 20)]  # places in the padded parts together
  found, kept = (
    np.concatenate(
      [np.asarray(part)[: mask.sum()] for part, mask in zip(parts, masks, strict=True)]
    )
    for parts in (partners, weights)
  )
  assert sorted(found.tolist()) == valid
  assert found.tolist() != valid
  assert (kept >= 0.5).all()
  assert len(set(kept.tolist())) == len(valid)


@pytest.mark.parametrize("name", list(SEMI))
def test_what_two_devices_learn_of_their_halves_is_what_one_learns_of_all(name):
  """The mean over the valid examples of both, whoever has more; partners lie on either device."""
  rng = np.random.default_rng(2)
  weights = rng.normal(size=(5, 3)).astype(np.float32)
  inputs, first, second = (rng.normal(size=(n, 5)).astype(np.float32) for n in (4, 6, 6))
  partner, share = rng.permutation(16).astype(np.int32), rng.uniform(0.5, 1, 16).astype(np.float32)
  cut = functools.partial(np.split, indices_or_sections=[4, 10])
  others = Unlabelled(
    first, second, np.arange(6) != 1, Mixing(tuple(cut(partner)), tuple(cut(share)))
  )
  batch = inputs, np.array([0, 1, 2, 0], np.int32), np.arange(4) < 3, others
  numbers = {key: jnp.float32(value) for key, value in NUMBERS.items() if key != "acts"}

  def learn(inputs, labels, mask, others, axis_name=None):
    def apply(rows, mask, is_guess=False):
      return rows @ weights, {}

    def labelled_sum(logits):
      return jnp.sum(jnp.where(mask, cross_entropy(logits, labels), 0.0))

    seen = Seen(apply, labelled_sum, inputs, labels, mask, others, numbers, axis_name)
    learned = SEMI[name].learn(seen)
    return sum_over(axis_name, (learned.labelled, learned.others, learned.used))

  halves = jax.tree.map(lambda leaf: leaf.reshape(2, -1, *leaf.shape[1:]), batch)
  by_two = jax.pmap(functools.partial(learn, axis_name="data"), "data", devices=jax.devices()[:2])
  for ours, one in zip(by_two(*halves), jax.jit(learn)(*batch), strict=True):
    np.testing.assert_allclose(ours, [one, one], rtol=1e-5)


# ---- in the engine


def of_arms(**changes):
  return tiny.config(
    data__labelled=30,
    arms=("baseline", "fix", "none", "plain", "mix"),
    own_arms=OWN,
    rounds=2,
    optim__milestones=(1,),
    batch_size=7,
    semi__ratio=2,
    semi__threshold=0.4,
    semi__ramp_rounds=1,
    augment__ops="crop(1)",
    augment__strong="crop(1) noise(0.3)",
    parallel__steps_per_dispatch=1,
    model__hidden_sizes=(4,),
    **changes,
  )


@functools.cache
def setup_of(of):
  return Setup.make(of, tiny.data(of))


def plan_of(arm, setup):
  setting = Setting.of(setup.config, setup.data)
  ids = np.arange(30, dtype=np.int32)
  parts = tuple(tiny_partition(np.roll(ids, seed)) for seed in setup.config.seeds)
  return make_plan(arm, dataclasses.replace(setting, partitions=parts))


def tiny_partition(ids):
  return Partition(np.sort(ids[:12]), np.sort(ids[12:]), 0, left_out=ids[:0])


def states(setup, plan, start=None):
  """Returns the trainer and the snapshots after every dispatch of one step."""
  made, after = setup.trainer(plan), []
  made.set_state(start or setup.fresh_start)
  for _ in made.run(made.position):
    after.append(made.get_state())
  return made, after


def test_without_a_strength_the_program_is_the_one_without_unlabelled_examples():
  setup = setup_of(of_arms())
  plain = setup.trainer(plan_of("plain", setup))
  assert plain.program.semi is None
  assert setup.trainer(plan_of("none", setup)) is plain
  program = setup.trainer(plan_of("fix", setup)).program
  semi, rows = program.semi, program.trained_rows
  assert (semi.name, semi.num_unlabelled, semi.batch_size, rows) == (
    "fixmatch",
    40,
    14,
    (2 * 35 + 3 * 7) // 5,
  )


def test_the_factor_of_mixmatch_grows_over_its_rounds_and_that_of_fixmatch_does_not():
  plan = plan_of("mix", setup_of(of_arms()))
  config = SemiConfig(ramp_rounds=2)
  steps = [
    float(numbers_of_semi(plan, name, config)["ramp_steps"]) for name in ("mixmatch", "fixmatch")
  ]
  assert steps == [2 * plan.steps_per_round, 0]
  numbers = numbers_of_semi(plan, "mixmatch", config)
  ramps = [float(now_of(numbers, 0, np.int32(at))["ramp"]) for at in (0, 5, 10, 11)]
  assert ramps == [0, 0.5, 1, 1]


@pytest.mark.slow
def test_a_training_goes_on_from_any_step_with_the_same_bits_and_streamed_inputs_are_the_same():
  """A sees unlabelled examples and B does not; 40 of them in batches of 14 are three steps."""
  setup = setup_of(of_arms(seeds=(0,)))
  plan = plan_of("fix", setup)
  _, after = states(setup, plan)
  for cut in (0, 3):  # within A, and within B
    tiny.assert_equal(states(setup, plan, after[cut])[1][-1].state, after[-1].state)
  streamed = setup_of(of_arms(seeds=(0,), data__placement="stream"))
  _, again = states(streamed, plan_of("fix", streamed))
  tiny.assert_equal(again[-1].state, after[-1].state)
  # It has learned of them in A, where the plan without them differs.
  plain = states(setup, plan_of("plain", setup))[1]
  kernels = [one[0].state.params["hidden1"]["kernel"] for one in (after, plain)]
  assert (kernels[0] != kernels[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
@pytest.mark.parametrize("arm", ["fix", "mix"])
def test_two_devices_train_as_one(arm, mode):
  one = setup_of(of_arms(seeds=(0,)))
  several = setup_of(of_arms(seeds=(0,), parallel__mode=mode, parallel__num_devices=2))
  expected, found = (states(setup, plan_of(arm, setup))[1][-1].state for setup in (one, several))
  for path, leaf in tiny.leaves(found.params).items():
    np.testing.assert_allclose(leaf, tiny.leaves(expected.params)[path], rtol=0, atol=2e-5)
