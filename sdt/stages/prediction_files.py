"""predictions.npz, which may be larger than the memory, and predictions.csv, for people."""

import io
import itertools
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine.prediction_pass import Said
from sdt.stats.classification import TOP

FILE, TABLE = "predictions.npz", "predictions.csv"
# Up to so many bytes the probabilities are float32, beyond float16.
_MOST_FLOAT32 = 2**28
# Up to so many classes the table has a column for the probability of each.
_MOST_COLUMNS = 20
_IN_MEMORY = 2**26  # bytes of one arm's probabilities that wait in memory and not in a file
_ROWS = 4096  # of the table, made at a time


class Stretch(NamedTuple):
  """What the networks of an arm say of some test examples in a row, from `start` on.

  `weights` is a digest of these networks; `strengths` [R] are those of shifted answers.
  """

  arm: str
  start: int
  said: Said
  weights: str = ""
  strengths: np.ndarray | None = None


def dtype_of(config: Config, data: Data) -> np.dtype:
  """Returns the type of a run's probabilities: float32, or float16 where they are many."""
  return np.dtype(np.float32 if 4 * _num_numbers(config, data) <= _MOST_FLOAT32 else np.float16)


def num_bytes(config: Config, data: Data) -> int:
  """Returns the size of predictions.npz, without its small arrays."""
  return dtype_of(config, data).itemsize * _num_numbers(config, data)


def temporary_bytes(config: Config, data: Data) -> int:
  """Returns the size of the file that is there only while predictions.npz is written."""
  of_arm = num_bytes(config, data) // len(config.arms)
  return of_arm if of_arm > _IN_MEMORY else 0


def _num_numbers(config: Config, data: Data) -> int:
  return len(config.arms) * len(config.seeds) * len(data.test) * len(data.class_names)


def write_predictions(
  path: Path, data: Data, config: Config, stretches: Iterator[Stretch], arms: Sequence[str]
) -> None:
  """Writes predictions.npz, of which one arm at most is in memory or in a temporary file.

  Args:
    path: of the file.
    data, config: of the run.
    stretches: the whole test set under each arm, in the order of `arms`.
    arms: of the run.
  """
  dtype = dtype_of(config, data)
  shape = len(config.seeds), len(data.test), len(data.class_names)
  with files.writing_npz(path, num_bytes(config, data)) as archive:
    small, weights, strengths = [], [], []
    with archive.stream("probabilities", dtype, (len(arms), *shape)) as member:
      for _, of_arm in itertools.groupby(stretches, key=lambda stretch: stretch.arm):
        last, others = _copy(of_arm, member, shape, dtype=dtype, folder=path.parent)
        weights.append(last.weights)
        strengths += [] if last.strengths is None else [last.strengths]
        small.append(others)
    for place, name in enumerate(Said._fields[1:]):
      archive.write(name, np.stack([arrays[place] for arrays in small]))
    archive.write("example_id", data.test.example_ids)
    archive.write("label", data.test.labels)
    archive.write("arms", np.array(arms))
    archive.write("weights", np.array(weights))
    if strengths:
      archive.write("strengths", np.stack(strengths))
    archive.write("seeds", np.array(config.seeds, np.int64))
    archive.write("class_names", np.array(data.class_names))


def _copy(
  stretches: Iterable[Stretch],
  member: IO[bytes],
  shape: tuple[int, int, int],
  *,
  dtype: np.dtype,
  folder: Path,
) -> tuple[Stretch, list[np.ndarray]]:
  """Writes the probabilities of an arm to `member`.

  Returns the last stretch, for what is the same in all, and the other answers, [R, n] each.

  The probabilities come by example, of all seeds at once, and are stored by seed.

  Args:
    stretches: of the arm.
    member: takes the bytes.
    shape: [R, n, K].
    dtype: of the probabilities.
    folder: of a temporary file for those that do not fit in memory.
  """
  _, num_examples, num_classes = shape
  others = []
  is_small = math.prod(shape) * dtype.itemsize <= _IN_MEMORY
  # A spooled file would fill the gap before the second seed in memory.
  with io.BytesIO() if is_small else tempfile.TemporaryFile(dir=folder) as spool:
    for stretch in stretches:
      for replica, values in enumerate(stretch.said.probabilities):
        spool.seek((replica * num_examples + stretch.start) * num_classes * dtype.itemsize)
        spool.write(np.ascontiguousarray(values, dtype).tobytes())
      others.append(stretch.said[1:])
    spool.seek(0)
    shutil.copyfileobj(spool, member, 2**20)
  return stretch, [np.concatenate(arrays, axis=1) for arrays in zip(*others, strict=True)]


def write_table(path: Path, stored: files.Arrays, data: Data, arm: str, seed: int) -> None:
  """Writes predictions.csv: a row for every test example, by one network.

  Args:
    path: of the file.
    stored: content of predictions.npz.
    data: for the source files.
    arm, seed: whose network it is. If it diverged, all cells of its answers are empty.
  """
  names = [str(name) for name in stored["class_names"]]
  header = ["example_id", "source_file", "label", "class_name", "predicted", "predicted_name"]
  header += ["right", "probability", "label_probability", "seeds_right"]
  for number in range(1, min(TOP, len(names)) + 1):
    header += [f"best_{number}", f"best_{number}_probability"]
  header += [f"probability_of_{name}" for name in names] if len(names) <= _MOST_COLUMNS else []
  place = stored["arms"].tolist().index(arm), stored["seeds"].tolist().index(seed)
  rows = _rows(stored, data, names, place=place)
  files.write_csv(path, header, (row + [None] * (len(header) - len(row)) for row in rows))


def _rows(
  stored: files.Arrays, data: Data, names: Sequence[str], *, place: tuple[int, int]
) -> Iterator[list[Any]]:
  """Yields the cells of the table by the network at `place`, up to the last that is not empty."""
  labels, sources = stored["label"], data.test.source_files
  seeds_right = np.count_nonzero(stored["label_rank"][place[0]] == 0, axis=0)
  for start in range(0, len(labels), _ROWS):
    values = stored["probabilities"][place][start : start + _ROWS]
    predicted = stored["predicted"][place][start : start + _ROWS]
    best = _first_classes(values, predicted)
    for offset, (row, answer) in enumerate(zip(values, predicted.tolist(), strict=True)):
      example, label = start + offset, int(labels[start + offset])
      cells = [stored["example_id"][example], sources[example] if sources else "", label]
      cells.append(names[label])
      if answer >= 0:
        cells += [answer, names[answer], int(answer == label), row[answer], row[label]]
        cells.append(seeds_right[example])
        cells += [cell for index in best[offset] for cell in (names[index], row[index])]
        cells += [*row] if len(names) <= _MOST_COLUMNS else []
      yield cells


def _first_classes(
  values: Float[np.ndarray, "n K"], predicted: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n k"]:
  """Returns the first five classes, the predicted one first, of equal ones the lower first."""
  keys = -values.astype(np.float64)
  keys[np.arange(len(keys)), predicted] = -np.inf
  return np.argsort(keys, axis=1, kind="stable")[:, :TOP]
