"""Sealed checkpoints: Orbax steps that are checked against their digests whenever they are read.

Orbax does not notice flipped bits, casts silently to the dtype that is asked for, and does not fall
back to an older step (docs/decisions/0003-sealed-checkpoints.md). So a step here is one Orbax
composite of `state`, the arrays by name, and `meta`, the caller's JSON together with the dtype,
shape and SHA-256 of every array and a digest of itself. Both ride in one atomic rename.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging as absl_logging

from sdt.errors import CheckpointError, WorkdirError
from sdt.files import sealed_json_text
from sdt.files.workdir import describe_disk_error, disk_errors
from sdt.run.checkpoint_seals import (
  Leaf,
  Seal,
  Unusable,
  as_os_error,
  check_entries,
  digest,
  host_arrays,
  named_leaves,
  one_line,
)
from sdt.run.orbax_logging import OrbaxChatter, pass_over_late_reads
from sdt.types import PyTree

_LOG = logging.getLogger(__name__)
# What Orbax leaves when it is killed, and what retention leaves.
_LEFTOVER = re.compile(r"(0|[1-9][0-9]*)(\.orbax-checkpoint-tmp(-[0-9]+)?|\.deleting)")
_STEP = re.compile(r"0|[1-9][0-9]*")
# Leaves that checkpoints of earlier versions do not have, and that begin with zeros.
_ADDED = ("sums/guesses_used",)


class CheckpointStore:
  """The sealed steps in one directory. The caller holds the workdir's lock.

  Leftovers of killed writers are removed at the start.

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
    # Wall time, with the verification and the deletions that the save led to.
    self.last_save_secs = 0.0
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

  def save(self, step: int, state: PyTree, meta: Mapping[str, Any], *, pin: bool = False) -> None:
    """Saves `state` as `step`, reads it back and verifies it; only then deletes older steps.

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
    arrays = host_arrays(state)
    leaves = {
      name: Leaf(array.dtype.name, array.shape, digest(array)) for name, array in arrays.items()
    }
    plain = {name: leaf._asdict() for name, leaf in leaves.items()}
    self._clear_place(step)
    self._write_or_explain(step, arrays, {"step": step, "pin": pin, "meta": meta, "leaves": plain})
    try:
      self._load(step, leaves)
    except Exception as error:
      raise WorkdirError(
        f"checkpoint {self._path(step)} reads back otherwise than written: {one_line(error)}; "
        "check the disk"
      ) from error
    self._verified.add(step)
    self._pins[step] = pin
    self._delete_old()
    self.last_save_secs = time.perf_counter() - start

  def restore(self, step: int, target_like: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """Returns (state, meta) of `step`: the bits that were saved, as NumPy arrays.

    Args:
      step: one of `steps()`.
      target_like: pytree of anything with `shape` and `dtype`; both must be those that were saved,
        nothing is cast. A leaf of `_ADDED` that is not there is all zeros.

    Raises:
      CheckpointError: the step is missing, damaged or has other leaves.
    """
    try:
      return self._restore(step, target_like)
    # Damage comes out of Orbax, TensorStore, NumPy and JSON as many kinds of exception.
    except Exception as error:
      raise CheckpointError(
        f"checkpoint {self._path(step)} is not usable: {one_line(error)}; use another step"
      ) from error

  def restore_latest(self, target_like: PyTree) -> tuple[int, PyTree, dict[str, Any]] | None:
    """Returns (step, state, meta) of the newest usable step; None only if there is no step.

    Every newer step that is not usable gives one log line (path, reason, the step used instead) and
    is renamed to <step>.unusable. `target_like` is as for `restore`, or a function of the step.

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
        reasons[step] = one_line(error)
        continue
      for bad, reason in reasons.items():
        self._log(
          f"checkpoint {self._path(bad)} is not usable: {reason}; using step {step} instead"
        )
        # Were it readable again one day, it would contradict all that was done since.
        with contextlib.suppress(OSError):
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
        f"checkpoint {self._path(step)} is not usable: {one_line(error)}; use another step"
      ) from error

  def _path(self, step: int) -> Path:
    return self._directory / str(step)

  def _names(self) -> list[str]:
    return os.listdir(self._directory) if self._directory.is_dir() else []

  def _restore(self, step: int, target_like: PyTree) -> tuple[PyTree, dict[str, Any]]:
    wanted = {
      name: (np.dtype(leaf.dtype).name, tuple(leaf.shape))
      for name, leaf in named_leaves(target_like).items()
    }
    seal = self._read_seal(step)
    saved = {name: (leaf.dtype, leaf.shape) for name, leaf in seal.leaves.items()}
    new = {name for name in _ADDED if name in wanted and name not in saved}
    for name in [*wanted, *saved]:
      if name not in new and saved.get(name) != wanted.get(name):
        there, expected = (
          f"{leaf[0]}{list(leaf[1])}" if leaf else "missing"
          for leaf in (saved.get(name), wanted.get(name))
        )
        raise Unusable(f"leaf {name} is {there} there, {expected} is expected")
    arrays = self._load(step, seal.leaves)
    arrays |= {name: np.zeros(wanted[name][1], wanted[name][0]) for name in new}
    self._verified.add(step)
    self._pins[step] = seal.pin
    return jax.tree.unflatten(
      jax.tree.structure(target_like), [arrays[name] for name in wanted]
    ), seal.meta

  def _read_seal(self, step: int) -> Seal:
    """Returns the seal of `step`, verified against its own digest and the step's number."""
    path = self._path(step)
    check_entries(path)
    ocp, checkpointer = _orbax()
    content = checkpointer.restore(path, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    if content.pop("sha256") != hashlib.sha256(sealed_json_text(content).encode()).hexdigest():
      raise Unusable("its meta does not match its own digest")
    if content["step"] != step:
      raise Unusable(f"it was saved as step {content['step']}")
    leaves = {
      name: Leaf(leaf["dtype"], tuple(leaf["shape"]), leaf["sha256"])
      for name, leaf in content["leaves"].items()
    }
    return Seal(content["pin"], content["meta"], leaves)

  def _load(self, step: int, leaves: dict[str, Leaf]) -> dict[str, np.ndarray]:
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
      if Leaf(array.dtype.name, array.shape, digest(array)) != leaf:
        raise Unusable(f"leaf {name} does not match its digest")
    return arrays

  def _write_or_explain(
    self, step: int, arrays: dict[str, np.ndarray], content: dict[str, Any]
  ) -> None:
    """Writes the step; when this returns, it stands under its final name.

    Raises:
      WorkdirError: it could not be written.
    """
    path, num_bytes = self._path(step), sum(array.nbytes for array in arrays.values())
    try:
      self._directory.mkdir(parents=True, exist_ok=True)
      self._write(path, arrays, content)
    # A full disk comes out of Orbax and TensorStore as ValueError, OSError or kinds of their own.
    except Exception as error:
      # Threads of Orbax may still write there; the next save or start removes the rest.
      with contextlib.suppress(WorkdirError):
        self._remove_leftovers()
      reason = describe_disk_error(path, as_os_error(error), num_bytes)
      raise WorkdirError(
        f"checkpoint {step} is not saved, those before it still stand: {reason}"
      ) from error

  def _write(self, path: Path, arrays: dict[str, np.ndarray], content: dict[str, Any]) -> None:
    text = sealed_json_text(content)
    sealed = {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    ocp, checkpointer = _orbax()
    items = {"meta": ocp.args.JsonSave(sealed)}
    stored = {name: array for name, array in arrays.items() if array.size}
    if stored:  # Orbax refuses arrays without elements; the seal is enough to make those again
      items["state"] = ocp.args.StandardSave(stored)
    checkpointer.save(path, args=ocp.args.Composite(**items))

  def _clear_place(self, step: int) -> None:
    """Deletes leftovers, and a damaged step of this number; refuses a sound one."""
    if not (_STEP.fullmatch(str(step)) and isinstance(step, int)):
      raise ValueError(f"step {step!r}: expected an integer >= 0")
    # What cannot go now harms nothing; it is tried again at the next save or start.
    with contextlib.suppress(WorkdirError):
      self._remove_leftovers()
    path = self._path(step)
    if not os.path.lexists(path):
      return
    try:
      self._load(step, self._read_seal(step).leaves)
    except Exception as error:  # see restore
      self._log(f"checkpoint {path} is replaced, it is not usable: {one_line(error)}")
      with disk_errors(path):
        self._delete(step)
      return
    raise ValueError(f"step {step} exists in {self._directory} and is sound; a step is saved once")

  def _delete_old(self) -> None:
    """Deletes every unpinned step with `keep` newer ones that are verified and unpinned.

    A failure is a log line.
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
          f"cannot delete the old checkpoint {self._path(step)}: {one_line(error)}; it is tried "
          "again after the next save"
        )

  def _is_pinned(self, step: int) -> bool:
    """Returns whether the seal of `step` pins it.

    True with a log line if it cannot be read, so that the step stays for the user to look at.
    """
    if step not in self._pins:
      try:
        self._pins[step] = self._read_seal(step).pin
      except Exception as error:  # see restore
        self._pins[step] = True
        self._log(
          f"the old checkpoint {self._path(step)} stays, it is not usable: {one_line(error)}"
        )
    return self._pins[step]

  def _delete(self, step: int) -> None:
    """Deletes a step: renames it first, so that a kill never leaves half a step under its name."""
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


@functools.cache
def _orbax() -> tuple[Any, Any]:
  """Returns Orbax and a checkpointer. It is imported here, on first use: that takes 0.3 s."""
  absl_logging.get_absl_logger().addFilter(OrbaxChatter())
  pass_over_late_reads()
  import orbax.checkpoint as ocp

  # Of several processes this one alone saves and restores: without being told so Orbax would wait
  # for the others.
  alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
  handler = ocp.CompositeCheckpointHandler(
    composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
  )
  return ocp, ocp.Checkpointer(handler, multiprocessing_options=alone)
