"""What a run ran on: versions, devices, the commit; and the cache of compiled programs."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import sdt
from sdt.devices.layout import num_cpus

_PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "ml-collections",
  "tensorflow-datasets",
  "grain",
  "numpy",
  "scipy",
)

# Other versions of these, or another machine, may round otherwise.
_NUMERICAL = ("sdt", "jax", "jaxlib", "flax", "optax", "numpy")
_MACHINE = ("platform", "device_kind", "cpus")


def describe() -> dict[str, Any]:
  """Returns versions, devices, host and commit; None for the commit outside a git checkout."""
  devices = jax.devices()
  return {
    "versions": {
      "sdt": sdt.__version__,
      "python": platform.python_version(),
      **{name: _version(name) for name in _PACKAGES},
    },
    "platform": devices[0].platform,
    "devices": [str(device) for device in devices],
    "device_kind": devices[0].device_kind,
    "cpus": num_cpus(),
    "processes": jax.process_count(),
    "host": socket.gethostname(),
    "system": platform.platform(),
    "commit": _commit(),
  }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Returns "name: old -> new" for everything that can change the last bits of a resumed run.

  That is versions of the libraries, the kind of device, and the number of processors.
  """
  old, new = (
    {
      **{name: side.get("versions", {}).get(name) for name in _NUMERICAL},
      **{key: side.get(key) for key in _MACHINE},
      "processes": side.get("processes", 1),  # runs of an earlier version had one
    }
    for side in (before, now)
  )
  return [f"{name}: {old[name]} -> {new[name]}" for name in new if old[name] != new[name]]


@functools.cache
def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


@functools.cache  # the code that runs is that of the start, whatever is checked out later
def _commit() -> str | None:
  """Returns the checkout's commit, with "+" where tracked files differ from it."""
  root = Path(sdt.__file__).resolve().parent.parent
  if not (root / ".git").exists():
    return None
  try:
    head = subprocess.run(
      ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    dirty = subprocess.run(
      ["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, timeout=10, check=False
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return head.stdout.strip() + ("+" if dirty.returncode else "")


def use_compilation_cache() -> Path | None:
  """Switches on JAX's persistent compilation cache.

  It lies in the user's cache directory, unless JAX has been told of another.

  The cache has no eviction, and whoever can write to it can run code as this user: it must not be
  shared between users.
  """
  if jax.config.jax_compilation_cache_dir:
    return Path(jax.config.jax_compilation_cache_dir)
  directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sdt" / "xla"
  try:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
  except OSError:
    return None  # a home that cannot be written costs compile time, not the run
  jax.config.update("jax_compilation_cache_dir", str(directory))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
  return directory
