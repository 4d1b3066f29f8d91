"""Checks the labels of arrays, and says how to write them where they are of another form."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Int64

from sdt.data.checks import AnyArray
from sdt.errors import DataError

_MAX_CLASSES = 2**16
_EXPECTED = "expected class numbers 0, 1, ...: integers [N]"


def check(
  labels: Mapping[str, AnyArray], names: tuple[str, ...] | None, where: str, *, may_lack: bool
) -> tuple[str, ...]:
  """Returns the class names: those that are given, else "0", "1", ... up to the largest label.

  Labels out of range, and too many or too few of them, are left to the checks of all sets.

  Args:
    labels: of each split, by the name of its array.
    names: the class names that the archive gives.
    where: the file, for messages.
    may_lack: whether there may be classes without training examples.

  Raises:
    DataError: labels of another form, or that do not begin at 0 or leave numbers out, with the call
      that writes them as they must be.
  """
  for name, array in labels.items():
    form = form_of(name, array, labels)
    if form:
      raise DataError(f"{where}: {name} is {array.dtype} {list(array.shape)}; {_EXPECTED}{form}")
  used = np.unique(np.concatenate([array.astype(np.int64) for array in labels.values()]))
  if len(used) > 1:
    _check_numbers(labels, used, names, where=where, may_lack=may_lack)
  num_classes = int(max(used[-1], 0)) + 1 if len(used) else 1
  if num_classes > _MAX_CLASSES:
    raise DataError(
      f"{where}: the largest label is {used[-1]}; labels are class numbers 0, 1, ..., below "
      f"{_MAX_CLASSES}"
    )
  return names or tuple(str(label) for label in range(num_classes))


def _check_numbers(
  labels: Mapping[str, AnyArray],
  used: Int64[np.ndarray, "K"],
  names: tuple[str, ...] | None,
  where: str,
  *,
  may_lack: bool,
) -> None:
  """Refuses labels that do not begin at 0 or leave numbers out, unless classes `may_lack`."""
  first, last = int(used[0]), int(used[-1])
  if (first == 0 and last == len(used) - 1) or (may_lack and first > 0 and names is None):
    return
  if last - first == len(used) - 1 and len(used) == len(names or used):
    shift = f"- {first}" if first > 0 else f"+ {-first}"
    remedy = f"write them anew as {' and '.join(f'{name} {shift}' for name in labels)}"
    if first < 0:
      remedy += f"; or remove the examples of {first}, if it marks those without a label"
    raise DataError(f"{where}: the labels are {first} to {last}; {_EXPECTED}: {remedy}")
  if names is None and not (may_lack and first == 0):
    num_lacking = last - first + 1 - len(used)
    accept = "" if first < 0 else ", or accept it with --config.data.allow_empty_class=True"
    raise DataError(
      f"{where}: {num_lacking} of the labels {first} to {last} have no example; {_EXPECTED}: "
      f"{_renumbered(labels)}{accept}"
    )


def form_of(name: str, labels: AnyArray, all_names: Iterable[str] = ()) -> str:
  """Returns what is wrong with labels of another form than integers [N], and what to do; or "".

  Args:
    name: of the array.
    labels: the array.
    all_names: the arrays that are numbered together, where texts are no labels.
  """
  kind = labels.dtype.kind
  if labels.ndim == 2 and labels.shape[1] == 1:
    return f": write it anew as {name}.reshape(-1)"
  if labels.ndim == 2 and kind in "biuf" and labels.size:
    if np.isin(labels, (0, 1)).all() and (labels.sum(axis=1, dtype=np.int64) == 1).all():
      return f": write it anew as {name}.argmax(axis=1)"
    return "; every example has one class, so several labels or probabilities cannot be trained on"
  if labels.ndim == 1 and kind == "b":
    return f": write it anew as {name}.astype(int)"
  if labels.ndim == 1 and kind in "US":
    return f": {_renumbered(all_names)}"
  if labels.ndim == 1 and kind == "f":
    if (labels == np.rint(labels)).all() and np.isfinite(labels).all():
      return f": write it anew as {name}.astype(int)"
    num = int((~np.isfinite(labels)).sum())
    what = f"{num} of these are not finite" if num else "these are fractions: numbers, not classes"
    return f"; {what}: remove such examples, or divide the numbers into classes"
  is_right = labels.ndim == 1 and kind in "iu"
  return "" if is_right else "; write it anew with one class number for each example"


def _renumbered(names: Iterable[str]) -> str:
  """Returns the calls that turn any labels into class numbers, with the labels as class names."""
  names = tuple(names)
  known = names[0] if len(names) == 1 else f"numpy.concatenate([{', '.join(names)}])"
  calls = [f"classes = numpy.unique({known})"]
  calls += [f"{name} = numpy.searchsorted(classes, {name})" for name in names]
  return f"write them anew: {'; '.join(calls)}; and class_names=classes.astype(str)"
