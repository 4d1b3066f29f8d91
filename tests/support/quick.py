"""What keeps the default suite quick: some rows of a test, and programs that compile sooner."""

from collections.abc import Container, Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

# `jax.jit(..., compiler_options=QUICK)`, where values are compared to a tolerance: without LLVM's
# optimisations a program compiles in two thirds of the time. Convolutions in float64 are then slow.
QUICK = {"xla_backend_optimization_level": 0}


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
