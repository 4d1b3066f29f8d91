"""Makes a data set of arrays in memory, as a program in Python has them."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from sdt.config.schema import DataConfig
from sdt.data import class_names
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit
from sdt.data.readers.npz import inputs_of
from sdt.data.sources import check_keys
from sdt.errors import DataError

_WHERE = "the arrays"
_FORM = "expected train_x, train_y and perhaps test_x, test_y, class_names"


def load_arrays(arrays: Mapping[str, object], config: DataConfig) -> Data:
  """Returns the set in the arrays, which are named as in an npz.

  Args:
    arrays: train_x uint8 [N, H, W, C] or [N, H, W], or floats [N, D]; train_y [N];
      optionally test_x, test_y, and class_names [K]. Whole numbers beside class_names are places
      in it, as in an npz; all other labels are the names of their classes. Without class_names
      the classes are by number if all are numbers, else as text.
    config: `data.name` is arrays.

  Raises:
    ConfigError: a key has no meaning for arrays. DataError: see `assemble`.
  """
  check_keys(config)
  unknown = sorted(arrays.keys() - {"train_x", "train_y", "test_x", "test_y", "class_names"})
  lacking = sorted({"train_x", "train_y"} - arrays.keys())
  if unknown or lacking or ("test_x" in arrays) != ("test_y" in arrays):
    there = ", ".join(arrays) or "nothing"
    raise DataError(f"{_WHERE}: {_FORM}; found {there}")
  labels = {key: np.asarray(arrays[key]) for key in ("train_y", "test_y") if key in arrays}
  given = arrays.get("class_names")
  names = _names(labels) if given is None else tuple(map(str, given))  # type: ignore[call-overload]
  inputs = {key: np.asarray(arrays[key]) for key in ("train_x", "test_x") if key in arrays}
  splits = {
    split: RawSplit(
      images,
      _numbers(labels[f"{split}_y"], names, f"{_WHERE}: {split}_y", are_named=given is not None),
    )
    for split, images in inputs_of(inputs, _WHERE, config.channels).items()
  }
  return assemble(
    Raw(splits["train"], splits.get("test"), names, where=_WHERE, variant="custom"), config
  )


def _names(labels: Mapping[str, Shaped[np.ndarray, "..."]]) -> tuple[str, ...]:
  return class_names.ordered({str(value) for values in labels.values() for value in values.ravel()})


def _numbers(
  labels: Shaped[np.ndarray, "..."], names: Sequence[str], where: str, *, are_named: bool
) -> Shaped[np.ndarray, "N"]:
  """Returns the numbers of the classes of labels; `are_named` says that class_names are given."""
  if labels.ndim != 1:
    raise DataError(f"{where} has shape {list(labels.shape)}, expected one label each, [N]")
  if are_named and labels.dtype.kind in "iu":
    return labels
  place = {name: number for number, name in enumerate(names)}
  texts = [str(label) for label in labels]
  unknown = next((text for text in texts if text not in place), None)
  if unknown is not None:
    raise DataError(
      f"{where}: label {unknown!r} is none of the {len(names)} class names "
      f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
    )
  return np.array([place[text] for text in texts], np.int32)
