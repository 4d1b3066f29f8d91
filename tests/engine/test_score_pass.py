"""Scores against a float64 twin, in the order of the data set, whatever the batch or the
devices.
"""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.schema import ModelConfig, ScoreConfig
from sdt.config.score_names import OTHER_CLASS, SCORES
from sdt.engine.evaluate import predict_with_features
from sdt.engine.score_pass import ScoreRunner, grand
from sdt.losses import cross_entropy
from sdt.models import init_variables, make_model
from sdt.run.programs import Setup
from sdt.scores.formulas import SCORERS, Outputs
from tests.golden import drawn
from tests.support import tiny
from tests.support.places import GOLDEN
from tests.support.quick import only


@functools.partial(jax.jit, static_argnums=0)
def scores(names, logits, labels, features=None):
  """Returns the scores `names` of [..., K] logits: one program for each shape."""
  features = np.zeros((*logits.shape[:-1], 1), np.float32) if features is None else features
  return {name: SCORERS[name](Outputs(logits, features), labels) for name in names}


EVERY_SCORE = tuple(SCORERS)
ODDS = ("log_odds", "confidence")


def twin(logits, labels):
  """Returns (log-odds, confidence) in float64: z_y - log sum of exp over the other classes, and the
  softmax probability.
  """
  logits = logits.astype(np.float64)
  rows = np.arange(len(labels))
  others = logits.copy()
  others[rows, labels] = -np.inf
  top = others.max(axis=1)
  odds = logits[rows, labels] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
  return odds, 1 / (1 + np.exp(-odds))


one_by_one = jax.jit(jax.vmap(functools.partial(scores, ODDS)))


@pytest.mark.parametrize("count", [1, 16_385, 32_769])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_log_odds_and_confidence_equal_the_float64_twin_at_odd_sizes(count, scale):
  rng = np.random.default_rng(count)
  logits = (scale * rng.normal(size=(count, 10))).astype(np.float32)
  labels = rng.integers(0, 10, count).astype(np.int32)
  odds, probability = twin(logits, labels)
  for ours in (one_by_one(logits, labels), scores(ODDS, logits, labels)):
    np.testing.assert_allclose(ours["log_odds"], odds, rtol=1e-6, atol=1e-5 * scale)
    np.testing.assert_allclose(ours["confidence"], probability, rtol=1e-5 * scale, atol=1e-7)


def test_log_odds_order_what_a_float32_softmax_ties():
  logits = np.array([[20.0, 0.0], [25.0, 0.0], [40.0, 0.0]], np.float32)
  labels = np.zeros(3, np.int32)
  assert (np.asarray(jax.jit(jax.nn.softmax)(logits))[:, 0] == 1.0).all()
  np.testing.assert_array_equal(scores(ODDS, logits, labels)["log_odds"], [20.0, 25.0, 40.0])


@given(
  st.sampled_from([2, 3, 6]).flatmap(
    lambda size: st.lists(st.floats(-50, 50, width=32), min_size=size, max_size=size)
  ),
  st.data(),
)
def test_log_odds_are_the_logit_of_the_confidence(logits, draw):
  label = draw.draw(st.integers(0, len(logits) - 1))
  logits = np.array(logits, np.float32)
  odds, probability = twin(logits[None], np.array([label]))
  ours = scores(ODDS, logits, np.int32(label))
  np.testing.assert_allclose(ours["log_odds"], odds[0], rtol=1e-5, atol=1e-4)
  assert abs(float(ours["confidence"]) - probability[0]) < 1e-5


def test_a_larger_own_logit_is_easier_as_every_scorer_declares():
  low, high = np.array([1.0, 0.5, -1.0], np.float32), np.array([2.0, 0.5, -1.0], np.float32)
  higher, lower = (scores(EVERY_SCORE, logits, np.int32(0)) for logits in (high, low))
  for name in SCORERS:
    grows = float(higher[name]) > float(lower[name])
    assert grows == SCORES[name].is_higher_easier, name
    assert SCORES[name].direction == ("higher_is_easier" if grows else "higher_is_harder")


def test_the_config_may_rank_by_every_score_and_by_no_other():
  (name,) = (field for field in dataclasses.fields(ScoreConfig) if field.name == "name")
  assert set(name.metadata["choices"]) == set(SCORES)
  assert set(SCORERS) <= set(SCORES)


def probability_twin(logits, labels, features):
  """Returns the scores in float64 from the softmax as it stands."""
  logits, rows = logits.astype(np.float64), np.arange(len(labels))
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  p /= p.sum(axis=1, keepdims=True)
  onehot = np.eye(logits.shape[1])[labels]
  best_other = np.where(onehot == 1, -np.inf, logits).max(axis=1)
  el2n = np.linalg.norm(p - onehot, axis=1)
  return {
    "confidence": p[rows, labels],
    "loss": -np.log(p[rows, labels]),
    "margin": logits[rows, labels] - best_other,
    "normalized_margin": (p[rows, labels] - np.where(onehot == 1, -np.inf, p).max(axis=1) + 1) / 2,
    "entropy": -(p * np.log(p)).sum(axis=1),
    "el2n": el2n,
    "grand_last_layer": el2n * np.sqrt((features.astype(np.float64) ** 2).sum(axis=1) + 1),
  }


def test_scores_equal_the_float64_twin_and_stay_in_their_range():
  rng = np.random.default_rng(3)
  logits = (3 * rng.normal(size=(400, 6))).astype(np.float32)
  labels, features = (
    rng.integers(0, 6, 400).astype(np.int32),
    rng.normal(size=(400, 5)).astype(np.float32),
  )
  of_name = scores(EVERY_SCORE, logits, labels, features)
  for name, expected in probability_twin(logits, labels, features).items():
    ours = np.asarray(of_name[name])
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-6, err_msg=name)
    low, high = SCORES[name].range
    assert low is None or ours.min() >= low, name
    assert high is None or ours.max() <= high, name


def test_harder_scores_tell_apart_what_a_float32_softmax_calls_certain():
  logits, labels = (
    np.array([[30.0, 0.0, -5.0], [60.0, 0.0, -5.0]], np.float32),
    np.zeros(2, np.int32),
  )
  for name, values in scores(("loss", "el2n"), logits, labels).items():
    sure, surer = np.asarray(values)
    assert 0 < surer < sure < 1e-10, name


def test_confidence_and_normalised_margin_are_cleanlabs():
  golden = drawn.load(GOLDEN / "cleanlab.npz")
  logits = drawn.uniform("cleanlab/logits", (500, 7), -9.0, 9.0).astype(np.float32)
  labels = np.floor(drawn.uniform("cleanlab/labels", (500,), 0.0, 7)).astype(np.int32)
  ours = scores(tuple(golden), logits, labels)
  for name, expected in golden.items():
    np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.slow_rows("densenet", "preresnet", "resnet", "wrn")
@pytest.mark.parametrize("name", ["mlp", "resnet", "preresnet", "wrn", "vgg16", "densenet"])
def test_the_last_layers_grand_is_the_norm_of_the_gradient(name):
  """Against autodiff, which also shows that the features are what the head of every
  family reads.
  """
  small = {
    "densenet": {"depth": 10, "growth_rate": 4},
    "vgg16": {"blocks": (1, 1), "widths": (4, 6)},
    "wrn": {"depth": 10, "widen_factor": 1},
  }
  model = make_model(ModelConfig(name=name, **small.get(name, {})), 3)
  variables = init_variables(model, (8, 8, 3), 0)
  images, labels = (
    np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32),
    np.array([0, 1, 2, 1], np.int32),
  )

  def loss(head, image, label):
    params = {**variables["params"], "head": head}
    logits = model.apply({**variables, "params": params}, image[None], train=False)
    return cross_entropy(logits, label[None])[0]

  gradients = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))(
    variables["params"]["head"], images, labels
  )
  norms = np.sqrt(
    sum(
      np.square(np.asarray(leaf)).reshape(4, -1).sum(axis=1) for leaf in jax.tree.leaves(gradients)
    )
  )
  logits, features = jax.jit(lambda x: predict_with_features(model, variables, x))(images)
  ours = scores(("grand_last_layer",), logits, labels, features)["grand_last_layer"]
  np.testing.assert_allclose(ours, norms, rtol=1e-4)


def test_grand_of_a_network_with_batchnorm_is_the_norm_of_each_examples_own_gradient():
  model = make_model(ModelConfig(name="resnet", blocks=(1,), widths=(4,)), 3)
  variables = init_variables(model, (8, 8, 3), 0)
  images, labels = (
    np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32),
    np.array([0, 2, 1], np.int32),
  )

  @jax.jit
  def gradient(params, image, label):
    return jax.grad(
      lambda params: cross_entropy(
        model.apply({**variables, "params": params}, image[None], train=False), label[None]
      )[0]
    )(params)

  each = [
    jax.tree.leaves(gradient(variables["params"], image, label))
    for image, label in zip(images, labels, strict=True)
  ]
  norms = [
    np.sqrt(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in leaves))
    for leaves in each
  ]
  ours = jax.jit(jax.vmap(lambda image, label: grand(model, variables, image, label=label)))(
    images, labels
  )
  np.testing.assert_allclose(ours, norms, rtol=1e-5)


@pytest.fixture(scope="module")
def network():
  """A config, its data and the state of two seeds, with statistics as of a training."""
  of = tiny.resnet(rounds=1)
  data = tiny.data(of)
  return of, data, tiny.with_statistics(Setup.make(of, data).fresh_start.state)


def scores_of(of, data, state, batches_per_dispatch=None):
  setup = Setup.make(of, data)
  program = setup.score_program()
  if batches_per_dispatch:
    program = dataclasses.replace(program, batches_per_dispatch=batches_per_dispatch)
  variables = state.variables
  return ScoreRunner(program, setup.source).scores(variables)


def test_scores_are_those_of_each_example_alone_in_the_order_of_the_dataset(network):
  of, data, state = network
  ours = scores_of(of, data, state)
  apply = jax.jit(functools.partial(Setup.make(of, data).model.apply, train=False))
  inputs = ((data.train.inputs / 255 - data.mean) / data.std).astype(np.float32)
  for index in range(2):
    logits = apply(jax.tree.map(lambda leaf, r=index: leaf[r], state.variables), inputs)
    odds, probability = twin(np.asarray(logits), data.train.labels)
    np.testing.assert_allclose(ours["log_odds"][index], odds, atol=1e-4)
    np.testing.assert_allclose(ours["confidence"][index], probability, atol=1e-5)
    others = np.array(logits)
    others[np.arange(70), data.train.labels] = -np.inf
    np.testing.assert_array_equal(ours[OTHER_CLASS][index], others.argmax(axis=1))


@pytest.mark.parametrize(
  ("batch_size", "per_dispatch"), only([(7, 3), (64, 1)], [(1, 70), (7, 3), (70, 1), (64, 1)])
)
def test_any_batch_size_and_dispatch_gives_the_same_scores(network, batch_size, per_dispatch):
  of, data, state = network
  other = dataclasses.replace(of, score=dataclasses.replace(of.score, batch_size=batch_size))
  ours, expected = scores_of(other, data, state, per_dispatch), scores_of(of, data, state)
  for name, values in expected.items():
    assert ours[name].shape == (2, 70)
    np.testing.assert_allclose(ours[name], values, atol=1e-5, err_msg=name)


def test_another_order_of_the_examples_permutes_the_scores(network):
  of, data, state = network
  order = np.random.default_rng(0).permutation(70)
  moved = dataclasses.replace(
    data.train, inputs=data.train.inputs[order], labels=data.train.labels[order]
  )
  ours, expected = (
    scores_of(of, dataclasses.replace(data, train=moved), state),
    scores_of(of, data, state),
  )
  for name, values in expected.items():
    np.testing.assert_allclose(ours[name], values[:, order], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
  ("mode", "replicas"),
  only(
    [("jit", "loop"), ("pmap", "vmap")],
    itertools.product(("jit", "pmap"), ("unroll", "loop", "vmap")),
  ),
)
def test_two_devices_and_every_replica_mode_give_the_same_scores(network, mode, replicas):
  of, data, state = network
  other = dataclasses.replace(
    of, parallel=dataclasses.replace(of.parallel, mode=mode, replicas=replicas, num_devices=2)
  )
  ours, expected = scores_of(other, data, state), scores_of(of, data, state)
  for name, values in expected.items():
    np.testing.assert_allclose(ours[name], values, atol=1e-5, err_msg=name)


def grand_twin(data, params, replica):
  """Returns the norm of the loss's gradient by all parameters of the MLP of one hidden layer,
  float64 [N], by the chain rule.
  """
  params = jax.tree.map(lambda leaf: np.asarray(leaf[replica], np.float64), params)
  x = ((data.train.inputs / 255 - data.mean) / data.std).reshape(len(data.train), -1)
  before = x @ params["hidden1"]["kernel"] + params["hidden1"]["bias"]
  hidden = np.maximum(before, 0)
  logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  by_logits = p / p.sum(axis=1, keepdims=True) - np.eye(p.shape[1])[data.train.labels]
  by_before = (by_logits @ params["head"]["kernel"].T) * (before > 0)
  squares = [
    (g**2).sum(axis=1) * ((inputs**2).sum(axis=1) + 1)
    for g, inputs in ((by_logits, hidden), (by_before, x))
  ]
  return np.sqrt(sum(squares))


@pytest.mark.parametrize(
  ("devices", "mode"), only([(2, "jit")], [(1, "jit"), (2, "jit"), (2, "pmap")])
)
def test_grand_is_the_norm_of_the_whole_gradient_whatever_the_batch_devices_and_replica_mode(
  devices, mode, monkeypatch
):
  plain = tiny.config(rounds=1)
  data = tiny.data(plain)
  state = Setup.make(plain, data).fresh_start.state
  # Scaled up, so that some probabilities are 1 in float32: what p - 1 would lose, the score must
  # keep.
  scale = {"hidden1": 3.0, "head": 12.0}
  params = {
    layer: jax.tree.map(lambda leaf, by=scale[layer]: np.float32(by) * leaf, leaves)
    for layer, leaves in state.params.items()
  }
  state = dataclasses.replace(state, params=params)
  twins = [grand_twin(data, state.params, replica) for replica in (0, 1)]
  assert "grand" not in scores_of(plain, data, state)
  for batch_size, at_once, replicas in (
    (512, 2**26, "unroll"),
    (13, 5_000, "loop"),
    (64, 1, "vmap"),
  ):
    monkeypatch.setattr("sdt.run.programs._GRADIENT_NUMBERS", at_once)
    parallel = {
      "parallel__mode": mode,
      "parallel__num_devices": devices,
      "parallel__replicas": replicas,
    }
    ours = scores_of(
      tiny.config(rounds=1, score__grand=True, score__batch_size=batch_size, **parallel),
      data,
      state,
    )
    np.testing.assert_allclose(ours["grand"], twins, rtol=1e-3)
    assert (ours["log_odds"] > 17).any()
    assert (ours["grand"] > ours["grand_last_layer"]).all()
