"""JAX's start: what it says of settings and devices that are not there becomes one line."""

import os

from sdt.errors import ConfigError

_NUM_SHOWN = 200


def load_jax() -> None:
  """Imports JAX.

  Raises:
    ConfigError: an environment variable of JAX has a value that it does not know.
  """
  try:
    import jax  # noqa: F401
  except ValueError as error:
    given = ", ".join(sorted(name for name in os.environ if name.startswith("JAX_")))
    raise ConfigError(
      f"JAX does not start ({_first_line(error)}); correct or unset it (set: {given or 'none'})"
    ) from error


def find_devices() -> None:
  """Makes JAX look for its devices. It must be called after `processes.join`.

  Raises:
    ConfigError: there are none of the kind that JAX_PLATFORMS asks for, or none at all.
  """
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter where a plugin is not installed
    asked = os.environ.get("JAX_PLATFORMS")
    advice = (
      f"JAX_PLATFORMS={asked} asks for what is not there or not installed: unset it, or see GPU, "
      "TPU in docs/usage.md"
      if asked
      else "JAX_PLATFORMS=cpu does without; see GPU, TPU in docs/usage.md"
    )
    raise ConfigError(f"JAX finds no device ({_first_line(error)}); {advice}") from error


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or ["no reason given"])[0][:_NUM_SHOWN]
