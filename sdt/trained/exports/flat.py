"""A traced function as one list of operations: calls are inlined, constants are computed.

JAX traces a function to a jaxpr. In it some operations call others (`jit`, custom gradients), and
some depend on weights alone. What is left here is what must be computed for every batch.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core as core
import numpy as np
from jaxtyping import Shaped

from sdt.types import PyTree

# The parameter of an operation that holds the jaxpr which it calls.
_CALLS = {
  "jit": "jaxpr",
  "closed_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
}
# Operations that move numbers and change none: their result keeps the name of their input.
_MOVES = ("reshape", "transpose", "squeeze", "broadcast_in_dim", "convert_element_type", "copy")


@dataclasses.dataclass(eq=False)
class Array:
  """An array of the program.

  Attributes:
    shape: its sizes; that of the batch is a symbol.
    dtype: of its numbers.
    name: of a constant, from the weights that it is made of; "" of all others.
    value: of a constant, else None.
  """

  shape: tuple[Any, ...]
  dtype: np.dtype
  name: str = ""
  value: Shaped[np.ndarray, "..."] | None = None


@dataclasses.dataclass(frozen=True)
class Operation:
  """One operation of JAX: a primitive, its parameters, and the layer that it stands in."""

  primitive: core.Primitive
  inputs: tuple[Array, ...]
  outputs: tuple[Array, ...]
  params: Mapping[str, Any]
  layer: str


@dataclasses.dataclass(frozen=True)
class Program:
  """A function of one input: its operations in order."""

  input: Array
  operations: tuple[Operation, ...]
  output: Array


def trace(
  function: Callable[[PyTree, jax.Array], jax.Array],
  constants: PyTree,
  like: jax.ShapeDtypeStruct,
) -> Program:
  """Returns the program of `function(constants, input)`.

  Args:
    function: of a tree of arrays, and of one array; returns one array.
    constants: the tree; its paths become names.
    like: the shape and type of the input; sizes may be symbols (`jax.export.symbolic_shape`).
  """
  closed = jax.make_jaxpr(function)(constants, like)
  leaves = jax.tree_util.tree_leaves_with_path(constants)
  arrays = [
    _constant(np.asarray(leaf), jax.tree_util.keystr(path, simple=True, separator="/"))
    for path, leaf in leaves
  ]
  data = Array(tuple(like.shape), np.dtype(like.dtype))
  operations: list[Operation] = []
  (output,) = _inline(closed, [*arrays, data], "", operations=operations)
  return Program(data, tuple(_folded(_needed(operations, output))), output)


def _constant(value: np.ndarray, name: str = "") -> Array:
  return Array(value.shape, value.dtype, name, value=value)


def _inline(
  closed: core.ClosedJaxpr, arguments: Sequence[Array], layer: str, operations: list[Operation]
) -> list[Array]:
  """Appends the operations of a jaxpr with these arguments; returns its results."""
  jaxpr = closed.jaxpr
  known = dict(zip(jaxpr.constvars, map(_constant, map(np.asarray, closed.consts)), strict=True))
  known |= dict(zip(jaxpr.invars, arguments, strict=True))

  def array(atom: core.Var | core.Literal) -> Array:
    if isinstance(atom, core.Literal):  # a number of Python, or an array
      return _constant(np.asarray(atom.val, _like(atom).dtype))
    return known[atom]

  for equation in jaxpr.eqns:
    inputs, name = [array(atom) for atom in equation.invars], equation.primitive.name
    here = "/".join(filter(None, (layer, str(equation.source_info.name_stack))))
    if name in _CALLS:
      inner = equation.params[_CALLS[name]]
      results = _inline(inner, inputs, here, operations=operations)
    else:
      results = [_like(one) for one in equation.outvars]
      parts = tuple(inputs), tuple(results)
      operations.append(Operation(equation.primitive, *parts, params=equation.params, layer=here))
    known |= dict(zip(equation.outvars, results, strict=True))
  return [array(atom) for atom in jaxpr.outvars]


def _like(atom: core.Var | core.Literal) -> Array:
  """Returns an array of the shape and type of one of the jaxpr; that of random keys is object."""
  shape, dtype = getattr(atom.aval, "shape", ()), getattr(atom.aval, "dtype", None)
  return Array(shape, dtype if isinstance(dtype, np.dtype) else np.dtype(object))


def _needed(operations: Sequence[Operation], output: Array) -> list[Operation]:
  """Returns the operations that the output depends on."""
  wanted, kept = {output}, []
  for operation in reversed(operations):
    if wanted.intersection(operation.outputs):
      wanted.update(operation.inputs)
      kept.append(operation)
  return kept[::-1]


def _folded(operations: Sequence[Operation]) -> list[Operation]:
  """Returns the operations that depend on the input; the results of all others become constants."""
  constant = {one for operation in operations for one in operation.inputs if one.value is not None}
  left, folded = [], []
  for operation in operations:
    if constant.issuperset(operation.inputs) and not _enlarges(operation):
      constant.update(operation.outputs)
      folded.append(operation)
    else:
      left.append(operation)
  used = {one for operation in left for one in operation.inputs}
  results = [one for operation in folded for one in operation.outputs if one in used]

  def compute() -> list[jax.Array]:
    values: dict[Array, Any] = {}
    for operation in folded:
      inputs = [values.get(one, one.value) for one in operation.inputs]
      outputs = operation.primitive.bind(*inputs, **operation.params)
      several = operation.primitive.multiple_results
      values |= dict(zip(operation.outputs, outputs if several else [outputs], strict=True))
    return [values[one] for one in results]

  for operation in folded:
    for output in operation.outputs:
      output.name = _name(operation)
  # One program for all: to compile a program for every operation takes seconds.
  with _on_cpu():
    for array, value in zip(results, jax.jit(compute)(), strict=True):
      array.value = np.asarray(value)
  return left


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
  """Returns a block in which JAX computes on the CPU, where it may."""
  try:
    return jax.default_device(jax.local_devices(backend="cpu")[0])
  except RuntimeError:  # JAX_PLATFORMS leaves it out
    return contextlib.nullcontext()


def _enlarges(operation: Operation) -> bool:
  """Returns whether it repeats numbers: constants are kept small, and repeated where they are used.

  The size of a batch is not known either.
  """
  if operation.primitive.name != "broadcast_in_dim":
    return False
  (before,), (after,) = operation.inputs, operation.outputs
  return [size for size in before.shape if size != 1] != [size for size in after.shape if size != 1]


def _name(operation: Operation) -> str:
  """Returns a name for what is computed from named constants: that of their layer, and of this."""
  named = next((one.name for one in operation.inputs if one.name), "")
  if operation.primitive.name in _MOVES or not named:
    return named
  return f"{named.rpartition('/')[0]}/{operation.primitive.name}"
