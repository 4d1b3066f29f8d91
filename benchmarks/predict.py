r"""Times predictions against a run's own evaluation, and measures their memory.

    .venv/bin/python benchmarks/predict.py [--what=speed|memory] [--network=NAME] \
      [--images=2048] [--repeats=5] [--out=FILE]

speed: images a second of the evaluation of a run, whose data are on the device, against predictions
of the same images as one array and as a folder of PNG files, in turn (A/B/B/A). memory: the peak of
the resident memory of the command `predict` for 10,000 images and for `--images`, as an npz and as
a folder of links to a few files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import measure
import numpy as np
from PIL import Image

from sdt.api.running import finish
from sdt.data import sources
from sdt.experiment import WITHOUT_REPORT
from sdt.run.programs import Setup
from sdt.trained import pictures
from sdt.trained.networks import Networks

_FEW, _NUM_FILES = 10_000, 50


def trained(folder: Path, network: str, num_test: int, batch_size: int) -> tuple[Any, Networks]:
  """Returns (the config, the networks) of a run of one round."""
  config = measure.config(
    data__shapes__num_test=num_test,
    data__shapes__num_train=256,
    model__name=network,
    rounds=1,
    eval_every_rounds=1,
    arms=("baseline",),
    score__batch_size=batch_size,
    optim__milestones=(),
  )
  run = finish(config, folder / "run", kind=WITHOUT_REPORT)
  return config, run.networks("baseline", 0)  # however little it has learned


def speed(folder: Path, arguments: Any) -> dict[str, Any]:
  """Returns the images a second of each way, and the ratios to the evaluation's."""
  config, networks = trained(folder, arguments.network, arguments.images, arguments.batch_size)
  data = sources.load(config.data)
  images = data.test.inputs
  for place, image in enumerate(images):
    Image.fromarray(image).save(folder / f"{place:06d}.png")
  recalibrator = Setup.make(config, data).recalibrator
  state = jax.tree.map(lambda leaf: leaf[None], networks.models[0].variables)

  def evaluate() -> None:
    recalibrator.evaluate(state["params"], state["batch_stats"], lambda: None)

  def predict(what: Any) -> None:
    found = (
      pictures.of_arrays(what, networks.preparing)
      if isinstance(what, np.ndarray)
      else pictures.find([what], networks.preparing)[0]
    )
    for _ in networks.answers([found], arguments.batch_size):
      pass

  (folder / "pictures").mkdir()
  for file in folder.glob("*.png"):
    file.rename(folder / "pictures" / file.name)
  cases = {
    "evaluation": lambda: measure.timed(evaluate),
    "array": lambda: measure.timed(lambda: predict(images)),
    "folder": lambda: measure.timed(lambda: predict(folder / "pictures")),
  }
  figures = measure.in_turn(cases, arguments.repeats, warm_ups=1)
  for name in ("array", "folder"):
    measure.show_ratio(f"images a second, {name} over evaluation", figures, "evaluation", name)
  for name in cases:
    print(f"{name}: {len(images) / measure.median(figures, name):,.0f} images/s", flush=True)
  return {"seconds": figures}


def make_inputs(folder: Path, number: int) -> dict[str, Path]:
  """Makes `number` images of noise as an npz and as a folder of links."""
  rng = np.random.default_rng(0)
  few = rng.integers(0, 256, (_NUM_FILES, 32, 32, 3), np.uint8)
  links = folder / f"links-{number}"
  links.mkdir()
  for place in range(number):
    if place < _NUM_FILES:
      Image.fromarray(few[place]).save(links / f"{place:06d}.png")
    else:
      os.link(links / f"{place % _NUM_FILES:06d}.png", links / f"{place:06d}.png")
  archive = folder / f"{number}.npz"
  with zipfile.ZipFile(archive, "w") as file, file.open("x.npy", "w", force_zip64=True) as array:
    header = {"descr": "|u1", "fortran_order": False, "shape": (number, 32, 32, 3)}
    np.lib.format.write_array_header_1_0(array, header)
    for start in range(0, number, _NUM_FILES):
      array.write(few[: number - start].tobytes())
  return {"folder": links, "npz": archive}


def memory(folder: Path, arguments: Any) -> dict[str, Any]:
  """Returns the peak of the resident memory, bytes, and the seconds, by kind and number."""
  trained(folder, arguments.network, 64, arguments.batch_size)
  found: dict[str, Any] = {}
  for number in (_FEW, arguments.images):
    for kind, path in make_inputs(folder, number).items():
      command = [sys.executable, __file__, f"--child={folder / 'run'},{path},{folder / 'out.csv'}"]
      start = time.perf_counter()
      told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
      peak, secs = int(told.split()[-1]), time.perf_counter() - start
      found[f"{kind} {number}"] = {"peak_bytes": peak, "secs": secs}
      print(f"{kind}, {number:,} images: {peak / 2**20:.0f} MiB at most, {secs:.0f} s", flush=True)
  return {"memory": found}


def child(text: str) -> None:
  """Runs the command, and prints the peak of this process's memory in bytes."""
  from sdt.commands.predict import main

  workdir, path, out = text.split(",")
  main([workdir, path, "--arm=baseline", "--seeds=0", f"--output={out}", "--overwrite"])
  # Not `ru_maxrss`, which begins with that of the process that started this one.
  (line,) = (one for one in Path("/proc/self/status").open() if one.startswith("VmHWM"))
  print(int(line.split()[1]) * 1024)


def main() -> None:
  parser = measure.parser(
    __doc__, what="speed", network="resnet20", images=2048, batch_size=256, repeats=5, child=""
  )
  arguments = parser.parse_args()
  if arguments.child:
    child(arguments.child)
    return
  with tempfile.TemporaryDirectory() as folder:
    work = {"speed": speed, "memory": memory}[arguments.what]
    found = {"what": arguments.what, **work(Path(folder), arguments)}
  measure.write(arguments.out, "predict", found)


if __name__ == "__main__":
  main()
