"""The order of a head's classes: that of the file of weights against that of the data."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from sdt.errors import DataError

_NUM_SHOWN = 5


def named_in(safetensors: bytes) -> list[str] | None:
  """Returns the class names in the header of a sound safetensors file; None if there are none."""
  names = stated(safetensors, "class_names")
  is_a_list_of_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
  return names if is_a_list_of_text else None


def stated(safetensors: bytes, key: str) -> Any:
  """Returns what the header of a sound safetensors file says, in JSON; None if it says nothing."""
  end = 8 + int.from_bytes(safetensors[:8], "little")
  try:
    return json.loads(json.loads(safetensors[8:end])["__metadata__"][key])
  except (KeyError, TypeError, ValueError, RecursionError):
    return None


def positions(path: Path, in_file: Sequence[str], of_data: Sequence[str]) -> Int[np.ndarray, "K"]:
  """Returns where each class of the data stands in the file, int [K].

  Names are compared in Unicode's composed form: file systems store one name in two forms.

  Args:
    path: of the file, for the message.
    in_file: [K] names in the order of the file's head.
    of_data: [K] names in the order of the labels.

  Raises:
    DataError: the names are others, or two are equal, so that no order follows from them.
  """
  here, there = (
    [unicodedata.normalize("NFC", name) for name in names] for names in (of_data, in_file)
  )
  if here == there:
    return np.arange(len(here))
  if sorted(here) != sorted(there):
    lacking = [name for name in here if name not in there]
    spare = [name for name in there if name not in here]
    what = (
      f"its head knows {_few(spare)} where the data have {_few(lacking)}"
      if lacking and spare
      else f"its head knows {len(there)} classes, {_few(there)}; the data have {len(here)}, "
      f"{_few(here)}"
    )
    raise DataError(
      f"model.pretrained={path}: {what}; leave model.pretrained_head off, and the head starts "
      "afresh, or name the classes of the data as the file does"
    )
  if len(set(here)) < len(here):
    raise DataError(
      f"model.pretrained={path}: two of its classes have one name, and their order is not that of "
      "the data; leave model.pretrained_head off, and the head starts afresh"
    )
  return np.array([there.index(name) for name in here])


def _few(names: Sequence[str]) -> str:
  shown = ", ".join(repr(name[:40]) for name in names[:_NUM_SHOWN])
  return shown + (f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else "")
