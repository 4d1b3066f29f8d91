"""The export to ONNX: the network for onnxruntime and all that reads ONNX."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import jax

import sdt
from sdt import files, packages
from sdt.errors import ConfigError
from sdt.trained.exports.flat import trace
from sdt.trained.exports.forward import batch_of, constants_of, forward
from sdt.trained.exports.onnx_graph import Graph, Tensor
from sdt.trained.exports.onnx_operations import OPSET, translate
from sdt.trained.model import Model
from sdt.types import PyTree

if TYPE_CHECKING:
  import onnx

INPUT, OUTPUT = "inputs", "logits"
# The version of the file's form that came with the opset.
_IR_VERSION = 8
_MAX_BYTES = 2**31 - 1
# As in pyproject.toml.
_LEAST = (1, 19)


def check(model: Model) -> None:
  """Raises a ConfigError unless the package onnx is installed, and new enough."""
  del model
  packages.require("onnx", _LEAST, "--format=onnx", instead="use --format=stablehlo")


def content(model: Model) -> bytes:
  """Returns the ONNX file of a network: logits [batch, K] of inputs [batch, ...].

  Raises:
    ConfigError: the network has an operation that the writer does not know, or the file would be
      larger than ONNX allows.
  """
  import onnx

  function = functools.partial(forward, model)
  proto = onnx_of(function, constants_of(model), batch_of(model))
  onnx.helper.set_model_props(proto, _metadata(model))
  num_bytes = proto.ByteSize()
  if num_bytes > _MAX_BYTES:
    raise ConfigError(
      f"--format=onnx: the file would have {num_bytes} bytes, and ONNX allows {_MAX_BYTES}; use "
      "--format=stablehlo"
    )
  onnx.checker.check_model(proto, full_check=True)
  return proto.SerializeToString(deterministic=True)


def onnx_of(
  function: Callable[[PyTree, jax.Array], jax.Array], constants: PyTree, like: jax.ShapeDtypeStruct
) -> "onnx.ModelProto":
  """Returns the ONNX model of `function(constants, inputs)`, a function of JAX.

  Args:
    function: traced; returns one array.
    constants: a tree of arrays, whose paths become the names of the weights.
    like: shape and type of the inputs; the first size may be a symbol.

  Raises:
    NotTranslatedError: it has an operation that the writer does not know.
  """
  from onnx import helper, numpy_helper

  program = trace(function, constants, like)
  graph = Graph(INPUT)
  places = tuple(range(len(like.shape)))
  tensors = {program.input: Tensor(program.input.shape, places, INPUT)}
  for operation in program.operations:
    inputs = [tensors.get(one) or graph.constant(one) for one in operation.inputs]
    tensors[operation.outputs[0]] = translate(graph, operation, inputs)
  output = tensors.get(program.output) or graph.constant(program.output)
  last = graph.read(graph.whole(output, program.output.shape))
  graph.nodes.append(helper.make_node("Identity", [last], [OUTPUT], OUTPUT))
  described = [
    helper.make_tensor_value_info(
      name,
      helper.np_dtype_to_tensor_dtype(array.dtype),
      [size if isinstance(size, int) else str(size) for size in array.shape],
    )
    for name, array in ((INPUT, program.input), (OUTPUT, program.output))
  ]
  weights = [numpy_helper.from_array(value, name) for name, value in graph.weights.items()]
  return helper.make_model(
    helper.make_graph(graph.nodes, "network", described[:1], described[1:], weights),
    opset_imports=[helper.make_opsetid("", OPSET)],
    ir_version=_IR_VERSION,
    producer_name="sdt",
    producer_version=sdt.__version__,
  )


def _metadata(model: Model) -> Mapping[str, str]:
  """Returns what the file says of itself, JSON where it is no plain text."""
  said = {
    "class_names": model.class_names,
    "input_shape": model.input_shape,
    "normalisation": {"mean": model.mean, "std": model.std}
    if model.is_plainly_normalised
    else model.config.data.normalise,
    "seed": model.seed,
  }
  plain = {"arm": model.arm, "network": model.config.model.name, "sha256_of_weights": model.digest}
  return plain | {key: files.json_text(value, indent=None) for key, value in said.items()}
