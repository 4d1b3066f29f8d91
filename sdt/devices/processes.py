"""Several processes of one run: how they find each other and what they agree on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sdt import errors
from sdt.config import Config, to_dict
from sdt.config.command_line import Launch
from sdt.config.differences import SAFE_TO_CHANGE, differences
from sdt.config.schema import DistributedConfig
from sdt.errors import ConfigError, SdtError

_DAYS_MS = (
  30 * 24 * 3600 * 1000
)  # nobody waits for so long: a process that died ends the others by their heartbeats
_CHUNK_BYTES = 2**24
_TURNS = itertools.count()  # of the exchanges; every process takes part in each, so all count alike
# Of the keys that may differ between two starts of a run those that all its processes must have
# alike.
_ALIKE = ("baseline_from", "data.placement")


@contextlib.contextmanager
def together(config: Config) -> Iterator[None]:
  """Around the whole run: an SdtError that leaves the block on one process is raised on all of
  them.

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
  """Makes this process one of several, where it was started as one. To be called before JAX has
  looked for devices.

  Args:
    rule: `join` says whether to; the timeouts.
    launch: what the command line says of the processes; None leaves it to JAX's detection of the
      cluster.

  Raises:
    ConfigError: no cluster is detected where there must be one; the others do not come; they have
      other numbers of devices.
  """
  if rule.join == "off" and launch is not None:
    raise ConfigError(
      "distributed.join=off, and the command line names a coordinator; leave one of them out"
    )
  if rule.join == "off" or (rule.join == "auto" and launch is None and not is_launched(os.environ)):
    return
  if launch is not None and launch.process_id > 0:
    _wait_for(launch, rule.connect_timeout_secs)
  # JAX's own handler of SIGTERM would swallow the signal until the training has its handler.
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
  """Returns when somebody listens at the coordinator's address: the runtime itself would end the
  process by an abort where nobody does.

  Raises:
    ConfigError: nobody does after so many seconds.
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
  """Returns whether the environment is that of one of several processes that JAX detects, without
  asking anybody over a network.

  That is a task of a SLURM step, of an Open MPI job, or a worker of TPU slices of which the
  environment tells.
  """

  def number(name: str) -> int:
    text = variables.get(name, "")
    return int(text) if text.isdigit() else 0

  workers = variables.get("TPU_PROCESS_ADDRESSES") or variables.get("TPU_WORKER_HOSTNAMES", "")
  # SLURM_NTASKS stands in an allocation's shell as well, where nobody else has been started.
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


def gather(value: Any) -> list[Any]:
  """Returns the JSON values of all processes, in their order, on every process; none returns before
  all have come.

  Raises:
    SdtError: some process failed instead (see `fail`); its own error there, the same kind on all
      others.
  """
  return [value] if count() == 1 else _exchange({"value": value})


def agree(value: Any) -> Any:
  """Returns the first process's JSON value on every process: for whatever hangs on a clock, on a
  disk or on this one machine.
  """
  return gather(value if is_first() else None)[0]


def by_first(function: Callable[[], Any]) -> Any:
  """Returns on every process what `function` returns (JSON) on the first, which alone calls it; its
  SdtError is raised by all.
  """
  if count() == 1:
    return function()
  mine: dict[str, Any] = {"value": None}
  if is_first():
    try:
      mine = {"value": function()}
    except SdtError as error:
      mine = _told(error)
  return _exchange(mine)[0]


def on_all(function: Callable[[], Any]) -> Any:
  """Returns what `function` returns here, once it has returned on all processes; the SdtError of
  any is raised by all.
  """
  if count() == 1:
    return function()
  mine: dict[str, Any] = {"value": None}
  value = None
  try:
    value = function()
  except SdtError as error:
    mine = _told(error)
  _exchange(mine)
  return value


def in_turn(function: Callable[[], Any]) -> Any:
  """Returns what `function` returns here; the first process calls it before the others, who find
  what it left on a shared disk.
  """
  value = function() if is_first() else None
  agree(None)
  value = value if is_first() else function()
  agree(None)
  return value


def fail(error: SdtError) -> None:
  """Tells the other processes of an error that ends this one: at their next exchange they raise it
  too. Waits for nobody.
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


def _client() -> Any:
  """Returns the runtime's store of keys and values.

  JAX has no public way to it. Its public collectives would not do: an error that one process tells
  must never meet the others' gradients.
  """
  from jax._src import distributed

  return distributed.global_state.client


def _exchange(mine: Mapping[str, Any]) -> list[Any]:
  """Gives `mine` to all and returns everybody's "value"; raises the error of the first process that
  tells of one.
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
  """Returns the first process's bytes on every process; the data of the others are not read. They
  go over the devices' network.
  """
  if count() == 1:
    return data
  size, parts = agree(len(data)), []
  for start in range(0, size, _CHUNK_BYTES):
    length = min(size - start, _CHUNK_BYTES)
    chunk = np.zeros(
      1 << (length - 1).bit_length(), np.uint8
    )  # a power of two: a program for each length would be compiled
    if is_first():
      chunk[:length] = np.frombuffer(data, np.uint8, length, start)
    parts.append(multihost_utils.broadcast_one_to_all(chunk)[:length].tobytes())
  return b"".join(parts)


def send_tree(tree: Any, like: Any) -> Any:
  """Returns the first process's tree of NumPy arrays on every process.

  Args:
    tree: not read but on the first.
    like: the same tree of anything with `shape` and `dtype`, on all.
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
  """Raises a ConfigError where a process was started with another config than the first, in any key
  that can change what is done.
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


def refuse_unequal(what: str, tree: Any) -> None:
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
