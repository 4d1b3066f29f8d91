"""Checks the shapes and types that sdt's annotations promise, in tests only.

pyproject.toml names `check_arrays` in pytest's option --jaxtyping-packages. This file must not
import sdt: only modules that are imported after the option took effect are checked.
"""

import typing
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping


def check_arrays[F: Callable[..., Any]](function: F) -> F:
  """Returns `function` with its calls checked where an annotation names the shape of an array.

  All other functions stay as they are: tests give them stand-ins, and mypy checks them.
  """
  annotations = getattr(function, "__annotations__", {}).values()
  return beartype.beartype(function) if any(map(_names_a_shape, annotations)) else function


def _names_a_shape(annotation: Any, aliases: tuple[Any, ...] = ()) -> bool:
  if isinstance(annotation, typing.TypeAliasType):
    if annotation in aliases:  # an alias may name itself
      return False
    return _names_a_shape(annotation.__value__, (*aliases, annotation))
  if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
    return True
  return any(_names_a_shape(part, aliases) for part in typing.get_args(annotation))
