"""Compiles a program for the devices of a layout, and maps a function over the replicas."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from sdt.devices import onednn
from sdt.devices.layout import AXIS, Layout, tracing
from sdt.devices.memory import is_out_of_memory
from sdt.errors import ConfigError
from sdt.types import Leaf, PyTree


@runtime_checkable
class Executable(Protocol):
  """A compiled program."""

  def __call__(self, *args: PyTree) -> Any:
    """Returns what the function returns for placed arguments of the compiled shapes."""

  def memory_analysis(self) -> Any:
    """Returns what the program needs on a device, as far as the backend tells."""


# So many programs stay in memory. A run has a handful, a sweep of other shapes some for each value.
_KEPT = 32
_SLOTS = threading.Lock()
# What a program depends on beside its arguments: a caller in Python may have changed it.
_SETTINGS = (
  "jax_debug_nans",
  "jax_default_matmul_precision",
  "jax_default_prng_impl",
  "jax_enable_x64",
  "jax_numpy_dtype_promotion",
  "jax_threefry_partitionable",
)


@dataclasses.dataclass(frozen=True)
class _Key:
  """What a compiled program depends on: equal keys have the same executable.

  Attributes:
    layout, function, program: see `compile_program`.
    structure, leaves: of the arguments; shape, dtype and sharding of each leaf.
    replica_axes, donate: see `compile_program`.
    text: of the program: 2 and 2.0 are equal and compile to different code.
    settings: of JAX, those of `_SETTINGS`.
  """

  layout: Layout
  function: Callable[..., Any]
  program: Hashable
  structure: jax.tree_util.PyTreeDef
  leaves: tuple[jax.ShapeDtypeStruct, ...]
  replica_axes: int | tuple[int, ...]
  donate: tuple[int, ...]
  text: str
  settings: tuple[object, ...]


def compile_program(
  layout: Layout,
  function: Callable[..., Any],
  program: Hashable,
  *,
  args: Sequence[PyTree],
  replica_axes: int | tuple[int, ...] = 0,
  donate: tuple[int, ...] = (),
) -> Executable:
  """Returns the executable of `function(program, *args)` for placed arguments.

  It never recompiles, and raises on arguments of any other shape. Equal programs for equal shapes
  are compiled once in a process: a sweep over a number compiles for its first value alone.

  Args:
    layout: of the devices.
    function: a function of a module; where the seeds are divided it sees those of one device.
    program: what is static: hashable, and equal where the compiled code is.
    args: from `place`, and those whose leading axis is that of the replicas from `place_replicas`.
    replica_axes: which axis of the results is that of the replicas, a tree prefix of them.
    donate: which of `args` the results may take the memory of.
  """
  leaves, structure = jax.tree.flatten(tuple(args))
  shapes = tuple(
    jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for leaf in leaves
  )
  key = _Key(
    layout,
    function,
    program,
    structure=structure,
    leaves=shapes,
    replica_axes=replica_axes,
    donate=donate,
    text=repr(program),
    settings=tuple(getattr(jax.config, name) for name in _SETTINGS),
  )
  try:
    # Of several processes pmap takes shapes for those of one of them, and arrays for what they are.
    if layout.mode == "pmap" and jax.process_count() > 1:
      return _compiled(key, args)
    return _compile(key)
  except jax.errors.JaxRuntimeError as error:
    if not layout.compiler_options or is_out_of_memory(error):
      raise
    reason = str(error).splitlines()[0][:200]
    raise ConfigError(
      f"parallel.compiler_options: a program cannot be compiled with them ({reason}); leave them "
      "out"
    ) from error


class _Slot:
  """The executable of a key, once it is compiled. Two threads that want it compile it once."""

  def __init__(self) -> None:
    self.lock = threading.Lock()
    self.executable: Executable | None = None


@functools.lru_cache(maxsize=_KEPT)
def _slot(key: _Key) -> _Slot:
  del key
  return _Slot()


def _compile(key: _Key) -> Executable:
  with _SLOTS:  # lru_cache alone may make two slots for two threads
    slot = _slot(key)
  with slot.lock:
    if slot.executable is None:
      slot.executable = _compiled(key, jax.tree.unflatten(key.structure, key.leaves))
    return slot.executable


def _compiled(key: _Key, args: Sequence[PyTree]) -> Executable:
  layout, function = key.layout, functools.partial(key.function, key.program)
  if layout.replica_parts > 1:
    return _OnEachDevice(layout, function, args, replica_axes=key.replica_axes, donate=key.donate)
  with tracing(layout):
    if layout.mode == "pmap":
      lowered = jax.pmap(
        function, AXIS, devices=list(layout.mesh.devices.flat), donate_argnums=key.donate
      ).lower(*args)
    else:
      whole = NamedSharding(layout.mesh, PartitionSpec())
      lowered = jax.jit(function, donate_argnums=key.donate, out_shardings=whole).lower(*args)
  return _finished(layout, lowered)


def _finished(layout: Layout, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
  """Returns the executable, with the user's options and those that sdt chooses beside them."""
  options: Mapping[str, str | bool] = dict(layout.compiler_options)
  if layout.mesh.devices.flat[0].platform == "cpu":
    options = onednn.options(lowered, options)
  with onednn.not_kept() if options.get(onednn.SWITCH) else contextlib.nullcontext():
    return lowered.compile(compiler_options=dict(options) or None)


class _OnEachDevice:
  """A program that every device of this process runs on its own replicas, as it would alone.

  The arguments are those of `compile_program`. One partitioned program for all (`jax.shard_map`)
  would be compiled once instead of once for each device. But XLA's partitioner leads to other
  fusions: the last bits of a replica would not be those that it has alone.
  """

  def __init__(
    self,
    layout: Layout,
    function: Callable[..., Any],
    args: Sequence[PyTree],
    replica_axes: int | tuple[int, ...],
    donate: tuple[int, ...],
  ) -> None:
    self._layout, self._replica_axes = layout, replica_axes
    self._devices = [
      device for device in layout.mesh.devices.flat if device.process_index == jax.process_index()
    ]

    def lowered(device: jax.Device) -> jax.stages.Lowered:
      return jax.jit(function, donate_argnums=donate).lower(
        *jax.tree.map(functools.partial(_shape_on, device), tuple(args))
      )

    compile_one = functools.partial(_finished, layout)
    first, *others = map(lowered, self._devices)
    # The first is compiled alone: the others take over what XLA finds by trying on a GPU.
    self._executables = [compile_one(first)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
      self._executables += pool.map(compile_one, others)

  def __call__(self, *args: PyTree) -> Any:
    leaves, structure = jax.tree.flatten(args)
    parts = [{shard.device: shard.data for shard in leaf.addressable_shards} for leaf in leaves]
    results = [
      executable(*jax.tree.unflatten(structure, [of[device] for of in parts]))
      for device, executable in zip(self._devices, self._executables, strict=True)
    ]
    return jax.tree.map(
      lambda axis, *trees: jax.tree.map(functools.partial(self._joined, axis), *trees),
      self._replica_axes,
      *results,
    )

  def _joined(self, axis: int, *parts: jax.Array) -> jax.Array:
    """Returns one array over the mesh, made of the parts that the devices have; nothing moves."""
    shape = list(parts[0].shape)
    shape[axis] *= self._layout.replica_parts
    sharding = NamedSharding(self._layout.mesh, self._layout.replica_spec(axis))
    return jax.make_array_from_single_device_arrays(tuple(shape), sharding, list(parts))

  def memory_analysis(self) -> Any:
    return self._executables[0].memory_analysis()


def _shape_on(device: jax.Device, leaf: Leaf) -> jax.ShapeDtypeStruct:
  """Returns shape and dtype of the part of a placed leaf that is on one device."""
  return jax.ShapeDtypeStruct(
    leaf.sharding.shard_shape(leaf.shape), leaf.dtype, sharding=SingleDeviceSharding(device)
  )


def map_replicas(mode: str, function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `function` mapped over the leading axis of all arguments.

  `unroll` repeats it for each replica and `loop` runs one after the other: both are bit-equal to
  running each replica alone. `vmap` batches it: equal up to the order of summation.
  """
  if mode == "vmap":
    return jax.vmap(function)

  def unrolled(*args: PyTree) -> PyTree:
    num_replicas = jax.tree.leaves(args)[0].shape[0]
    if mode == "loop" and num_replicas > 1:
      return jax.lax.map(lambda one: function(*one), args)
    results = [
      function(*jax.tree.map(lambda leaf, r=replica: leaf[r], args))
      for replica in range(num_replicas)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

  return unrolled
