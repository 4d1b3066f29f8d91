"""oneDNN's convolutions on a CPU, which XLA can call and does not by default.

Measured in docs/speed.md. They have a price: JAX cannot write a program that calls them to its
cache on the disk (jax 0.12 tries, and asks for an impossible amount of memory). So only programs
with large convolutions call them: small ones would lose more in compiling than they win.
"""

import functools
import math
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jax import lax
from jax._src import config as jax_config

# oneDNN takes convolutions; YNNPACK, which would come before it, keeps products and sums.
SWITCH = "xla_cpu_experimental_onednn_custom_call"
OPTIONS: dict[str, str | bool] = {
  SWITCH: True,
  "xla_cpu_experimental_ynn_fusion_type": (
    "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
  ),
}
CALL = "__onednn$convolution"
# The largest convolution of a program has at least so many floating-point operations.
SMALLEST = 2e8

_CONVOLUTION = re.compile(
  r"stablehlo\.convolution.*: \(tensor<\S+>, tensor<([\dx]+)xf32>\) -> tensor<([\dx]+)xf32>"
)


def options(
  lowered: jax.stages.Lowered, given: Mapping[str, str | bool]
) -> Mapping[str, str | bool]:
  """Returns the options of XLA with which to compile a program for CPUs.

  Args:
    lowered: the program.
    given: the user's options, which are kept. The value of `SWITCH` there decides; without it the
      size of the program does.
  """
  asked = given.get(SWITCH)
  if asked is None:
    asked = largest_convolution(lowered.as_text() or "") >= SMALLEST
  return {**OPTIONS, **given} if asked and is_available() else given


def largest_convolution(text: str) -> float:
  """Returns the operations, 2 for each product, of the largest float32 convolution of a program.

  The zeros that a gradient of a strided convolution has between its pixels count, so training
  programs are larger than those that score and evaluate.

  Args:
    text: of the program in StableHLO. Kernels end with their outputs, as `conv2d`'s do.
  """
  operations = [0.0]
  for kernel, result in _CONVOLUTION.findall(text):
    *taps, _ = map(int, kernel.split("x"))
    operations.append(2.0 * math.prod(taps) * math.prod(map(int, result.split("x"))))
  return max(operations)


@functools.cache
def is_available() -> bool:
  """Returns whether this jaxlib calls oneDNN when it is asked to."""

  def convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=order)

  shapes = ((8, 8, 8, 8), (3, 3, 8, 8))
  args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  try:
    with not_kept():
      compiled = jax.jit(convolution).lower(*args).compile(compiler_options=OPTIONS)
  except (jax.errors.JaxRuntimeError, ValueError):  # this XLA does not have an option
    return False
  return CALL in (compiled.as_text() or "")


def not_kept() -> AbstractContextManager[None]:
  """Within it, what this thread compiles is not written to JAX's cache on the disk."""
  # No public setting is a thread's own, and arms are compiled beside a training.
  return jax_config.persistent_cache_min_compile_time_secs(math.inf)
