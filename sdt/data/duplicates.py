"""Finds examples that a set holds more than once: equal ones, and images that look alike."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped

from sdt.config.schema import DataConfig
from sdt.data import perceptual_hash
from sdt.data.checks import AnyArray
from sdt.data.dataset import Copy, Dataset, Duplicates, RawSplit
from sdt.errors import DataError

FILE = "duplicates.csv"
_SERIOUS = 0.01  # share of the test set that was trained on, above which there is a warning
_DIGEST_BYTES = 16

# Places in the pool that hold the same, ascending; the training set comes first.
type _Group = list[int]


def is_in_training_set(train: RawSplit, test: RawSplit) -> Bool[np.ndarray, "N"]:
  """Returns which test examples equal a training example."""
  return np.isin(_digests(test.inputs, test.sizes), _digests(train.inputs, train.sizes))


def find(
  train: Dataset,
  test: Dataset,
  labels: Int[np.ndarray, "N"],
  *,
  dropped: Dataset | None,
  config: DataConfig,
) -> Duplicates:
  """Returns the examples that are there more than once, within the splits and between them.

  Every example is hashed where it lies; the inputs are not copied.

  Args:
    train: the training split in use.
    test: the test split in use.
    labels: [N], of the training split, before any was made wrong on purpose.
    dropped: what was left out of the test split because it equals a training example.
    config: `on_duplicate_test`, `near_duplicates`.

  Raises:
    DataError: a test example equals a training example, and `data.on_duplicate_test=refuse`.
  """
  sides = {"train": train, "test": test} | ({} if dropped is None else {"dropped": dropped})
  pool = _Pool.of(sides, labels)
  groups = _equal(np.concatenate([_digests(side.inputs, side.sizes) for side in sides.values()]))
  counts = {**_counts(groups, pool), "dropped": 0 if dropped is None else len(dropped)}
  if config.on_duplicate_test == "refuse" and counts["test_in_train"]:
    raise DataError(_refusal(groups, pool, counts))
  near: list[_Group] = []
  if config.near_duplicates is not None and train.inputs.ndim == 4:
    near = _near(groups, sides, most=config.near_duplicates)
    counts |= {"near_groups": len(near), "near_test_in_train": _num_test_in_train(near, pool)}
  kinds = [*(("exact", group) for group in groups), *(("near", group) for group in near)]
  copies = tuple(
    pool.copy(number, kind, place) for number, (kind, group) in enumerate(kinds) for place in group
  )
  share = counts["test_in_train"] / len(test)
  warning = (
    f"{100 * share:.1f} % of the test examples are in the training set too, so the test accuracy "
    f"is too high; {_remedy(counts, len(test))}"
  )
  return Duplicates(copies, counts, warning if share > _SERIOUS else None)


def notes(found: Duplicates, train: Dataset, test: Dataset, *, config: DataConfig) -> Iterator[str]:
  """Yields what must be told of the copies, the warning first."""
  if found.warning is not None:
    yield found.warning
  counts = found.counts
  parts = {
    "train_copies": f"of {len(train)} training examples repeat an earlier one",
    "test_copies": f"of {len(test)} test examples repeat an earlier one",
    "test_in_train": f"of {len(test)} test examples are in the training set too",
    "conflicting": "of these have equals with another label",
    "dropped": "test examples were dropped, because they are in the training set",
  }
  told = [f"{counts[name]} {text}" for name, text in parts.items() if counts[name]]
  if told:
    yield f"equal examples: {'; '.join(told)}; {FILE} lists them"
  if counts.get("near_groups"):
    yield (
      f"images that look alike (at most {config.near_duplicates} of 64 bits of their hashes "
      f"differ): {counts['near_groups']} groups; in them, {counts['near_test_in_train']} of "
      f"{len(test)} test images resemble a training image; {FILE} lists them"
    )


@dataclasses.dataclass(frozen=True)
class _Pool:
  """All examples of a set in one row: the training set, then the test set, then what was dropped.

  Attributes:
    split: the name of the split of each, [M].
    ids: their example ids, [M].
    labels: as the set gives them, [M].
    files: their source files, "" where there are none.
  """

  split: Shaped[np.ndarray, "M"]
  ids: Int[np.ndarray, "M"]
  labels: Int[np.ndarray, "M"]
  files: Sequence[str]

  @classmethod
  def of(cls, sides: Mapping[str, Dataset], labels: Int[np.ndarray, "N"]) -> "_Pool":
    """Returns the pool of these splits; `labels` are those of the first."""
    _, *others = sides.values()
    return cls(
      np.repeat(list(sides), [len(side) for side in sides.values()]),
      np.concatenate([side.example_ids for side in sides.values()]),
      np.concatenate([labels, *(side.labels for side in others)]),
      files=[file for side in sides.values() for file in side.source_files or [""] * len(side)],
    )

  def copy(self, number: int, kind: str, place: int) -> Copy:
    """Returns a row of duplicates.csv."""
    return Copy(
      number,
      kind,
      str(self.split[place]),
      example_id=int(self.ids[place]),
      source_file=self.files[place],
      label=int(self.labels[place]),
    )

  def name(self, place: int) -> str:
    """Returns what a message calls an example."""
    return self.files[place] or f"example {self.ids[place]}"


def _digests(inputs: AnyArray, sizes: AnyArray | None) -> Shaped[np.ndarray, "N"]:
  """Returns a digest of each example, [N] of 16 bytes; equal for equal inputs of equal size."""
  are_floats = inputs.dtype.kind == "f"

  def digest(row: int) -> bytes:
    # Adding zero turns -0.0 into 0.0, which is equal and has other bytes.
    example = inputs[row] + np.float32(0) if are_floats else inputs[row]
    one = hashlib.sha256(np.ascontiguousarray(example).data)
    if sizes is not None:
      one.update(np.asarray(sizes[row], np.int32).tobytes())
    return one.digest()[:_DIGEST_BYTES]

  return np.frombuffer(b"".join(map(digest, range(len(inputs)))), f"V{_DIGEST_BYTES}")


def _equal(digests: Shaped[np.ndarray, "M"]) -> list[_Group]:
  """Returns the places of equal digests, a list for each that occurs twice, by first place."""
  _, which, counts = np.unique(digests, return_inverse=True, return_counts=True)
  groups: dict[int, _Group] = {}
  for place in np.flatnonzero(counts[which] > 1).tolist():
    groups.setdefault(int(which[place]), []).append(place)
  return list(groups.values())


def _counts(groups: Sequence[_Group], pool: _Pool) -> dict[str, int]:
  """Returns how many examples are copies, by what they are copies of."""
  repeats = dict.fromkeys(("train", "test", "dropped"), 0)
  conflicting = 0
  for group in groups:
    names, numbers = np.unique(pool.split[group], return_counts=True)
    for name, number in zip(names.tolist(), numbers.tolist(), strict=True):
      repeats[name] += number - 1
    conflicting += len(group) if len(set(pool.labels[group].tolist())) > 1 else 0
  return {
    "groups": len(groups),
    "train_copies": repeats["train"],
    "test_copies": repeats["test"],
    "test_in_train": _num_test_in_train(groups, pool),
    "conflicting": conflicting,
  }


def _num_test_in_train(groups: Sequence[_Group], pool: _Pool) -> int:
  """Returns how many test examples share a group with a training example."""
  return sum(
    int((pool.split[group] == "test").sum()) for group in groups if pool.split[group[0]] == "train"
  )


def _near(groups: Sequence[_Group], sides: Mapping[str, Dataset], *, most: int) -> list[_Group]:
  """Returns the images that look alike; the first of several equal ones stands for all."""
  hashes = np.concatenate([perceptual_hash.hashes(side) for side in sides.values()])
  repeated = [place for group in groups for place in group[1:]]
  places = np.delete(np.arange(len(hashes)), repeated)
  return [places[group].tolist() for group in perceptual_hash.alike(hashes[places], most)]


def _refusal(groups: Sequence[_Group], pool: _Pool, counts: Mapping[str, int]) -> str:
  """Returns why a set is refused whose test examples are in its training set."""
  first = next(group for group in groups if {"train", "test"} <= set(pool.split[group].tolist()))
  test = next(place for place in first if pool.split[place] == "test")
  num_test = int((pool.split == "test").sum())
  return (
    f"{counts['test_in_train']} of {num_test} test examples are in the "
    f"training set too; the first is {pool.name(test)}, which equals {pool.name(first[0])} of the "
    f"training set; {_remedy(counts, num_test)}"
  )


def _remedy(counts: Mapping[str, int], num_test: int) -> str:
  """Returns what to do about test examples that are in the training set."""
  if counts["test_in_train"] == num_test:
    return "give other test examples"
  return "--config.data.on_duplicate_test=drop leaves them out"
