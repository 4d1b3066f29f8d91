"""Times augmentation: a round of the baseline under operations over one with crop and flip alone.

    .venv/bin/python benchmarks/operations.py [--rounds=12] [--num_train=512] [--ops="crop(4) flip"]

ResNet-8 on drawn figures of 32 x 32 in batches of 128. The two programs take turns, one round each
(A/B/B/A), so a drift of the machine affects both alike. The script prints medians, and the median
of the ratios of neighbours with its quartiles, for seconds and for processor seconds. Trust
processor seconds if other programs run.
"""

from __future__ import annotations

import measure

from sdt.config import resolve
from sdt.data import sources

SIX = "crop(4) flip rotate(15) zoom(0.2) colour(0.2) cutout(8)"
PLAIN = "crop(4) flip"


def main() -> None:
  parser = measure.parser(__doc__, rounds=12, seeds=1)
  parser.add_argument("--ops", default=SIX)
  parser.add_argument("--num_train", type=int, default=512)
  options = parser.parse_args()
  shapes = {"image_size": 32, "num_train": options.num_train, "num_test": 32}
  plain = {
    "data": {"name": "shapes", "shapes": shapes},
    "model": {"name": "resnet8"},
    "rounds": 1000,
    "eval_every_rounds": 1000,
    "seeds": tuple(range(options.seeds)),
    "parallel": {"steps_per_dispatch": -(-options.num_train // 128)},
  }
  cases = {}
  for name, text in (("without", PLAIN), ("with", options.ops)):
    config = resolve({**plain, "augment": {"ops": text}})
    training = measure.Training.make(config, sources.load(config.data))
    print(f"{name} operations: compiled in {training.compile_secs:.1f} s")
    cases[name] = training.timed
  figures = measure.in_turn(cases, options.rounds - 1, warm_ups=1)
  ratios = {
    key: measure.show_ratio("a round with / without", figures, "with", "without", key)
    for key in ("secs", "core_secs")
  }
  measure.write(
    options.out, "operations", {"ops": options.ops, "ratios": ratios, "figures": figures}
  )


if __name__ == "__main__":
  main()
