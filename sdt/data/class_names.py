"""The names of classes: their order, which are nearly alike, how many examples each class has."""

import collections
import decimal
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int

from sdt.data.dataset import Data
from sdt.errors import DataError

DIFFER_ONLY = "differ only in case, Unicode form, blanks, invisible letters or number format"
# Short enough for `decimal`, which would take a longer exponent for infinity.
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")
# What tables have where there is no label, folded; a class of this name may be none.
_NO_LABEL = {"nan", "<na>", "na", "n/a", "#n/a", "nat", "none", "null", "undefined", "?", "-"}
_LONGEST = 255  # as of folders
# Control characters, and halves of characters that UTF-8 cannot write.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUM_LISTED = 12
_NUM_WARNED = 5


def as_number(name: str) -> decimal.Decimal | None:
  """Returns the number that a name writes, such as 10 for "10" and "1e1"; None for other names."""
  return decimal.Decimal(name) if _NUMBER.fullmatch(name) else None


def ordered(names: Iterable[str]) -> tuple[str, ...]:
  """Returns the names by number if all of them are numbers, else as text: 1, 2, 10; a, b."""
  names = sorted(names)
  numbers = {name: number for name in names if (number := as_number(name)) is not None}
  return tuple(names if len(numbers) < len(set(names)) else sorted(names, key=numbers.__getitem__))


def folded(name: str) -> str | decimal.Decimal:
  """Returns what names have in common that `DIFFER_ONLY`; "Cat " as "cat", "1.0" as 1."""
  visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
  text = " ".join(unicodedata.normalize("NFKC", visible).casefold().split())
  number = as_number(text)
  return text if number is None else number


def alike_notes(names: Sequence[str]) -> Iterator[str]:
  """Yields a note on each group of classes whose names are equal, or nearly."""
  groups = collections.defaultdict(list)
  for label, name in enumerate(names):
    groups[folded(name)].append(label)
  alike = [labels for labels in groups.values() if len(labels) > 1]
  for labels in alike[:_NUM_WARNED]:
    # As ASCII, because two forms of a letter look the same.
    shown = ", ".join(f"{label} ({names[label]!a})" for label in labels[:_NUM_WARNED])
    are_equal = len({names[label] for label in labels}) == 1
    how = "are equal" if are_equal else DIFFER_ONLY
    yield f"the names of the classes {shown} {how}; are they one class?"
  if len(alike) > _NUM_WARNED:
    yield f"{len(alike) - _NUM_WARNED} more groups of classes have names that are alike"


def refuse_unwritable(names: Iterable[str], where: str) -> None:
  """Refuses class names that no table, figure or line can show.

  Raises:
    DataError: with the first and its label.
  """
  for label, name in enumerate(names):
    problem = (
      "is empty"
      if not name.strip()
      else "holds characters that cannot be written"
      if _UNPRINTABLE.search(name)
      else f"has {len(name):,} characters, at most {_LONGEST} are expected"
      if len(name) > _LONGEST
      else ""
    )
    if problem:
      shown = f"{name[:20]!a}{'...' if len(name) > 20 else ''}"
      raise DataError(f"{where}: the name of class {label}, {shown}, {problem}; give it another")


def no_label_notes(names: Sequence[str], counts: Int[np.ndarray, "K"]) -> Iterator[str]:
  """Yields a note on classes that may be examples without a label.

  That are names such as "nan", and -1 where all other names are numbers from 0.
  """
  numbers = [as_number(name) for name in names]
  others = [number for number in numbers if number != -1]
  odd = [
    f"{name!r} ({counts[label]} training examples)"
    for label, name in enumerate(names)
    if folded(name) in _NO_LABEL
    or (numbers[label] == -1 and len(others) > 1 and all(n is not None and n >= 0 for n in others))
  ]
  if odd:
    yield (
      f"the class {', '.join(odd)} is trained as any other; if it marks examples without a label, "
      "remove them"
    )


def refuse_nearly_known(theirs: Iterable[str], known: Iterable[str], where: str) -> None:
  """Refuses a class of the test split that is no training class but is nearly one by its name.

  Raises:
    DataError: with both names.
  """
  known = set(known)
  by_form = {folded(name): name for name in sorted(known)}
  near = {name: by_form.get(folded(name)) for name in sorted(set(theirs) - known)}
  pairs = [f"{name!a} for {other!a}" for name, other in near.items() if other is not None]
  if pairs:
    raise DataError(
      f"{where}: the test split has other names than the training split ({', '.join(pairs)}), "
      f"which {DIFFER_ONLY}; write them in the same way"
    )


def counts_line(data: Data) -> str | None:
  """Returns the classes with their numbers of training and test examples, in one line.

  Up to twelve are listed; of more, those with the fewest and the most training examples. None
  where the labels are no classes.
  """
  if data.train.labels.dtype.kind != "i" or not data.checksum:  # a stand-in has no labels
    return None
  num = len(data.class_names)
  train, test = (np.bincount(split.labels, minlength=num) for split in (data.train, data.test))

  def entry(label: int) -> str:
    return f"{' '.join(data.class_names[label].split())} {train[label]} + {test[label]}"

  head = f"{num} classes, training + test examples"
  if num <= _NUM_LISTED:
    return f"{head}: {', '.join(map(entry, range(num)))}"
  fewest, most = int(np.argmin(train)), int(np.argmax(train))
  return f"{head}: the smallest is {entry(fewest)}, the largest {entry(most)}"
