"""Writes suspects.csv and figures/review.npz: what a person looks at to mend wrong labels."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.report.read import CLEANLAB_COLUMN, REVIEWED_COLUMN, SUSPECT_COLUMNS
from sdt.report.read import REVIEW_IMAGES as IMAGES
from sdt.report.read import SUSPECTS as TABLE
from sdt.scores.suspects import Suspects

_MOST_IMAGES, _MOST_BYTES, _LONGEST = 2_000, 30_000_000, 96
_PART = 64  # images that are cut and scaled together


def write_suspects(workdir: Path, data: Data, config: Config, suspects: Suspects) -> None:
  """Writes suspects.csv, a row for every training example, and the images of the first ones."""
  header = [*SUSPECT_COLUMNS, *([] if suspects.cleanlab is None else [CLEANLAB_COLUMN])]
  header += [REVIEWED_COLUMN] if data.reviewed_ids else []
  files.write_csv(workdir / TABLE, header, _rows(data, suspects))
  if data.train.inputs.ndim != 4:
    return
  first = suspects.order[:_MOST_IMAGES]
  images = thumbnails(data, first, config.data.crop_size)
  first = first[: len(images)]
  files.write_npz(
    workdir / IMAGES,
    example_id=data.train.example_ids[first],
    images=images,
    labels=data.train.labels[first],
  )


def _rows(data: Data, suspects: Suspects) -> Iterator[list[object]]:
  train, names = data.train, data.class_names
  of_files = train.source_files or [""] * len(train)
  of_cleanlab = None if suspects.cleanlab is None else suspects.cleanlab.seeds_agree
  reviewed = data.reviewed_ids
  for at in suspects.order:
    other, agree = names[suspects.suggested[at]], int(suspects.seeds_agree[at])
    yield [
      train.example_ids[at],
      of_files[at],
      names[train.labels[at]],
      other,
      f"{suspects.suspicion[at]:.6f}",
      agree,
      suspects.num_seeds,
      f"{agree} of {suspects.num_seeds} seeds prefer {other} ({suspects.source.words})",
      *(() if of_cleanlab is None else (of_cleanlab[at],)),
      *((int(int(train.example_ids[at]) in reviewed),) if reviewed else ()),
    ]


def thumbnails(
  data: Data, positions: np.ndarray, crop_size: int | None
) -> UInt8[np.ndarray, "n h w C"]:
  """Returns training images as the network sees them, at most 96 pixels high and wide.

  They are as many of the first as fit into 30 MB.
  """
  train = data.train
  height, width = (crop_size, crop_size) if crop_size else train.inputs.shape[1:3]
  longest = max(height, width)
  scale = min(1.0, _LONGEST / longest)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  most = max(1, _MOST_BYTES // (size[0] * size[1] * train.inputs.shape[3]))
  positions = positions[:most]
  sizes, found = image_sizes(train), []
  for part in itertools.batched(positions, _PART):  # large images may not fit into memory together
    some = np.array(part)
    images = np.asarray(centre_crop(train.inputs[some], sizes[some], crop_size))
    found += list(images) if longest <= _LONGEST else [_scaled(image, size) for image in images]
  return np.stack(found)


def _scaled(image: UInt8[np.ndarray, "h w C"], size: tuple[int, int]) -> np.ndarray:
  """Returns an image in another size, channel by channel: Pillow has no image of five channels."""
  channels = [
    np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.LANCZOS))
    for channel in np.moveaxis(image, -1, 0)
  ]
  return np.stack(channels, axis=-1)
