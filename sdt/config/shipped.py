"""The config files that sdt ships: each has a name, such as digits or paper/svhn_resnet20."""

from pathlib import Path

# In the wheel they lie inside the package, in a checkout beside it (setup.py).
_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
  """Returns the folder of the shipped config files."""
  inside = _PACKAGE / "_configs"
  return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def files_by_name(configs: Path | None = None) -> dict[str, Path]:
  """Returns every config file by its name, those of a folder together and the top folder first.

  Args:
    configs: the folder; that of sdt by default.
  """
  top = folder() if configs is None else configs
  paths = sorted(top.rglob("*.py"), key=lambda path: (path.parent, path))
  return {path.relative_to(top).with_suffix("").as_posix(): path for path in paths}


def title(path: Path) -> str:
  """Returns the first line of a config file's docstring."""
  return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("r").strip('"')
