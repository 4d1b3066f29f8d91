"""Times the same training on 1, 2, 4, 8 devices that share the processors of one machine.

    .venv/bin/python benchmarks/devices.py [--devices=1,2,4,8] [--divide=batch|seeds]
    [--network=resnet8] [--batch_size=128] [--steps=4] [--repeats=6] [--out=FILE]

The script prints the seconds over those of one device. Shared processors can gain nothing, so this
is the cost of dividing a batch (accept 1.15, aim 1.05). On real devices (JAX_PLATFORMS=cuda) the
same command shows the gain. All trainings use the same drawn images, and the losses of their first
steps are compared. With --divide=seeds, each training has as many seeds as the largest number of
devices, and the seeds are divided instead of the batch.
"""

from __future__ import annotations

import jax
import measure
import numpy as np


def main() -> None:
  defaults = {
    "devices": "1,2,4,8",
    "divide": "batch",
    "network": "resnet8",
    "batch_size": 128,
    "image_size": 32,
    "steps": 4,
    "repeats": 6,
  }
  options = measure.parser(__doc__, **defaults).parse_args()
  counts = [int(count) for count in options.devices.split(",")]
  jax.config.update("jax_num_cpu_devices", max(counts))
  seeds = tuple(range(max(counts))) if options.divide == "seeds" else (0,)
  trainings, losses = {}, {}
  for count in counts:
    changes = {"parallel__num_devices": count, "data__shapes__image_size": options.image_size}
    changes |= {"parallel__divide": options.divide, "seeds": seeds}
    config = measure.steps_config(options.network, options.batch_size, options.steps, **changes)
    trainings[str(count)] = training = measure.Training.make(config)
    training.dispatch()
    losses[str(count)] = float(np.sum(training.trainer.get_state().sums.train_loss))
    print(
      f"{count} devices: compiled in {training.compile_secs:.1f} s, loss of the first dispatch "
      f"{losses[str(count)]:.6f}",
      flush=True,
    )
  figures = measure.in_turn(
    {name: training.timed for name, training in trainings.items()}, options.repeats
  )
  first = str(counts[0])
  ratios = {
    name: {
      key: measure.show_ratio(f"{name} devices / {first}", figures, name, first, key)
      for key in ("secs", "core_secs")
    }
    for name in trainings
  }
  measure.write(
    options.out,
    "devices",
    {
      "network": options.network,
      "divide": options.divide,
      "losses": losses,
      "ratios": ratios,
      "figures": figures,
    },
  )


if __name__ == "__main__":
  main()
