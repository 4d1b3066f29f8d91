"""Chooses where the inputs of a data set are: on the devices if they fit, else on the host."""

import dataclasses
import os

import jax
import numpy as np
from jaxtyping import Shaped

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.devices.layout import Layout

# The share of a device's memory for the inputs is one in so many (the rest is for weights,
# activations and the compiler's buffers); likewise for one streamed dispatch.
_SHARE_OF_INPUTS, _SHARE_OF_DISPATCH = 2, 64
_MOST_OF_DISPATCH = 2**27  # bytes; more makes no dispatch faster


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where the inputs are, and why.

  Attributes:
    name: "device" or "stream".
    inputs_bytes: of all splits.
    device_bytes: memory of one device.
  """

  name: str
  inputs_bytes: int
  device_bytes: int

  @property
  def dispatch_bytes(self) -> int:
    """The most bytes of streamed inputs in one dispatch."""
    return min(_MOST_OF_DISPATCH, self.device_bytes // _SHARE_OF_DISPATCH)

  def note(self, config: DataConfig) -> str:
    """Returns the note to the user about streamed inputs."""
    why = (
      "data.placement=stream"
      if config.placement == "stream"
      else f"more than half of the {_size(self.device_bytes)} of a device"
    )
    return f"inputs stay on the host and are streamed, {_size(self.inputs_bytes)} ({why})"


def choose_placement(
  config: DataConfig, data: Data, layout: Layout, sealed: str | None
) -> Placement:
  """Returns where the inputs are: as the config says, as the run began, or where they fit.

  Args:
    config: `placement`.
    data: the data set.
    layout: of the devices.
    sealed: what an earlier start of the run chose; None for a new run.
  """
  splits = [data.train, data.test, *([] if data.unlabelled is None else [data.unlabelled])]
  inputs_bytes = sum(split.inputs.nbytes for split in splits)
  device_bytes = processes.agree(_device_bytes(layout))
  chosen = config.placement if config.placement != "auto" else sealed
  if chosen is None:
    chosen = "device" if inputs_bytes <= device_bytes // _SHARE_OF_INPUTS else "stream"
  return Placement(chosen, inputs_bytes, device_bytes)


def most_batches(placement: Placement, batch_size: int, inputs: Shaped[np.ndarray, "N ..."]) -> int:
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
