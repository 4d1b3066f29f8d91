"""What tests of files share: a kill at a system call, and the files of a folder."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest


class Killed(BaseException):
  """Stands for a kill at a system call: nothing in sdt may catch it for good."""


@contextlib.contextmanager
def killed_at(
  number: int,
  names: Sequence[str],
  monkeypatch: pytest.MonkeyPatch,
  *,
  for_good: bool = False,
) -> Iterator[None]:
  """Raises `Killed` in a call of these functions of os, the one of this number, counted from 0.

  With `for_good` it does so in all later calls too.
  """
  calls = 0

  def killing[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
      nonlocal calls
      calls += 1
      if calls == number + 1 or (for_good and calls > number):
        raise Killed
      return call(*args, **kwargs)

    return wrapper

  with monkeypatch.context() as patch:
    for name in names:
      patch.setattr(os, name, killing(getattr(os, name)))
    yield


def tree(directory: Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob("*")
    if path.is_file()
  }
