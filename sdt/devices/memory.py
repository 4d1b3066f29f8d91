"""What a device that has run out of memory looks like in JAX's errors, and what to do."""

import contextlib
from collections.abc import Iterator

import jax

from sdt.errors import ConfigError


def is_out_of_memory(error: Exception) -> bool:
  """Returns whether a device had no memory for an array or a program; `error` is JAX's."""
  return "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def device_memory_errors() -> Iterator[None]:
  """Turns a device that is out of memory into a ConfigError that names the keys to change."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not is_out_of_memory(error):
      raise
    raise ConfigError(
      f"the device is out of memory ({str(error).splitlines()[0][:200]}); lower batch_size or "
      "score.batch_size, run fewer seeds at once, "
      "choose parallel.replicas=loop, or keep the inputs on the host with data.placement=stream; "
      "--dry_run estimates the memory"
    ) from error
