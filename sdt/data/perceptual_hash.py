"""Finds images that look alike, by 64-bit hashes of their coarse structure."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64, UInt8, UInt64
from PIL import Image

from sdt.data.dataset import Dataset, image_sizes

_SIDE = 32  # pixels of the thumbnail
_BITS = 64
_FLAT = 2.0  # standard deviation of a thumbnail, of values 0 to 255, below which it has no shape
_BLOCK = 1024  # thumbnails at a time
_CELLS = 2**22  # pairs of hashes that are compared at a time


def hashes(images: Dataset) -> UInt64[np.ndarray, "N"]:
  """Returns a hash of each image, [N]; 0 for an image that is nearly constant.

  Each bit says whether one of the 64 lowest frequencies is stronger than their median.

  Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, the
  hash by DCT. Differs from source: grey is the mean of the channels, the thumbnail is antialiased,
  and nearly constant images have no hash.
  """
  # Frequencies 1 to 8: the mean, frequency 0, says nothing of the shape.
  waves = np.cos(np.pi * (2 * np.arange(_SIDE) + 1) * np.arange(1, 9)[:, None] / (2 * _SIDE))
  sizes, found = image_sizes(images), []
  for start in range(0, len(images), _BLOCK):
    block = zip(images.inputs[start : start + _BLOCK], sizes[start : start + _BLOCK], strict=True)
    small = np.stack([_thumbnail(image[:height, :width]) for image, (height, width) in block])
    strengths = (waves @ small @ waves.T).reshape(-1, _BITS)
    bits = strengths > np.median(strengths, axis=1, keepdims=True)
    found.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    found[-1][small.std(axis=(1, 2)) < _FLAT] = 0
  return np.concatenate(found)


def _thumbnail(image: UInt8[np.ndarray, "h w C"]) -> Float32[np.ndarray, "s s"]:
  """Returns the image in grey, scaled to a square."""
  grey = Image.fromarray(image.mean(axis=2, dtype=np.float32))
  return np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def alike(values: UInt64[np.ndarray, "N"], most: int) -> list[Int64[np.ndarray, "n"]]:
  """Returns the places of images that look alike, ascending in each group; 0 is like nothing.

  Two images are in one group if a chain of images links them, of whose hashes two neighbours differ
  in at most `most` bits.
  """
  from scipy import sparse  # here, because most runs do not need it
  from scipy.sparse import csgraph

  unique, which = np.unique(values, return_inverse=True)
  pairs = np.concatenate([np.zeros((0, 2), np.int64), *_close_pairs(unique, most)])
  graph = sparse.coo_array((np.ones(len(pairs), bool), pairs.T), shape=(len(unique), len(unique)))
  group_of = csgraph.connected_components(graph, directed=False)[1][which]
  counts = np.bincount(group_of)
  members = np.flatnonzero((counts[group_of] > 1) & (values != 0))
  groups: dict[int, list[int]] = {}
  for place in members.tolist():
    groups.setdefault(int(group_of[place]), []).append(place)
  return [np.array(places) for places in groups.values()]


def _close_pairs(unique: UInt64[np.ndarray, "U"], most: int) -> Iterator[Int64[np.ndarray, "P 2"]]:
  """Yields the pairs of different hashes that differ in at most `most` bits, some of them twice.

  Of `most` + 1 parts of two such hashes at least one is equal: only hashes that share a part are
  compared.
  """
  candidates = np.flatnonzero(unique != 0)
  for part in np.array_split(np.arange(_BITS, dtype=np.uint64), most + 1):
    keys = (unique[candidates] >> part[0]) & np.uint64(2 ** len(part) - 1)
    order = np.argsort(keys, kind="stable")
    for run in np.split(candidates[order], np.flatnonzero(np.diff(keys[order])) + 1):
      step = max(1, _CELLS // max(1, len(run)))
      for start in range(0, len(run) if len(run) > 1 else 0, step):
        rows = run[start : start + step]
        differ = np.bitwise_count(unique[rows, None] ^ unique[None, run])
        first, second = np.nonzero((differ <= most) & (rows[:, None] < run[None]))
        yield np.stack([rows[first], run[second]], axis=1)
