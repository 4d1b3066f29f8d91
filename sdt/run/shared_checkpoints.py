"""The checkpoints of a run of several processes: the first reads and writes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from sdt.devices import processes
from sdt.run.checkpoints import CheckpointStore

_LOG = logging.getLogger(__name__)


class SharedStore:
  """A `CheckpointStore` for all processes of a run: same arguments, results and errors.

  The state is whole on every process, so the first alone can save it: one writer, one seal, one
  rename, whatever the number of processes.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    keep: int,
    log: Callable[[str], None] = _LOG.warning,
    read_only: bool = False,
  ):
    self.last_save_secs = 0.0
    self._store = (
      CheckpointStore(directory, keep, log, read_only=read_only) if processes.is_first() else None
    )

  def _own(self) -> CheckpointStore:
    """Returns the store itself, which only the first process has."""
    if self._store is None:
      raise RuntimeError("only the first process reads and writes checkpoints")
    return self._store

  def steps(self) -> list[int]:
    steps: list[int] = processes.by_first(lambda: self._own().steps())
    return steps

  def save(self, step: int, state: Any, meta: Mapping[str, Any], pin: bool = False) -> None:
    """See `CheckpointStore.save`; no process returns before the step is sealed and verified."""

    def write() -> float:
      self._own().save(step, state, meta, pin=pin)
      return self._own().last_save_secs

    self.last_save_secs = processes.by_first(write)

  def restore(self, step: int, target_like: Any) -> tuple[Any, dict[str, Any]]:
    found: list[Any] = [None]

    def read() -> dict[str, Any]:
      found[0], meta = self._own().restore(step, target_like)
      return meta

    meta = processes.by_first(read)
    return processes.send_tree(found[0], target_like), meta

  def restore_latest(self, target_like: Any) -> tuple[int, Any, dict[str, Any]] | None:
    found: list[Any] = [None]

    def read() -> tuple[int, dict[str, Any]] | None:
      latest = self._own().restore_latest(target_like)
      if latest is None:
        return None
      step, found[0], meta = latest
      return step, meta

    latest = processes.by_first(read)
    if latest is None:
      return None
    step, meta = latest
    return (
      step,
      processes.send_tree(found[0], target_like(step) if callable(target_like) else target_like),
      meta,
    )

  def read_meta(self, step: int) -> dict[str, Any]:
    meta: dict[str, Any] = processes.by_first(lambda: self._own().read_meta(step))
    return meta
