"""The command `train`: reads the command line and the config, then runs what it asks for."""

from collections.abc import Sequence

from sdt.commands.help import help_text
from sdt.commands.program import COMMANDS
from sdt.config import resolve, search_space
from sdt.config.command_line import FLAGS, help_asked, parse_arguments
from sdt.config.config_file import load_config_file
from sdt.config.sweep_points import expand
from sdt.devices.start import load_jax
from sdt.run.needed_packages import require_packages

__all__ = ["FLAGS", "main"]


def main(arguments: Sequence[str]) -> int:
  """Runs an experiment or a sweep, continues it, or describes it; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py.
  """
  asked = help_asked(arguments)
  if asked is not None:
    print(help_text(asked, {name: line for name, (_, line) in COMMANDS.items()}))
    return 0
  request = parse_arguments(arguments)
  config = resolve(load_config_file(request.config_path, request.argument), request.overrides)
  points = expand(config)
  search_space.check(config)
  require_packages(config)

  # Imports JAX, so only now: the user learns of a mistake in the config at once.
  load_jax()
  from sdt.commands.run_config import run_config

  return run_config(config, points, request)
