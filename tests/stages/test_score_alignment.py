"""scores.npz and scores.csv name the example that a score is of: whatever the order of the set, the
batches, the padding or the devices.
"""

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from sdt import files
from sdt.config.score_names import OTHER_CLASS
from sdt.engine.score_pass import ScoreRunner
from sdt.run.programs import Setup
from sdt.scores.split import split
from sdt.scores.suspects import find
from sdt.stages import score_files
from tests.support import tiny
from tests.support.places import ROOT

NUM = 70
# (devices, mode, examples per batch, order of the set): 1 and 13 are padded to 8 and 16, 512 is all
# of them, padded to 72.
CASES = [
  *(
    (1, "jit", batch_size, order)
    for batch_size, order in ((512, "as read"), (1, "shuffled"), (13, "shuffled"))
  ),
  *((8, mode, batch_size, "shuffled") for mode in ("jit", "pmap") for batch_size in (1, 13)),
  *((8, mode, 512, "as read") for mode in ("jit", "pmap")),
]


def data_of(order):
  """Returns the set with ids that are no positions; the same examples in another order where it is
  shuffled.
  """
  data = tiny.data(tiny.config())
  at = np.arange(NUM) if order == "as read" else np.random.default_rng(5).permutation(NUM)
  train = dataclasses.replace(data.train, example_ids=np.arange(NUM, dtype=np.int32) * 3 + 11)
  fields = ("inputs", "labels", "example_ids", "difficulty", "wrong_label")
  return dataclasses.replace(
    data, train=dataclasses.replace(train, **{name: getattr(train, name)[at] for name in fields})
  )


def case_folder(root, devices, mode, batch_size, order):
  return Path(root) / f"{devices} {mode} {batch_size} {order}"


def write_case(root, devices, mode, batch_size, order):
  """Scores the set under networks as they were drawn, and writes the files of it."""
  config = tiny.config(
    parallel__mode=mode, parallel__num_devices=devices, score__batch_size=batch_size
  )
  data = data_of(order)
  setup = Setup.make(config, data)
  state = setup.fresh_start.state
  scores = ScoreRunner(setup.score_program(), setup.source).scores(state.variables)
  parts = tuple(split(row, data.train, size=7, seed=0) for row in scores["log_odds"])
  folder = case_folder(root, devices, mode, batch_size, order)
  other = scores.pop(OTHER_CLASS)
  suspects = find(scores, other, np.ones(2, bool))
  scored = score_files.Scored(
    scores, other, np.ones(2, bool), partitions=parts, suspects=suspects, stability=None
  )
  score_files.write_scores(folder, data, config, scored)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """The files of every case, written by a process that has eight devices."""
  root = tmp_path_factory.mktemp("cases")
  environment = os.environ | {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    "PYTHONPATH": os.pathsep.join(sys.path),
  }
  environment.pop("JAX_NUM_CPU_DEVICES")
  code = (
    "from tests.stages import test_score_alignment as cases\nfor case in cases.CASES:\n  "
    f"cases.write_case({str(root)!r}, *case)"
  )
  subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT, timeout=500)
  return root


@pytest.fixture(scope="module")
def twin():
  """Returns id -> (log-odds [2], confidence [2]): the network in NumPy, float64, one example at a
  time.
  """
  data, setup = data_of("as read"), Setup.make(tiny.config(), data_of("as read"))
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), setup.fresh_start.state.params)
  found = {}
  for image, label, example_id in zip(
    data.train.inputs, data.train.labels, data.train.example_ids, strict=True
  ):
    x = ((image / 255 - data.mean.astype(np.float64)) / data.std.astype(np.float64)).reshape(-1)
    odds = []
    for replica in range(2):
      hidden, head = params["hidden1"], params["head"]
      logits = (
        np.maximum(x @ hidden["kernel"][replica] + hidden["bias"][replica], 0)
        @ head["kernel"][replica]
        + head["bias"][replica]
      )
      others = np.delete(logits, label)
      odds.append(logits[label] - others.max() - np.log(np.exp(others - others.max()).sum()))
    found[int(example_id)] = (np.array(odds), 1 / (1 + np.exp(-np.array(odds))))
  return found


def by_id(folder):
  """Returns {name: {id: [2] of a seed each}} of scores.npz, and the same of scores.csv."""
  stored = files.read_npz(folder / "scores.npz")
  with open(folder / "scores.csv", newline="") as file:
    table = list(csv.DictReader(file))
  ours, rows = {}, {}
  for name in ("log_odds", "confidence"):
    ours[name] = dict(zip(stored["example_id"].tolist(), stored[name].T, strict=True))
    rows[name] = {
      int(row["example_id"]): np.array([row[f"{name}_seed{seed}"] for seed in (0, 1)], np.float32)
      for row in table
    }
  return ours, rows


@pytest.mark.slow
def test_every_score_stands_beside_its_id_and_batches_and_devices_move_it_by_less_than_1e_6(
  written, twin
):
  reference = by_id(case_folder(written, *CASES[0]))[0]["confidence"]
  for case in CASES:
    for found in by_id(case_folder(written, *case)):
      for index, name in enumerate(("log_odds", "confidence")):
        assert found[name].keys() == twin.keys()
        for example_id, expected in twin.items():
          np.testing.assert_allclose(
            found[name][example_id],
            expected[index],
            rtol=1e-5,
            atol=1e-5,
            err_msg=f"{case}, {example_id}",
          )
      for example_id, expected in reference.items():
        np.testing.assert_allclose(
          found["confidence"][example_id], expected, rtol=1e-6, err_msg=f"{case}, {example_id}"
        )
