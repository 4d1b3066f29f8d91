"""The exponential average of the weights and running statistics, beside the training."""

import functools

import jax
import numpy as np

from sdt.engine.evaluate import predict
from sdt.engine.program import Network
from sdt.engine.state import TrainState
from sdt.engine.step import train_step
from sdt.models import init_variables, make_model
from sdt.run.programs import Setup
from tests.support import one_step, tiny
from tests.support.quick import QUICK

KEEP = 0.3


def test_weights_and_running_statistics_are_averaged_by_tfs_formula():
  of = tiny.resnet(optim__average=KEEP)
  model = make_model(of.model, 3)
  rng = np.random.default_rng(0)
  start = one_step.first_state(init_variables(model, (8, 8, 3), 0), of.optim)
  state = TrainState(
    start.step, start.params, start.batch_stats, start.opt_state, average=start.variables
  )
  twin = jax.tree.map(np.float64, start.variables)
  update = functools.partial(train_step, network=Network(model, of.optim))
  step_fn = jax.jit(update, compiler_options=QUICK)
  for time in range(6):
    inputs = rng.normal(size=(4, 8, 8, 3)).astype(np.float32)
    batch = one_step.batch(inputs, np.arange(4, dtype=np.int32) % 3, np.ones(4, bool))
    numbers = {"average": np.float32(KEEP)}
    now = one_step.now(np.float32(0.1), np.zeros(1, np.float32), optim=numbers)
    state, _ = step_fn(state, batch, now)
    keep = min(KEEP, (1 + time) / (10 + time))
    twin = jax.tree.map(lambda old, new, k=keep: k * old + (1 - k) * new, twin, state.variables)
  for path, leaf in tiny.leaves(state.average).items():
    np.testing.assert_allclose(leaf, tiny.leaves(twin)[path], atol=1e-6, err_msg=path)
  assert not np.allclose(
    state.average["batch_stats"]["stem_norm"]["mean"], state.batch_stats["stem_norm"]["mean"]
  )


def test_a_training_evaluates_its_average_beside_the_weights():
  of = tiny.config(
    optim__average=KEEP, optim__clock="step", optim__schedule="linear", rounds=2, seeds=(0,)
  )
  data = tiny.data(of)
  end, finished = tiny.train(of, tiny.everything(of, 70), data)
  sums = finished[-1].sums
  model = Setup.make(of, data).model
  test = ((data.test.inputs / np.float32(255) - data.mean) / data.std).astype(np.float32)
  for variables, correct in (
    (end.average, sums.average.correct),
    (end.variables, sums.test_correct),
  ):
    logits = forward(model, jax.tree.map(lambda leaf: leaf[0], variables), test)
    assert int(np.sum(np.asarray(logits).argmax(axis=-1) == data.test.labels)) == correct[0]
  np.testing.assert_array_equal(sums.average.count, [30])
  assert sums.average.loss[0] != sums.test_loss[0]


forward = jax.jit(predict, static_argnums=0)
