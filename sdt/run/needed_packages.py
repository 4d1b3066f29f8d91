"""The packages that a config needs beyond those of the program itself."""

from sdt import packages
from sdt.config import Config
from sdt.run.loggers import table


def require_packages(config: Config) -> None:
  """Raises a ConfigError where a package is lacking that a key needs; it says what to install."""
  table.require_packages(config.log)
  if config.score.cleanlab:
    who, instead = "score.cleanlab = True", "leave score.cleanlab out"
    packages.require("cleanlab", (2, 9), who, instead=instead)
