"""An ONNX graph under construction: its nodes, its weights, and the order of axes of each tensor.

JAX's images are [B, H, W, C], ONNX convolves [B, C, H, W]. A tensor is kept in the order in which
it was made until an operation needs another, so that a network turns its images once.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sdt.trained.exports.flat import Array

type Order = tuple[int, ...]

# Weights of at most so many numbers that are alike are kept once.
_SMALL = 64


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor of the graph, or a constant that the graph may still take in.

  Attributes:
    shape: in the order of JAX's axes. A size of 1 may stand for any: ONNX repeats it.
    order: axis i of the graph's tensor is axis `order[i]` of JAX's.
    name: in the graph; of a constant, the name that it will have.
    value: of a constant, in the order of JAX's axes.
  """

  shape: tuple[Any, ...]
  order: Order
  name: str
  value: Shaped[np.ndarray, "..."] | None = None

  @property
  def rank(self) -> int:
    return len(self.shape)

  def place_of(self, axis: int) -> int:
    """Returns where an axis of JAX's array stands in the graph's tensor."""
    return self.order.index(axis)


class Graph:
  """Nodes and weights of a graph, in order.

  Args:
    name: of its input, whose first size is the one that may be unknown.
  """

  def __init__(self, name: str) -> None:
    self._input = name
    self.nodes: list[Any] = []
    self.weights: dict[str, Shaped[np.ndarray, ...]] = {}
    self._small: dict[Hashable, str] = {}
    self._turned: dict[tuple[str, Order], Tensor] = {}
    self._names: set[str] = set()
    self._layer = ""

  def enter(self, layer: str) -> None:
    """Names the nodes to come after a layer of the network, such as stage1_block1/conv1."""
    self._layer = layer

  def add(self, kind: str, inputs: Sequence[str], **attributes: object) -> str:
    """Appends a node of one output; returns the name of the output."""
    import onnx

    name = self.unused("/".join(filter(None, (self._layer, kind))))
    self.nodes.append(onnx.helper.make_node(kind, list(inputs), [name], name, **attributes))
    return name

  def number(self, *values: int) -> str:
    """Returns the name of a weight that holds these integers, int64 [n]."""
    return self.weight(np.array(values, np.int64), "integers")

  def weight(self, value: Shaped[np.ndarray, "..."], name: str) -> str:
    """Returns the name of a weight of this value; a small one of both is kept once."""
    name, key = name or "constant", None
    if value.size <= _SMALL:
      key = (name, value.dtype.str, value.shape, value.tobytes())
    if key not in self._small:
      free = self.unused(name)
      self.weights[free] = np.ascontiguousarray(value).reshape(value.shape)
      if key is None:
        return free
      self._small[key] = free
    return self._small[key]

  def constant(self, array: Array) -> Tensor:
    """Returns a constant of the program, which becomes a weight once a node reads it."""
    return Tensor(array.shape, tuple(range(len(array.shape))), array.name, value=array.value)

  def read(self, tensor: Tensor, order: Order | None = None) -> str:
    """Returns the name of a tensor whose axes stand in this order, by default in JAX's."""
    order = tuple(range(tensor.rank)) if order is None else order
    if tensor.value is not None:
      return self.weight(tensor.value.transpose(order), tensor.name)
    return self.turned(tensor, order).name

  def turned(self, tensor: Tensor, order: Order) -> Tensor:
    """Returns the tensor with its axes in this order; the same node serves all who ask."""
    if tensor.order == order:
      return tensor
    key = (tensor.name, order)
    if key not in self._turned:
      places = [tensor.place_of(axis) for axis in order]
      name = self.add("Transpose", [tensor.name], perm=places)
      self._turned[key] = dataclasses.replace(tensor, order=order, name=name)
    return self._turned[key]

  def whole(self, tensor: Tensor, shape: Sequence[Any]) -> Tensor:
    """Returns the tensor with all numbers of this shape, where an axis of size 1 stood for more."""
    if tuple(tensor.shape) == tuple(shape):
      return tensor
    # The number of examples is known only when the graph runs.
    sizes = [
      self.number(size)
      if isinstance(size, int)
      else self.add("Shape", [self._input], start=0, end=1)
      for size in shape
    ]
    name = self.add("Expand", [self.read(tensor), self.add("Concat", sizes, axis=0)])
    return Tensor(tuple(shape), tuple(range(len(shape))), name)

  def unused(self, name: str) -> str:
    """Returns `name`, with a number where it is taken."""
    number, free = 1, name
    while free in self._names:
      number += 1
      free = f"{name}_{number}"
    self._names.add(free)
    return free
