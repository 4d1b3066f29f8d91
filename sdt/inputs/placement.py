"""Where the inputs of a data set live: on the devices, as long as they fit, or on the host, from
where they are streamed.
"""

from __future__ import annotations

import dataclasses
import os

import jax
import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.devices.layout import Layout

# Of a device's memory: what inputs may take (the rest is for weights, activations and what the
# compiler adds), and one streamed dispatch.
_SHARE_OF_INPUTS, _SHARE_OF_DISPATCH = 2, 64
_MOST_OF_DISPATCH = 2**27  # bytes; more makes no dispatch faster


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where the inputs live, and why.

  Attributes:
    name: "device" or "stream".
    inputs_bytes: of both splits.
    device_bytes: memory of one device.
  """

  name: str
  inputs_bytes: int
  device_bytes: int

  @property
  def dispatch_bytes(self) -> int:
    """What the inputs of one dispatch may take where they are streamed."""
    return min(_MOST_OF_DISPATCH, self.device_bytes // _SHARE_OF_DISPATCH)

  def note(self, config: DataConfig) -> str:
    """Returns what the user is told where inputs are streamed."""
    why = (
      "data.placement=stream"
      if config.placement == "stream"
      else f"more than half of the {_size(self.device_bytes)} of a device"
    )
    return f"inputs stay on the host and are streamed, {_size(self.inputs_bytes)} ({why})"


def choose_placement(
  config: DataConfig, data: Data, layout: Layout, sealed: str | None
) -> Placement:
  """Returns where the inputs live: as the config says; if that is `auto` as the run began, or where
  they fit.

  Args:
    config: `placement`.
    data: the data set.
    layout: of the devices.
    sealed: what an earlier start of the run chose; None for a new run.
  """
  inputs_bytes, device_bytes = (
    data.train.inputs.nbytes + data.test.inputs.nbytes,
    processes.agree(_device_bytes(layout)),
  )
  chosen = config.placement if config.placement != "auto" else sealed
  if chosen is None:
    chosen = "device" if inputs_bytes <= device_bytes // _SHARE_OF_INPUTS else "stream"
  return Placement(chosen, inputs_bytes, device_bytes)


def most_batches(placement: Placement, batch_size: int, inputs: np.ndarray) -> int:
  """Returns how many batches of these inputs one streamed dispatch may be given, at least 1."""
  return max(1, placement.dispatch_bytes // (batch_size * inputs[:1].nbytes))


def _device_bytes(layout: Layout) -> int:
  """Returns the memory of one device in bytes; CPU devices share that of the machine."""
  statistics = jax.local_devices()[0].memory_stats() or {}
  if "bytes_limit" in statistics:
    return int(statistics["bytes_limit"])
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // layout.num_devices


def _size(count: int) -> str:
  return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
