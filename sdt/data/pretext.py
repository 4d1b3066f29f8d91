"""Pretext tasks: sets whose labels are made from the images, so that weights are learned without.

An ordinary run trains on such a set, and `model.pretrained` reads the weights that it leaves.
"""

import numpy as np
from jaxtyping import Int

from sdt.data.corrections import ids_of
from sdt.data.dataset import RawSplit
from sdt.errors import DataError

KEY = "data.pretext"
ROTATIONS = ("0 degrees", "90 degrees", "180 degrees", "270 degrees")


def rotated(split: RawSplit, where: str) -> RawSplit:
  """Returns every image turned by 0, 90, 180 and 270 degrees, one after the other.

  The label is the number of quarter turns, counter-clockwise; the labels of the set are gone. The
  example id is 4 i + k for image i and k turns.

  Source: Gidaris, Singh, Komodakis 2018, "Unsupervised Representation Learning by Predicting Image
  Rotations", section 3.2. Differs from source: the four images of one are not in one batch.

  Raises:
    DataError: these are no square images of one size.
  """
  images, number = np.asarray(split.inputs), len(split.labels)
  if images.ndim != 4 or images.shape[1] != images.shape[2] or split.sizes is not None:
    raise DataError(
      f"{where}: {KEY}=rotation turns square images of one size, these inputs are "
      f"{list(images.shape[1:])}; leave {KEY} out, or give data.image_size with data.resize=stretch"
    )
  turned = np.stack([np.rot90(images, turns, axes=(1, 2)) for turns in range(4)], axis=1)
  files = split.source_files
  return RawSplit(
    turned.reshape(4 * number, *images.shape[1:]),
    np.tile(np.arange(4, dtype=np.int32), number),
    example_ids=np.repeat(4 * ids_of(split), 4) + np.tile(np.arange(4), number),
    source_files=None if files is None else tuple(file for file in files for _ in range(4)),
  )


def images_of(example_ids: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
  """Returns the image, i, of each example id of `rotated`, 4 i + k."""
  return example_ids // len(ROTATIONS)


def note(num_images: int) -> str:
  """Returns what the user must be told."""
  return (
    f"a pretext task ({KEY}=rotation): the classes are how far an image is turned, of {num_images} "
    "training images four each; no label of the set is learned"
  )
