"""Some rows of a test for the default suite, all of them for `make slow`."""

from collections.abc import Container, Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet


def only(quick: Container[Any], rows: Iterable[Any]) -> list[ParameterSet]:
  """Returns the rows of a test, tuples where it has several parameters; those that are not in
  `quick` are slow.
  """
  return [
    pytest.param(
      *(row if isinstance(row, tuple) else (row,)),
      marks=() if row in quick else pytest.mark.slow,
    )
    for row in rows
  ]
