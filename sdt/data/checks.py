"""What the arrays of a split must be; a DataError names the first bad example and their number."""

from collections.abc import Mapping, Sequence, Sized

import numpy as np
from jaxtyping import Shaped

from sdt.errors import DataError

type AnyArray = Shaped[np.ndarray, "..."]


def check_lengths(num_inputs: int, others: Mapping[str, Sized | None], where: str) -> None:
  """Refuses anything in `others` that is there and has not one entry for every input."""
  for name, values in others.items():
    if values is not None and len(values) != num_inputs:
      raise DataError(
        f"{where}: {num_inputs} inputs but {len(values)} {name}; there must be one for every "
        "example"
      )


def check_ids(ids: AnyArray, where: str) -> None:
  """Refuses ids that are not integers in [0, 2**31), strictly ascending."""
  is_ascending = ids.dtype.kind in "iu" and (np.diff(ids.astype(np.int64)) > 0).all()
  if not is_ascending or (len(ids) and not 0 <= ids[0] <= ids[-1] < 2**31):
    raise DataError(
      f"{where}: example ids must be integers in [0, 2**31) in strictly ascending order"
    )


def check_inputs(inputs: AnyArray, ids: AnyArray, where: str) -> None:
  """Refuses inputs that are neither uint8 [N, H, W, C] nor finite float32 [N, D], or are empty."""
  are_images = inputs.dtype == np.uint8 and inputs.ndim == 4
  are_vectors = inputs.dtype == np.float32 and inputs.ndim == 2
  if not (are_images or are_vectors):
    raise DataError(
      f"{where}: inputs are {inputs.dtype} {list(inputs.shape)}, expected uint8 [N, height, "
      "width, channels] or float32 [N, size]"
    )
  if 0 in inputs.shape:
    raise DataError(
      f"{where}: inputs of shape {list(inputs.shape)} hold nothing; at least one example with one "
      "value is needed"
    )
  if are_vectors:
    _check_finite(inputs, ids, where)


def check_labels(labels: AnyArray, ids: AnyArray, num_classes: int, where: str) -> None:
  """Refuses labels that are neither integers [N] in [0, num_classes) nor finite float32 [N, D]."""
  if labels.dtype == np.float32 and labels.ndim == 2:
    _check_finite(labels, ids, where)
    return
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise DataError(
      f"{where}: labels are {labels.dtype} {list(labels.shape)}, expected integers [N]"
    )
  bad = (labels < 0) | (labels >= num_classes)
  if bad.any():
    num, first, example_id = _first_bad(bad, ids)
    raise DataError(
      f"{where}: {num} of {len(labels)} labels are outside [0, {num_classes}); the first is "
      f"{labels[first]} at example {example_id}"
    )


def check_sizes(sizes: AnyArray, inputs: AnyArray, ids: AnyArray, where: str) -> None:
  """Refuses wrong sizes [N, 2], and images that are not zero outside their size.

  What is outside would be mistaken for a part of the image.
  """
  if inputs.ndim != 4 or sizes.dtype.kind not in "iu" or sizes.shape != (len(inputs), 2):
    raise DataError(
      f"{where}: sizes are {sizes.dtype} {list(sizes.shape)} of inputs {list(inputs.shape)}, "
      "expected integers [N, 2]: the height and width of every image"
    )
  height, width = inputs.shape[1:3]
  bad = (sizes < 1).any(axis=1) | (sizes[:, 0] > height) | (sizes[:, 1] > width)
  if bad.any():
    num, first, example_id = _first_bad(bad, ids)
    raise DataError(
      f"{where}: {num} of {len(inputs)} sizes are outside [1, {height}] x [1, {width}]; the first "
      f"is {sizes[first].tolist()} at example {example_id}"
    )
  pairs = zip(inputs, sizes.tolist(), strict=True)
  bad = np.array([image[h:].any() or image[:h, w:].any() for image, (h, w) in pairs])
  if bad.any():
    num, _, example_id = _first_bad(bad, ids)
    raise DataError(
      f"{where}: {num} of {len(inputs)} images are not zero outside their size; the first is "
      f"example {example_id}"
    )


def check_difficulty(difficulty: AnyArray, where: str) -> None:
  """Refuses a difficulty outside [0, 1]."""
  if not ((difficulty >= 0) & (difficulty <= 1)).all():
    raise DataError(f"{where}: difficulty must be in [0, 1]")


def some_of(values: AnyArray | Sequence[str]) -> str:
  """Returns the first five values for a message, and "..." if there are more."""
  return ", ".join(str(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")


def _check_finite(vectors: AnyArray, ids: AnyArray, where: str) -> None:
  bad = ~np.isfinite(vectors).all(axis=1)
  if bad.any():
    num, first, example_id = _first_bad(bad, ids)
    column = int(np.argmin(np.isfinite(vectors[first])))
    raise DataError(
      f"{where}: {num} of {len(vectors)} examples hold values that are not finite in float32; the "
      f"first is {vectors[first, column]} in example {example_id}, column {column}"
    )


def _first_bad(bad: AnyArray, ids: AnyArray) -> tuple[int, int, int]:
  """Returns (how many examples are bad, position of the first, id of the first)."""
  first = int(np.argmax(bad))
  return int(bad.sum()), first, int(ids[first])
