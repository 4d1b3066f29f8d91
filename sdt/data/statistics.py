"""Statistics of a split: the mean and spread of its inputs, and its constant images."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt8

from sdt.data.dataset import Dataset, Inputs, image_sizes

_PART_BYTES = 2**24  # of the images that are read together


def mean_and_std(
  inputs: Inputs, sizes: Int[np.ndarray, "N 2"] | None = None
) -> tuple[Float32[np.ndarray, "D"], Float32[np.ndarray, "D"]]:
  """Returns the mean and standard deviation of the inputs, each float32 [C] or [D].

  Of images they are taken for each channel, in units of pixel/255; of vectors for each entry. The
  standard deviation divides by N, and is 1 where it would be 0.

  Images are summed exactly, from the histogram of each channel.

  Args:
    inputs: uint8 [N, H, W, C] or float32 [N, D].
    sizes: [N, 2], height and width of every image; the zeros outside them do not count.
  """
  if inputs.dtype == np.uint8:
    values, padding = np.arange(256) / 255, 0
    if sizes is not None:
      num_pixels = int(sizes.prod(axis=1, dtype=np.int64).sum())
      padding = len(inputs) * inputs.shape[1] * inputs.shape[2] - num_pixels
    mean, variance = [], []
    for counts in _histograms(inputs):
      counts[0] -= padding
      share = counts / counts.sum()
      mean.append(share @ values)
      variance.append(share @ (values - mean[-1]) ** 2)
    means, std = np.array(mean), np.sqrt(np.array(variance))
  else:
    means, std = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
  constant = std < 1e-12
  return means.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32)


def constant_examples(dataset: Dataset) -> Int32[np.ndarray, "M"]:
  """Returns the ids of the images whose pixels are all alike in every channel; none for vectors."""
  if dataset.inputs.ndim != 4:
    return np.zeros(0, np.int32)
  sizes = image_sizes(dataset)
  last = dataset.inputs[np.arange(len(dataset)), sizes[:, 0] - 1, sizes[:, 1] - 1]
  # Few other images have a first pixel that equals the last.
  suspects = np.flatnonzero((dataset.inputs[:, 0, 0] == last).all(axis=1))
  constant = [
    i for i in suspects if (dataset.inputs[i, : sizes[i, 0], : sizes[i, 1]] == last[i]).all()
  ]
  return dataset.example_ids[np.array(constant, np.int64)]


def value_span(images: UInt8[np.ndarray, "N H W C"], *, enough: int) -> tuple[int, int]:
  """Returns the lowest and the highest value; reads no further once they are `enough` apart."""
  low, high = 255, 0
  for part in _parts(images):
    low, high = min(low, int(part.min())), max(high, int(part.max()))
    if high - low >= enough:
      break
  return low, high


def _histograms(images: UInt8[np.ndarray, "N H W C"]) -> Int64[np.ndarray, "C 256"]:
  """Returns how often each value occurs in each channel."""
  counts = np.zeros((images.shape[3], 256), np.int64)
  for part in _parts(images):
    for channel in range(images.shape[3]):
      values = np.ascontiguousarray(part[..., channel]).reshape(-1)
      odd = len(values) % 2
      counts[channel] += np.bincount(values[:odd], minlength=256)
      # Two values at a time: `bincount` turns every number into eight bytes, which takes most of
      # its time.
      pairs = np.bincount(values[odd:].view(np.uint16), minlength=2**16).reshape(256, 256)
      counts[channel] += pairs.sum(axis=0) + pairs.sum(axis=1)
  return counts


def _parts(images: UInt8[np.ndarray, "N H W C"]) -> Iterator[UInt8[np.ndarray, "M H W C"]]:
  """Yields the images in parts of some megabytes, to save memory."""
  step = max(1, _PART_BYTES // images[0].nbytes)
  for start in range(0, len(images), step):
    yield images[start : start + step]
