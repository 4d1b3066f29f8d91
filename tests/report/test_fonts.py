"""Class names in figures: by a font that has their letters, else by number."""

import io

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from sdt.report import figures, fonts, image_figures
from tests.support.report_page import Page, page_alone, small_run

CAT = "\u732b"


@pytest.fixture
def without_fonts(monkeypatch):
  """Leaves only matplotlib's own font."""
  _set_fonts(monkeypatch, [])


def _set_fonts(monkeypatch, more):
  manager = font_manager.fontManager
  kept = [font for font in manager.ttflist if font.name == fonts.MAIN_FONT]
  monkeypatch.setattr(manager, "ttflist", kept + more)
  for cached in (fonts._files, fonts._glyphs):
    cached.cache_clear()


@pytest.fixture(autouse=True)
def forget():
  yield
  for cached in (fonts._files, fonts._glyphs):
    cached.cache_clear()


def _font(path, name, letters):
  """Writes a font whose letters are all full squares."""
  pen = TTGlyphPen(None)
  for at, point in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
    (pen.lineTo if at else pen.moveTo)(point)
  pen.closePath()
  glyphs = [".notdef", *(f"g{ord(letter)}" for letter in letters)]
  builder = FontBuilder(1000)
  builder.setupGlyphOrder(glyphs)
  builder.setupCharacterMap({ord(letter): f"g{ord(letter)}" for letter in letters})
  square = pen.glyph()
  builder.setupGlyf(dict.fromkeys(glyphs, square))
  builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
  builder.setupHorizontalHeader(ascent=800, descent=-200)
  builder.setupNameTable({"familyName": name, "styleName": "Regular"})
  builder.setupOS2()
  builder.setupPost()
  builder.save(path)
  return font_manager.FontEntry(fname=str(path), name=name, style="normal", weight=400)


@pytest.mark.parametrize(
  "name", [CAT, "\u3044\u306c", "\uace0\uc591\uc774", "\U0001f9a9", "\u0e44\u0e17\u0e22"]
)
def test_names_that_no_font_has_are_shown_by_number(without_fonts, name):
  drawn = fonts.drawn(["cat", name, "$x"])
  assert drawn.texts == ("cat", "#1", "$x")
  assert drawn.by_number == (("#1", name),)
  assert drawn.families == (fonts.MAIN_FONT,)


def test_names_that_matplotlibs_own_font_has_need_no_other(without_fonts):
  names = ["caf\u00e9", "\u043a\u043e\u0442", "\u03b3\u03ac\u03c4\u03b1", "\u2764\ufe0f", "a b"]
  assert fonts.drawn(names) == (tuple(names), (fonts.MAIN_FONT,), ())


@pytest.mark.skipif(not fonts._CAN_SHAPE, reason="this matplotlib cannot join Arabic letters")
def test_arabic_names_are_drawn(without_fonts):
  assert fonts.drawn(["\u0642\u0637\u0629"]).by_number == ()


def test_a_font_of_the_machine_that_has_the_letters_draws_them(tmp_path, monkeypatch):
  few = _font(tmp_path / "few.ttf", "Few", CAT)
  most = _font(tmp_path / "most.ttf", "Most", CAT + "\u72ac")
  _set_fonts(monkeypatch, [few, most])
  drawn = fonts.drawn(["cat", CAT + "\u72ac", "\ud55c"])
  assert drawn.texts == ("cat", CAT + "\u72ac", "#2")
  assert drawn.families == (fonts.MAIN_FONT, "Most")

  def ink(name, families):
    images = np.full((1, 1, 8, 8, 1), 255, np.uint8)
    png = figures.render(image_figures.contact_sheet, [name], images, families=families)
    letters = np.asarray(Image.open(io.BytesIO(png)).convert("L"))[: image_figures.CAPTION - 8]
    return int((letters < 64).sum())

  # A full square has more ink than the box of a missing letter.
  assert ink(CAT, drawn.families) > 1.5 * ink(CAT, (fonts.MAIN_FONT,))


def test_a_font_that_cannot_be_read_draws_nothing(tmp_path, monkeypatch):
  broken = _font(tmp_path / "broken.ttf", "Broken", CAT)
  (tmp_path / "broken.ttf").write_bytes(b"no font")
  _set_fonts(monkeypatch, [broken])
  assert fonts.drawn([CAT]).texts == ("#0",)


def test_the_page_says_which_class_has_which_number(tmp_path, without_fonts):
  names = ["cat", CAT, "dog"]
  page = Page(page_alone(small_run(tmp_path, num_classes=3, class_names=names)))
  assert ["#1", CAT] in page.rows
  named = [row[0] for row in page.rows if row[0] in names and len(row) == 4]
  assert named == names, "the tables have the names"


def test_names_that_can_be_drawn_need_no_list(tmp_path, without_fonts):
  text = page_alone(small_run(tmp_path, num_classes=2, class_names=["cat", "dog"]))
  assert "by number, because" not in text


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_a_tile_of_any_number_of_channels_is_rgb(channels):
  image = np.arange(16 * channels, dtype=np.uint8).reshape(4, 4, channels)
  tile = image_figures.tile_of(image)
  assert tile.shape[2] == 3
  expected = image[0, 0, [0, 0, 0] if channels == 2 else [0, 1, 2]]
  np.testing.assert_array_equal(tile[0, 0], expected)
