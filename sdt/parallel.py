"""Data parallelism over the devices of one process: `jit` with NamedSharding, or `pmap` with a named axis.

Both run the same pure function. Under `jit` the compiler divides the batch, because `shard_batch` constrains it to the mesh; under `pmap`
every device takes its slice of the batch and the reductions name the axis.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sdt.errors import ConfigError
from sdt.keys import ParallelConfig

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a program is laid over devices.

  Attributes:
    mode: jit or pmap.
    mesh: one-dimensional, over the axis `data`.
    is_abstract: `place` gives shapes instead of arrays: programs compile and nothing is allocated, but nothing can run.
    compiler_options: names and values of XLA's options.
  """

  mode: str
  mesh: Mesh
  is_abstract: bool = False
  compiler_options: tuple[tuple[str, str | bool], ...] = ()

  @property
  def num_devices(self) -> int:
    return self.mesh.size

  @property
  def axis_name(self) -> str | None:
    """The axis over which reductions must be summed by hand: pmap's; under jit the compiler does it."""
    return AXIS if self.mode == "pmap" else None


def make_layout(config: ParallelConfig, *, is_abstract: bool = False) -> Layout:
  """Returns the layout over the first `num_devices` devices of all processes, all of them by default.

  Raises:
    ConfigError: if fewer devices exist than asked for, or some of several processes would have none.
  """
  devices = jax.devices()
  num_devices = config.num_devices or len(devices)
  if num_devices > len(devices):
    raise ConfigError(
      f"parallel.num_devices={num_devices}: this machine has {len(devices)} {devices[0].platform} device(s); use at most that many"
    )
  if num_devices < len(devices) and jax.process_count() > 1:
    raise ConfigError(
      f"parallel.num_devices={num_devices}: {jax.process_count()} processes use all their {len(devices)} devices; leave it out"
    )
  mesh = jax.make_mesh((num_devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[:num_devices])
  return Layout(config.mode, mesh, is_abstract, _compiler_options(config.compiler_options or ""))


def _compiler_options(text: str) -> tuple[tuple[str, str | bool], ...]:
  """Returns names and values of "NAME=VALUE NAME=VALUE"; raises a ConfigError where XLA does not take them."""
  options: list[tuple[str, str | bool]] = []
  for word in text.split():
    name, sign, value = word.partition("=")
    if not (name and sign and value):
      raise ConfigError(f"parallel.compiler_options: {word!r} is not NAME=VALUE; write several with spaces between")
    options.append((name, value.lower() == "true" if value.lower() in ("true", "false") else value))
  if options:
    try:  # on a program that takes no time, so that a mistake is told before any data are read
      jax.jit(lambda x: x).lower(np.float32(0)).compile(compiler_options=dict(options))
    except (jax.errors.JaxRuntimeError, ValueError) as error:
      raise ConfigError(f"parallel.compiler_options: XLA does not take {text!r} ({str(error).splitlines()[0]})") from error
  return tuple(options)


def num_cpus() -> int:
  """Returns how many processors this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def padded_batch_size(batch_size: int, layout: Layout) -> int:
  """Returns the smallest multiple of the number of devices that holds the batch."""
  return -(-batch_size // layout.num_devices) * layout.num_devices


def shard_batch(layout: Layout, tree: Any) -> Any:
  """Returns the tree of arrays [B, ...] divided over the devices; B must be a multiple of their number."""
  if layout.mode == "pmap":
    index = jax.lax.axis_index(AXIS)
    size = jax.tree.leaves(tree)[0].shape[0] // layout.num_devices
    return jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, index * size, size), tree)
  if layout.num_devices == 1:
    return tree
  sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS))
  return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), tree)


def gather_batch(layout: Layout, array: jax.Array) -> jax.Array:
  """Returns the whole array [B, ...] on every device; the inverse of `shard_batch`."""
  if layout.mode == "pmap":
    return jax.lax.all_gather(array, AXIS, tiled=True)
  if layout.num_devices == 1:
    return array
  return jax.lax.with_sharding_constraint(array, NamedSharding(layout.mesh, PartitionSpec()))


def sum_over(axis_name: str | None, tree: Any) -> Any:
  """Returns the tree summed over the named axis; the tree itself without one."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def place(layout: Layout, tree: Any) -> Any:
  """Returns the tree on the devices, a whole copy on each (under pmap with a leading axis over the devices).

  In an abstract layout the leaves need no more than a shape and a dtype, and become `jax.ShapeDtypeStruct`s.
  """
  if layout.is_abstract:
    return jax.tree.map(functools.partial(_placed_shape, layout), tree)
  if layout.mode == "pmap":
    sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS))
    return _put(jax.tree.map(lambda leaf: np.broadcast_to(leaf, (layout.num_devices, *np.shape(leaf))), tree), sharding)
  return _put(tree, NamedSharding(layout.mesh, PartitionSpec()))


def _put(tree: Any, sharding: NamedSharding) -> Any:
  """Returns the tree, whole on this host, as arrays of this sharding; every process puts its part on its own devices."""
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)
  # device_put would send every leaf around once more, to see whether it is the same on all processes.
  return jax.tree.map(lambda leaf: jax.make_array_from_callback(np.shape(leaf), sharding, np.asarray(leaf).__getitem__), tree)


def _placed_shape(layout: Layout, leaf: Any) -> jax.ShapeDtypeStruct:
  """Returns shape, dtype and sharding of a leaf as `place` would put it on the devices."""
  copies = (layout.num_devices,) if layout.mode == "pmap" else ()
  sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS) if copies else PartitionSpec())
  return jax.ShapeDtypeStruct((*copies, *leaf.shape), leaf.dtype, sharding=sharding)


def fetch(layout: Layout, tree: Any) -> Any:
  """Returns the tree as NumPy arrays on the host; the copies are equal, so the first is taken."""
  if layout.mode == "pmap":
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree)
  return jax.tree.map(np.asarray, jax.device_get(tree))


def compile_program(layout: Layout, function: Callable[..., Any], args: Sequence[Any], donate: tuple[int, ...] = ()) -> Any:
  """Returns the compiled program for arguments placed by `place`; it raises on any other shape, so it can never recompile."""
  if layout.mode == "pmap":
    devices = list(layout.mesh.devices.flat)
    lowered = jax.pmap(function, AXIS, devices=devices, donate_argnums=donate).lower(*args)
  else:
    replicated = NamedSharding(layout.mesh, PartitionSpec())
    lowered = jax.jit(function, donate_argnums=donate, out_shardings=replicated).lower(*args)
  return lowered.compile(compiler_options=dict(layout.compiler_options) or None)


def pad_batch(array: jax.Array, batch_size: int) -> jax.Array:
  """Returns the array [B, ...] padded with zeros to [batch_size, ...]."""
  return jnp.pad(array, ((0, batch_size - array.shape[0]),) + ((0, 0),) * (array.ndim - 1))


def map_replicas(mode: str, function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `function` mapped over the leading axis of all arguments.

  `unroll` writes it out once per replica and `loop` runs one after the other: bit-equal to running each alone. `vmap` batches it:
  equal up to the order of summation.
  """
  if mode == "vmap":
    return jax.vmap(function)

  def unrolled(*args: Any) -> Any:
    num_replicas = jax.tree.leaves(args)[0].shape[0]
    if mode == "loop" and num_replicas > 1:
      return jax.lax.map(lambda one: function(*one), args)
    results = [function(*jax.tree.map(lambda leaf, r=replica: leaf[r], args)) for replica in range(num_replicas)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

  return unrolled
