r"""Times training on streamed inputs, and training time against the number of examples.

    .venv/bin/python benchmarks/streaming.py [--what=ratio|linear|classes] [--config=FILE] \
      [--repeats=5] [--out=FILE] [key=value ...]

ratio: a round of the baseline with inputs on the device and with streamed inputs, in turn
(A/B/B/A); both must end with the same bits. linear: seconds per example for 10,000 to 500,000
images of noise and a small network, resident and streamed. classes: with 1,000 classes, no array on
the devices may be as large as N x K, resident and streamed.

Ratios are of medians, of wall time and of processor time. Trust processor time if other programs
run.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import measure
import numpy as np

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config import Config, resolve
from sdt.config.config_file import load_config_file
from sdt.config.schema import DataConfig, ModelConfig
from sdt.data import sources
from sdt.data.dataset import Data, RawSplit, make_dataset
from sdt.engine.state import Position, Snapshot
from sdt.engine.trainer import Trainer
from sdt.run.programs import Setup

PLACEMENTS = ("device", "stream")


def prepare(config: Config, data: Data, where: str) -> tuple[Trainer, Snapshot]:
  """Returns the compiled baseline and its initial state."""
  own = dataclasses.replace(config, data=dataclasses.replace(config.data, placement=where))
  setup = Setup.make(own, data)
  trainer = setup.trainer(
    make_plan("baseline", Setting(own, data.train.labels, data.train.example_ids))
  )
  trainer.set_state(setup.fresh_start)
  trainer.compile()
  return trainer, setup.fresh_start


def run(trainer: Trainer, start: Snapshot, dispatches: int | None = None) -> dict[str, float]:
  """Returns wall and processor seconds of a training, or of some dispatches after the first."""
  trainer.set_state(start)
  progress = trainer.run(Position())
  if dispatches is not None:
    next(progress)
  wall, cpu = time.perf_counter(), time.process_time()
  for done, _ in enumerate(progress, 1):
    if done == dispatches:
      break
  seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
  progress.close()
  return seconds


def ratio(config: Config, repeats: int) -> dict[str, Any]:
  """Returns the seconds of a training both ways, and the streamed over the resident throughput."""
  data = sources.load(config.data)
  cases = {where: prepare(config, data, where) for where in PLACEMENTS}
  times: dict[str, list[dict[str, float]]] = {where: [] for where in PLACEMENTS}
  ended = {}
  for index in range(repeats + 1):
    for where in (
      (*PLACEMENTS, *reversed(PLACEMENTS)) if index else PLACEMENTS
    ):  # the first of each warms up
      seconds = run(*cases[where])
      if index:
        times[where].append(seconds)
      ended[where] = jax.tree.leaves(cases[where][0].get_state())
  same = all(np.array_equal(left, right) for left, right in zip(*ended.values(), strict=True))
  medians = {
    where: {kind: statistics.median(one[kind] for one in all_of) for kind in ("wall", "cpu")}
    for where, all_of in times.items()
  }
  ratios = {kind: medians["device"][kind] / medians["stream"][kind] for kind in ("wall", "cpu")}
  print(
    f"streamed / resident throughput: {ratios['wall']:.3f} by wall time, {ratios['cpu']:.3f} by "
    f"processor time; same bits: {same}"
  )
  programs = {
    where: dataclasses.asdict(trainer.program)["steps_per_dispatch"]
    for where, (trainer, _) in cases.items()
  }
  return {
    "seconds": times,
    "throughput_ratio": ratios,
    "same_bits": same,
    "steps_per_dispatch": programs,
  }


def noise(num: int, num_classes: int = 10) -> Data:
  """Returns `num` grey 8 x 8 images of noise, half of them repeated: only their number matters."""
  rng = np.random.default_rng(num)

  def split(size: int) -> Any:
    images, labels = (
      rng.integers(0, 256, (size, 8, 8, 1), np.uint8),
      np.arange(size) % num_classes,
    )
    return make_dataset(RawSplit(images, labels), num_classes=num_classes, where="noise")

  names = tuple(map(str, range(num_classes)))
  mean, std = np.full(1, 0.5, np.float32), np.full(1, 0.3, np.float32)
  return Data(
    split(num), split(256), names, name="npz", variant="noise", checksum="", mean=mean, std=std
  )


def small(num_classes: int = 10) -> Config:
  model = ModelConfig(name="mlp", hidden_sizes=(256,))
  return Config(data=DataConfig(name="npz"), model=model, seeds=(0,), rounds=2, arms=("baseline",))


def linear(repeats: int, sizes: tuple[int, ...]) -> dict[str, Any]:
  """Returns number of examples -> processor seconds per million examples, from one round each."""
  table: dict[str, dict[int, list[float]]] = {where: {} for where in PLACEMENTS}
  cases = {
    (where, num): prepare(dataclasses.replace(small(), rounds=1), noise(num), where)
    for num in sizes
    for where in PLACEMENTS
  }
  for index in range(repeats + 1):
    for (where, num), (trainer, start) in cases.items():
      seconds = run(trainer, start)["cpu"]
      if index:
        table[where].setdefault(num, []).append(seconds / num * 1e6)
  for where, by_size in table.items():
    medians = {num: statistics.median(values) for num, values in by_size.items()}
    print(where, ", ".join(f"{num:,}: {median:.2f} s a million" for num, median in medians.items()))
  return table


def classes(num: int = 20_000, num_classes: int = 1000) -> dict[str, Any]:
  """Returns the largest array on the devices and the program's memory, against N x K."""
  found = {}
  for where in PLACEMENTS:
    trainer, start = prepare(small(), noise(num, num_classes), where)
    run(trainer, start, 3)
    largest = max((array.nbytes for array in jax.live_arrays()), default=0)
    found[where] = {
      "largest_array_bytes": largest,
      "program_bytes": trainer.memory_bytes(),
      "n_times_k_bytes": 4 * num * num_classes,
    }
    print(where, found[where])
  return found


def main() -> None:
  parser = measure.parser(__doc__, repeats=5)
  parser.add_argument("--what", choices=("ratio", "linear", "classes"), default="ratio")
  parser.add_argument("--config", type=Path, default=measure.ROOT / "configs/digits.py")
  parser.add_argument("--sizes", type=int, nargs="+", default=(10_000, 50_000, 100_000, 500_000))
  parser.add_argument("overrides", nargs="*", help="key=value of the config")
  options = parser.parse_args()
  if options.what == "ratio":
    overrides = [
      (key, value) for key, _, value in (text.partition("=") for text in options.overrides)
    ]
    found = ratio(resolve(load_config_file(options.config), overrides), options.repeats)
  else:
    found = linear(options.repeats, tuple(options.sizes)) if options.what == "linear" else classes()
  about = {"what": options.what, "config": options.config.stem, "overrides": options.overrides}
  measure.write(options.out, "streaming", {**about, "result": found})


if __name__ == "__main__":
  main()
