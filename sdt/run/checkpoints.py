"""Sealed checkpoints: Orbax steps that are checked against their own digests when they are read,
and again before an older one goes.

Orbax does not notice flipped bits, casts silently to the dtype that is asked for, and does not fall
back to an older step (docs/decisions/0003-sealed-checkpoints.md). So a step here is one Orbax
composite of `state`, the arrays by name, and `meta`, the caller's JSON together with the dtype,
shape and SHA-256 of every array and a digest of itself. Both ride in one atomic rename.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging as absl_logging

from sdt.errors import CheckpointError, WorkdirError
from sdt.files import json_text
from sdt.files.workdir import describe_disk_error, disk_errors

_LOG = logging.getLogger(__name__)
MAX_META_BYTES = 64 * 2**20
# What Orbax leaves when it is killed, and what retention leaves.
_LEFTOVER = re.compile(r"(0|[1-9][0-9]*)(\.orbax-checkpoint-tmp(-[0-9]+)?|\.deleting)")
_STEP = re.compile(r"0|[1-9][0-9]*")


class _Leaf(NamedTuple):
  """What the seal says of one array."""

  dtype: str
  shape: tuple[int, ...]
  sha256: str


class _Seal(NamedTuple):
  pin: bool
  meta: dict[str, Any]
  leaves: dict[str, _Leaf]


class _Unusable(Exception):  # noqa: N818 - a finding about a step, not an error that leaves this module
  """Why a step cannot be used, in words for the user."""


class CheckpointStore:
  """The sealed steps in one directory. The caller holds the workdir's lock; leftovers of killed
  writers are removed at the start.

  Args:
    directory: where the steps stand as `<step>/`; made by the first save.
    keep: how many of the newest steps that are not pinned stay; at least 2, so that a damaged
      newest step is never the only one.
    log: takes one line, without its newline, for every step that cannot be used or deleted.
    read_only: the caller does not hold the lock and will only restore, so that the leftovers stay.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    keep: int,
    log: Callable[[str], None] = _LOG.warning,
    read_only: bool = False,
  ):
    if keep < 2:
      raise ValueError(f"keep = {keep}: at least 2 steps must stay")
    self._directory = Path(directory).absolute()
    self._keep, self._log = keep, log
    self._verified: set[int] = set()
    self._pins: dict[int, bool] = {}
    self.last_save_secs = (
      0.0  # wall time, the verification and the deletions that the save led to included
    )
    if self._directory.is_symlink():
      raise CheckpointError(
        f"{self._directory} is a symbolic link, which could lead anywhere; put the directory "
        "itself there"
      )
    if not read_only:
      self._remove_leftovers()

  def steps(self) -> list[int]:
    """Returns the steps that stand in the directory, ascending, usable or not."""
    return sorted(int(name) for name in self._names() if _STEP.fullmatch(name))

  def save(self, step: int, state: Any, meta: Mapping[str, Any], pin: bool = False) -> None:
    """Saves `state` as `step`, reads it back, verifies it, and only then deletes steps that are
    older than the newest `keep`.

    Args:
      step: >= 0, the caller's clock; larger means newer. A damaged step of this number is replaced.
      state: pytree of JAX or NumPy arrays.
      meta: JSON, see `sdt.files.json_text`; comes back from `restore`.
      pin: the step is never deleted.

    Raises:
      WorkdirError: it could not be written, or reads back otherwise; the older steps still stand.
      ValueError: a leaf is no array, has a weak type or no portable dtype; two leaves have one
        name; the step exists and is sound.
    """
    start = time.perf_counter()
    arrays = _host_arrays(state)
    leaves = {
      name: _Leaf(array.dtype.name, array.shape, _digest(array)) for name, array in arrays.items()
    }
    content = {
      "step": step,
      "pin": pin,
      "meta": meta,
      "leaves": {name: leaf._asdict() for name, leaf in leaves.items()},
    }
    self._clear_place(step)
    path, num_bytes = self._path(step), sum(array.nbytes for array in arrays.values())
    try:
      self._directory.mkdir(parents=True, exist_ok=True)
      self._write(path, arrays, content)
    # a full disk comes out of Orbax and TensorStore as ValueError, OSError or kinds of their own
    except Exception as error:
      with contextlib.suppress(
        WorkdirError
      ):  # threads of Orbax may write there still; the next save or start removes the rest
        self._remove_leftovers()
      reason = describe_disk_error(path, _as_os_error(error), num_bytes)
      raise WorkdirError(
        f"checkpoint {step} is not saved, those before it still stand: {reason}"
      ) from error
    try:
      self._load(step, leaves)
    except Exception as error:
      raise WorkdirError(
        f"checkpoint {path} reads back otherwise than written: {_one_line(error)}; check the disk"
      ) from error
    self._verified.add(step)
    self._pins[step] = pin
    self._delete_old()
    self.last_save_secs = time.perf_counter() - start

  def restore(self, step: int, target_like: Any) -> tuple[Any, dict[str, Any]]:
    """Returns (state, meta) of `step`: the structure of `target_like` with NumPy arrays as leaves,
    bit for bit those that were saved.

    Args:
      step: one of `steps()`.
      target_like: pytree of anything with `shape` and `dtype`; both must be those that were saved,
        nothing is cast.

    Raises:
      CheckpointError: the step is missing, damaged or has other leaves.
    """
    try:
      return self._restore(step, target_like)
    except (
      Exception
    ) as error:  # damage comes out of Orbax, TensorStore, NumPy and JSON as many kinds of exception
      raise CheckpointError(
        f"checkpoint {self._path(step)} is not usable: {_one_line(error)}; use another step"
      ) from error

  def restore_latest(self, target_like: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """Returns (step, state, meta) of the newest usable step, see `restore` (also by a function of
    the step); None only if there is none.

    Every newer step that is not usable gives one log line (path, reason, the step used instead) and
    is renamed to <step>.unusable.

    Raises:
      CheckpointError: steps exist and none is usable; names each and why.
    """
    reasons: dict[int, str] = {}
    for step in reversed(self.steps()):
      try:
        state, meta = self._restore(
          step, target_like(step) if callable(target_like) else target_like
        )
      except Exception as error:  # see restore
        reasons[step] = _one_line(error)
        continue
      for bad, reason in reasons.items():
        self._log(
          f"checkpoint {self._path(bad)} is not usable: {reason}; using step {step} instead"
        )
        with contextlib.suppress(
          OSError
        ):  # readable again one day, it would belie all that was done since
          os.replace(self._path(bad), self._directory / f"{bad}.unusable")
      return step, state, meta
    found = "; ".join(f"step {step}: {reason}" for step, reason in reasons.items())
    if not reasons:
      return None
    raise CheckpointError(
      f"none of the {len(reasons)} checkpoints in {self._directory} is usable ({found}); "
      "restore the directory from a copy, or start again in a new workdir"
    )

  def read_meta(self, step: int) -> dict[str, Any]:
    """Returns the caller's JSON of `step`, verified against the seal; the arrays are not read.

    Raises:
      CheckpointError: the step is missing or its seal is damaged.
    """
    try:
      return self._read_seal(step).meta
    except Exception as error:  # see restore
      raise CheckpointError(
        f"checkpoint {self._path(step)} is not usable: {_one_line(error)}; use another step"
      ) from error

  def _path(self, step: int) -> Path:
    return self._directory / str(step)

  def _names(self) -> list[str]:
    return os.listdir(self._directory) if self._directory.is_dir() else []

  def _restore(self, step: int, target_like: Any) -> tuple[Any, dict[str, Any]]:
    wanted = {
      name: (np.dtype(leaf.dtype).name, tuple(leaf.shape))
      for name, leaf in _named_leaves(target_like).items()
    }
    seal = self._read_seal(step)
    saved = {name: (leaf.dtype, leaf.shape) for name, leaf in seal.leaves.items()}
    for name in [*wanted, *saved]:
      if saved.get(name) != wanted.get(name):
        there, expected = (
          f"{leaf[0]}{list(leaf[1])}" if leaf else "missing"
          for leaf in (saved.get(name), wanted.get(name))
        )
        raise _Unusable(f"leaf {name} is {there} there, {expected} is expected")
    arrays = self._load(step, seal.leaves)
    self._verified.add(step)
    self._pins[step] = seal.pin
    return jax.tree.unflatten(
      jax.tree.structure(target_like), [arrays[name] for name in wanted]
    ), seal.meta

  def _read_seal(self, step: int) -> _Seal:
    """Returns the seal of `step`, verified against its own digest and the step's number."""
    path = self._path(step)
    _check_entries(path)
    ocp, checkpointer = _orbax()
    content = checkpointer.restore(path, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    if content.pop("sha256") != hashlib.sha256(json_text(content).encode()).hexdigest():
      raise _Unusable("its meta does not match its own digest")
    if content["step"] != step:
      raise _Unusable(f"it was saved as step {content['step']}")
    leaves = {
      name: _Leaf(leaf["dtype"], tuple(leaf["shape"]), leaf["sha256"])
      for name, leaf in content["leaves"].items()
    }
    return _Seal(content["pin"], content["meta"], leaves)

  def _load(self, step: int, leaves: dict[str, _Leaf]) -> dict[str, np.ndarray]:
    """Returns the arrays of `step` by name, each verified against `leaves`."""
    ocp, checkpointer = _orbax()
    # Orbax takes dtype and shape from the target: those of the seal, so that it has nothing to
    # cast. One element stands for all.
    target = {
      name: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for name, leaf in leaves.items()
    }
    stored = {name: array for name, array in target.items() if array.size}
    args = ocp.args.Composite(state=ocp.args.StandardRestore(stored))
    restored = checkpointer.restore(self._path(step), args=args).state if stored else {}
    arrays = {
      name: restored[name] if name in stored else np.array(array) for name, array in target.items()
    }
    for name, leaf in leaves.items():
      array = arrays[name]
      if _Leaf(array.dtype.name, array.shape, _digest(array)) != leaf:
        raise _Unusable(f"leaf {name} does not match its digest")
    return arrays

  def _write(self, path: Path, arrays: dict[str, np.ndarray], content: dict[str, Any]) -> None:
    """Writes the Orbax step; when this returns, it stands under its final name."""
    text = json_text(content)
    sealed = {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    ocp, checkpointer = _orbax()
    items = {"meta": ocp.args.JsonSave(sealed)}
    stored = {name: array for name, array in arrays.items() if array.size}
    if (
      stored
    ):  # Orbax refuses arrays without elements; the seal alone is enough to make those again
      items["state"] = ocp.args.StandardSave(stored)
    checkpointer.save(path, args=ocp.args.Composite(**items))

  def _clear_place(self, step: int) -> None:
    """Deletes leftovers, and a damaged step that stands where `step` shall be written; a sound one
    is refused.
    """
    if not (_STEP.fullmatch(str(step)) and isinstance(step, int)):
      raise ValueError(f"step {step!r}: expected an integer >= 0")
    with contextlib.suppress(
      WorkdirError
    ):  # what cannot go now harms nothing; it is tried again at the next save or start
      self._remove_leftovers()
    path = self._path(step)
    if not os.path.lexists(path):
      return
    try:
      self._load(step, self._read_seal(step).leaves)
    except Exception as error:  # see restore
      self._log(f"checkpoint {path} is replaced, it is not usable: {_one_line(error)}")
      with disk_errors(path):
        self._delete(step)
      return
    raise ValueError(f"step {step} exists in {self._directory} and is sound; a step is saved once")

  def _delete_old(self) -> None:
    """Deletes every step that is not pinned and has `keep` newer ones that are verified and not
    pinned. A failure is a log line.
    """
    sound = sorted(step for step in self._verified if not self._pins[step])
    if len(sound) < self._keep:
      return
    for step in self.steps():
      if step >= sound[-self._keep]:
        return
      if self._is_pinned(step):
        continue
      try:
        self._delete(step)
      except OSError as error:
        self._log(
          f"cannot delete the old checkpoint {self._path(step)}: {_one_line(error)}; it is tried "
          "again after the next save"
        )

  def _is_pinned(self, step: int) -> bool:
    """Returns what the seal of `step` says; True with a log line if it cannot be read, so that the
    step stays for the user to look at.
    """
    if step not in self._pins:
      try:
        self._pins[step] = self._read_seal(step).pin
      except Exception as error:  # see restore
        self._pins[step] = True
        self._log(
          f"the old checkpoint {self._path(step)} stays, it is not usable: {_one_line(error)}"
        )
    return self._pins[step]

  def _delete(self, step: int) -> None:
    """Deletes a step. It goes out of sight by one rename first, so that a kill never leaves half a
    step under its name.
    """
    self._verified.discard(step)
    path = self._path(step)
    if path.is_symlink() or not path.is_dir():
      path.unlink()
      return
    doomed = self._directory / f"{step}.deleting"
    os.replace(path, doomed)
    shutil.rmtree(doomed)

  def _remove_leftovers(self) -> None:
    for name in self._names():
      path = self._directory / name
      if _LEFTOVER.fullmatch(name) and path.is_dir() and not path.is_symlink():
        with disk_errors(path):
          shutil.rmtree(path)


def _named_leaves(tree: Any) -> dict[str, Any]:
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


def _host_arrays(state: Any) -> dict[str, np.ndarray]:
  """Returns the leaves as NumPy arrays, refusing what would not come back as it was."""
  named = _named_leaves(state)
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


def _digest(array: np.ndarray) -> str:
  """Returns the SHA-256 over dtype, shape and bytes."""
  digest = hashlib.sha256(f"{array.dtype.name} {array.shape}\n".encode())
  digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
  return digest.hexdigest()


def _check_entries(path: Path) -> None:
  """Refuses a step that is not a directory of regular files: a link may lead anywhere, a pipe would
  block the reader.
  """
  if path.is_symlink() or not path.is_dir():
    raise _Unusable("it is a symbolic link" if path.is_symlink() else "it is not a directory")
  for directory, names, files in os.walk(path):
    for name in [*names, *files]:
      entry = Path(directory, name)
      status = entry.lstat()
      if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise _Unusable(f"{entry.relative_to(path)} in it is neither a file nor a directory")
      if entry.is_relative_to(path / "meta") and status.st_size > MAX_META_BYTES:
        raise _Unusable(
          f"{entry.relative_to(path)} in it has {status.st_size} bytes, at most {MAX_META_BYTES} "
          "are expected"
        )


def _one_line(error: Exception) -> str:
  """Returns the error's kind and the first 300 characters of its text, in one line."""
  text = " ".join(str(error).split())[:300]
  return (
    text
    if isinstance(error, _Unusable)
    else f"{type(error).__name__}: {text}"
    if text
    else type(error).__name__
  )


def _as_os_error(error: Exception) -> OSError:
  """Returns the error of the operating system that `error` is or tells of in TensorStore's words,
  else one with its text.
  """
  if isinstance(error, OSError):
    return error
  code = re.search(r"os_error_code='?([0-9]+)", str(error))
  return OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(0, _one_line(error))


class _OrbaxChatter(logging.Filter):
  """Lets Orbax's warnings and errors pass, not its progress lines, nor the traceback of a writing
  thread, which is raised as well.
  """

  def filter(self, record: logging.LogRecord) -> bool:
    if f"{os.sep}orbax{os.sep}" not in record.pathname:
      return True
    return record.levelno >= logging.WARNING and "_SignalingThread.run() raised" not in str(
      record.msg
    )


@functools.cache
def _orbax() -> tuple[Any, Any]:
  """Returns Orbax and a checkpointer, on first use: its import takes 0.3 s, which a run that stops
  at a config error need not pay.
  """
  absl_logging.get_absl_logger().addFilter(_OrbaxChatter())
  _pass_over_late_reads()
  import orbax.checkpoint as ocp

  # Of several processes this one alone saves and restores: without being told so Orbax would wait
  # for the others.
  alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
  handler = ocp.CompositeCheckpointHandler(
    composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
  )
  return ocp, ocp.Checkpointer(handler, multiprocessing_options=alone)


class _LateReads(logging.Filter):
  """Holds back what asyncio says of reads whose result nobody waits for any more, see
  `_pass_over_late_reads`.
  """

  def filter(self, record: logging.LogRecord) -> bool:
    return not all(
      part in record.getMessage() for part in ("exception was never retrieved", "tensorstore_spec")
    )


def _pass_over_late_reads() -> None:
  """Keeps pages of harmless tracebacks off the screen.

  Orbax reads all arrays at once. When one is damaged it raises and closes its event loop, while
  TensorStore's threads are still bringing the others: those find the loop closed, or fail likewise
  with nobody waiting. The damage itself has been raised already.
  """
  logging.getLogger("asyncio").addFilter(_LateReads())
  report = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    error = unraisable.exc_value
    if not (
      unraisable.object is None
      and isinstance(error, RuntimeError)
      and str(error) == "Event loop is closed"
    ):
      report(unraisable)

  sys.unraisablehook = hook
