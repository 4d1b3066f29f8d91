"""Several processes of one run: how they find each other and what they agree on."""

import contextlib
import hashlib
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils

from sdt import errors
from sdt.config import Config, to_dict
from sdt.config.command_line import Launch
from sdt.config.differences import SAFE_TO_CHANGE, differences
from sdt.config.schema import DistributedConfig
from sdt.errors import ConfigError, SdtError
from sdt.types import PyTree

# What JSON can hold: bool, int, float, str, None, and lists and dicts of them.
type Json = Any

# Nobody waits for so long: if a process dies, the missing heartbeats end the others.
_DAYS_MS = 30 * 24 * 3600 * 1000
_CHUNK_BYTES = 2**24
_TURNS = itertools.count()  # of the exchanges; every process takes part in each, so all count alike
# Two starts of a run may differ in more keys than its processes may: these must be the same on all.
_ALIKE = ("baseline_from", "data.placement")


@contextlib.contextmanager
def together(config: Config) -> Iterator[None]:
  """Wraps the whole run: an SdtError that leaves the block on one process is raised on all.

  Raises:
    ConfigError: see `refuse_other_configs`.
  """
  try:
    refuse_other_configs(config)
    yield
  except SdtError as error:
    fail(error)
    raise


def join(rule: DistributedConfig, launch: Launch | None) -> None:
  """Makes this process one of several, where it was started as one.

  It must be called before JAX looks for devices.

  Args:
    rule: `join` says whether to; the timeouts.
    launch: what the command line says of the processes; None leaves it to JAX's detection.

  Raises:
    ConfigError: no cluster is detected where there must be one; the others do not come; the
      processes have different numbers of devices.
  """
  if rule.join == "off" and launch is not None:
    raise ConfigError(
      "distributed.join=off, and the command line names a coordinator; leave one of them out"
    )
  if rule.join == "off" or (rule.join == "auto" and launch is None and not is_launched(os.environ)):
    return
  if launch is not None and launch.process_id > 0:
    _wait_for(launch, rule.connect_timeout_secs)
  # JAX's handler of SIGTERM would swallow the signal until the training has its own.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      coordinator_address=None if launch is None else launch.coordinator,
      num_processes=None if launch is None else launch.num_processes,
      process_id=None if launch is None else launch.process_id,
      initialization_timeout=rule.connect_timeout_secs,
      heartbeat_timeout_seconds=rule.heartbeat_timeout_secs,
      shutdown_timeout_seconds=rule.heartbeat_timeout_secs,
    )
  except (ValueError, RuntimeError) as error:  # JaxRuntimeError is a RuntimeError
    where = (
      "no cluster was detected"
      if launch is None
      else f"process {launch.process_id} of {launch.num_processes} at {launch.coordinator}"
    )
    raise ConfigError(
      f"the processes did not come together ({where}; {' '.join(str(error).split())[:200]}); "
      "start all of them within "
      f"distributed.connect_timeout_secs={rule.connect_timeout_secs}, see docs/clusters.md; "
      "distributed.join=off runs this one alone"
    ) from error
  counts = gather(jax.local_device_count())
  if len(set(counts)) > 1:
    raise ConfigError(
      f"the processes have {', '.join(map(str, counts))} devices; give every process the same "
      "number"
    )


def _wait_for(launch: Launch, seconds: float) -> None:
  """Waits until process 0 listens at the coordinator's address.

  Without this wait the runtime would abort the process where nobody listens.

  Raises:
    ConfigError: nobody listens within so many seconds.
  """
  host, _, port = launch.coordinator.rpartition(":")
  deadline, reason = time.monotonic() + seconds, ""
  while time.monotonic() < deadline:
    try:
      socket.create_connection(
        (host.strip("[]"), int(port)), timeout=max(0.1, deadline - time.monotonic())
      ).close()
      return
    except UnicodeError as error:
      raise ConfigError(
        f"--coordinator={launch.coordinator}: {host!r} cannot be the name of a machine ({error})"
      ) from error
    except OSError as error:
      reason = str(error)
      time.sleep(0.2)
  raise ConfigError(
    f"--coordinator={launch.coordinator}: no process 0 was there within "
    f"distributed.connect_timeout_secs={seconds:g} ({reason}); start it, "
    "with the same flags and --process_id=0, on a machine and port that this one can reach"
  )


def is_launched(variables: Mapping[str, str]) -> bool:
  """Returns whether the environment variables say that this is one of several processes.

  JAX detects a task of a SLURM step or of an Open MPI job, and a worker of TPU slices. No network
  is asked.
  """

  def number(name: str) -> int:
    text = variables.get(name, "")
    return int(text) if text.isdigit() else 0

  workers = variables.get("TPU_PROCESS_ADDRESSES") or variables.get("TPU_WORKER_HOSTNAMES", "")
  # SLURM_NTASKS is also set in the shell of an allocation, where no other process was started.
  counts = [
    number(name)
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "MEGASCALE_NUM_SLICES")
  ]
  return max(*counts, len(workers.split(","))) > 1


def count() -> int:
  """Returns how many processes the run has."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def index() -> int:
  """Returns the number of this process, from 0."""
  return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
  """Returns whether this is the process that writes."""
  return index() == 0


def gather(value: Json) -> list[Json]:
  """Returns the JSON values of all processes, in their order, on every process.

  It returns when all processes have called it.

  Raises:
    SdtError: a process failed instead (see `fail`). The others raise an error of the same kind.
  """
  return [value] if count() == 1 else _exchange({"value": value})


def agree(value: Json) -> Json:
  """Returns the first process's JSON value on every process.

  Used for values that depend on a clock, on a disk or on one machine.
  """
  return gather(value if is_first() else None)[0]


def by_first(function: Callable[[], Json]) -> Json:
  """Returns on every process what `function` returns (JSON) on the first, which alone calls it.

  An SdtError of the function is raised on all processes.
  """
  if count() == 1:
    return function()
  mine: dict[str, Json] = {"value": None}
  if is_first():
    try:
      mine = {"value": function()}
    except SdtError as error:
      mine = _told(error)
  return _exchange(mine)[0]


def on_all[Result](function: Callable[[], Result]) -> Result:
  """Returns what `function` returns here, once it has returned on all processes.

  An SdtError of any process is raised on all.
  """
  if count() == 1:
    return function()
  try:
    value = function()
  except SdtError as error:
    _exchange(_told(error))  # raises it
    raise
  _exchange({"value": None})
  return value


def in_turn[Result](function: Callable[[], Result]) -> Result:
  """Returns what `function` returns here; the first process calls it before the others.

  The others find what the first left on a shared disk.
  """
  if is_first():
    value = function()
    agree(None)
  else:
    agree(None)
    value = function()
  agree(None)
  return value


def fail(error: SdtError) -> None:
  """Tells the other processes of an error that ends this one; it waits for nobody.

  The others raise the error at their next exchange.
  """
  if count() == 1 or error.is_told:
    return
  path, told = f"sdt/{next(_TURNS)}", _told(error)
  if is_first():
    _client().key_value_set(f"{path}/all", json.dumps([told]))
  else:
    _client().key_value_set(f"{path}/{index()}", json.dumps(told))


def _told(error: SdtError) -> dict[str, str]:
  return {"kind": type(error).__name__, "text": str(error)}


@runtime_checkable
class _Client(Protocol):
  """The runtime's store of keys and values."""

  def key_value_set(self, key: str, value: str) -> None: ...
  def key_value_delete(self, key: str) -> None: ...
  def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...


def _client() -> _Client:
  """Returns the runtime's store of keys and values.

  JAX has no public way to it. Its public collectives do not serve: an error that one process tells
  must never meet the gradients of the others.
  """
  from jax._src import distributed

  return cast(_Client, distributed.global_state.client)


def _exchange(mine: Mapping[str, Json]) -> list[Json]:
  """Gives `mine` to all processes and returns the "value" of each.

  Raises:
    SdtError: a process told of an error; of several the first.
  """
  client, number = _client(), next(_TURNS)
  path = f"sdt/{number}"
  if is_first():
    others = [
      json.loads(client.blocking_key_value_get(f"{path}/{other}", _DAYS_MS))
      for other in range(1, count())
    ]
    told = [mine, *others]
    client.key_value_set(f"{path}/all", json.dumps(told))
    client.key_value_delete(f"sdt/{number - 1}/")  # who came to this exchange has read the last one
  else:
    client.key_value_set(f"{path}/{index()}", json.dumps(mine))
    told = json.loads(client.blocking_key_value_get(f"{path}/all", _DAYS_MS))
  for other, one in enumerate(told):
    if "kind" in one:
      error: SdtError = getattr(errors, one["kind"])(
        one["text"] if other in (0, index()) else f"process {other}: {one['text']}"
      )
      error.is_told = True
      raise error
  return [one["value"] for one in told]


def send(data: bytes) -> bytes:
  """Returns the first process's bytes on every process, over the devices' network.

  The data of the other processes are not read.
  """
  if count() == 1:
    return data
  size, parts = agree(len(data)), []
  for start in range(0, size, _CHUNK_BYTES):
    length = min(size - start, _CHUNK_BYTES)
    # A power of two: otherwise a program would be compiled for each length.
    chunk = np.zeros(1 << (length - 1).bit_length(), np.uint8)
    if is_first():
      chunk[:length] = np.frombuffer(data, np.uint8, length, start)
    parts.append(multihost_utils.broadcast_one_to_all(chunk)[:length].tobytes())
  return b"".join(parts)


def send_tree(tree: PyTree, like: PyTree) -> PyTree:
  """Returns the first process's tree of NumPy arrays on every process.

  Args:
    tree: read on the first process only.
    like: a tree of the same structure, on all processes, of leaves with `shape` and `dtype`.
  """
  if count() == 1:
    return tree
  leaves, structure = jax.tree.flatten(like)
  data = send(
    b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    if is_first()
    else b""
  )
  if is_first():
    return tree
  ends = list(
    itertools.accumulate(
      np.dtype(leaf.dtype).itemsize * int(np.prod(leaf.shape)) for leaf in leaves
    )
  )
  parts = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
  arrays = [
    np.frombuffer(part, leaf.dtype).reshape(leaf.shape).copy()
    for part, leaf in zip(parts, leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, arrays)


def refuse_other_configs(config: Config) -> None:
  """Raises a ConfigError where the config of a process differs from that of the first.

  Keys that cannot change what is done may differ.
  """
  plain = gather(to_dict(config))
  for other, theirs in enumerate(plain):
    changes = [
      line
      for name, line in differences(plain[0], theirs)
      if name not in SAFE_TO_CHANGE or name in _ALIKE
    ]
    if changes:
      raise ConfigError(
        f"process {other} was started with another config than process 0 ({'; '.join(changes)}); "
        "give all the same command"
      )


def refuse_unequal(what: str, tree: PyTree) -> None:
  """Raises a ConfigError where the arrays of a tree do not have the same bits on every process."""
  if count() == 1:
    return
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(tree):
    digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
  digests = gather(digest.hexdigest())
  for other, theirs in enumerate(digests):
    if theirs != digests[0]:
      raise ConfigError(
        f"{what} of process {other} has other bits than that of process 0: run all on machines of "
        "one kind"
      )
