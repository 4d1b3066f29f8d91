"""Each operation of JAX that the ONNX writer knows, computed by onnxruntime and by JAX."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import lax

from sdt.trained.exports.flat import trace
from sdt.trained.exports.onnx_file import onnx_of
from sdt.trained.exports.onnx_operations import OPERATIONS, NotTranslatedError

SHAPE = (4, 6, 3)
KERNEL = np.linspace(-1, 1, 3 * 3 * 3 * 5, dtype=np.float32).reshape(3, 3, 3, 5)
BY_CHANNEL = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x, **options):
  options = {"window_strides": (1, 1), "padding": "SAME"} | options
  return lax.conv_general_dilated(x, KERNEL, dimension_numbers=LAYOUT, **options)


def repeated(x):
  return jnp.broadcast_to(x.mean((1, 2))[:, None, None, :], (x.shape[0], 1, 6, 3))


# Each is a function of x [B, 4, 6, 3], with numbers between -3 and 3.
CASES = {
  "numbers of all kinds": lambda x: (x + 1.5) * x - x / 3.0,
  "exponentials": lambda x: jnp.exp(x) + jnp.tanh(x) + jnp.expm1(x) + jax.nn.sigmoid(x),
  "error functions": lambda x: lax.erf(x) + lax.erfc(-x),
  "roots": lambda x: lax.rsqrt(x * x + 0.1) + jnp.sqrt(lax.max(x, -x)) + lax.log(x**2 + 1),
  "a copy": lambda x: lax.copy_p.bind(x) * 2,
  "powers": lambda x: x**3 + jnp.square(x) + x**-2,
  "choices": lambda x: jnp.where(x > 0.5, x, jnp.where(x < -0.5, -x, jnp.where(x >= 0, x, 0.25))),
  "a limit": lambda x: lax.min(lax.max(x, -1.0), 1.0) + jnp.where(x <= 0.2, 1.0, 2.0),
  "a sum and a maximum over axes": lambda x: x.sum((1, 3)) + x.max((1, 3)),
  "a convolution with stride": lambda x: conv(x, window_strides=(2, 1), padding=((0, 2), (1, 0))),
  "a convolution with holes": lambda x: conv(x, rhs_dilation=(1, 2)),
  "a convolution in groups": lambda x: lax.conv_general_dilated(
    x, KERNEL[:, :, :1, :3], (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=3
  ),
  "a convolution of channels first": lambda x: lax.conv_general_dilated(
    x.transpose(0, 3, 1, 2), KERNEL.transpose(3, 2, 0, 1), (1, 1), "SAME"
  ),
  "numbers by channel after a convolution": lambda x: (
    conv(x) * np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
    + conv(x).mean((1, 2), keepdims=True)
  ),
  "a maximum over windows": lambda x: lax.reduce_window(
    x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
  ),
  "a sum over windows": lambda x: lax.reduce_window(
    x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
  ),
  "rows at constant places after a convolution": lambda x: jnp.take(
    conv(x), np.array([0, 2, 3]), 1, mode="clip"
  ),
  "a mean over windows after a convolution": lambda x: (
    conv(x).reshape(x.shape[0], 2, 2, 3, 2, 5).mean((2, 4))
  ),
  "a reshape that joins axes after a convolution": lambda x: conv(x).reshape(x.shape[0], -1),
  "a reshape that splits channels": lambda x: x.reshape(x.shape[0], 1, 4, 6, 3, 1).max(4),
  "axes that come and go": lambda x: (
    jnp.squeeze(x[..., None, :] * 2, -2)[:, None, :, :, :]
    .transpose(0, 4, 3, 2, 1)
    .astype(jnp.float32)
  ),
  "a cut after a convolution": lambda x: lax.slice(
    conv(x), (0, 1, 0, 2), (x.shape[0], 4, 5, 5), (1, 1, 2, 1)
  ),
  "a cut of nothing": lambda x: lax.slice(x, (0, 0, 0, 0), x.shape),
  "a border after a convolution": lambda x: jnp.pad(
    conv(x), ((0, 0), (1, 0), (0, 2), (0, 1)), constant_values=2
  ),
  "parts side by side": lambda x: jnp.concatenate(
    [conv(x), x, lax.slice_in_dim(conv(x), 0, 2, axis=3) * 2], -1
  ),
  "a number repeated beside a part": lambda x: jnp.concatenate(
    [x, jnp.broadcast_to(jnp.float32(0.5), (x.shape[0], 4, 6, 2))], -1
  ),
  "a part of the input repeated": lambda x: jnp.concatenate(
    [x, jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)], 1
  ),
  "a repeated part without an axis": lambda x: jnp.squeeze(repeated(x), 1).sum(1),
  "repeated parts without an axis side by side": lambda x: jnp.concatenate(
    [jnp.squeeze(repeated(x), 1), jnp.squeeze(repeated(x * 2), 1)], 1
  ),
  "a repeated part, turned, without an axis": lambda x: jnp.squeeze(
    repeated(x).transpose(0, 2, 3, 1), 3
  ).sum(1),
  "a repeated part at the end": lambda x: jnp.broadcast_to(
    x.mean((1, 2), keepdims=True), (x.shape[0], 4, 6, 3)
  ),
  "a number for every example at the end": lambda x: jnp.full((x.shape[0], 2), 0.5, jnp.float32),
  "a repeated part turned at the end": lambda x: repeated(x).transpose(0, 3, 2, 1),
  "a product of matrices": lambda x: lax.dot_general(x, KERNEL[0, 0], (((3,), (0,)), ((), ()))),
  "a product over the second axis": lambda x: lax.dot_general(
    conv(x), KERNEL[0, 0], (((3,), (1,)), ((), ()))
  ),
  "a product of each example": lambda x: jnp.einsum("bijc,bkjc->bik", x, 2 - x),
  "a product of each example in parts, after a convolution": lambda x: jnp.einsum(
    "biqh,bikh->bhqki", conv(x), x[..., :1] * np.ones(5, np.float32).reshape(1, 1, 1, 5)
  ),
  "a softmax": lambda x: jax.nn.softmax(x, axis=2),
}


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_computes_what_jax_computes(case):
  (batch,) = jax.export.symbolic_shape("batch")
  like = jax.ShapeDtypeStruct((batch, *SHAPE), jnp.float32)
  proto = onnx_of(lambda constants, x: CASES[case](x), {}, like)
  onnx.checker.check_model(proto, full_check=True)
  session = onnxruntime.InferenceSession(proto.SerializeToString())
  for num in (1, 4):  # four is the height too
    x = np.random.default_rng(num).uniform(-3, 3, (num, *SHAPE)).astype(np.float32)
    (found,) = session.run(None, {"inputs": x})
    expected = np.asarray(CASES[case](x))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_every_operation_of_the_table_is_in_one_of_the_cases():
  (batch,) = jax.export.symbolic_shape("batch")
  like = jax.ShapeDtypeStruct((batch, *SHAPE), jnp.float32)
  found = set()
  for case in CASES.values():
    program = trace(lambda constants, x, case=case: case(x), {}, like)
    found |= {operation.primitive.name for operation in program.operations}
  assert sorted(OPERATIONS.keys() - found) == []


@pytest.mark.parametrize(
  ("function", "what"),
  [
    (jnp.sin, "the operation 'sin'"),
    (lambda x: jnp.sort(x, 1), "the operation 'sort'"),
    (lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-1, 0, 0), (0, 0, 0), (0, 0, 0))), "negative"),
    (lambda x: conv(x, padding=((-1, 0), (0, 0))), "negative padding"),
    (lambda x: conv(x, lhs_dilation=(2, 2), padding=((1, 1), (1, 1))), "spread images"),
    (lambda x: jnp.take(x, x.sum((0, 1, 2)).astype(int), 1, mode="clip"), "whole rows at constant"),
  ],
)
def test_what_has_no_translation_is_refused_with_what_would_do(function, what):
  (batch,) = jax.export.symbolic_shape("batch")
  like = jax.ShapeDtypeStruct((batch, *SHAPE), jnp.float32)
  with pytest.raises(NotTranslatedError, match=f"{what}.*; use --format=stablehlo"):
    onnx_of(lambda constants, x: function(x), {}, like)


def test_what_depends_on_weights_alone_is_computed_once_and_named_after_them():
  (batch,) = jax.export.symbolic_shape("batch")
  like = jax.ShapeDtypeStruct((batch, *SHAPE), jnp.float32)
  weights = {"norm": {"scale": np.arange(3, dtype=np.float32), "var": np.ones(3, np.float32)}}

  def function(constants, x):
    norm = constants["norm"]
    return x * (norm["scale"] * lax.rsqrt(norm["var"] + 3.0)).reshape(1, 1, 1, 3)

  program = trace(function, weights, like)
  (operation,) = program.operations
  factor = operation.inputs[1]
  assert (operation.primitive.name, factor.name) == ("mul", "norm/mul")
  np.testing.assert_array_equal(factor.value.ravel(), [0, 0.5, 1])
