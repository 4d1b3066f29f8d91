"""Networks against torch on the same weights: tests/golden/torch_network.py wrote the numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from sdt.models import init_variables
from sdt.types import PyTree, Variables
from tests.golden import drawn
from tests.support.places import GOLDEN
from tests.support.quick import QUICK

type Arrays = dict[str, np.ndarray]
type Shape = tuple[int, int, int]


def flat(collection: str, tree: PyTree) -> Arrays:
  """Returns {"params/stem_conv/kernel": ..., ...} of NumPy arrays."""
  return {
    f"{collection}/{path}": np.asarray(leaf)
    for path, leaf in traverse_util.flatten_dict(tree, sep="/").items()
  }


def drawn_variables(
  model: nn.Module, image_shape: Shape = drawn.IMAGE_SHAPE, gain: float = 1.0
) -> Variables:
  """Returns the model's variables with torch's values, in the model's parameter type."""
  shapes = traverse_util.flatten_dict(init_variables(model, image_shape, 0), sep="/")
  return traverse_util.unflatten_dict(
    {
      path: drawn.variable(path, leaf.shape, gain).astype(leaf.dtype)
      for path, leaf in shapes.items()
    },
    sep="/",
  )


def load_golden(golden_file: str) -> Arrays:
  """Returns the arrays that `save` of tests/golden/torch_network.py wrote."""
  with np.load(GOLDEN / golden_file) as stored:
    return {key: stored[key] for key in stored.files}


def check_evaluation(
  model: nn.Module,
  golden: Arrays,
  name: str,
  image_shape: Shape,
  tolerance: float,
  gain: float = 1.0,
) -> None:
  """Asserts that the logits in evaluation mode agree to `tolerance` of the largest."""
  expected = golden[f"{name}:eval"]
  images = drawn.images(name, len(expected), image_shape).astype(model.param_dtype)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False), compiler_options=QUICK)(
    drawn_variables(model, image_shape, gain), images
  )
  assert logits.dtype == images.dtype
  np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def check_agreement(
  model: nn.Module, golden_file: str, name: str, image_shape: Shape = drawn.IMAGE_SHAPE
) -> None:
  """Asserts that the network computes what torch computes with the same weights.

  Evaluation mode: logits to 1e-4 of the largest in float32, to 1e-9 in float64. Training mode in
  float64: logits, the running statistics after it and the gradients of the mean cross-entropy, to
  1e-9 of the largest number of each array.
  """
  golden = load_golden(golden_file)
  types = {"dtype": jnp.float32, "param_dtype": jnp.float32}
  check_evaluation(model.clone(**types), golden, name, image_shape, 1e-4)
  with jax.enable_x64(True):
    exact = model.clone(dtype=jnp.float64, param_dtype=jnp.float64)
    check_evaluation(exact, golden, name, image_shape, 1e-9)
    logits, statistics, gradients = _train(exact, name, len(golden[f"{name}:eval"]), image_shape)
  expected = golden[f"{name}:train"]
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
  for kind, ours in (
    ("statistics", flat("batch_stats", statistics)),
    ("gradients", flat("params", gradients)),
  ):
    assert {leaf.dtype for leaf in ours.values()} <= {np.dtype(np.float64)}
    check_digests(
      drawn.digests(ours), {key: golden[f"{name}:{kind}/{key}"] for key in ("paths", "digests")}
    )


def _train(
  model: nn.Module, name: str, num: int, image_shape: Shape
) -> tuple[jax.Array, PyTree, PyTree]:
  """Returns logits, new running statistics and gradients of one pass in training mode."""
  variables = drawn_variables(model, image_shape)
  images, labels = drawn.images(name, num, image_shape), drawn.labels(name, num)

  def loss_fn(params: PyTree, batch_stats: PyTree) -> tuple[jax.Array, tuple[jax.Array, PyTree]]:
    logits, updated = model.apply(
      {"params": params, "batch_stats": batch_stats}, images, train=True, mutable=["batch_stats"]
    )
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    return loss, (logits, updated.get("batch_stats", {}))

  step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True), compiler_options=QUICK)
  (_, (logits, statistics)), gradients = step(variables["params"], variables.get("batch_stats", {}))
  return logits, statistics, gradients


def check_digests(ours: Arrays, golden: Arrays, tolerance: float = 1e-9) -> None:
  """Asserts that two `drawn.digests` agree to `tolerance` of the largest number of each array."""
  np.testing.assert_array_equal(ours["paths"], golden["paths"])
  if not len(golden["paths"]):  # a network without running statistics
    return
  largest = golden["digests"][:, 0]
  # What BatchNorm takes away again, the bias of a convolution before it, has a gradient of zero but
  # for rounding.
  zero = largest < tolerance / 10 * largest.max()
  assert np.all(ours["digests"][zero, 0] < tolerance / 10 * largest.max())
  shares = (np.abs(ours["digests"] - golden["digests"]).max(1) / largest)[~zero]
  worst = np.argmax(shares)
  assert shares[worst] < tolerance, f"{golden['paths'][~zero][worst]}: {shares[worst]:.1e}"
