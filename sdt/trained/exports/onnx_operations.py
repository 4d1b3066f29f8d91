"""The operations of JAX that the networks are made of, each in ONNX's (opset 18).

A translation gets the graph, the operation and its inputs as tensors, and returns the result.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sdt.errors import ConfigError
from sdt.trained.exports.flat import Operation
from sdt.trained.exports.onnx_graph import Graph, Order, Tensor
from sdt.trained.exports.onnx_products import product

OPSET = 18

type Translation = Callable[[Graph, Operation, Sequence[Tensor]], Tensor]


class NotTranslatedError(ConfigError):
  """ONNX has no such operation, or we have no translation to it."""

  def __init__(self, what: str):
    super().__init__(
      f"--format=onnx: the network has {what}, which the ONNX writer does not know; use "
      "--format=stablehlo"
    )


def translate(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """Appends the nodes of an operation; returns its result.

  Raises:
    NotTranslatedError: the operation has no translation.
  """
  name = operation.primitive.name
  if name not in OPERATIONS or len(operation.outputs) != 1:
    raise NotTranslatedError(f"the operation {name!r}")
  # Linen begins with the class of the network, which says nothing.
  graph.enter(operation.layer.partition("/")[2])
  if name in _OF_WHOLE:
    shapes = (array.shape for array in operation.inputs)
    inputs = [graph.whole(one, shape) for one, shape in zip(inputs, shapes, strict=True)]
  return OPERATIONS[name](graph, operation, inputs)


class _Alike(NamedTuple):
  """Tensors whose axes stand in one order: their names, the order, and the shape of the result."""

  names: tuple[str, ...]
  order: Order
  shape: tuple[Any, ...]

  def tensor(self, name: str) -> Tensor:
    return Tensor(self.shape, self.order, name)


def _alike(graph: Graph, inputs: Sequence[Tensor]) -> _Alike:
  """Returns the inputs in one order; numbers, which have no axes, are left as they are."""
  rank = max(tensor.rank for tensor in inputs)
  whole = [one for one in inputs if one.rank == rank]
  plain = tuple(range(rank))
  orders = [one.order for one in whole if one.value is None and one.order != plain]
  order = orders[0] if orders else plain
  names = [graph.read(one, order if one.rank == rank else None) for one in inputs]
  sizes = ([one.shape[axis] for one in whole] for axis in plain)
  shape = tuple(next((size for size in some if size != 1), 1) for some in sizes)
  return _Alike(tuple(names), order, shape)


def _elementwise(*kinds: str) -> Translation:
  """Returns the translation to a node of all inputs, and further nodes of its result."""

  def translation(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    del operation
    alike = _alike(graph, inputs)
    names = list(alike.names)
    for kind in kinds:
      names = [graph.add(kind, names)]
    return alike.tensor(names[0])

  return translation


def _same(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  del graph, operation
  return inputs[0]


def _square(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  del operation
  alike = _alike(graph, inputs)
  return alike.tensor(graph.add("Mul", alike.names * 2))


def _power(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  alike = _alike(graph, inputs)
  exponent = graph.weight(np.array(operation.params["y"], operation.outputs[0].dtype), "exponent")
  return alike.tensor(graph.add("Pow", [*alike.names, exponent]))


def _expm1(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """Exp(x) - 1, which is exact to 1e-7, not to the last bit of a small x."""
  alike = _alike(graph, inputs)
  one = graph.weight(np.ones((), operation.outputs[0].dtype), "one")
  return alike.tensor(graph.add("Sub", [graph.add("Exp", alike.names), one]))


def _erfc(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """1 - Erf(x), which is exact to 1e-7, not to the last bit of a large x."""
  alike = _alike(graph, inputs)
  one = graph.weight(np.ones((), operation.outputs[0].dtype), "one")
  return alike.tensor(graph.add("Sub", [one, graph.add("Erf", alike.names)]))


def _cast(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  import onnx

  alike = _alike(graph, inputs)
  kind = onnx.helper.np_dtype_to_tensor_dtype(operation.outputs[0].dtype)
  return alike.tensor(graph.add("Cast", alike.names, to=kind))


def _select(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  if len(inputs) != 3 or operation.inputs[0].dtype != np.bool_:
    raise NotTranslatedError("a choice among more than two")
  alike = _alike(graph, inputs)
  which, if_false, if_true = alike.names  # JAX's order
  return alike.tensor(graph.add("Where", [which, if_true, if_false]))


def _made(operation: Operation, name: str, order: Order) -> Tensor:
  """Returns the result of a node that has the shape of JAX's."""
  return Tensor(operation.outputs[0].shape, order, name)


def _reshape(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  (tensor,), shape = inputs, operation.outputs[0].shape
  if operation.params.get("dimensions") is not None:
    raise NotTranslatedError("a reshape that reorders")
  parts = _split_axes(tensor.shape, shape)
  if parts is None or tensor.value is not None:
    order, name = tuple(range(len(shape))), graph.read(tensor)
  else:
    # Axes are only split: the parts take the place of their axis, in whatever order it stands.
    order, name = tuple(part for axis in tensor.order for part in parts[axis]), tensor.name
  return _made(operation, _reshaped(graph, name, [shape[axis] for axis in order]), order)


def _reshaped(graph: Graph, name: str, shape: Sequence[Any]) -> str:
  """Returns the name of a tensor of this shape, of which one size may be a symbol."""
  sizes = [size if isinstance(size, int) else -1 for size in shape]
  return graph.add("Reshape", [name, graph.number(*sizes)])


def _split_axes(before: Sequence[Any], after: Sequence[Any]) -> list[list[int]] | None:
  """Returns for each axis the axes that it becomes, if every one is split alone; else None."""
  parts: list[list[int]] = []
  place = 0
  for size in before:
    inside = [place]
    while place < len(after) and math.prod(after[axis] for axis in inside) != size:
      place += 1
      inside.append(place)
    if place >= len(after):
      return None
    parts.append(inside)
    place += 1
  return parts if place == len(after) else None


def _broadcast(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """The input with axes of size 1 added: whoever reads the result repeats it, as ONNX does."""
  (tensor,), out_shape = inputs, operation.outputs[0].shape
  shape: list[Any] = [1] * len(out_shape)
  for axis, place in enumerate(operation.params["broadcast_dimensions"]):
    shape[place] = tensor.shape[axis]
  order = tuple(range(len(shape)))
  if tensor.value is not None:
    return Tensor(tuple(shape), order, tensor.name, value=tensor.value.reshape(shape))
  name = _reshaped(graph, graph.read(tensor), shape)
  return Tensor(tuple(shape), order, name)


def _squeeze(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  return _without_axes(
    graph, operation, inputs, kind="Squeeze", axes=operation.params["dimensions"]
  )


def _reduce(kind: str) -> Translation:
  def translation(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    return _without_axes(graph, operation, inputs, kind=kind, axes=operation.params["axes"])

  return translation


def _without_axes(
  graph: Graph,
  operation: Operation,
  inputs: Sequence[Tensor],
  *,
  kind: str,
  axes: Sequence[int],
) -> Tensor:
  """Returns the result of a node that takes axes away."""
  (tensor,) = inputs
  order = tensor.order
  name = graph.read(tensor, order)
  places = graph.number(*sorted(tensor.place_of(axis) for axis in axes))
  options = {} if kind == "Squeeze" else {"keepdims": 0}
  kept = sorted(set(order) - set(axes))
  new = tuple(kept.index(axis) for axis in order if axis in kept)
  return _made(operation, graph.add(kind, [name, places], **options), new)


def _transpose(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """Only the order changes: the node comes where it is needed."""
  (tensor,), permutation = inputs, operation.params["permutation"]
  del graph
  order = tuple(permutation.index(axis) for axis in tensor.order)
  shape = tuple(tensor.shape[axis] for axis in permutation)
  return dataclasses.replace(tensor, shape=shape, order=order)


def _concatenate(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  alike = _alike(graph, inputs)
  axis = alike.order.index(operation.params["dimension"])
  return _made(operation, graph.add("Concat", alike.names, axis=axis), alike.order)


def _slice(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  (tensor,), params = inputs, operation.params
  steps = params["strides"] or (1,) * tensor.rank
  bounds = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
  cut = {axis: one for axis, one in enumerate(bounds) if one != (0, tensor.shape[axis], 1)}
  if not cut:
    return tensor
  places = {tensor.place_of(axis): bound for axis, bound in cut.items()}
  starts, stops, strides = zip(*places.values(), strict=True)
  numbers = [graph.number(*part) for part in (starts, stops, places, strides)]
  name = graph.read(tensor, tensor.order)
  return _made(operation, graph.add("Slice", [name, *numbers]), tensor.order)


def _pad(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  tensor, value = inputs
  config = [operation.params["padding_config"][axis] for axis in tensor.order]
  if any(inside or min(low, high) < 0 for low, high, inside in config):
    raise NotTranslatedError("a padding that is negative or inside")
  sides = graph.number(*(low for low, _, _ in config), *(high for _, high, _ in config))
  name = graph.add("Pad", [graph.read(tensor, tensor.order), sides, graph.read(value)])
  return _made(operation, name, tensor.order)


def _convolution(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  (images, kernel), params = inputs, operation.params
  numbers = params["dimension_numbers"]
  if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
    raise NotTranslatedError("a convolution of spread images, or of groups of examples")
  lows, highs = zip(*params["padding"], strict=True)
  if min(*lows, *highs) < 0:
    raise NotTranslatedError("a convolution with negative padding")
  name = graph.add(
    "Conv",
    [graph.read(images, tuple(numbers.lhs_spec)), graph.read(kernel, tuple(numbers.rhs_spec))],
    strides=params["window_strides"],
    pads=[*lows, *highs],
    dilations=params["rhs_dilation"],
    group=params["feature_group_count"],
  )
  return _made(operation, name, tuple(numbers.out_spec))


def _gather(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """The entries of one axis at constant places, as `jnp.take` has them."""
  (tensor, places), numbers = inputs, operation.params["dimension_numbers"]
  axes = numbers.start_index_map
  others = tuple(axis for axis in range(tensor.rank) if axis not in axes)
  is_one_axis = len(axes) == 1 and places.rank == 2 and numbers.collapsed_slice_dims == axes
  if places.value is None or not is_one_axis or numbers.offset_dims != others:
    raise NotTranslatedError("a choice of other than whole rows at constant places")
  name = graph.add(
    "Gather",
    [graph.read(tensor, tensor.order), graph.number(*places.value[:, 0].tolist())],
    axis=tensor.place_of(axes[0]),
  )
  return _made(operation, name, tensor.order)


def _max_pool(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  return _pool(graph, operation, inputs, kind="MaxPool")


def _window_sum(graph: Graph, operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
  """The mean over windows times their size."""
  mean = _pool(graph, operation, inputs, kind="AveragePool", count_include_pad=1)
  size = np.array(math.prod(operation.params["window_dimensions"]), operation.outputs[0].dtype)
  name = graph.add("Mul", [mean.name, graph.weight(size, "window")])
  return dataclasses.replace(mean, name=name)


def _pool(
  graph: Graph, operation: Operation, inputs: Sequence[Tensor], kind: str, **more: int
) -> Tensor:
  (tensor,), params = inputs, operation.params
  names = ("window_dimensions", "window_strides", "padding", "window_dilation")
  forms = list(zip(*(params[name] for name in names), strict=True))
  still = [axis for axis, form in enumerate(forms) if form == (1, 1, (0, 0), 1)]
  if len(still) < 2 or set(params["base_dilation"]) != {1}:
    raise NotTranslatedError("windows of examples or channels")
  first = (still[0], still[-1])
  order = (*first, *(axis for axis in range(tensor.rank) if axis not in first))
  sizes, strides, pads, dilations = zip(*(forms[axis] for axis in order[2:]), strict=True)
  options = {"kernel_shape": sizes, "strides": strides, **more}
  if kind == "MaxPool":
    options["dilations"] = dilations
  elif set(dilations) != {1}:
    raise NotTranslatedError("a sum over windows with holes")
  lows, highs = zip(*pads, strict=True)
  name = graph.add(kind, [graph.read(tensor, order)], pads=[*lows, *highs], **options)
  return _made(operation, name, order)


# These need every number of their inputs; all others, as ONNX's, repeat an axis of size 1.
_OF_WHOLE = (
  "concatenate",
  "conv_general_dilated",
  "dot_general",
  "gather",
  "pad",
  "reduce_max",
  "reduce_sum",
  "reduce_window_max",
  "reduce_window_sum",
  "reshape",
  "slice",
  "squeeze",
)

# One line for each primitive of JAX.
OPERATIONS: Mapping[str, Translation] = {
  "add": _elementwise("Add"),
  "broadcast_in_dim": _broadcast,
  "concatenate": _concatenate,
  "conv_general_dilated": _convolution,
  "convert_element_type": _cast,
  "copy": _same,
  "div": _elementwise("Div"),
  "dot_general": product,
  "erf": _elementwise("Erf"),
  "erfc": _erfc,
  "exp": _elementwise("Exp"),
  "expm1": _expm1,
  "gather": _gather,
  "ge": _elementwise("GreaterOrEqual"),
  "gt": _elementwise("Greater"),
  "integer_pow": _power,
  "le": _elementwise("LessOrEqual"),
  "log": _elementwise("Log"),
  "logistic": _elementwise("Sigmoid"),
  "lt": _elementwise("Less"),
  "max": _elementwise("Max"),
  "min": _elementwise("Min"),
  "mul": _elementwise("Mul"),
  "neg": _elementwise("Neg"),
  "pad": _pad,
  "reduce_max": _reduce("ReduceMax"),
  "reduce_sum": _reduce("ReduceSum"),
  "reduce_window_max": _max_pool,
  "reduce_window_sum": _window_sum,
  "reshape": _reshape,
  "rsqrt": _elementwise("Sqrt", "Reciprocal"),
  "select_n": _select,
  "slice": _slice,
  "sqrt": _elementwise("Sqrt"),
  "square": _square,
  "squeeze": _squeeze,
  "stop_gradient": _same,
  "sub": _elementwise("Sub"),
  "tanh": _elementwise("Tanh"),
  "transpose": _transpose,
}
