"""Operations of `augment.ops` in the engine: strengths by phase, programs, mixtures in the loss."""

import dataclasses

import numpy as np
import pytest

from sdt.engine.program import Network
from sdt.engine.state import Position
from sdt.inputs.operations.mixing import Mixture
from sdt.models import make_model
from sdt.run.programs import Setup
from tests.support import one_step, tiny

OPS = "crop(1) flip rotate({rotate}) colour(0.3) cutout({cutout}) cutmix(1)"


def config(rotate=15, cutout=3):
  return tiny.config(
    seeds=(0,),
    rounds=2,
    optim__milestones=(1,),
    augment__ops=OPS.format(rotate=rotate, cutout=cutout),
    parallel__steps_per_dispatch=1,
  )


@pytest.fixture(scope="module")
def problem():
  of = config()
  data = tiny.data(of)
  plan = dataclasses.replace(tiny.alternating(of, len(data.train), 20), rounds=2)
  return data, plan, Setup.make(of, data)


def with_easy(plan, **overrides):
  """Returns the plan with these overrides in A, which comes first."""
  first = dataclasses.replace(plan.phases[0], overrides=overrides)
  return dataclasses.replace(plan, phases=(first, plan.phases[1]))


def states(setup, plan):
  made = setup.trainer(plan)
  made.set_state(setup.fresh_start)
  return made, [made.get_state().state for _ in made.run(Position())]


def test_other_strengths_by_phase_or_for_all_need_no_other_program(problem):
  data, plan, setup = problem
  made, reference = states(setup, plan)
  ends = [reference[-1]]
  for overrides in ({"rotate": 60.0}, {"cutout": 0.0, "colour": 0.0}, {"cutmix": 0.0}):
    used, after = states(setup, with_easy(plan, **overrides))
    assert used is made
    ends.append(after[-1])
  assert made.num_compilations == 1
  other = Setup.make(config(rotate=40, cutout=0), data)
  changed = other.trainer(plan)
  assert changed.program == made.program
  assert changed._plan.overrides["rotate"].tolist() == [[40.0, 40.0]]
  kernels = [end.params["hidden1"]["kernel"] for end in ends]
  for index, one in enumerate(kernels):
    assert all((one != another).any() for another in kernels[index + 1 :])


@pytest.mark.slow
def test_a_strength_changes_its_own_phase_alone(problem):
  _, plan, setup = problem
  swapped = dataclasses.replace(plan, phases=plan.phases[::-1])
  steps = swapped.phases[0].num_steps
  strong = dataclasses.replace(swapped.phases[1], overrides={"rotate": 90.0})
  _, reference = states(setup, swapped)
  _, after = states(setup, dataclasses.replace(swapped, phases=(swapped.phases[0], strong)))
  tiny.assert_equal(after[:steps], reference[:steps])
  assert (
    after[steps].params["hidden1"]["kernel"] != reference[steps].params["hidden1"]["kernel"]
  ).any()


def test_operations_at_strength_zero_train_as_crop_and_flip(problem):
  data, plan, setup = problem
  _, ours = states(setup, with_both(plan, rotate=0.0, colour=0.0, cutout=0.0, cutmix=0.0))
  plain = tiny.config(
    seeds=(0,),
    rounds=2,
    optim__milestones=(1,),
    augment__pad_crop=1,
    augment__flip=True,
    parallel__steps_per_dispatch=1,
  )
  _, theirs = states(Setup.make(plain, data), plan)
  for name, leaf in tiny.leaves(theirs[-1]).items():
    np.testing.assert_allclose(tiny.leaves(ours[-1])[name], leaf, rtol=0, atol=1e-6, err_msg=name)


def with_both(plan, **overrides):
  phases = tuple(dataclasses.replace(phase, overrides=overrides) for phase in plan.phases)
  return dataclasses.replace(plan, phases=phases)


def test_the_loss_of_several_partners_is_the_weighted_sum_of_all(problem):
  """The gradient of a mixture of one example with itself is the plain one; of others it is not."""
  of = tiny.config(seeds=(0,))
  state = tiny.first_state(of)
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(6, 8, 8, 3)).astype(np.float32)
  labels, mask = rng.integers(0, 3, 6).astype(np.int32), np.ones(6, bool)
  network = Network(make_model(of.model, 3), of.optim)
  now = one_step.now(np.float32(0.1), np.zeros(1, np.float32))

  def step(mixture):
    batch = one_step.batch(inputs, labels, mask, mixture)
    return tiny.leaves(one_step.step(state, batch, now, network=network)[0].params)

  weights = tuple(np.float32(value) for value in (0.4, 0.3, 0.2, 0.1))
  others = [np.roll(labels, shift) for shift in (1, 2, 3)]
  plain, before = step(None), tiny.leaves(state.params)
  itself = step(Mixture((labels,) * 3, weights))
  none = tuple(np.float32(value) for value in (0.0, 0.5, 0.3, 0.2))
  singles = [step(Mixture((other,) * 3, none)) for other in others]
  mixed = step(Mixture(tuple(others), weights))
  for name, leaf in plain.items():
    np.testing.assert_allclose(itself[name], leaf, rtol=0, atol=1e-6, err_msg=name)
    # The step is linear in the labels.
    parts = [plain[name], *(single[name] for single in singles)]
    expected = sum(float(w) * (part - before[name]) for w, part in zip(weights, parts, strict=True))
    np.testing.assert_allclose(mixed[name] - before[name], expected, atol=1e-6, err_msg=name)
