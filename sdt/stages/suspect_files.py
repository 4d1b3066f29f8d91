"""Writes suspects.csv and figures/review.npz: what a person looks at to mend wrong labels."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.report.read import CLEANLAB_COLUMN, REVIEWED_COLUMN, SUSPECT_COLUMNS
from sdt.report.read import REVIEW_IMAGES as IMAGES
from sdt.report.read import SUSPECTS as TABLE
from sdt.scores.suspects import Suspects

MOST_IMAGES, _MOST_BYTES, _LONGEST = 2_000, 30_000_000, 96
_PART = 64  # images that are cut and scaled together


def write_suspects(workdir: Path, data: Data, config: Config, suspects: Suspects) -> None:
  """Writes suspects.csv, a row for every training example, and the images of the first ones."""
  write_table(
    workdir / TABLE, data.train, data, suspects=suspects, further=_further(data, suspects)
  )
  first = suspects.order[:MOST_IMAGES]
  write_images(workdir / IMAGES, data.train, first, crop_size=config.data.crop_size)


# A further column of the table: its name, and a value of each example.
type Column = tuple[str, Sequence[object]]


def _further(data: Data, suspects: Suspects) -> list[Column]:
  columns: list[Column] = []
  if suspects.cleanlab is not None:
    columns.append((CLEANLAB_COLUMN, suspects.cleanlab.seeds_agree.tolist()))
  return columns + reviewed_column(data.train, data.reviewed_ids())


def reviewed_column(split: Dataset, reviewed: frozenset[int]) -> list[Column]:
  """Returns which examples a file of corrections kept or relabelled; [] without such a file."""
  if not reviewed:
    return []
  return [(REVIEWED_COLUMN, [int(number in reviewed) for number in split.example_ids.tolist()])]


def write_table(
  path: Path, split: Dataset, data: Data, *, suspects: Suspects, further: Sequence[Column]
) -> None:
  """Writes a table of suspects, a row for every example, the most suspicious first.

  Args:
    path: of the file.
    split: the examples.
    data: for the names of the classes.
    suspects: the examples as such.
    further: columns behind the usual ones.
  """
  header = [*SUSPECT_COLUMNS, *(name for name, _ in further)]
  files.write_csv(path, header, _rows(split, data.class_names, suspects, further=further))


def write_images(
  path: Path, split: Dataset, positions: Int[np.ndarray, "n"], *, crop_size: int | None
) -> None:
  """Writes the thumbnails of some examples; nothing where they are vectors."""
  if split.inputs.ndim != 4:
    return
  images = thumbnails(split, positions, crop_size)
  shown = positions[: len(images)]
  files.write_npz(
    path, example_id=split.example_ids[shown], images=images, labels=split.labels[shown]
  )


def _rows(
  split: Dataset, names: Sequence[str], suspects: Suspects, *, further: Sequence[Column]
) -> Iterator[list[object]]:
  of_files = split.source_files or [""] * len(split)
  is_flagged = suspects.is_flagged
  with np.errstate(over="ignore"):  # of a network that diverged
    odds = np.exp(suspects.log_odds)
  for at in suspects.order:
    other, agree = names[suspects.suggested[at]], int(suspects.seeds_agree[at])
    yield [
      split.example_ids[at],
      of_files[at],
      names[split.labels[at]],
      other,
      f"{suspects.suspicion[at]:.6f}",
      f"{odds[at]:.4g}",
      int(is_flagged[at]),
      agree,
      suspects.num_seeds,
      f"odds of {odds[at]:.3g} to 1 against {names[split.labels[at]]}; {agree} of "
      f"{suspects.num_seeds} seeds prefer {other} ({suspects.source.words})",
      *(values[at] for _, values in further),
    ]


def thumbnails(
  split: Dataset, positions: np.ndarray, crop_size: int | None
) -> UInt8[np.ndarray, "n h w C"]:
  """Returns images as the network sees them, at most 96 pixels high and wide.

  They are as many of the first as fit into 30 MB.
  """
  height, width = (crop_size, crop_size) if crop_size else split.inputs.shape[1:3]
  longest = max(height, width)
  scale = min(1.0, _LONGEST / longest)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  most = max(1, _MOST_BYTES // (size[0] * size[1] * split.inputs.shape[3]))
  positions = positions[:most]
  sizes, found = image_sizes(split), []
  for part in itertools.batched(positions, _PART):  # large images may not fit into memory together
    some = np.array(part)
    images = np.asarray(centre_crop(split.inputs[some], sizes[some], crop_size))
    found += list(images) if longest <= _LONGEST else [_scaled(image, size) for image in images]
  return np.stack(found)


def _scaled(image: UInt8[np.ndarray, "h w C"], size: tuple[int, int]) -> np.ndarray:
  """Returns an image in another size, channel by channel: Pillow has no image of five channels."""
  channels = [
    np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.LANCZOS))
    for channel in np.moveaxis(image, -1, 0)
  ]
  return np.stack(channels, axis=-1)
