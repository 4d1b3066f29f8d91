"""All pairs of building blocks: each trains to finite numbers, or is refused with a sentence."""

import itertools

import jax
import numpy as np
import pytest

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.errors import SdtError
from sdt.run import load_inputs
from tests.support import blocks, tiny
from tests.support.programs import forget_programs

# Of the sets of choices that hold all pairs, so many of those that the mlp takes are trained by
# default, all by `make slow`.
NUM_BY_DEFAULT = 1


def test_every_block_of_the_tables_is_a_choice_that_some_network_takes():
  found = blocks.choices()
  assert len({str(choice) for choice in found}) == len(found)
  refused = {str(one): told for one in found if (told := blocks.accepted([one]))[0] is None}
  assert all(is_a_sentence(text) for _, told in refused.values() for text in told), refused


# By default a sample, every 16th pair; `make slow` has all.
@pytest.mark.parametrize(("first", "every"), [(0, 16), pytest.param(0, 1, marks=pytest.mark.slow)])
def test_pairs_are_accepted_or_refused_with_a_sentence(first, every):
  count = 0
  for pair in itertools.islice(blocks.pairs(), first, None, every):
    config, told = blocks.accepted(pair)
    assert config is not None or all(map(is_a_sentence, told)), (pair, told)
    count += config is not None
  assert count > 0


def is_a_sentence(text):
  """Returns whether a refusal is one line that names something and says what to do."""
  return "\n" not in text and 30 < len(text) < 500 and any(mark in text for mark in ";:,")


def train(chosen, config):
  """Trains one round, and asserts that all numbers are finite; a refusal must be a sentence."""
  try:
    data = load_inputs.load_data(config, lambda line: None)
    plan = make_plan("baseline", Setting(config, data.train.labels, data.train.example_ids))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer
      state, (ended,) = tiny.train(config, plan, data)
  except SdtError as error:
    refusal = str(error)
  else:
    refusal = ""
  if refusal:
    assert is_a_sentence(refusal), (chosen, refusal)
    return
  sums = ended.sums
  assert np.isfinite(sums.train_loss).all(), chosen
  assert np.isfinite(sums.test_loss).all(), chosen
  assert (state.step == plan.steps_per_round).all(), chosen  # a replica that diverged stands still
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)), chosen


def test_a_seeded_sample_of_pairs_trains_to_finite_numbers():
  quick = (group for group in blocks.groups(seed=0) if group[1].model.name == "mlp")
  for chosen, config in itertools.islice(quick, NUM_BY_DEFAULT):
    train([str(one) for one in chosen], config)


@pytest.mark.slow
def test_all_pairs_train_to_finite_numbers():
  for chosen, config in blocks.groups(seed=1):
    train([str(one) for one in chosen], config)
    forget_programs()  # those of hundreds of networks would fill the memory
