"""What every page shares: its templates, JSON values as text, and how its files are written."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.report.picture import Picture
from sdt.report.read import Json, flat

_HERE = Path(__file__).parent


def write(workdir: Path, pictures: Mapping[str, Picture], html: str) -> Path:
  """Writes the figures and report.html into `workdir`; returns the path of report.html."""
  for name, picture in pictures.items():
    files.write_bytes(workdir / "figures" / f"{name}.{picture.suffix}", picture.content)
  path = workdir / "report.html"
  files.write_text(path, html)
  return path


def own(names: Sequence[str]) -> tuple[str, str]:
  """Returns (files of this folder as one text that is not escaped, its digest for the policy).

  They are scripts or styles. A page runs and shows only what its policy names by digest.
  """
  from markupsafe import Markup

  whole = "".join((_HERE / name).read_text(encoding="utf-8") for name in names)
  digest = "sha256-" + base64.b64encode(hashlib.sha256(whole.encode()).digest()).decode("ascii")
  return Markup(whole), digest


def render(name: str, *scripts: str, **values: object) -> str:
  """Returns the HTML of a template of this folder; escapes every value, refuses a missing one.

  `scripts` are the files that the page runs; without any its tables can be sorted.
  """
  import jinja2  # here, because a run that prints its table only should not pay for it

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  script, digest = own(scripts or ("sort.js",))
  return environment.get_template(name).render(script=script, script_digest=digest, **values)


def text(value: Json) -> str:
  """Returns a leaf of a JSON tree as text."""
  if value is None:
    return "-"
  if isinstance(value, float):
    return f"{value:.6g}"
  if isinstance(value, list):
    return ", ".join(text(item) for item in value) or "-"
  return str(value)


def pairs(tree: Json) -> list[tuple[str, str]]:
  """Returns the leaves of nested dicts as (dotted key, text), in file order."""
  return [(key, text(value)) for key, value in flat(tree)]


def diverged(arms: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[int]]]:
  """Returns (arm, its seeds that diverged) for the arms that have any."""
  return [(arm, entry["diverged"]) for arm, entry in arms.items() if entry.get("diverged")]
