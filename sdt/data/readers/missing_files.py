"""Says which file may be meant by a path in a list that leads to none."""

import os
import re
from collections.abc import Iterator
from pathlib import Path


def meant(folder: Path, written: str) -> str:
  """Returns what is wrong with a path that leads to no file, such as "; there is a/1.PNG", or "".

  Args:
    folder: what the path is relative to.
    written: the path as the list has it.
  """
  if re.match(r"[a-z][a-z0-9+.-]*://", written, re.IGNORECASE):
    return "; this is an address: download the images, and list their paths"
  for other, advice in _others(folder, written):
    if os.path.isfile(folder / other):
      return f"; there is {other}: {advice}"
  if re.match(r"[A-Za-z]:[\\/]|\\\\", written):
    return "; this is a path on a Windows machine: list where the images are on this one"
  if "\\" in written:
    return "; folders are separated by /, and not by \\"
  return ""


def _others(folder: Path, written: str) -> Iterator[tuple[str, str]]:
  """Yields (a path that may be meant, what to do where a file is there)."""
  yield written.strip(), "remove the blanks around the path"
  yield written.replace("\\", "/"), "separate folders by / and not by \\"
  yield written.lstrip("/"), "leave out the / at the beginning"
  yield _in_its_case(folder, written), "write it in the same case"
  for name in _names(folder / os.path.dirname(written)):
    if os.path.splitext(name)[0] == os.path.basename(written):
      yield os.path.join(os.path.dirname(written), name), "list the whole name, with its end"


def _in_its_case(folder: Path, written: str) -> str:
  """Returns the path in the case that its folders and its file have, as far as they are there."""
  found: list[str] = []
  for part in Path(written).parts:
    names = _names(folder.joinpath(*found))
    found.append(next((name for name in names if name.casefold() == part.casefold()), part))
  return os.path.join("", *found)


def _names(folder: Path) -> list[str]:
  try:
    return sorted(os.listdir(folder))
  except (OSError, ValueError):  # none that can be read
    return []
