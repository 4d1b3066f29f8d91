"""Compiled programs that tests leave behind in their process."""

import os
import sys
from pathlib import Path

import jax


def forget_programs() -> None:
  """Frees the compiled programs of this process; the next that need them compile or read them."""
  jax.clear_caches()
  if (module := sys.modules.get("sdt.devices.compile")) is not None:
    module._slot.cache_clear()


def resident_bytes() -> int:
  """Returns the memory that this process has; 0 where the system does not say."""
  status = Path("/proc/self/statm")
  return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0
