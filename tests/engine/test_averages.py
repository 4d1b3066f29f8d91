"""The mean of several answers in one program: the same as NumPy's mean of the answers alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from sdt.config.toolbox.view_blocks import CENTRE, views_of
from sdt.engine.averages import Average, log_mean_probabilities
from sdt.engine.evaluate import predict
from sdt.inputs.order import sample_key
from sdt.inputs.preprocess import prepare
from sdt.inputs.views import Window, numbers_of, seen
from sdt.models.mc_dropout import predict_dropping
from sdt.run.programs import Setup
from tests.engine.test_prediction_pass import joined
from tests.support import tiny

TEXT = "flip shifts(1)"
SIZE = 8  # of an evaluation batch


def config(**changes):
  return tiny.config(score__batch_size=SIZE, model__norm="batch", model__dropout=0.4, **changes)


@pytest.fixture(scope="module")
def asked():
  """A setup of a network with BatchNorm and dropout, the variables of two seeds, test images."""
  of = config()
  setup = Setup.make(of, tiny.data(of))
  return setup, setup.fresh_start.state.variables, np.asarray(setup.source.data.test.inputs.inputs)


def said_of(setup, variables, average=None):
  return joined(setup.predictor("float32", average), variables)[0]


def mean_by_numpy(logits):
  """Returns log of the mean probability over the first axis, in float64."""
  each = log_softmax(np.asarray(logits, np.float64), axis=-1)
  return logsumexp(each, axis=0) - np.log(len(each))


def assert_says(said, log_mean, labels):
  """Asserts that one network says what this mean does, log_mean [n, K]."""
  np.testing.assert_allclose(said.probabilities, np.exp(log_mean), rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(said.predicted, log_mean.argmax(axis=-1))
  own = log_mean[np.arange(len(labels)), labels]
  np.testing.assert_allclose(said.label_log_probability, own, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(said.label_rank, (log_mean > own[:, None]).sum(axis=-1))


def of_seed(tree, seed):
  return jax.tree.map(lambda leaf: leaf[seed], tree)


def test_views_are_the_numpy_mean_over_the_views_in_any_order(asked):
  setup, variables, images = asked
  views = views_of(TEXT)
  said = said_of(setup, variables, Average(views=views))
  window, numbers = Window.of(views, (8, 8)), jax.tree.map(jnp.asarray, numbers_of(views))
  sizes = jnp.full((len(images), 2), 8, jnp.int32)

  @jax.jit
  def logits_of(network, view):
    inputs = prepare(seen(images, sizes, view, window=window), setup.source.data.preparation)
    return predict(setup.model, network, inputs)

  for seed in range(2):
    network = of_seed(variables, seed)
    each = [logits_of(network, of_seed(numbers, number)) for number in range(len(views))]
    backwards = mean_by_numpy(each[::-1])
    assert_says(of_seed(said, seed), backwards, setup.data.test.labels)


@pytest.mark.slow
def test_the_order_of_the_views_changes_no_probability_by_more_than_rounding(asked):
  setup, variables, _ = asked
  found = [
    said_of(setup, variables, Average(views=views_of(text))).probabilities
    for text in (TEXT, "shifts(1) flip")
  ]
  np.testing.assert_allclose(*found, atol=1e-6)


def test_dropouts_samples_are_the_numpy_mean_over_masks_that_differ(asked):
  setup, variables, images = asked
  said = said_of(setup, variables, Average(samples=5))
  inputs = prepare(images, setup.source.data.preparation)
  network, rest = of_seed(variables, 1), 30 % SIZE
  padding = jnp.broadcast_to(inputs[:1], (SIZE - rest, *inputs.shape[1:]))
  padded = jnp.concatenate([inputs, padding]).reshape(4, SIZE, *inputs.shape[1:])

  @jax.jit
  def drop(batch, sample):
    return predict_dropping(setup.model, network, padded[batch], key=sample_key(sample, batch))

  each = np.array([[drop(batch, sample) for batch in range(4)] for sample in range(5)])
  each = each.reshape(5, 4 * SIZE, -1)[:, :30]
  assert_says(of_seed(said, 1), mean_by_numpy(each), setup.data.test.labels)
  plain = np.asarray(predict(setup.model, network, inputs))
  for one in range(5):
    assert not np.allclose(each[one], plain, atol=1e-4)
    assert not np.allclose(each[one], each[one - 1], atol=1e-4)


def test_dropouts_samples_keep_the_running_statistics_of_the_norms(asked):
  setup, variables, images = asked
  network = of_seed(variables, 0)
  still = setup.model.clone(dropout=1e-7)  # drops nothing, and draws
  inputs = prepare(images, setup.source.data.preparation)
  found = predict_dropping(still, network, inputs, key=jax.random.key(0))
  np.testing.assert_allclose(found, predict(setup.model, network, inputs), atol=1e-5)


def test_networks_of_one_training_are_the_numpy_mean_of_what_each_says_alone(asked):
  setup, variables, images = asked
  other = jax.tree.map(lambda leaf: leaf * 0.5 + 0.1, variables)
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), variables, other)
  said = said_of(setup, stacked, Average(networks=2))
  inputs = prepare(images, setup.source.data.preparation)
  for seed in range(2):
    each = [predict(setup.model, of_seed(one, seed), inputs) for one in (variables, other)]
    assert_says(of_seed(said, seed), mean_by_numpy(each), setup.data.test.labels)


@pytest.mark.slow
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
  setup, variables, _ = asked
  theirs = Setup.make(config(**changes), setup.data)
  stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf + 0.1], axis=1), variables)
  for average, networks in (
    (Average(views=views_of("flip shifts(1)")), variables),
    (Average(samples=2), variables),
    (Average(networks=2), stacked),
  ):
    found, ours = (said_of(one, networks, average) for one in (theirs, setup))
    np.testing.assert_allclose(found.probabilities, ours.probabilities, rtol=1e-5, atol=1e-6)


def test_a_run_that_adds_nothing_has_the_program_of_one_answer(asked):
  setup, _, _ = asked
  assert setup.predictor("float32")._program.average is None
  assert Average().num_members == 1
  assert Average(views=(CENTRE,) * 3).num_members == Average(samples=3).num_members == 3


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 4]), st.integers(0, 2**31 - 1), st.floats(0.1, 60.0))
def test_the_mean_is_finite_where_each_probability_vanishes_and_its_loss_below_the_mean_loss(
  count, seed, spread
):
  logits = np.random.default_rng(seed).normal(size=(count, 3, 4)).astype(np.float32) * spread
  found = np.asarray(_log_mean(jnp.asarray(logits)), np.float64)
  np.testing.assert_allclose(found, mean_by_numpy(logits), rtol=1e-5, atol=1e-4)
  assert np.isfinite(found).all()
  assert (-found <= -log_softmax(logits, axis=-1).mean(axis=0) + 1e-3).all()  # Jensen


@jax.jit
def _log_mean(logits):
  return log_mean_probabilities(lambda one: one, logits)
