"""Which programs call oneDNN, that their numbers are right, and that they stay off the disk."""

import functools
import threading
import warnings
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import config as jax_config

from sdt.config.schema import ParallelConfig
from sdt.devices import compile as compiling
from sdt.devices import onednn
from sdt.devices.compile import compile_program
from sdt.devices.layout import fetch, make_layout, place, shard_batch, sum_over
from sdt.models.conv import conv2d

needs_onednn = pytest.mark.skipif(not onednn.is_available(), reason="this jaxlib has no oneDNN")


@pytest.fixture
def every_size():
  with mock.patch.object(onednn, "SMALLEST", 0.0):
    compiling._slot.cache_clear()
    yield
  compiling._slot.cache_clear()


def value_and_gradients(stride, x, kernel, dy):
  """A convolution in a loop, as in training, with its two gradients for dL/dy = dy."""

  def once(total, _):
    y, back = jax.vjp(lambda x, kernel: conv2d(x, kernel, stride, padding=1), x, kernel)
    return jax.tree.map(jnp.add, total, (y, *back(dy))), None

  return jax.lax.scan(
    once, (jnp.zeros_like(dy), jnp.zeros_like(x), jnp.zeros_like(kernel)), length=2
  )[0]


def drawn(batch, size, channels, stride):
  generator = np.random.default_rng(5)
  out = (size - 1) // stride + 1
  shapes = ((batch, size, size, channels), (3, 3, channels, 16), (batch, out, out, 16))
  return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


def exact(stride, x, kernel, dy):
  """The same twice in float64, a tap of the kernel after the other."""
  out = dy.shape[1]
  padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
  y, dx, dw = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(kernel.shape)
  for u, v in np.ndindex(3, 3):
    rows, columns = (slice(tap, tap + stride * (out - 1) + 1, stride) for tap in (u, v))
    part = padded[:, rows, columns]
    y += part @ kernel[u, v].astype(np.float64)
    dx[:, rows, columns] += dy @ kernel[u, v].T.astype(np.float64)
    dw[u, v] = np.einsum("bijc,bijo->co", part, dy, dtype=np.float64)
  return 2 * y, 2 * dx[:, 1:-1, 1:-1], 2 * dw


def compiled(layout, function, program, *arrays):
  placed = [place(layout, array) for array in arrays]
  return compile_program(layout, function, program, args=placed), placed


@needs_onednn
@pytest.mark.parametrize(
  ("batch", "size", "channels", "stride"), [(32, 8, 16, 1), (6, 9, 3, 1), (16, 8, 16, 2)]
)
def test_value_and_gradients_equal_float64_and_have_the_same_bits_every_time(
  every_size, batch, size, channels, stride
):
  layout = make_layout(ParallelConfig(num_devices=1))
  arrays = drawn(batch, size, channels, stride)
  program, placed = compiled(layout, value_and_gradients, stride, *arrays)
  assert onednn.CALL in program.as_text()
  first = fetch(layout, program(*placed))
  for found, wanted in zip(first, exact(stride, *arrays), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
  for _ in range(20):
    for found, same in zip(fetch(layout, program(*placed)), first, strict=True):
      np.testing.assert_array_equal(found, same)


@needs_onednn
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_two_devices_find_what_one_finds(every_size, mode):
  x, kernel, dy = drawn(8, 9, 3, 1)
  layout = make_layout(ParallelConfig(num_devices=2, mode=mode))

  def sums(program, x, kernel, dy):
    x, dy = shard_batch(layout, (x, dy))
    _, _, dw = value_and_gradients(program, x, kernel, dy)
    return sum_over(layout.axis_name, dw)

  program, placed = compiled(layout, sums, 1, x, kernel, dy)
  assert onednn.CALL in program.as_text()
  wanted = exact(1, x, kernel, dy)[2]
  found = fetch(layout, program(*placed))
  np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@needs_onednn
def test_large_convolutions_call_onednn_and_small_ones_do_not_unless_the_user_says_otherwise():
  x, kernel, dy = drawn(96, 22, 16, 1)  # 2.1e8 operations
  small = drawn(80, 22, 16, 1)  # 1.8e8
  layout = make_layout(ParallelConfig(num_devices=1))
  program, _ = compiled(layout, value_and_gradients, 1, x, kernel, dy)
  assert onednn.CALL in program.as_text()
  program, _ = compiled(layout, value_and_gradients, 1, *small)
  assert onednn.CALL not in program.as_text()
  off = make_layout(ParallelConfig(num_devices=1, compiler_options=f"{onednn.SWITCH}=false"))
  program, _ = compiled(off, value_and_gradients, 1, x, kernel, dy)
  assert onednn.CALL not in program.as_text()
  on = make_layout(ParallelConfig(num_devices=1, compiler_options=f"{onednn.SWITCH}=true"))
  program, _ = compiled(on, value_and_gradients, 1, *drawn(16, 6, 32, 1))
  assert onednn.CALL in program.as_text()  # also where YNNPACK would come before it


@needs_onednn
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_options_of_the_user_stand_beside_onednns(every_size, mode):
  text = "xla_cpu_enable_fast_math=true"
  layout = make_layout(ParallelConfig(num_devices=1, mode=mode, compiler_options=text))
  with mock.patch.object(
    jax.stages.Lowered, "compile", autospec=True, side_effect=jax.stages.Lowered.compile
  ) as calls:
    compiled(layout, value_and_gradients, 1, *drawn(8, 8, 4, 1))
  told = calls.call_args.kwargs["compiler_options"]
  assert told == {"xla_cpu_enable_fast_math": True, **onednn.OPTIONS}


def test_the_largest_convolution_counts_in_operations():
  def two(x, small, large):
    return conv2d(conv2d(x, small), large)

  shapes = [(4, 6, 5, 3), (1, 1, 3, 7), (3, 3, 7, 2)]
  args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  text = jax.jit(two).lower(*args).as_text()
  assert onednn.largest_convolution(text) == 2 * (3 * 3 * 7) * (4 * 6 * 5 * 2)
  args = [jax.ShapeDtypeStruct(array.shape, jnp.float32) for array in drawn(2, 8, 4, 2)]
  text = jax.jit(functools.partial(value_and_gradients, 2)).lower(*args).as_text()
  assert onednn.largest_convolution(text) == 2 * (3 * 3 * 16) * (2 * 8 * 8 * 4)  # with the zeros
  assert onednn.largest_convolution(jax.jit(jnp.sin).lower(1.0).as_text()) == 0.0


def test_no_program_asks_for_what_this_jaxlib_does_not_have(every_size):
  onednn.is_available.cache_clear()
  try:
    with mock.patch.dict(onednn.OPTIONS, {"xla_no_such_option": True}):
      assert not onednn.is_available()
      layout = make_layout(ParallelConfig(num_devices=1))
      program, _ = compiled(layout, value_and_gradients, 1, *drawn(4, 5, 2, 1))
      assert onednn.CALL not in program.as_text()
  finally:
    onednn.is_available.cache_clear()


@needs_onednn
def test_a_program_that_calls_onednn_is_not_written_to_the_disk(every_size, tmp_path):
  from jax.experimental.compilation_cache import compilation_cache

  names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
  before = [getattr(jax.config, name) for name in names]
  layout = make_layout(ParallelConfig(num_devices=1))
  try:
    compilation_cache.reset_cache()
    for name, value in zip(names, (str(tmp_path), 0.0), strict=True):
      jax.config.update(name, value)
    with warnings.catch_warnings():
      warnings.simplefilter("error")  # JAX tells of a program that it failed to write
      compiled(layout, value_and_gradients, 1, *drawn(5, 6, 3, 1))
    assert not list(tmp_path.glob("jit_value*"))
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0
    off = make_layout(ParallelConfig(num_devices=1, compiler_options=f"{onednn.SWITCH}=false"))
    compiled(off, value_and_gradients, 1, *drawn(5, 6, 3, 1))
    assert len(list(tmp_path.glob("jit_value*-cache"))) == 1
  finally:
    for name, value in zip(names, before, strict=True):
      jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_what_one_thread_does_not_keep_others_keep():
  def wanted():
    return jax_config.persistent_cache_min_compile_time_secs.value

  before, others = wanted(), []
  thread = threading.Thread(target=lambda: others.append(wanted()))
  with onednn.not_kept():
    assert wanted() == float("inf")
    thread.start()
    thread.join()
  assert [wanted(), *others] == [before, before]
