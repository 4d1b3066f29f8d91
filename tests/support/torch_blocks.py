"""Single blocks against torch: tests/golden/make_blocks.py wrote the numbers."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden import drawn
from tests.support.agreement import load_golden
from tests.support.quick import QUICK

# From torch's order of axes to ours.
TO_OURS = {4: (0, 2, 3, 1), 1: (0,)}
KERNEL = (2, 3, 1, 0)


def values(name: str, low: float = -1.0, high: float = 1.0) -> np.ndarray:
  """Returns the drawn float64 array of this name, [B, H, W, C] of images."""
  array = drawn.uniform(name, drawn.BLOCK_SHAPES[name], low, high)
  return array.transpose(KERNEL if name == "kernel" else TO_OURS[array.ndim])


def check(name: str, function: Callable[..., jax.Array], inputs: Mapping[str, np.ndarray]) -> None:
  """Asserts that outputs and gradients are torch's, in float64 to 1e-9, in float32 to 1e-5.

  Args:
    name: of the block in blocks.npz.
    function: of the inputs by name.
    inputs: float64.
  """
  golden = {
    key: leaf.transpose(KERNEL if key == f"{name}:kernel" else TO_OURS[leaf.ndim])
    for key, leaf in load_golden("blocks.npz").items()
    if key.startswith(f"{name}:")
  }
  outputs = golden.pop(f"{name}:y")
  weights = drawn.uniform(f"weights/{name}", _torchs(outputs).shape, -1, 1).transpose(
    TO_OURS[outputs.ndim]
  )

  def both(weights: jax.Array, inputs: Mapping[str, jax.Array]) -> tuple[jax.Array, ...]:
    found, back = jax.vjp(lambda inputs: function(**inputs), inputs)
    return found, back(weights)[0]

  for dtype, tolerance in ((jnp.float64, 1e-9), (jnp.float32, 1e-5)):
    with jax.enable_x64(dtype == jnp.float64):
      cast = jax.tree.map(lambda leaf: leaf.astype(dtype), (weights, dict(inputs)))  # noqa: B023
      found, gradients = jax.jit(both, compiler_options=QUICK)(*cast)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, outputs, rtol=0, atol=tolerance * np.abs(outputs).max())
    assert {f"{name}:{key}" for key in gradients} == set(golden)
    for key, gradient in gradients.items():
      expected = golden[f"{name}:{key}"]
      atol = tolerance * max(1.0, float(np.abs(expected).max()))
      np.testing.assert_allclose(gradient, expected, rtol=0, atol=atol, err_msg=f"{name} {key}")


def _torchs(array: np.ndarray) -> np.ndarray:
  return array.transpose(0, 3, 1, 2)
