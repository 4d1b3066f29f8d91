"""How a run is laid out over devices: the mesh, the shardings, transfers to and from devices."""

import contextlib
import contextvars
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from sdt.config.schema import ParallelConfig
from sdt.errors import ConfigError
from sdt.types import Leaf, PyTree

AXIS = "data"
_DIVIDES_BATCHES = contextvars.ContextVar("divides_batches", default=False)


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a program is laid over devices.

  Attributes:
    mode: jit or pmap.
    mesh: one-dimensional, over the axis `data`.
    divides: batch or seeds.
    is_abstract: `place` gives shapes instead of arrays: programs compile and nothing is allocated,
      but nothing can run. Its programs are those of the layout that is not.
    compiler_options: names and values of XLA's options.
  """

  mode: str
  mesh: Mesh
  divides: str = "batch"
  is_abstract: bool = dataclasses.field(default=False, compare=False, repr=False)
  compiler_options: tuple[tuple[str, str | bool], ...] = ()

  @property
  def num_devices(self) -> int:
    return self.mesh.size

  @property
  def batch_parts(self) -> int:
    """Over how many devices a batch is divided."""
    return 1 if self.divides == "seeds" else self.num_devices

  @property
  def replica_parts(self) -> int:
    """Over how many devices the replicas are divided; where it is 1, every device has all."""
    return self.num_devices if self.divides == "seeds" else 1

  def replica_spec(self, axis: int) -> PartitionSpec:
    """Returns how an array whose axis `axis` is that of the replicas lies on the mesh."""
    return PartitionSpec(*[None] * axis, AXIS) if self.replica_parts > 1 else PartitionSpec()

  @property
  def axis_name(self) -> str | None:
    """The axis over which a program sums by hand: pmap's. Under jit the compiler sums."""
    return AXIS if self.mode == "pmap" else None


def make_layout(config: ParallelConfig, *, is_abstract: bool = False) -> Layout:
  """Returns the layout over the first `num_devices` devices of all processes, all by default.

  Raises:
    ConfigError: if fewer devices exist than asked for, some of several processes would have none,
      or `mode` cannot divide what it shall.
  """
  if config.divide == "seeds" and config.mode != "jit":
    raise ConfigError(
      f"parallel.divide=seeds: it goes with parallel.mode=jit, not {config.mode}; leave one of "
      "the two out"
    )
  if config.divide == "seeds" and config.batch_norm == "device":
    raise ConfigError(
      "parallel.divide=seeds: each device has whole batches, so parallel.batch_norm=device would "
      "do nothing; leave it out"
    )
  devices = jax.devices()
  num_devices = config.num_devices or len(devices)
  if num_devices > len(devices):
    raise ConfigError(
      f"parallel.num_devices={num_devices}: this machine has {len(devices)} {devices[0].platform} "
      "device(s); use at most that many"
    )
  if num_devices < len(devices) and jax.process_count() > 1:
    raise ConfigError(
      f"parallel.num_devices={num_devices}: {jax.process_count()} processes use all their "
      f"{len(devices)} devices; leave it out"
    )
  mesh = jax.make_mesh(
    (num_devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[:num_devices]
  )
  return Layout(
    config.mode,
    mesh,
    config.divide,
    is_abstract=is_abstract,
    compiler_options=_compiler_options(config.compiler_options or ""),
  )


def _compiler_options(text: str) -> tuple[tuple[str, str | bool], ...]:
  """Returns names and values of "NAME=VALUE NAME=VALUE".

  Raises:
    ConfigError: XLA does not take them.
  """
  options: list[tuple[str, str | bool]] = []
  for word in text.split():
    name, sign, value = word.partition("=")
    if not (name and sign and value):
      raise ConfigError(
        f"parallel.compiler_options: {word!r} is not NAME=VALUE; write several with spaces between"
      )
    options.append((name, value.lower() == "true" if value.lower() in ("true", "false") else value))
  if options:
    try:  # on a tiny program, so that a mistake is reported before any data are read
      jax.jit(lambda x: x).lower(np.float32(0)).compile(compiler_options=dict(options))
    except (jax.errors.JaxRuntimeError, ValueError) as error:
      raise ConfigError(
        f"parallel.compiler_options: XLA does not take {text!r} ({str(error).splitlines()[0]})"
      ) from error
  return tuple(options)


def check_replicas(layout: Layout, numbers: Mapping[str, int]) -> None:
  """Refuses seeds that cannot be divided equally over the devices.

  Args:
    layout: of the devices.
    numbers: how many seeds there are, by the config's key that says so.

  Raises:
    ConfigError: says how many devices would do.
  """
  for key, number in numbers.items():
    if number % layout.replica_parts:
      fits = max(
        count
        for count in range(1, layout.num_devices + 1)
        if math.gcd(*numbers.values()) % count == 0
      )
      other = f", or parallel.num_devices={fits}" if jax.process_count() == 1 else ""
      raise ConfigError(
        f"parallel.divide=seeds: {number} seed(s) ({key}) do not divide equally over "
        f"{layout.num_devices} devices; choose a multiple{other}"
      )


def num_cpus() -> int:
  """Returns how many processors this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def padded_batch_size(batch_size: int, layout: Layout) -> int:
  """Returns the smallest multiple of the parts of a batch that holds it."""
  return -(-batch_size // layout.batch_parts) * layout.batch_parts


def shard_batch(layout: Layout, tree: PyTree) -> PyTree:
  """Returns the tree of arrays [B, ...] divided over the devices.

  B must be a multiple of the parts of a batch.
  """
  if layout.mode == "pmap":
    index = jax.lax.axis_index(AXIS)
    size = jax.tree.leaves(tree)[0].shape[0] // layout.num_devices
    return jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, index * size, size), tree)
  if layout.batch_parts == 1:
    return tree
  sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS))
  return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), tree)


@contextlib.contextmanager
def tracing(layout: Layout) -> Iterator[None]:
  """Within it, a program for the layout is traced; what is traced must be new to JAX."""
  token = _DIVIDES_BATCHES.set(layout.mode == "jit" and layout.batch_parts > 1)
  try:
    yield
  finally:
    _DIVIDES_BATCHES.reset(token)


def divides_batches() -> bool:
  """Returns whether the compiler will divide the batches of the program that is being traced.

  A loop over parts of a batch then would send them around.
  """
  return _DIVIDES_BATCHES.get()


def gather_batch(layout: Layout, array: Shaped[Array, "b ..."]) -> Shaped[Array, "B ..."]:
  """Returns the whole array [B, ...] on every device; the inverse of `shard_batch`."""
  if layout.mode == "pmap":
    return jax.lax.all_gather(array, AXIS, tiled=True)
  if layout.batch_parts == 1:
    return array
  return jax.lax.with_sharding_constraint(array, NamedSharding(layout.mesh, PartitionSpec()))


def gather_over(axis_name: str | None, array: Shaped[Array, "b ..."]) -> Shaped[Array, "B ..."]:
  """Returns the parts of all devices of the named axis, one after the other; without one itself."""
  return array if axis_name is None else jax.lax.all_gather(array, axis_name, tiled=True)


def sum_over[Tree](axis_name: str | None, tree: Tree) -> Tree:
  """Returns the tree summed over the named axis; the tree itself without one."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def place[Tree](layout: Layout, tree: Tree) -> Tree:
  """Returns the tree on the devices, a whole copy on each; under pmap they are on a leading axis.

  In an abstract layout the leaves need no more than a shape and a dtype, and become
  `jax.ShapeDtypeStruct`s.
  """
  return _place(layout, tree, PartitionSpec())


def place_replicas[Tree](layout: Layout, tree: Tree) -> Tree:
  """Returns the tree of arrays [R, ...] on the devices, see `place`.

  Where the seeds are divided, each device has only its own.
  """
  return _place(layout, tree, layout.replica_spec(0))


def _place[Tree](layout: Layout, tree: Tree, spec: PartitionSpec) -> Tree:
  if layout.is_abstract:
    return jax.tree.map(functools.partial(_placed_shape, layout, spec), tree)
  if layout.mode == "pmap":
    sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS))
    return _put(
      jax.tree.map(lambda leaf: np.broadcast_to(leaf, (layout.num_devices, *np.shape(leaf))), tree),
      sharding,
    )
  return _put(tree, NamedSharding(layout.mesh, spec))


def _put[Tree](tree: Tree, sharding: NamedSharding) -> Tree:
  """Returns the tree, whole on this host, as arrays of this sharding.

  Every process puts its part on its own devices.
  """
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)
  # device_put would send every leaf once more, to compare it on all processes.
  return jax.tree.map(
    lambda leaf: jax.make_array_from_callback(
      np.shape(leaf), sharding, np.asarray(leaf).__getitem__
    ),
    tree,
  )


def _placed_shape(layout: Layout, spec: PartitionSpec, leaf: Leaf) -> jax.ShapeDtypeStruct:
  """Returns shape, dtype and sharding of a leaf as `_place` would put it on the devices."""
  copies = (layout.num_devices,) if layout.mode == "pmap" else ()
  sharding = NamedSharding(layout.mesh, PartitionSpec(AXIS) if copies else spec)
  return jax.ShapeDtypeStruct((*copies, *leaf.shape), leaf.dtype, sharding=sharding)


def fetch[Tree](layout: Layout, tree: Tree) -> Tree:
  """Returns the whole tree as NumPy arrays on the host; of equal copies the first is taken.

  Where several processes divide the seeds, all must call it at the same point.
  """
  if layout.mode == "pmap":
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree)
  if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
    return jax.tree.map(np.asarray, jax.device_get(tree))
  whole = _gathering(NamedSharding(layout.mesh, PartitionSpec()))
  # One leaf at a time: a device has no memory for the states of all seeds.
  return jax.tree.map(lambda leaf: np.asarray(whole(leaf)), tree)


@functools.cache
def _gathering(whole: NamedSharding) -> Callable[[jax.Array], jax.Array]:
  """Returns the function that makes an array whole on every device."""
  return jax.jit(lambda array: array, out_shardings=whole)


def bytes_per_device(tree: PyTree) -> int:
  """Returns the bytes of a placed or abstract tree on each device."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def pad_batch(array: Shaped[Array, "b ..."], batch_size: int) -> Shaped[Array, "B ..."]:
  """Returns the array [B, ...] padded with zeros to [batch_size, ...]."""
  return jnp.pad(array, ((0, batch_size - array.shape[0]),) + ((0, 0),) * (array.ndim - 1))
