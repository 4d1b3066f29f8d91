"""Opens the files that a user names: what is wrong with a name or a file is told in one line."""

import errno
import os
import stat
from pathlib import Path

from sdt.errors import DataError, SdtError

# There is no file of this name, in two ways; all else that a system says stands in the message.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR)
_NUM_SHOWN = 200


def expanded(path: str | os.PathLike[str]) -> Path:
  """Returns the path with ~ replaced by the home folder; an unknown ~user stays as it is."""
  return Path(os.path.expanduser(path))


def shown(path: str | os.PathLike[str]) -> str:
  """Returns the path for a message, a very long one shortened."""
  text = os.fspath(path)
  return text if len(text) <= _NUM_SHOWN else f"{text[:_NUM_SHOWN]}... ({len(text)} characters)"


def find(
  key: str, path: str | os.PathLike[str], advice: str, *, error: type[SdtError] = DataError
) -> Path:
  """Returns the path of the file that `key` names.

  Args:
    key: of the config, or a flag; the message begins with it.
    path: as the user wrote it.
    advice: the end of the message: what the file should be.
    error: what is raised.

  Raises:
    SdtError: there is no such file, it is none, or the system will not say, as for a name that is
      too long and in a folder that may not be entered.
  """
  place = expanded(path)
  try:
    is_file = stat.S_ISREG(place.stat().st_mode)
  except (OSError, ValueError) as reason:  # a null character in a name is a ValueError
    raise error(f"{key}={shown(place)}: {why(reason)}; {advice}") from None
  if not is_file:
    raise error(f"{key}={shown(place)}: not a file; {advice}")
  return place


def read(key: str, path: str | os.PathLike[str], advice: str, *, max_bytes: int) -> bytes:
  """Returns the bytes of the file that `key` names; see `find`.

  Raises:
    DataError: as `find`; or it holds more than `max_bytes`, or cannot be read.
  """
  place = find(key, path, advice)
  try:
    size = place.stat().st_size
    if size > max_bytes:
      raise DataError(
        f"{key}={place}: {size} bytes, at most {max_bytes} are expected; is it the right file?"
      )
    return place.read_bytes()
  except OSError as error:
    raise DataError(
      f"{key}={place}: cannot be read ({why(error)}); expected a readable file"
    ) from error


def is_folder(
  key: str, path: str | os.PathLike[str], advice: str, *, error: type[SdtError] = DataError
) -> bool:
  """Returns whether the path that `key` names is a folder.

  Raises:
    SdtError: there may be one, and the system will not say; see `find`.
  """
  try:
    return stat.S_ISDIR(expanded(path).stat().st_mode)
  except (OSError, ValueError) as reason:  # a null character in a name is a ValueError
    if isinstance(reason, OSError) and reason.errno in _NO_SUCH_FILE:
      return False
    raise error(f"{key}={shown(path)}: {why(reason)}; {advice}") from None


def why(error: OSError | ValueError) -> str:
  """Returns the reason in a few words, without the path that the message has already."""
  if isinstance(error, OSError) and error.errno in _NO_SUCH_FILE:
    return "no such file"
  return (isinstance(error, OSError) and error.strerror) or str(error)
