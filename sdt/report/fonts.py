"""Which names the fonts of this machine can draw; the others are shown by number."""

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import font_manager, ft2font

MAIN_FONT = "DejaVu Sans"  # comes with matplotlib, so the same letters everywhere
# It has a glyph for everything, that shows only which script a letter is of.
_NO_FONT = "Last Resort"
_UPRIGHT = ("normal", 400)
_VARIANTS = frozenset(map(chr, range(0xFE00, 0xFE10)))
_CAN_SHAPE = hasattr(ft2font, "__libraqm_version__")


class DrawnNames(NamedTuple):
  """Names as figures show them.

  Attributes:
    texts: the name, or "#3" for the name at place 3 that no font can draw.
    families: the fonts that draw them, in the order in which they are asked.
    by_number: the places and the names that are shown by number.
  """

  texts: tuple[str, ...]
  families: tuple[str, ...]
  by_number: tuple[tuple[str, str], ...]


def drawn(names: Sequence[str]) -> DrawnNames:
  """Returns the names as figures of this machine can show them."""
  families: list[str] = [MAIN_FONT]
  covered = set(_glyphs(MAIN_FONT))
  for name in names:
    lacking = _needed(name) - covered
    # The family that has most of what is lacking comes first; equal ones by name.
    while lacking:
      gains = {family: len(_glyphs(family) & lacking) for family in _files()}
      best = max(gains, key=gains.__getitem__)
      if not gains[best]:
        break
      families.append(best)
      covered |= _glyphs(best)
      lacking -= covered
  texts = tuple(
    name if _needed(name) <= covered else f"#{place}" for place, name in enumerate(names)
  )
  numbered = tuple((text, name) for text, name in zip(texts, names, strict=True) if text != name)
  return DrawnNames(texts, tuple(families), numbered)


def _needed(name: str) -> set[int]:
  """Returns the letters of a name that must have a glyph; joiners and variants need none.

  A name that runs from right to left cannot be drawn by a matplotlib that does not shape letters:
  what it lacks is then a letter that no font has.
  """
  if not _CAN_SHAPE and any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name):
    return {-1}
  return {
    ord(letter)
    for letter in name
    if not (letter.isspace() or unicodedata.category(letter) == "Cf" or letter in _VARIANTS)
  }


@functools.cache
def _files() -> dict[str, str]:
  """Returns the upright fonts of usual weight of this machine: family -> file, by name."""
  upright = (
    font for font in font_manager.fontManager.ttflist if (font.style, font.weight) == _UPRIGHT
  )
  found = {font.name: font.fname for font in upright if not font.name.startswith(_NO_FONT)}
  return dict(sorted(found.items()))


@functools.cache
def _glyphs(family: str) -> frozenset[int]:
  """Returns the letters that a family can draw; none where its font cannot be scaled or read."""
  try:
    font = ft2font.FT2Font(_files()[family])
    is_scalable = bool(font.face_flags & ft2font.FaceFlags.SCALABLE)
    return frozenset(font.get_charmap()) if is_scalable else frozenset()
  except (OSError, RuntimeError, ValueError):
    return frozenset()
