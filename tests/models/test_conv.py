"""The convolution against lax's: values, gradients, and the form in which they are compiled."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sdt.config.schema import ParallelConfig
from sdt.devices.compile import compile_program
from sdt.devices.layout import make_layout, place, shard_batch
from sdt.models import conv_cpu
from sdt.models.conv import LAYOUT, MAX_UNROLLED, barrier, conv2d
from tests.support.quick import only

CANONICAL = "b01f_01io->b01f"


# One program for each shape, where `conv2d` itself would be several small ones.
_conv2d = jax.jit(conv2d, static_argnames=("stride", "padding"))
_over_replicas = jax.jit(jax.vmap(conv2d))


def _lax_conv(x, kernel, stride, padding):
  strides = (stride, stride) if isinstance(stride, int) else stride
  padding = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)


_lax_conv2d = jax.jit(_lax_conv, static_argnames=("stride", "padding"))


def _arrays(x_shape, kernel_shape, dtype=np.float32):
  generator = np.random.default_rng(3)
  kernel = generator.normal(size=kernel_shape) / np.sqrt(np.prod(kernel_shape[-4:-1]))
  return generator.normal(size=x_shape).astype(dtype), kernel.astype(dtype)


def _loss(conv, stride, padding):
  return lambda x, kernel: jnp.sin(conv(x, kernel, stride, padding=padding)).sum()


def _gradient(conv, stride, padding, argnums=(0, 1)):
  return jax.grad(_loss(conv, stride, padding), argnums)


def _num_convolutions(function, *args):
  return jax.jit(function).lower(*args).as_text().count("stablehlo.convolution")


CASES = [
  *itertools.product((1, 2), (1, 3, 7), ("SAME", "VALID", 0), ((8, 9),)),
  *itertools.product((1, 2), (1, 3), (1,), ((7, 10),)),
  (3, 3, 1, (11, 8)),
  (2, 1, ((0, 1), (2, 0)), (5, 6)),
  (2, 3, ((2, 0), (0, 3)), (9, 6)),
  ((2, 1), 3, ((1, 1), (0, 2)), (6, 7)),
  (2, 3, ((3, 3), (3, 3)), (4, 4)),
  # Images smaller than the kernel.
  (1, 3, 1, (2, 2)),
  (1, 3, 1, (1, 1)),
  (2, 3, 1, (2, 2)),
  (1, 3, 1, (1, 4)),
  (2, 7, 3, (5, 4)),
  ((2, 1), 3, ((2, 1), (1, 0)), (2, 2)),
  (1, 3, 1, (2, 30)),
]


@pytest.mark.parametrize(("stride", "size", "padding", "image"), only(CASES[::2], CASES))
def test_value_and_gradients_equal_lax(stride, size, padding, image):
  x, kernel = _arrays((3, *image, 4), (size, size, 4, 5))
  expected = _lax_conv2d(x, kernel, stride, padding=padding)
  np.testing.assert_allclose(
    _conv2d(x, kernel, stride, padding=padding), expected, rtol=1e-5, atol=1e-5
  )
  ours, theirs = (
    map(np.asarray, jax.jit(_gradient(conv, stride, padding))(x, kernel))
    for conv in (conv2d, _lax_conv)
  )
  for our, their in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-5 * np.abs(their).max())


def test_value_equals_the_definition():
  x, kernel = _arrays((1, 4, 4, 1), (3, 3, 1, 1))
  padded = np.pad(x[0, :, :, 0], 1)
  expected = [
    [np.sum(padded[i : i + 3, j : j + 3] * kernel[:, :, 0, 0]) for j in (0, 2)] for i in (0, 2)
  ]
  value = np.asarray(_conv2d(x, kernel, 2, padding=1))
  np.testing.assert_allclose(value[0, :, :, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_types_are_kept_forward_and_backward(dtype):
  x, kernel = _arrays((2, 6, 6, 3), (3, 3, 3, 4), dtype)
  assert _conv2d(x, kernel).dtype == dtype
  gradients = jax.jit(_gradient(conv2d, 2, 1))(x, kernel)
  assert {leaf.dtype for leaf in gradients} == {jnp.dtype(dtype)}


def test_wrong_shapes_types_and_pads_are_refused():
  x, kernel = _arrays((2, 6, 6, 3), (3, 3, 3, 4))
  for wrong in ((x[0], kernel), (x, kernel[:, :, :2]), (x, kernel.astype(jnp.bfloat16))):
    with pytest.raises(ValueError, match="conv2d needs x"):
      conv2d(*wrong)
  with pytest.raises(ValueError, match="padding of 0 or more"):
    conv2d(x, kernel, 1, padding=((0, 0), (-1, 0)))


def test_small_images_are_matrix_products_on_a_cpu_only():
  """XLA:CPU has no fast convolution of an image smaller than the kernel.

  A long image would make a large matrix.
  """
  gradient = jax.jit(_gradient(conv2d, 1, 1))
  for image, is_small in (((2, 2), True), ((2, 30), False), ((3, 3), False)):
    args = _arrays((2, *image, 4), (3, 3, 4, 5))
    counts = {
      platform: export.export(gradient, platforms=(platform,))(*args)
      .mlir_module()
      .count("stablehlo.convolution")
      for platform in ("cpu", "cuda")
    }
    assert counts == {"cpu": 0 if is_small else 3, "cuda": 3}


def test_vmap_over_examples_is_one_convolution():
  x, kernel = _arrays((64, 6, 6, 3), (3, 3, 3, 4))
  one = lambda image, kernel: conv2d(image[None], kernel, 2, padding=1)[0]  # noqa: E731
  over_examples = jax.vmap(one, in_axes=(0, None))
  assert _num_convolutions(over_examples, x, kernel) == 1
  np.testing.assert_allclose(
    jax.jit(over_examples)(x, kernel), _conv2d(x, kernel, 2, padding=1), rtol=1e-5, atol=1e-5
  )


def test_vmap_over_replicas_is_one_convolution_each_without_groups():
  x, kernel = _arrays((2, 3, 6, 6, 3), (2, 3, 3, 3, 4))
  assert _num_convolutions(_over_replicas, x, kernel) == 2
  assert "feature_group_count = 2" not in _over_replicas.lower(x, kernel).as_text()
  together = np.asarray(_over_replicas(x, kernel))
  for replica in range(2):
    np.testing.assert_array_equal(together[replica], _conv2d(x[replica], kernel[replica]))
  # Images shared by the replicas, as in scoring.
  assert _num_convolutions(jax.vmap(conv2d, in_axes=(None, 0)), x[0], kernel) == 2


def test_nested_vmap_over_replicas_and_examples_is_one_convolution_per_replica():
  x, kernel = _arrays((2, 32, 6, 6, 3), (2, 3, 3, 3, 4))
  one = lambda image, kernel: conv2d(image[None], kernel)[0]  # noqa: E731
  nested = jax.jit(jax.vmap(jax.vmap(one, in_axes=(0, None))))
  assert _num_convolutions(nested, x, kernel) == 2
  np.testing.assert_allclose(nested(x, kernel), _over_replicas(x, kernel), rtol=1e-5, atol=1e-5)


def test_nested_vmap_over_kernels_is_one_convolution_per_kernel():
  x, kernel = _arrays((2, 3, 2, 6, 6, 3), (2, 3, 3, 3, 3, 4))
  nested = jax.jit(jax.vmap(jax.vmap(conv2d)))
  assert _num_convolutions(nested, x, kernel) == 6
  together = np.asarray(nested(x, kernel))
  np.testing.assert_array_equal(together[1, 2], _conv2d(x[1, 2], kernel[1, 2]))


def test_replicas_gradients_are_separate_convolutions_and_equal_lax():
  x, kernel = _arrays((2, 3, 6, 6, 3), (2, 3, 3, 3, 4))
  # Forward, dx and dw of two replicas.
  gradient, lax_gradient = (
    jax.jit(jax.vmap(_gradient(conv, 1, 1))) for conv in (conv2d, _lax_conv)
  )
  exported = export.export(gradient, platforms=("cpu",))(x, kernel)
  assert exported.mlir_module().count("stablehlo.convolution") == 6
  for our, their in zip(gradient(x, kernel), lax_gradient(x, kernel), strict=True):
    np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-4)


def test_image_gradients_of_single_examples_are_one_convolution():
  x, kernel = _arrays((5, 6, 6, 3), (3, 3, 3, 4))
  gradient = jax.jit(
    jax.vmap(lambda image: jax.grad(lambda image: _loss(conv2d, 2, 1)(image[None], kernel))(image))
  )
  # Forward and dx.
  exported = export.export(gradient, platforms=("cpu",))(x)
  assert exported.mlir_module().count("stablehlo.convolution") == 2
  expected = jax.jit(_gradient(_lax_conv, 2, 1, argnums=0))(x, kernel)
  np.testing.assert_allclose(gradient(x), expected, rtol=1e-4, atol=1e-5)


def test_many_pairs_do_not_unroll():
  count = MAX_UNROLLED + 1
  x, kernel = _arrays((count, 2, 5, 5, 2), (count, 3, 3, 2, 3))
  assert _num_convolutions(_over_replicas, x, kernel) == 1
  np.testing.assert_allclose(
    _over_replicas(x, kernel),
    np.stack([_conv2d(a, b) for a, b in zip(x, kernel, strict=True)]),
    rtol=1e-4,
    atol=1e-5,
  )


def test_per_example_gradients_equal_lax():
  x, kernel = _arrays((20, 5, 5, 2), (3, 3, 2, 3))
  of_kernel = lambda conv: _gradient(conv, 2, 1, argnums=1)  # noqa: E731
  ours, theirs = (
    jax.jit(jax.vmap(lambda image, conv=conv: of_kernel(conv)(image[None], kernel)))(x)
    for conv in (conv2d, _lax_conv)
  )
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _train_in_loop(conv):
  """Returns a program that trains a small network in a scan within a cond, and its arguments.

  The engine has the same form.
  """
  # The last maps are 4x4: below the window's 3x3 XLA swaps image and kernel by itself, whatever it
  # was given.
  x, first = _arrays((4, 8, 16, 16, 6), (3, 3, 6, 8))
  kernels = (
    first,
    _arrays((1,), (3, 3, 8, 8))[1],
    _arrays((1,), (1, 1, 8, 12))[1],
    _arrays((1,), (3, 3, 12, 4))[1],
  )

  def step(kernels, batch):
    def loss(kernels):
      h = jnp.tanh(barrier(batch))
      for kernel, stride in zip(kernels, (1, 2, 2, 1), strict=True):
        h = jnp.tanh(conv(barrier(h), kernel, stride, padding=kernel.shape[0] // 2))
      return jnp.square(h).mean()

    return jax.tree.map(lambda k, g: k - 0.1 * g, kernels, jax.grad(loss)(kernels)), None

  def program(kernels, batches, runs):
    return lax.cond(runs, lambda k: lax.scan(step, k, batches)[0], lambda k: k, kernels)

  return program, (kernels, x, np.bool_(True))


@functools.cache
def _compiled_loop(conv):
  """Returns `_train_in_loop` of `conv` compiled, and its arguments."""
  program, args = _train_in_loop(conv)
  return jax.jit(program).lower(*args).compile(), args


def _convolution_orders(conv):
  return re.findall(r" convolution\(.*dim_labels=([^,\s]+)", _compiled_loop(conv)[0].as_text())


def test_every_convolution_in_a_loop_is_canonical_on_a_cpu():
  orders = _convolution_orders(conv2d)
  # Forward of four layers, dx of three (the images need none), dw of three (a 1x1 kernel's is a
  # matrix product); the compiler may turn 1x1 convolutions into matrix products.
  assert 8 <= len(orders) <= 10
  assert set(orders) == {CANONICAL}
  # lax's own gradient is not: without the custom one the test above would fail.
  assert set(_convolution_orders(_lax_conv)) - {CANONICAL}


def test_loop_trains_to_the_same_kernels_as_lax():
  (ours, args), (theirs, _) = _compiled_loop(conv2d), _compiled_loop(_lax_conv)
  for our, their in zip(ours(*args), theirs(*args), strict=True):
    np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)


def test_other_platforms_get_laxs_own_gradient_and_no_barrier():
  program, args = _train_in_loop(conv2d)
  plain, _ = _train_in_loop(_lax_conv)
  orders = re.compile(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])")
  for platform in ("cuda", "tpu"):
    module, plain_module = (
      export.export(jax.jit(f), platforms=(platform,))(*args).mlir_module()
      for f in (program, plain)
    )
    assert "optimization_barrier" not in module
    assert sorted(orders.findall(module)) == sorted(orders.findall(plain_module))
  assert (
    "optimization_barrier"
    in export.export(jax.jit(program), platforms=("cpu",))(*args).mlir_module()
  )


def test_one_export_serves_all_platforms():
  program, args = _train_in_loop(conv2d)
  exported = export.export(jax.jit(program), platforms=("cpu", "cuda", "tpu"))(*args)
  for our, direct in zip(exported.call(*args), _compiled_loop(conv2d)[0](*args), strict=True):
    np.testing.assert_allclose(our, direct, rtol=1e-6, atol=1e-7)


def test_barrier_changes_neither_value_nor_gradient():
  x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
  np.testing.assert_array_equal(jax.jit(barrier)(x), x)
  np.testing.assert_array_equal(jax.jit(jax.grad(lambda x: jnp.square(barrier(x)).sum()))(x), 2 * x)
  np.testing.assert_array_equal(jax.jit(jax.vmap(barrier))(x), x)


@pytest.mark.parametrize("form", ["sharded", "pmap"])
def test_data_parallel_gradients_equal_one_device(form):
  x, kernel = _arrays((4, 6, 6, 3), (3, 3, 3, 4))
  of_kernel = _gradient(conv2d, 2, 1, argnums=1)
  expected = jax.jit(of_kernel)(x, kernel)
  if form == "sharded":
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    batch = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    gradient = jax.jit(of_kernel)(
      batch, jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    )
  else:
    of_each = jax.pmap(of_kernel, in_axes=(0, None))(x.reshape(2, 2, 6, 6, 3), kernel)
    gradient = np.asarray(of_each).sum(0)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("shape", "size"),
  [
    ((128, 32, 32, 16), 16),  # 64 KiB an example
    ((96, 8, 8, 16), 96),  # 4 KiB an example: less than a part has
    ((1024, 8, 8, 16), 256),
    ((384, 8, 8, 16), 192),  # 256 does not divide it
    ((100, 32, 32, 16), 100),  # no multiple of 16 does
    ((32, 64, 64, 160), 16),  # 2.5 MiB an example: never fewer than 16
    ((0, 32, 32, 16), 0),
  ],
)
def test_large_batches_give_the_kernels_gradient_in_parts_of_a_mebibyte(shape, size):
  assert conv_cpu._part_size(jax.ShapeDtypeStruct(shape, np.float32)) == size


@pytest.mark.parametrize("stride", [1, 2])
def test_the_parts_add_up_to_the_kernels_gradient(stride):
  x, kernel = _arrays((64, 32, 32, 12), (3, 3, 12, 5))
  in_parts, whole = (jax.jit(_gradient(conv, stride, 1, argnums=1)) for conv in (conv2d, _lax_conv))
  assert "stablehlo.while" in in_parts.lower(x, kernel).as_text()
  expected = whole(x, kernel)
  np.testing.assert_allclose(
    in_parts(x, kernel), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
  )


def test_the_parts_add_up_in_float32():
  x, _ = _arrays((512, 32, 32, 16), (1, 1, 16, 4))
  dy = np.ones((512, 32, 32, 4), jnp.bfloat16)
  x = (np.abs(x) + 1).astype(jnp.bfloat16)  # sums that grow, so that bfloat16 would lose the last
  sizes = {"kernel_sizes": (1, 1), "strides": (1, 1), "pads": ((0, 0), (0, 0))}
  assert conv_cpu._part_size(x) < len(x)
  found = conv_cpu.kernel_gradient(jnp.asarray(x), jnp.asarray(dy), **sizes)
  expected = x.astype(np.float64).sum((0, 1, 2))[None, None, :, None]
  assert found.dtype == jnp.bfloat16
  found = np.asarray(found).astype(np.float64)
  np.testing.assert_allclose(found, expected + np.zeros(4), rtol=0.004)


def test_batches_that_the_compiler_divides_are_not_sent_around():
  """A loop over the parts would gather the batch, or sum over the devices once for each part."""
  x, kernel = _arrays((64, 32, 32, 12), (3, 3, 12, 5))
  layout = make_layout(ParallelConfig(num_devices=2))

  def gradient(_, x, kernel):
    return _gradient(conv2d, 1, 1, argnums=1)(shard_batch(layout, x), kernel)

  program = compile_program(layout, gradient, 0, args=place(layout, (x, kernel)))
  text = program.as_text()
  assert text.count(" all-reduce(") == 1
  assert "all-gather" not in text
  assert "while" not in text
