"""Compares `sdt.fit` with a config made by hand, in equal time.

    python benchmarks/automl.py [--data=digits] [--minutes=1] [--repeats=5] [--clock=wall]
    python benchmarks/automl.py --data=folder
    python benchmarks/automl.py --data=cifar10 --minutes=10 --path=FILE

Each repeat has a test set of its own, a fifth of the digits, which neither side sees (of CIFAR-10
5,000 training images are drawn anew, and the test set is its own). By hand: the network of
configs/digits.py or configs/cifar10_small.py, ordinary training on all training images, the mean of
three seeds, as many as `sdt.fit` takes; its rounds are as many as fill the time, which a short run
before it measures, and the rate falls after a half and three quarters of them. `folder` writes the
digits as PNG files of 8 x 8 pixels. `--clock=cpu` counts the seconds of the processors, for a
machine that others use as well. A line of JSON for each side of a repeat. `--folder`, which keeps
the runs, must be new: a run that is there already would take no time.
"""

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from sdt import experiment, files
from sdt.api.fitting import Request, fit_by
from sdt.api.running import resolved_config
from sdt.config import from_dict, to_dict
from sdt.config.config_file import load_config_file
from sdt.config.dependent import without_dependent
from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.readers.arrays import load_arrays
from sdt.run import lifecycle
from sdt.trained.model import file_of, read_model
from sdt.trained.networks import Networks

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
HAND = {"digits": "configs/digits.py", "cifar10": "configs/cifar10_small.py"}
SEEDS, MEASURED_ROUNDS = 3, 3


def digits(repeat):
  """Returns train and test of scikit-learn's digits, uint8 [N, 8, 8, 1]."""
  found = load_digits()
  images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
  order = np.random.default_rng(repeat).permutation(len(images))
  test, train = np.sort(order[: len(images) // 5]), np.sort(order[len(images) // 5 :])
  labels = found.target
  return SimpleNamespace(
    train_x=images[train], train_y=labels[train], test_x=images[test], test_y=labels[test]
  )


def cifar10(repeat, path):
  """Returns 5,000 training images of CIFAR-10, and its test set."""
  data = sources.load(
    DataConfig(name="cifar10", path=path, verify="known", num_train=5000, split_seed=repeat)
  )
  train, test = data.train, data.test
  return SimpleNamespace(
    train_x=train.inputs, train_y=train.labels, test_x=test.inputs, test_y=test.labels
  )


def as_files(images, labels, folder):
  """Writes images as PNG files, a folder for each class; returns their paths."""
  paths = []
  for number, (image, label) in enumerate(zip(images, labels, strict=True)):
    path = folder / str(label) / f"{number:05d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0]).save(path)
    paths.append(path)
  return paths


def fitted(data, folder, arguments, repeat):
  """Returns what `sdt.fit` reaches."""
  clock = CLOCKS[arguments.clock]
  images, labels, tested = data.train_x, data.train_y, data.test_x
  if arguments.data == "folder":
    as_files(images, labels, folder / "train")
    tested = as_files(data.test_x, data.test_y, folder / "new")
    images, labels = folder / "train", None
  start = clock()
  found = fit_by(Request(images, labels, minutes=arguments.minutes, seed=repeat), clock)
  secs = clock() - start
  expected = data.test_y.astype(found.classes_.dtype)
  alone = Networks(found.models[:1], found.record["precision"]).predict(tested)
  return {
    "test": found.score(tested, expected),
    "test_of_best_alone": float(np.mean(alone == data.test_y.astype(str))),
    "validation": found.validation_accuracy,
    "plan": found.plan,
    "chosen": [one["values"] for one in found.record["members"]],
    "secs": secs,
  }


def hand_config(data, name, repeat, rounds):
  """Returns the config of the baseline made by hand, with so many rounds."""
  plain = without_dependent(to_dict(resolved_config(load_config_file(Path(HAND[name])))))
  plain["data"] = {"name": "arrays", "test_fraction": None}
  plain |= {"arms": ("baseline",), "seeds": [SEEDS * repeat + one for one in range(SEEDS)]}
  plain["rounds"] = rounds
  plain["optim"] = {**plain["optim"], "milestones": sorted({rounds // 2, rounds * 3 // 4} - {0})}
  return from_dict(plain)


def by_hand(data, folder, arguments, repeat):
  """Returns what the config made by hand reaches in the same time."""
  clock, name = CLOCKS[arguments.clock], "cifar10" if arguments.data == "cifar10" else "digits"

  def train(rounds, place):
    config = hand_config(data, name, repeat, rounds)
    loaded = load_arrays(
      {
        "train_x": data.train_x,
        "train_y": data.train_y,
        "test_x": data.test_x[:100],  # evaluated after each round, and not looked at
        "test_y": data.test_y[:100],
        "class_names": [str(one) for one in range(10)],
      },
      config.data,
    )
    start = clock()
    lifecycle.complete(
      experiment.NETWORKS, lifecycle.Job(config, place, "by hand", loaded=loaded, is_quiet=True)
    )
    return config, clock() - start

  _, measured = train(MEASURED_ROUNDS, folder / "measured")
  account = files.read_json(folder / "measured" / "timing.json")
  busy = account["train_secs"]["baseline"] + account["evaluation_secs"]["baseline"]
  share = busy / account["wall_secs"]
  secs_a_round, start_secs = measured * share / MEASURED_ROUNDS, measured * (1 - share)
  rounds = max(4, int((60 * arguments.minutes - start_secs) / secs_a_round))
  config, secs = train(rounds, folder / "run")
  models = tuple(read_model(folder / "run" / file_of("baseline", seed)) for seed in config.seeds)
  labels = data.test_y.astype(str)
  alone = [np.mean(Networks((one,)).predict(data.test_x) == labels) for one in models]
  return {
    "test": float(np.mean(Networks(models).predict(data.test_x) == labels)),
    "test_of_each_alone": [float(one) for one in alone],
    "rounds": rounds,
    "secs": secs,
  }


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("--data", choices=("digits", "folder", "cifar10"), default="digits")
  parser.add_argument("--path", default=None)
  parser.add_argument("--minutes", type=float, default=1.0)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--first", type=int, default=0)
  parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
  parser.add_argument("--folder", type=Path, default=Path("runs/automl"))
  arguments = parser.parse_args()
  if arguments.folder.exists():
    parser.error(f"{arguments.folder} is there; choose a new --folder, so that runs take time")
  for repeat in range(arguments.first, arguments.first + arguments.repeats):
    is_cifar = arguments.data == "cifar10"
    data = cifar10(repeat, arguments.path) if is_cifar else digits(repeat)
    for side, measure in (("fit", fitted), ("hand", by_hand)):
      place = arguments.folder / f"{arguments.data}_{repeat}" / side
      line = {"side": side, "data": arguments.data, "repeat": repeat}
      line |= {"minutes": arguments.minutes, "clock": arguments.clock}
      print(json.dumps(line | measure(data, place, arguments, repeat)), flush=True)


if __name__ == "__main__":
  main()
