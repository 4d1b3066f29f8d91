"""Checks the shapes and types that sdt's annotations promise, in tests only.

pyproject.toml names beartype in pytest's option --jaxtyping-packages, which decorates every
function and class of sdt with `jaxtyping.jaxtyped`. Here it is made to leave what names no shape as
it is: tests give such functions stand-ins, mypy checks them, and wrapping them all took about a
tenth of the time of tests/run/test_resume.py. This file must not import sdt: what is
imported before is not checked.
"""

import typing
from collections.abc import Callable
from typing import Any

import jaxtyping

_jaxtyped = jaxtyping.jaxtyped


def jaxtyped(*, typechecker: Any) -> Callable[[Any], Any]:
  """Returns a decorator that checks what names the shape of an array in its annotations."""
  check = _jaxtyped(typechecker=typechecker)

  def decorate(one: Any) -> Any:
    annotations = getattr(one, "__annotations__", {}).values()
    return check(one) if any(map(_names_a_shape, annotations)) else one

  return decorate


def _names_a_shape(annotation: Any, aliases: tuple[Any, ...] = ()) -> bool:
  if isinstance(annotation, typing.TypeAliasType):
    if annotation in aliases:  # an alias may name itself
      return False
    return _names_a_shape(annotation.__value__, (*aliases, annotation))
  if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
    return True
  return any(_names_a_shape(part, aliases) for part in typing.get_args(annotation))


jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]
