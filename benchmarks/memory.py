"""Compares the memory of a training with a formula.

The formula is: data + 4 N + 4 x parameters x 4 bytes + the memory of the compiled program.

    .venv/bin/python benchmarks/memory.py [--network=resnet20] [--batch_size=128]
    [--num_train=50000] [--image_size=32] [--out=FILE]

On a GPU, the script measures the allocator's peak. On a CPU under Linux, it measures the arrays on
the device, plus how much the first dispatch raises the largest resident memory of the process. It
also prints the memory of the whole process: interpreter, libraries, compiler, and the copy of the
data on the host. Accept 1.3, aim 1.1.
"""

from __future__ import annotations

import gc
import math
from pathlib import Path

import jax
import measure

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(entry: str) -> int:
  """Returns VmRSS (now) or VmHWM (the maximum since the last reset), in bytes."""
  (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(entry))
  return int(line.split()[1]) * 1024


def main() -> None:
  options = measure.parser(
    __doc__, network="resnet20", batch_size=128, num_train=50_000, image_size=32, steps=2
  ).parse_args()
  changes = {
    "data__shapes__num_train": options.num_train,
    "data__shapes__image_size": options.image_size,
  }
  training = measure.Training.make(
    measure.steps_config(options.network, options.batch_size, options.steps, **changes)
  )
  gc.collect()
  CLEAR.write_text("5")
  before = resident("VmRSS")
  training.dispatch()
  grown, process = resident("VmHWM") - before, resident("VmHWM")
  stats = jax.devices()[0].memory_stats() or {}
  measured = stats.get(
    "peak_bytes_in_use", grown + sum(array.nbytes for array in jax.live_arrays())
  )
  state = training.trainer.get_state().state
  parts = {
    "data": sum(leaf.nbytes for leaf in jax.tree.leaves(training.setup.source.data)),
    "ids": 4 * options.num_train,
    "parameters": 4 * 4 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
    "program": training.trainer.memory_bytes(),
  }
  formula = sum(parts.values())
  for name, value in (
    parts | {"formula": formula, "measured": measured, "process": process}
  ).items():
    print(f"{name:10} {value / 1e6:9.1f} MB")
  print(f"measured / formula: {measured / formula:.2f}")
  measure.write(
    options.out,
    "memory",
    {
      "network": options.network,
      "parts": parts,
      "measured": measured,
      "process": process,
      "ratio": measured / formula,
    },
  )


if __name__ == "__main__":
  main()
