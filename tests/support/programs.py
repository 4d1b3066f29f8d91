"""Compiled programs that tests leave behind in their process."""

import sys

import jax


def forget_programs() -> None:
  """Frees the compiled programs of this process; the next that need them compile or read them."""
  jax.clear_caches()
  if (module := sys.modules.get("sdt.devices.compile")) is not None:
    module._slot.cache_clear()
