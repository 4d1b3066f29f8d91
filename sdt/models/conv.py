"""The convolution of every network, which stays fast in loops and under `vmap`.

Its mathematics are ordinary. It avoids two slow forms of XLA:

- On a CPU, the convolutions in the body of a loop reach the fast kernels only in the canonical
  order (NHWC, HWIO, NHWC). The gradient of `lax.conv_general_dilated` has other orders. Here the
  backward pass transposes explicitly (`conv_cpu.py`); on other platforms it is lax's own.
- `vmap` over both images and kernels makes a grouped convolution, which is slow everywhere. Here a
  batch of images with one kernel becomes one larger batch. A few (images, kernel) pairs, the
  replicas of a run, become as many ordinary convolutions.

Reverse mode only: `jax.jvp` and gradients of gradients raise. For those use
`jax.lax.conv_general_dilated`.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from sdt.arrays import AnyArray
from sdt.devices.layout import divides_batches
from sdt.models import conv_cpu
from sdt.models.conv_cpu import LAYOUT, Pads, Pair

type Op = Callable[[jax.Array, jax.Array], jax.Array]

# So many (images, kernel) pairs become separate convolutions. More of them (gradients of single
# examples) would make the program too long.
MAX_UNROLLED = 16

_IS_PLAIN = contextvars.ContextVar("is_plain", default=False)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
  """Within it a network is traced with lax's own convolutions and without barriers.

  The program then is the same on all platforms and for any number of images: it is for exports. The
  function that is traced must be a new one, as JAX keeps the traces of those that it has seen.
  """
  token = _IS_PLAIN.set(True)
  try:
    yield
  finally:
    _IS_PLAIN.reset(token)


def conv2d(
  x: Float[AnyArray, "..."],
  kernel: Float[AnyArray, "..."],
  stride: int | Sequence[int] = 1,
  padding: str | int | Sequence[Sequence[int]] = "SAME",
) -> Float[Array, "B h w O"]:
  """Returns y[b,i,j,o] = sum over u, v, c of x[b, i*s+u-p, j*s+v-p, c] * kernel[u,v,c,o].

  This is the cross-correlation; x is zero outside the image.

  Args:
    x: [B, H, W, C], a floating type.
    kernel: [kh, kw, C, O], the same type.
    stride: of both axes, or (rows, columns).
    padding: "SAME", "VALID", a number of zeros for every side, or ((top, bottom), (left, right));
      0 or more.

  Returns:
    [B, H', W', O] of the same type, H' = floor((H + top + bottom - kh) / stride) + 1.

  Raises:
    ValueError: shapes or types disagree, or the padding is negative.

  Source: the definition of every deep-learning library.
  Differs from source: gradients agree with lax's to rounding (1e-5), not bit for bit; reverse mode
  only.
  """
  if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2] or x.dtype != kernel.dtype:
    raise ValueError(
      f"conv2d needs x [B,H,W,C] and kernel [kh,kw,C,O] of one type, got {x.shape} {x.dtype} and "
      f"{kernel.shape} {kernel.dtype}"
    )
  strides = _pair(stride)
  sizes, kernel_sizes = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
  pads = _explicit_pads(padding, sizes, kernel_sizes, strides=strides)
  geometry = _Geometry(sizes, kernel_sizes, strides, pads=pads, in_parts=not divides_batches())
  conv = _lax_forward(geometry) if _IS_PLAIN.get() else _make_conv(geometry)
  return conv(jnp.asarray(x), jnp.asarray(kernel))


def precision_of(dtype: DTypeLike) -> lax.Precision | None:
  """Returns the precision to ask of products of this type, so that float32 means float32.

  By default a TPU multiplies float32 in passes of bfloat16 and an NVIDIA GPU in TF32. On a CPU it
  changes nothing.
  """
  return lax.Precision.HIGHEST if dtype == jnp.float32 else None


def barrier(x: Shaped[AnyArray, "*shape"]) -> Shaped[Array, "*shape"]:
  """Returns x; on a CPU, XLA does not fuse operations across this point, forward or backward.

  Without it XLA:CPU merges BatchNorm and activation into the transposes that feed the convolutions
  of the backward pass, and computes them several times: a third of a training step. Other platforms
  have no barrier.
  """
  return jnp.asarray(x) if _IS_PLAIN.get() else _barrier(x)


@jax.custom_vjp
def _barrier(x: AnyArray) -> jax.Array:
  return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=_same)


def _barrier_forward(x: jax.Array) -> tuple[jax.Array, None]:
  return _barrier(x), None


def _barrier_backward(_: None, dy: jax.Array) -> tuple[jax.Array]:
  return (_barrier(dy),)


_barrier.defvjp(_barrier_forward, _barrier_backward)


def _same(x: jax.Array) -> jax.Array:
  return x


def _pair(value: int | Sequence[int]) -> Pair:
  if isinstance(value, int):
    return (value, value)
  first, second = value
  return (first, second)


def _explicit_pads(
  padding: str | int | Sequence[Sequence[int]], sizes: Pair, kernel_sizes: Pair, strides: Pair
) -> Pads:
  sides: Sequence[Sequence[int]]
  if isinstance(padding, str):
    sides = lax.padtype_to_pads(sizes, kernel_sizes, strides, padding)
  elif isinstance(padding, int):
    sides = ((padding, padding), (padding, padding))
  else:
    sides = padding
  (top, bottom), (left, right) = sides
  if min(top, bottom, left, right) < 0:
    raise ValueError(f"conv2d needs padding of 0 or more, got {sides}")
  return (int(top), int(bottom)), (int(left), int(right))


@dataclasses.dataclass(frozen=True)
class _Geometry:
  """The sizes of a convolution, each (rows, columns), and its padding.

  `in_parts` says whether the kernel's gradient may go through a large batch in parts.
  """

  sizes: Pair
  kernel_sizes: Pair
  strides: Pair
  pads: Pads
  in_parts: bool


@functools.cache
def _make_conv(geometry: _Geometry) -> Op:
  """Returns conv(x, kernel) for images and kernels of these sizes, with gradient and batching."""
  plain_forward, plain_input_gradient, plain_kernel_gradient = _plain_parts(geometry)
  forward = _with_batching(plain_forward, fold_first=True)
  input_gradient = _with_batching(plain_input_gradient, fold_first=True)
  kernel_gradient = _with_batching(plain_kernel_gradient, fold_first=False)

  @jax.custom_vjp
  def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return forward(x, kernel)

  def conv_forward(
    x: jax.Array, kernel: jax.Array
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return forward(x, kernel), (x, kernel)

  def conv_backward(
    saved: tuple[jax.Array, jax.Array], dy: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return input_gradient(dy, kernel), kernel_gradient(x, dy)

  conv.defvjp(conv_forward, conv_backward)
  return conv


def _lax_forward(geometry: _Geometry) -> Op:
  """Returns y(x, kernel) in lax's one operation."""

  def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
    precision, of_geometry = precision_of(x.dtype), (geometry.strides, geometry.pads)
    return lax.conv_general_dilated(
      x, kernel, *of_geometry, dimension_numbers=LAYOUT, precision=precision
    )

  return forward


def _plain_parts(geometry: _Geometry) -> tuple[Op, Op, Op]:
  """Returns y(x, kernel), dL/dx(dy, kernel) and dL/dkernel(x, dy), in the platform's fast form."""
  strides, pads, lax_forward = geometry.strides, geometry.pads, _lax_forward(geometry)
  of_input, of_kernel = {"sizes": geometry.sizes}, {"kernel_sizes": geometry.kernel_sizes}

  def lax_input_gradient(dy: jax.Array, kernel: jax.Array) -> jax.Array:
    x = jax.ShapeDtypeStruct((dy.shape[0], *geometry.sizes, kernel.shape[2]), dy.dtype)
    return jax.linear_transpose(lambda x: lax_forward(x, kernel), x)(dy)[0]

  def lax_kernel_gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
    kernel = jax.ShapeDtypeStruct((*geometry.kernel_sizes, x.shape[3], dy.shape[3]), x.dtype)
    return jax.linear_transpose(lambda kernel: lax_forward(x, kernel), kernel)(dy)[0]

  def of_platform(cpu: Callable[..., jax.Array], default: Op, **static: Pair) -> Op:
    on_cpu = functools.partial(cpu, strides=strides, pads=pads, **static)
    return lambda first, second: lax.platform_dependent(first, second, cpu=on_cpu, default=default)

  if conv_cpu.is_small(geometry.sizes, geometry.kernel_sizes):
    return (
      of_platform(conv_cpu.small_forward, lax_forward),
      of_platform(conv_cpu.small_input_gradient, lax_input_gradient, **of_input),
      of_platform(conv_cpu.small_kernel_gradient, lax_kernel_gradient, **of_kernel),
    )
  kernel_gradient = functools.partial(conv_cpu.kernel_gradient, in_parts=geometry.in_parts)
  return (
    lax_forward,
    of_platform(conv_cpu.input_gradient, lax_input_gradient, **of_input),
    of_platform(kernel_gradient, lax_kernel_gradient, **of_kernel),
  )


def _with_batching(plain: Op, *, fold_first: bool) -> Op:
  """Returns `plain(first, second)` with sdt's batching rule.

  With `fold_first`, and only `first` batched, the batch joins the leading axis of `first`: the
  result has an entry for each row of `first`. Otherwise up to `MAX_UNROLLED` pairs are computed one
  after the other, and more by the ordinary batching of `plain`. The rule calls the function itself,
  so `vmap` within `vmap` uses the rule again.
  """
  op = custom_vmap(plain)

  @op.def_vmap
  def rule(
    axis_size: int, in_batched: Sequence[bool], first: AnyArray, second: AnyArray
  ) -> tuple[jax.Array, bool]:
    first, second = jnp.asarray(first), jnp.asarray(second)
    first_batched, second_batched = in_batched
    if fold_first and first_batched and not second_batched:
      rows = first.shape[1]
      out = op(first.reshape(axis_size * rows, *first.shape[2:]), second)
      return out.reshape(axis_size, rows, *out.shape[1:]), True
    if axis_size > MAX_UNROLLED:
      axes = (0 if first_batched else None, 0 if second_batched else None)
      return jax.vmap(plain, in_axes=axes)(first, second), True
    pairs = [
      (first[i] if first_batched else first, second[i] if second_batched else second)
      for i in range(axis_size)
    ]
    return jnp.stack([op(*pair) for pair in pairs]), True

  return op
