"""The parts of a convolution in the forms for which XLA:CPU has fast kernels.

They are correct on any platform. Read in XLA's source and measured (jax 0.12): the fast kernels
need canonical order (NHWC, HWIO, NHWC), no negative padding, and an image of at least the kernel's
size. For smaller images XLA swaps image and kernel and uses its slowest loop: a 3x3 kernel over 2x2
images runs at 1 GFLOP/s. Here such a convolution is a product with a matrix whose blocks are the
kernel's taps.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sdt.losses import accumulator_dtype

type Pads = tuple[tuple[int, int], tuple[int, int]]
type Pair = tuple[int, int]
# For every pixel of the image, along one axis: the tap of the kernel that takes it to each pixel of
# the output, None if there is none.
type Taps = list[list[int | None]]

LAYOUT = ("NHWC", "HWIO", "NHWC")
# The parts of `kernel_gradient`: of this many bytes of images, and a multiple of so many examples,
# which are the channels there and fill whole vectors.
_PART_BYTES = 2**20
_PART_EXAMPLES = 16


def input_gradient(
  dy: Float[Array, "B h w O"],
  kernel: Float[Array, "kh kw C O"],
  *,
  sizes: Pair,
  strides: Pair,
  pads: Pads,
) -> Float[Array, "B H W C"]:
  """Returns dL/dx [B, H, W, C]: dy, spread by the stride, convolved with the turned kernel.

  Args:
    dy: [B, H', W', O].
    kernel: [kh, kw, C, O], turned here by 180 degrees.
    sizes: (H, W).
    strides: (rows, columns).
    pads: ((top, bottom), (left, right)).
  """
  turned = jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2)
  new_pads, starts = [], []
  for axis in range(2):
    spread = (dy.shape[1 + axis] - 1) * strides[axis] + 1
    low = kernel.shape[axis] - 1 - pads[axis][0]
    high = sizes[axis] - spread - low + kernel.shape[axis] - 1
    # Negative pads leave the fast path: compute more, and cut.
    new_pads.append((max(low, 0), max(high, 0)))
    starts.append(max(-low, 0))
  dx = lax.conv_general_dilated(
    dy, turned, (1, 1), new_pads, lhs_dilation=strides, dimension_numbers=LAYOUT
  )
  return dx[:, starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]]


def kernel_gradient(
  x: Float[Array, "B H W C"],
  dy: Float[Array, "B h w O"],
  *,
  kernel_sizes: Pair,
  strides: Pair,
  pads: Pads,
  in_parts: bool = True,
) -> Float[Array, "kh kw C O"]:
  """Returns dL/dkernel [kh, kw, C, O]: a convolution with channels as batch, examples as channels.

  Args:
    x: [B, H, W, C].
    dy: [B, H', W', O].
    kernel_sizes: (kh, kw).
    strides: (rows, columns).
    pads: ((top, bottom), (left, right)).
    in_parts: whether large batches go through it in parts, whose gradients are added: these fit
      into a core's cache.
  """
  of_part = functools.partial(
    _kernel_gradient, kernel_sizes=kernel_sizes, strides=strides, pads=pads
  )
  size = _part_size(x)
  if size == len(x) or not in_parts:
    return of_part(x, dy)
  parts = tuple(batch.reshape(-1, size, *batch.shape[1:]) for batch in (x, dy))
  sum_type = accumulator_dtype(x.dtype)

  def add(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
    return total + of_part(*part).astype(sum_type), None

  start = jnp.zeros((*kernel_sizes, x.shape[3], dy.shape[3]), sum_type)
  return lax.scan(add, start, parts)[0].astype(x.dtype)


def _part_size(x: Array) -> int:
  """Returns how many examples of x make a part: a divisor of the batch, or all of it."""
  if x.size == 0:
    return len(x)
  most = max(_PART_BYTES * len(x) // (x.size * x.dtype.itemsize), _PART_EXAMPLES)
  sizes = [size for size in range(_PART_EXAMPLES, most + 1, _PART_EXAMPLES) if len(x) % size == 0]
  return max(sizes, default=len(x))


def _kernel_gradient(
  x: Array, dy: Array, *, kernel_sizes: Pair, strides: Pair, pads: Pads
) -> jax.Array:
  if kernel_sizes == (1, 1) and pads == ((0, 0), (0, 0)):
    return jnp.einsum("bijc,bijo->co", x[:, :: strides[0], :: strides[1]], dy)[None, None]
  new_pads, stops = [], []
  for axis in range(2):
    spread = (dy.shape[1 + axis] - 1) * strides[axis] + 1
    high = kernel_sizes[axis] - 1 + spread - x.shape[1 + axis] - pads[axis][0]
    # No window may reach the last rows of a strided input.
    new_pads.append((pads[axis][0], max(high, 0)))
    stops.append(x.shape[1 + axis] + min(high, 0))
  x = x[:, : stops[0], : stops[1]]
  images, kernel = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
  dw = lax.conv_general_dilated(
    images, kernel, (1, 1), new_pads, rhs_dilation=strides, dimension_numbers=LAYOUT
  )
  return dw.transpose(1, 2, 0, 3)


def is_small(sizes: Pair, kernel_sizes: Pair) -> bool:
  """Returns whether an image is smaller than the kernel on some axis, and has no more pixels.

  Its matrix is then small: at most kh * kw blocks in each direction.
  """
  is_shorter = any(size < window for size, window in zip(sizes, kernel_sizes, strict=True))
  return is_shorter and math.prod(sizes) <= math.prod(kernel_sizes)


def small_forward(
  x: Float[Array, "B H W C"], kernel: Float[Array, "kh kw C O"], *, strides: Pair, pads: Pads
) -> Float[Array, "B h w O"]:
  """Returns the convolution [B, H', W', O] of small images as one matrix product."""
  sizes, kernel_sizes = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
  rows, columns = _all_taps(sizes, kernel_sizes, strides, pads=pads)
  y = x.reshape(len(x), -1) @ _matrix(kernel, rows, columns)
  return y.reshape(len(x), len(rows[0]), len(columns[0]), kernel.shape[3])


def small_input_gradient(
  dy: Float[Array, "B h w O"],
  kernel: Float[Array, "kh kw C O"],
  *,
  sizes: Pair,
  strides: Pair,
  pads: Pads,
) -> Float[Array, "B H W C"]:
  """Returns dL/dx [B, H, W, C] of small images."""
  rows, columns = _all_taps(sizes, (kernel.shape[0], kernel.shape[1]), strides, pads=pads)
  dx = dy.reshape(len(dy), -1) @ _matrix(kernel, rows, columns).T
  return dx.reshape(len(dy), *sizes, kernel.shape[2])


def small_kernel_gradient(
  x: Float[Array, "B H W C"],
  dy: Float[Array, "B h w O"],
  *,
  kernel_sizes: Pair,
  strides: Pair,
  pads: Pads,
) -> Float[Array, "kh kw C O"]:
  """Returns dL/dkernel [kh, kw, C, O] of small images.

  The gradient of a tap is the sum of the gradients of the matrix blocks that hold it.
  """
  rows, columns = _all_taps((x.shape[1], x.shape[2]), kernel_sizes, strides, pads=pads)
  blocks = (x.reshape(len(x), -1).T @ dy.reshape(len(dy), -1)).reshape(*x.shape[1:], *dy.shape[1:])

  def of_tap(u: int, v: int) -> jax.Array:
    places = [(i, j, p, q) for i, p in _places(rows, u) for j, q in _places(columns, v)]
    zeros = jnp.zeros((x.shape[3], dy.shape[3]), x.dtype)
    return sum((blocks[i, j, :, p, q] for i, j, p, q in places), zeros)

  height, width = kernel_sizes
  return jnp.stack([jnp.stack([of_tap(u, v) for v in range(width)]) for u in range(height)])


def _all_taps(sizes: Pair, kernel_sizes: Pair, strides: Pair, pads: Pads) -> tuple[Taps, Taps]:
  rows, columns = (
    _taps(sizes[axis], kernel_sizes[axis], strides[axis], pads=pads[axis]) for axis in range(2)
  )
  return rows, columns


def _taps(size: int, window: int, stride: int, pads: Pair) -> Taps:
  out_size = (size + sum(pads) - window) // stride + 1
  taps = [[pixel + pads[0] - out * stride for out in range(out_size)] for pixel in range(size)]
  return [[tap if 0 <= tap < window else None for tap in of_pixel] for of_pixel in taps]


def _places(taps: Taps, wanted: int) -> list[Pair]:
  return [
    (pixel, out)
    for pixel, of_pixel in enumerate(taps)
    for out, tap in enumerate(of_pixel)
    if tap == wanted
  ]


def _matrix(kernel: Array, rows: Taps, columns: Taps) -> jax.Array:
  """Returns [H * W * C, H' * W' * O]: the block of an input and an output pixel is their tap."""
  zeros = jnp.zeros(kernel.shape[2:], kernel.dtype)

  def block(u: int | None, v: int | None) -> Array:
    return zeros if u is None or v is None else kernel[u, v]

  return jnp.concatenate(
    [jnp.concatenate([block(u, v) for u in us for v in vs], 1) for us in rows for vs in columns]
  )
