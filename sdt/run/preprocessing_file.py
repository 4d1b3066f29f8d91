"""preprocessing.npz: the statistics of a run's preprocessing, as its first start found them.

A covariance may differ in its last bits on another machine. A run goes on with the numbers that it
began with.
"""

import dataclasses
from pathlib import Path

from sdt import files
from sdt.data.dataset import Data, Step
from sdt.devices import processes

FILE = "preprocessing.npz"


def is_written(data: Data) -> bool:
  """Returns whether a run on these data has the file: beside means of channels there is more."""
  return data.mean.ndim > 1 or any(step.arrays for step in data.steps)


def as_begun(workdir: Path, data: Data) -> Data:
  """Returns the data with the preprocessing of the run's first start; writes it on that start.

  Raises:
    SdtError: several processes have different numbers.
  """
  if not is_written(data):
    return data
  path, arrays = workdir / FILE, {"mean": data.mean, "std": data.std}
  for number, step in enumerate(data.steps):
    arrays |= {f"step{number}_{index}": array for index, array in enumerate(step.arrays)}
  if files.is_intact(path):
    arrays = files.read_npz(path)
  else:
    files.write_npz(path, **arrays)
  processes.refuse_unequal("the preprocessing", arrays)
  steps = (
    Step(step.kind, tuple(arrays[f"step{number}_{i}"] for i in range(len(step.arrays))))
    for number, step in enumerate(data.steps)
  )
  return dataclasses.replace(data, mean=arrays["mean"], std=arrays["std"], steps=tuple(steps))
