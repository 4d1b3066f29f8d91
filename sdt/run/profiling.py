"""A trace of what the device does in one dispatch, written where `--profile` asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import jax

_Step = TypeVar("_Step")


class Profiler:
  """Traces the second dispatch of a process: the first does what happens only once.

  Args:
    folder: where the trace goes; None for none.
    log: is told where it went.
  """

  def __init__(self, folder: Path | None, log: Callable[[str], None]) -> None:
    self._folder, self._log, self._num_seen = folder, log, 0

  def watch(self, dispatches: Iterable[_Step]) -> Iterator[_Step]:
    """Yields what `dispatches` yields, and traces the second dispatch of the process."""
    remaining = iter(dispatches)
    while True:
      is_traced = self._folder is not None and self._num_seen == 1
      with (
        jax.profiler.trace(self._folder, create_perfetto_trace=True)
        if is_traced
        else contextlib.nullcontext()
      ):
        step = next(remaining, None)
      if step is None:
        return
      self._num_seen += 1
      if is_traced:
        told = "ui.perfetto.dev opens its perfetto_trace.json.gz, TensorBoard the folder"
        self._log(f"profile: the trace of one dispatch is in {self._folder}; {told}")
      yield step
