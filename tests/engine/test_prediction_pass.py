"""The pass over the test set at the end: probabilities, the predicted class, the label's rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from sdt.engine.evaluate import predict
from sdt.engine.prediction_pass import Said, said_of
from sdt.inputs.preprocess import prepare
from sdt.losses import is_correct
from sdt.run.programs import Setup
from sdt.stats.classification import label_ranks
from tests.support import tiny


def joined(predictor, variables):
  """Returns what is said of the whole test set, and the stretches in which it came."""
  stretches = list(predictor.predictions(variables))
  said = Said(
    *(np.concatenate(leaves, axis=1) for leaves in zip(*(s[2] for s in stretches), strict=True))
  )
  return said, [stretch[:2] for stretch in stretches]


@pytest.fixture(scope="module")
def asked():
  """A setup, a state of two seeds, and their logits of the 30 test examples."""
  of = tiny.config(score__batch_size=8)
  setup = Setup.make(of, tiny.data(of))
  state = setup.fresh_start.state
  data = setup.source.data
  inputs = np.asarray(prepare(data.test.inputs.inputs, data.preparation))
  networks = [jax.tree.map(lambda leaf, r=r: leaf[r], state.variables) for r in range(2)]
  logits = [np.asarray(predict(setup.model, network, inputs)) for network in networks]
  return setup, state, np.stack(logits)


def test_every_test_example_is_asked_once_in_stretches_of_a_dispatch(asked):
  setup, state, logits = asked
  said, stretches = joined(setup.predictor("float32"), state.variables)
  expected = log_softmax(logits.astype(np.float64), axis=-1)
  labels = setup.data.test.labels
  np.testing.assert_allclose(said.probabilities, np.exp(expected), rtol=1e-5, atol=1e-7)
  np.testing.assert_array_equal(said.predicted, logits.argmax(axis=-1))
  own = expected[:, np.arange(30), labels]
  np.testing.assert_allclose(said.label_log_probability, own, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(said.label_rank, (expected > own[..., None]).sum(axis=-1))
  assert stretches[0][0] == 0
  assert stretches[-1][1] == 4


@pytest.mark.parametrize(
  "changes",
  [
    {"data__placement": "stream"},
    {"parallel__mode": "pmap", "parallel__num_devices": 2},
    {"parallel__mode": "jit", "parallel__num_devices": 2},
    {"parallel__divide": "seeds", "parallel__num_devices": 2},
  ],
  ids=str,
)
def test_streamed_inputs_and_several_devices_say_the_same(asked, changes):
  setup, state, _ = asked
  other = tiny.config(score__batch_size=8, **changes)
  theirs, _ = joined(Setup.make(other, setup.data).predictor("float32"), state.variables)
  ours, _ = joined(setup.predictor("float32"), state.variables)
  np.testing.assert_array_equal(theirs.predicted, ours.predicted)
  np.testing.assert_array_equal(theirs.label_rank, ours.label_rank)
  np.testing.assert_allclose(theirs.probabilities, ours.probabilities, rtol=1e-5, atol=1e-7)


def test_a_dispatch_returns_no_more_probabilities_than_fit(asked, monkeypatch):
  setup, state, _ = asked
  whole, few = joined(setup.predictor("float32"), state.variables)
  monkeypatch.setattr("sdt.run.programs._PROBABILITIES", 2 * 8 * 2 * 3)
  parts, many = joined(setup.predictor("float32"), state.variables)
  assert (len(few), len(many)) == (1, 2)
  tiny.assert_equal(parts, whole)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_answer_is_that_of_the_evaluation_also_where_probabilities_tie(dtype):
  # Logits that differ by their last bit, so that float32 or float16 cannot tell the probabilities
  # apart; that are equal; and that leave a class a probability of exactly 1.
  small, large = (np.nextafter(value, np.float32(99)) for value in np.float32([0.1, 40]))
  logits = np.array(
    [[0.1, small, 0], [small, 0.1, 0], [40, large, 0], [large, 40, 0], [0, 40, 40], [0, 90, 0]],
    np.float32,
  )
  for label in range(3):
    labels = np.full(len(logits), label, np.int32)
    said = said_of(jnp.asarray(logits), jnp.asarray(labels), dtype)
    right = np.asarray(is_correct(jnp.asarray(logits), jnp.asarray(labels)))
    np.testing.assert_array_equal(np.asarray(said.predicted) == labels, right)
    np.testing.assert_array_equal(np.asarray(said.label_rank) == 0, right)
    values = np.asarray(said.probabilities)
    chosen = values[np.arange(len(values)), np.asarray(said.predicted)]
    np.testing.assert_array_equal(chosen, values.max(axis=1))
  assert values[0].argmax() != logits[0].argmax()  # the probabilities alone would not do


def test_of_a_network_in_bfloat16_the_answer_is_that_of_its_own_logits():
  logits = jnp.asarray([[3.0, 3.005, 1.0]], jnp.bfloat16)  # both are 3 in bfloat16
  said = said_of(logits, jnp.asarray([1], jnp.int32), "float32")
  assert (int(said.predicted[0]), int(said.label_rank[0])) == (0, 1)
  assert said.probabilities.dtype == np.float32


def test_what_is_nan_is_never_called_right_by_its_rank():
  nan = np.nan
  logits = np.array([[nan, nan, nan], [nan, 1, 0], [1, nan, 0], [2, 1, 0]], np.float32)
  for label in range(3):
    labels = np.full(len(logits), label, np.int32)
    said = said_of(jnp.asarray(logits), jnp.asarray(labels), "float32")
    by_numpy = label_ranks(logits, labels)
    np.testing.assert_array_equal(said.label_rank, by_numpy)
    assert (by_numpy[:3] > 0).all()
    assert by_numpy[3] == label
  assert by_numpy[0] == 2  # every other class
