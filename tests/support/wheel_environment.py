"""Environments that have the wheel and what its metadata asks for, of this one's packages."""

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement


def _needed(requirements: Iterable[str], extras: Iterable[str]) -> Iterable[Requirement]:
  """Yields the requirements that hold here, with the extras."""
  for requirement in map(Requirement, requirements):
    marker = requirement.marker
    if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
      yield requirement


def closure(requirements: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
  """Returns the names of the packages that the requirements need, theirs included."""
  waiting = list(_needed(requirements, extras))
  seen: set[tuple[str, str]] = set()
  while waiting:
    requirement = waiting.pop()
    for extra in ("", *requirement.extras):
      if (requirement.name, extra) not in seen:
        seen.add((requirement.name, extra))
        theirs = importlib.metadata.distribution(requirement.name).requires or ()
        waiting += _needed(theirs, [extra] if extra else [])
  return {name for name, _ in seen}


def make(folder: Path, wheel: Path, *extras: str, also: Iterable[str] = ()) -> Path:
  """Makes an environment in a folder, and returns the folder.

  It has links to the packages that the wheel's metadata asks for with the extras, and to those in
  `also` with theirs; nothing else of this environment, such as the checkout, can be imported.
  """
  subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
  (site,) = folder.glob("lib/python*/site-packages")
  with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
  asked = metadata.get_all("Requires-Dist") or []
  for package in sorted(closure(asked, extras) | closure(also)):
    distribution = importlib.metadata.distribution(package)
    for top in {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}:
      source = Path(str(distribution.locate_file(top)))
      if source.exists() and not (site / top).exists():
        (site / top).symlink_to(source)
  options = ["-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
  subprocess.run([folder / "bin/pip", "install", *options], check=True, timeout=120)
  return folder
