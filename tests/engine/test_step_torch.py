"""The training step against torch: ten float64 steps, and the float32 gradients of one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.program import Network
from sdt.engine.step import train_step
from sdt.models import make_model
from tests.golden import drawn
from tests.support import one_step
from tests.support.agreement import GOLDEN, drawn_variables, flat
from tests.support.quick import QUICK

OPTIM = OptimConfig(learning_rate=drawn.LEARNING_RATE, momentum=drawn.MOMENTUM)


def _worst(ours, golden):
  """Returns the largest difference, as a share of the largest absolute value of its array, and
  where it is.
  """
  assert ours.keys() == golden.keys()
  shares = {
    path: float(np.max(np.abs(ours[path] - golden[path])) / np.max(np.abs(golden[path])))
    for path in golden
  }
  return max((share, path) for path, share in shares.items())


def _ten_steps():
  """Returns the state after the steps of `drawn` and the mean loss of each, in float64; excluded
  rows hold other images.
  """
  model = make_model(ModelConfig(name="resnet20"), 10, dtype=jnp.float64, param_dtype=jnp.float64)
  variables = drawn_variables(model)
  state = one_step.first_state(variables, OPTIM)
  step_fn = jax.jit(functools.partial(train_step, network=Network(model, OPTIM)))
  losses = []
  for step, (phase, size) in enumerate(zip(drawn.STEP_PHASES, drawn.STEP_SIZES, strict=True)):
    mask = np.arange(drawn.BATCH_SIZE) < size
    images, labels = (
      draw(f"step{step}", drawn.BATCH_SIZE) for draw in (drawn.images, drawn.labels)
    )
    rate, decays = np.float64(drawn.LEARNING_RATE), np.array(drawn.WEIGHT_DECAYS)
    now = one_step.now(rate, decays, phase=phase)
    state, measured = step_fn(state, one_step.batch(images, labels, mask), now)
    assert int(measured.count) == size
    losses.append(float(measured.loss) / size)
  return state, losses


def test_ten_float64_steps_equal_torch_in_parameters_momenta_and_statistics():
  # Under x64 some of JAX's own functions mix types, hence the standard promotion here.
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    state, losses = _ten_steps()
  params, momenta = (
    drawn.load(GOLDEN / "training_params.npz"),
    drawn.load(GOLDEN / "training_momenta.npz"),
  )
  np.testing.assert_allclose(losses, params.pop("losses"), rtol=1e-9)
  ours = flat("params", state.params) | flat("batch_stats", state.batch_stats)
  assert {leaf.dtype for leaf in ours.values()} == {np.dtype(np.float64)}
  assert _worst(ours, params) < (1e-9, "")
  (trace,) = (part.trace for part in state.opt_state if isinstance(part, optax.TraceState))
  assert _worst(flat("params", trace), momenta) < (1e-9, "")


def test_float32_gradients_of_one_step_are_near_torch():
  """The momentum after a first step without decay is the gradient; a third of the batch is padding
  with other images.
  """
  shape = drawn.FORWARD_NETWORKS["basic8_projection"]
  model = make_model(ModelConfig(name="resnet", blocks=shape["blocks"], widths=shape["widths"]), 10)
  variables = drawn_variables(model)
  size = drawn.BATCH_SIZE
  images = np.concatenate(
    [drawn.images("gradients", size), drawn.images("padding", size // 2)]
  ).astype(np.float32)
  labels = np.concatenate([drawn.labels("gradients", size), drawn.labels("padding", size // 2)])
  state = one_step.first_state(variables, OPTIM)
  update = functools.partial(train_step, network=Network(model, OPTIM))
  step_fn = jax.jit(update, compiler_options=QUICK)
  batch = one_step.batch(images, labels, np.arange(len(labels)) < size)
  state, _ = step_fn(state, batch, one_step.now(np.float32(0.1), np.zeros(1, np.float32)))
  (trace,) = (part.trace for part in state.opt_state if isinstance(part, optax.TraceState))
  # Measured: 2.8e-6 (stem kernel). Ten times that is for machines whose rounding opens a ReLU near
  # zero on one side only.
  assert _worst(flat("params", trace), drawn.load(GOLDEN / "gradients.npz")) < (3e-5, "")
