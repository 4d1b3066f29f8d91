"""What is sealed in a checkpoint: its arrays by name, each with dtype, shape and SHA-256."""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sdt.types import PyTree

MAX_META_BYTES = 64 * 2**20


class Leaf(NamedTuple):
  """What the seal says of one array."""

  dtype: str
  shape: tuple[int, ...]
  sha256: str


class Seal(NamedTuple):
  pin: bool
  meta: dict[str, Any]
  leaves: dict[str, Leaf]


class Unusable(Exception):  # noqa: N818 - never leaves the modules of the checkpoints
  """Why a step cannot be used, in words for the user."""


def named_leaves(tree: PyTree) -> dict[str, Any]:
  """Returns the leaves by their path in the tree, "params/conv/kernel"."""
  pairs = [
    (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]
  named = dict(pairs)
  if len(named) != len(pairs):
    names = [name for name, _ in pairs]
    raise ValueError(
      f"two leaves are both named {next(name for name in names if names.count(name) > 1)!r}"
    )
  return named


def host_arrays(state: PyTree) -> dict[str, np.ndarray]:
  """Returns the leaves as NumPy arrays, refusing what would not come back as it was."""
  named = named_leaves(state)
  for name, leaf in named.items():
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
      raise ValueError(f"leaf {name} is a {type(leaf).__name__}, expected an array")
    if getattr(leaf, "weak_type", False):
      raise ValueError(
        f"leaf {name} has a weak type, which a checkpoint cannot keep: give it a dtype"
      )
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
      raise ValueError(f"leaf {name} has dtype {leaf.dtype}, which has no portable form")
  arrays = {name: np.asarray(array) for name, array in jax.device_get(named).items()}
  for name, array in arrays.items():
    if (
      array.dtype.hasobject
      or not array.dtype.isnative
      or array.dtype.kind in "SUMm"
      or array.dtype.names
    ):
      raise ValueError(f"leaf {name} has dtype {array.dtype}, which has no portable form")
  return arrays


def digest(array: np.ndarray) -> str:
  """Returns the SHA-256 over dtype, shape and bytes."""
  digest = hashlib.sha256(f"{array.dtype.name} {array.shape}\n".encode())
  digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
  return digest.hexdigest()


def check_entries(path: Path) -> None:
  """Refuses a step that is not a directory of regular files: a link may lead anywhere, a pipe would
  block the reader.
  """
  if path.is_symlink() or not path.is_dir():
    raise Unusable("it is a symbolic link" if path.is_symlink() else "it is not a directory")
  for directory, names, files in os.walk(path):
    for name in [*names, *files]:
      entry = Path(directory, name)
      status = entry.lstat()
      if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise Unusable(f"{entry.relative_to(path)} in it is neither a file nor a directory")
      if entry.is_relative_to(path / "meta") and status.st_size > MAX_META_BYTES:
        raise Unusable(
          f"{entry.relative_to(path)} in it has {status.st_size} bytes, at most {MAX_META_BYTES} "
          "are expected"
        )


def one_line(error: Exception) -> str:
  """Returns the error's kind and the first 300 characters of its text, in one line."""
  text = " ".join(str(error).split())[:300]
  return (
    text
    if isinstance(error, Unusable)
    else f"{type(error).__name__}: {text}"
    if text
    else type(error).__name__
  )


def as_os_error(error: Exception) -> OSError:
  """Returns the error of the operating system that `error` is or tells of in TensorStore's words,
  else one with its text.
  """
  if isinstance(error, OSError):
    return error
  code = re.search(r"os_error_code='?([0-9]+)", str(error))
  return OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(0, one_line(error))
