"""What an examination has found: one sentence, how bad it is, and what to do."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

OK, NOTE, FAULT = "ok", "note", "fault"


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that was found.

  Attributes:
    level: "ok", "note" for what may be improved, "fault" for what keeps a network from learning.
    code: a name that stays the same when the words change.
    text: what was measured, and what it means.
    advice: what to do; "" where nothing is to be done.
    changes: keys of the config, by dotted name, and the values that are advised.
  """

  level: str
  code: str
  text: str
  advice: str = ""
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def ok(code: str, text: str) -> Finding:
  """Returns a finding that all is well."""
  return Finding(OK, code, text)


def note(code: str, text: str, advice: str, **changes: Any) -> Finding:
  """Returns a finding of what may be improved; in `changes` a dot is written as "__"."""
  return Finding(NOTE, code, text, advice=advice, changes=_dotted(changes))


def fault(code: str, text: str, advice: str, **changes: Any) -> Finding:
  """Returns a finding of what keeps a network from learning; see `note`."""
  return Finding(FAULT, code, text, advice=advice, changes=_dotted(changes))


def worst(findings: Iterable[Finding]) -> str:
  """Returns the worst level among the findings, "ok" without any."""
  order = (OK, NOTE, FAULT)
  return order[max((order.index(one.level) for one in findings), default=0)]


def codes(findings: Iterable[Finding]) -> set[str]:
  """Returns the codes of what is not ok."""
  return {one.code for one in findings if one.level != OK}


def _dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
  return {name.replace("__", "."): value for name, value in changes.items()}
