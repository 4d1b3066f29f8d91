"""What tests of files share: a kill at a system call, and the files of a folder."""

from pathlib import Path


class Killed(BaseException):
  """Stands for a kill at a system call: nothing in sdt may catch it for good."""


def tree(directory: Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob("*")
    if path.is_file()
  }
