"""Times training on 1, 2, 4, 8 devices that share one machine's processors: seconds of as much work
over those of one device.

    .venv/bin/python benchmarks/devices.py [--devices=1,2,4,8] [--divide=batch|seeds]
    [--network=resnet8] [--batch_size=128] [--steps=4]
                                           [--repeats=6] [--out=FILE]

Accept 1.15, aim 1.05: what dividing a batch costs, since nothing can be gained. With real devices
(JAX_PLATFORMS=cuda) the same command shows what is gained. Every training is on the same drawn
images; the losses of the first step are compared too. With --divide=seeds all train as many seeds
as there are devices at most, which are divided instead of the batch.
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
    losses[str(count)] = float(np.sum(training.trainer.get_state()[1].train_loss))
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
