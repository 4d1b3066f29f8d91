"""Packages that only some runs need, and that are installed only where somebody asks for them."""

import importlib.metadata
import re

from sdt.errors import ConfigError


def require(package: str, least: tuple[int, int], who: str, instead: str) -> None:
  """Raises a ConfigError unless a package is installed, and new enough.

  It is asked for its version: a folder of its name in the working directory can be imported too.

  Args:
    package: as pip knows it.
    least: the first two numbers of its oldest version that will do, as in pyproject.toml.
    who: what needs it, at the start of the message.
    instead: what else the user can do, at its end.
  """
  try:
    version = importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    state = "is not installed"
  else:
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= least:
      return
    state = f"is installed in version {version}"
  oldest = ".".join(map(str, least))
  raise ConfigError(
    f"{who} needs the package {package} {oldest} or newer, which {state}: pip install "
    f"'{package}>={oldest}', or {instead}"
  )
