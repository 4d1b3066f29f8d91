"""Counts the near duplicates of an npz set by the bits in which two hashes may differ.

    .venv/bin/python benchmarks/near_duplicates.py --set=cifar10.npz
    [--listed=duplicates_cifar10.csv] [--pairs=FOLDER] [--out=FILE]

The CSV file is ciFAIR's list, with a column TestID. --pairs writes, for each number of bits, an
image of the pairs that it does not list, one for each test image, to be judged by eye.
"""

import csv
import io
import itertools
import json
import time
from pathlib import Path

import measure
import numpy as np
from PIL import Image, ImageFilter

from sdt.data import duplicates, perceptual_hash
from sdt.data.dataset import Dataset

BITS = (4, 6, 8)
PER_ROW = 8


def as_jpeg(image):
  """Returns the image after JPEG of quality 80."""
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=80)
  return Image.open(buffer).convert("RGB")


ALTERED = {
  "JPEG, quality 80": as_jpeg,
  "brightness 0.8 v + 20": lambda image: image.point(lambda value: 0.8 * value + 20),
  "Gaussian blur 0.7": lambda image: image.filter(ImageFilter.GaussianBlur(0.7)),
  "grey": lambda image: image.convert("L").convert("RGB"),
  "shift by one pixel": lambda image: Image.fromarray(np.roll(np.asarray(image), 1, 1)),
  "crop of 28 pixels, enlarged": lambda image: image.crop((2, 2, 30, 30)).resize((32, 32)),
  "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def hashes_of(images):
  """Returns the hashes of images [N, 32, 32, 3]."""
  count = len(images)
  split = Dataset(images, np.zeros(count, np.int32), np.arange(count, dtype=np.int32))
  return perceptual_hash.hashes(split)


def close_pairs(train, test, most):
  """Returns the pairs [P, 2] (test, training) of hashes that differ in at most `most` bits."""
  pairs = []
  for start in range(0, len(test), 64):
    differ = np.bitwise_count(test[start : start + 64, None] ^ train[None])
    first, second = np.nonzero((differ <= most) & (train[None] != 0))
    pairs.append(np.stack([first + start, second], axis=1))
  pairs = np.concatenate(pairs)
  return pairs[test[pairs[:, 0]] != 0]


def sheet(pairs, train, test):
  """Returns the pairs side by side, eight in a row, each enlarged twice."""
  tiles = [
    np.pad(
      np.concatenate([test[i], train[j]], 1).repeat(2, 0).repeat(2, 1), ((4, 4), (4, 4), (0, 0))
    )
    for i, j in pairs
  ]
  tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % PER_ROW)
  return np.concatenate([np.concatenate(row, 1) for row in itertools.batched(tiles, PER_ROW)])


def main():
  """Prints one JSON object."""
  parser = measure.parser(__doc__)
  parser.add_argument("--set", type=Path, required=True)
  parser.add_argument("--listed", type=Path)
  parser.add_argument("--pairs", type=Path)
  asked = parser.parse_args()
  with np.load(asked.set) as arrays:
    train, test = arrays["train_x"], arrays["test_x"]
  listed = set()
  if asked.listed:
    with asked.listed.open(newline="") as file:
      listed = {int(row["TestID"]) for row in csv.DictReader(file)}
  began = time.perf_counter()
  for images in (train, test):
    duplicates._digests(images, None)
  found = {"seconds of the exact comparison's digests": round(time.perf_counter() - began, 2)}
  began = time.perf_counter()
  of_train, of_test = hashes_of(train), hashes_of(test)
  found["seconds of the perceptual hashes"] = round(time.perf_counter() - began, 1)
  for most in BITS:
    pairs = close_pairs(of_train, of_test, most)
    near = set(pairs[:, 0].tolist())
    groups = perceptual_hash.alike(np.concatenate([of_train, of_test]), most)
    chained = (group >= len(train) for group in groups if group[0] < len(train))
    found[f"{most} bits"] = {
      "test images near a training image": len(near),
      "of them listed": len(near & listed),
      "share of the listed": round(len(near & listed) / len(listed), 3) if listed else None,
      "with chains": int(sum(each.sum() for each in chained)),
    }
    if asked.pairs:
      asked.pairs.mkdir(parents=True, exist_ok=True)
      first = {int(i): int(j) for i, j in pairs[::-1] if int(i) not in listed}
      Image.fromarray(sheet(sorted(first.items()), train, test)).save(asked.pairs / f"{most}.png")
  some = [Image.fromarray(image) for image in test[:1000]]
  before = hashes_of(test[:1000])
  for name, alter in ALTERED.items():
    after = hashes_of(np.stack([np.asarray(alter(image)) for image in some]))
    differ = np.bitwise_count(before ^ after)
    found[f"found after {name}"] = {
      f"{most} bits": round(float((differ <= most).mean()), 3) for most in BITS
    }
  print(json.dumps(found, indent=1))
  measure.write(asked.out, "near_duplicates", found)


if __name__ == "__main__":
  main()
