"""Initial values: declared beside the parameter, drawn on the host.

A module gives `self.param` an `Initializer`. Under `jax.eval_shape` nothing compiles; a `Declared`
box, which Linen opens by itself, keeps the initializer beside the shape. `draw_variables` then
draws the numbers with NumPy, by other distributions where a config names them (`Initial`). This
takes a fraction of a second; compiling the draws of a ResNet takes 10 to 120 seconds.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from sdt.config.toolbox import network_blocks
from sdt.config.toolbox.parse import parse_call
from sdt.models.family import HEAD
from sdt.models.initialisation import INITS
from sdt.types import Leaf, Variables


@dataclasses.dataclass(frozen=True)
class Initializer:
  """A distribution of independent entries: offset + scale * unit.

  Attributes:
    kind: of the unit: "normal" is N(0, 1), "uniform" is uniform on [-1, 1], "constant" is 0.
      "kernel_length" is no distribution: the lengths of the drawn kernel of the same layer.
    scale: factor of the unit.
    offset: added.
  """

  kind: str
  scale: float = 0.0
  offset: float = 0.0

  def __call__(
    self, key: Key[Array, ""], shape: Sequence[int], dtype: DTypeLike = jnp.float32
  ) -> "Declared":
    """Returns values drawn from `key` by JAX, in their box. Linen's `init` calls this."""
    size = math.prod(shape)
    # Drawn flat: the draw of a rank-4 array has the same bits and takes seconds to compile.
    if self.kind == "normal":
      unit = jax.random.normal(key, (size,), dtype)
    elif self.kind == "uniform":
      unit = jax.random.uniform(key, (size,), dtype, -1.0, 1.0)
    else:
      unit = jnp.zeros((size,), dtype)
    return Declared(value=(self.offset + self.scale * unit).reshape(shape), initializer=self)

  def draw(
    self, generator: np.random.Generator, shape: tuple[int, ...]
  ) -> Float[np.ndarray, "..."]:
    """Returns float64 values of `shape` drawn on the host."""
    if self.kind == "normal":
      return self.offset + self.scale * generator.standard_normal(shape)
    if self.kind == "uniform":
      return self.offset + self.scale * generator.uniform(-1.0, 1.0, shape)
    return np.full(shape, self.offset)


class Declared(flax.struct.PyTreeNode, nn.meta.AxisMetadata):
  """A variable in a box with its initializer; `apply` takes variables with or without the box."""

  value: Leaf
  initializer: Initializer = flax.struct.field(pytree_node=False)

  def unbox(self) -> Leaf:
    return self.value

  def replace_boxed(self, val: Leaf) -> "Declared":
    return self.replace(value=val)

  def add_axis(self, index: int, params: dict[Any, Any]) -> "Declared":
    return self

  def remove_axis(self, index: int, params: dict[Any, Any]) -> "Declared":
    return self


ZEROS = Initializer("constant", offset=0.0)
ONES = Initializer("constant", offset=1.0)
KERNEL_LENGTH = Initializer("kernel_length", offset=1.0)


@dataclasses.dataclass(frozen=True)
class Initial:
  """How a config wants the initial values, in place of those that the modules declare.

  Attributes:
    kernels: a block of `INITS`, for the kernels of all layers.
    bias: where the biases of all layers but the head start, and those of norms.
    own_biases: whether the modules' own biases stay where `bias` is 0.
  """

  kernels: str | None = None
  bias: float = 0.0
  own_biases: bool = True


OWN = Initial()


def normal_fan_out(kernel_shape: tuple[int, int, int, int]) -> Initializer:
  """Returns N(0, 2 / (kh * kw * O)) for a kernel [kh, kw, C, O].

  Source: He et al. 2015, "Delving Deep into Rectifiers", eq. 14. Differs from source: none.
  """
  height, width, _, out_size = kernel_shape
  return Initializer("normal", scale=math.sqrt(2.0 / (height * width * out_size)))


def uniform_fan_in(in_size: int) -> Initializer:
  """Returns the uniform distribution on +-1/sqrt(in_size).

  Source: torch's `nn.Linear`, for weights and biases. Differs from source: none.
  """
  return Initializer("uniform", scale=1.0 / math.sqrt(in_size))


def declared_variables(model: nn.Module, input_shape: tuple[int, ...]) -> Variables:
  """Returns {"params": ..., "batch_stats": ...} of `Declared` boxes that hold shapes and types.

  Nothing is computed or compiled.
  """
  # Cached: tracing a deep network takes a second or more, and a run asks several times. The types
  # of a trace depend on x64.
  return _traced_variables(model, input_shape, jax.config.jax_enable_x64)


@functools.lru_cache(maxsize=4)
def _traced_variables(model: nn.Module, input_shape: tuple[int, ...], x64: bool) -> Variables:
  inputs = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  variables = jax.eval_shape(
    lambda key, x: model.init(key, x, train=False), jax.random.key(0), inputs
  )
  return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def draw_variables(declared: Variables, seed: int, initial: Initial = OWN) -> Variables:
  """Returns `declared` with NumPy values, each a function of (seed, path) alone.

  So no layer's values depend on the other layers.
  """
  boxes, structure = jax.tree_util.tree_flatten_with_path(
    declared, is_leaf=lambda node: isinstance(node, Declared)
  )
  named = {"/".join(str(entry.key) for entry in path): box for path, box in boxes}
  drawn = {}
  for name, box in named.items():
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    drawn[name] = _draw(name, box, generator, initial=initial).astype(box.value.dtype)
  for name, box in named.items():
    if box.initializer == KERNEL_LENGTH:
      drawn[name] = lengths(drawn[f"{name.rpartition('/')[0]}/kernel"])
  return jax.tree_util.tree_unflatten(structure, drawn.values())


def _draw(
  name: str, box: Declared, generator: np.random.Generator, *, initial: Initial
) -> Float[np.ndarray, "..."]:
  """Returns float64 values of a variable."""
  layer, _, leaf = name.rpartition("/")
  shape, is_hidden = box.value.shape, layer != f"params/{HEAD}"
  if leaf == "kernel" and initial.kernels is not None:
    call = parse_call(initial.kernels, network_blocks.INITS)
    return INITS[call.name](generator, shape, *call.numbers)
  if leaf == "bias" and not (initial.own_biases and (initial.bias == 0.0 or not is_hidden)):
    return np.full(shape, initial.bias if is_hidden else 0.0)
  return box.initializer.draw(generator, shape)


def lengths(kernel: Float[np.ndarray, "*shape K"]) -> Float[np.ndarray, "K"]:
  """Returns the norm of the weights of each output of a kernel, in its type."""
  squares = np.square(kernel.astype(np.float64)).sum(tuple(range(kernel.ndim - 1)))
  return np.sqrt(squares).astype(kernel.dtype)
