"""A small set for corrections, rows that fit it, and files of them."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import corrections
from sdt.data.assemble import Raw, assemble
from sdt.data.corrections import Row
from sdt.data.dataset import Data, RawSplit

NAMES = ("cat", "dog", "a, b")
IMAGES = np.random.default_rng(5).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
CONFIG = DataConfig(name="npz")
HEADER = "example_id,source_file,given,action,label\n"


def raw(*, with_files: bool = True, test: Sequence[int] = range(40, 60)) -> Raw:
  """Returns a set of the images at these places; the class of place p is p % 3."""
  train, other = (
    RawSplit(
      IMAGES[list(at)],
      np.array(at) % 3,
      source_files=tuple(f"{name}/{i}.png" for i in range(len(at))) if with_files else None,
    )
    for name, at in (("train", range(40)), ("test", test))
  )
  return Raw(train, other, NAMES, where="here", variant="custom")


def row(
  example_id: int,
  action: str = "keep",
  label: str = "",
  *,
  side: str = "train",
  labels: np.ndarray | None = None,
  files: bool = True,
) -> Row:
  """Returns the row of an example of `raw`, whose class is `labels[example_id]`."""
  label_now = (example_id + 40 * (side == "test")) % 3 if labels is None else labels[example_id]
  file = f"{side}/{example_id}.png" if files else ""
  return Row(example_id, file, NAMES[label_now], action, label)


def write(folder: Path, rows: Iterable[Row], name: str = "fixes.csv") -> str:
  """Returns the path of a file with these rows."""
  (folder / name).write_text(corrections.csv_text(rows), newline="")
  return str(folder / name)


def load(of: Raw | None = None, **keys: Any) -> Data:
  """Returns the set as a run with these keys of `data` has it."""
  return assemble(raw() if of is None else of, dataclasses.replace(CONFIG, **keys))


def notes(data: Data, start: str) -> list[str]:
  """Returns the notes that begin with `start`."""
  return [note for note in data.notes if note.startswith(start)]
