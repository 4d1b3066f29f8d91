"""Products of arrays in ONNX: of an array and a matrix, and of batches of arrays."""

import string
from collections.abc import Sequence

from sdt.trained.exports.flat import Operation
from sdt.trained.exports.onnx_graph import Graph, Tensor


def product(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """Appends the node of a `dot_general` of JAX; returns its result.

  That is MatMul where the right one is a matrix, and Einsum elsewhere.
  """
  (left, right) = inputs
  (of_left, of_right), batch = operation.params["dimension_numbers"]
  if len(of_left) != 1 or any(batch) or right.rank != 2:
    name = _einsum(graph, operation, inputs)
  else:
    kept = [axis for axis in range(left.rank) if axis != of_left[0]]
    rows = graph.read(left, (*kept, of_left[0]))
    columns = graph.read(right, (of_right[0], 1 - of_right[0]))
    name = graph.add("MatMul", [rows, columns])
  shape = operation.outputs[0].shape
  return Tensor(shape, tuple(range(len(shape))), name)


def _einsum(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> str:
  """Appends the sum over the axes that both have; returns its name.

  The result has the axes of the batch, then the others of the left one, then those of the right.
  """
  (left, right) = inputs
  (of_left, of_right), (batch_left, batch_right) = operation.params["dimension_numbers"]
  first, others = string.ascii_lowercase[: left.rank], string.ascii_uppercase
  same = dict(zip((*of_right, *batch_right), (*of_left, *batch_left), strict=True))
  second = [first[same[axis]] if axis in same else others[axis] for axis in range(right.rank)]
  kept = [first[axis] for axis in range(left.rank) if axis not in (*of_left, *batch_left)]
  kept += [second[axis] for axis in range(right.rank) if axis not in same]
  result = "".join([*(first[axis] for axis in batch_left), *kept])
  equation = f"{first},{''.join(second)}->{result}"
  return graph.add("Einsum", [graph.read(one) for one in inputs], equation=equation)
