"""docs/toolbox.md is complete: what the documents name is there, or is said not to be."""

from pathlib import Path

import pytest

import sdt
from sdt.arms.language import parse_phases
from sdt.commands.doctor import FLAGS as DOCTOR_FLAGS
from sdt.commands.program import COMMANDS
from sdt.config.resolve import choices_of, is_key
from sdt.config.toolbox.not_built import NOT_BUILT
from sdt.config.toolbox.tables import CHAPTERS
from sdt.config.toolbox.techniques import TECHNIQUES
from sdt.models.registry import MODEL_NAMES
from tests.support.documents import PLACES
from tests.support.toolbox_page import PAGE

ROOT = Path(__file__).parents[3]
ROWS = {name: row for rows in TECHNIQUES.values() for name, row in rows.items()}
BLOCKS = {f"{title}: {name}" for title, of in CHAPTERS.items() for name in of.table}


def check_choice(text: str) -> None:
  """Asserts that a function or command exists, a phase can be read, or a key takes the value."""
  words = text.split()
  if text.startswith("sdt."):
    assert hasattr(sdt, text.removeprefix("sdt.").partition("(")[0]), text
  elif words[0] == "run.py":
    assert words[1] in COMMANDS, text
    for flag in words[2:]:
      assert words[1] == "doctor", text
      assert f"{flag.partition('=')[0]}=" in DOCTOR_FLAGS, text
  elif "@" in text:
    assert parse_phases(text, text)
  else:
    key, _, value = text.partition("=")
    assert is_key(key), text
    choices = MODEL_NAMES if key == "model.name" else choices_of(key)
    assert not (value and choices) or value.partition("(")[0] in choices, text


@pytest.mark.parametrize("name", ROWS)
def test_what_chooses_a_technique_exists_and_so_does_its_test(name):
  row = ROWS[name]
  assert row.chosen_by or row.note
  for text in row.chosen_by:
    check_choice(text)
  assert (ROOT / row.test).is_file()


def test_what_does_not_exist_is_told():
  for text in (
    "sdt.nothing()",
    "run.py nothing",
    "model.nothing",
    "select.method=luck",
    "run.py doctor --rate=1",
  ):
    with pytest.raises(AssertionError):
      check_choice(text)


def test_every_table_names_tests_that_exist():
  tests = [test for chapter in CHAPTERS.values() for test in chapter.tests]
  assert [test for test in tests if not (ROOT / test).is_file()] == []
  assert all(chapter.tests for chapter in CHAPTERS.values())


def test_all_that_the_documents_name_has_a_place_on_the_page_and_nothing_has_two():
  places = {place for of_row in PLACES.values() for place in of_row}
  assert places - BLOCKS - set(ROWS) - set(NOT_BUILT) == set()
  assert set(ROWS) & set(NOT_BUILT) == set()
  assert len(ROWS) == sum(map(len, TECHNIQUES.values()))


def test_what_is_said_not_to_be_there_is_named_by_a_document_and_says_why():
  named = {place for of_row in PLACES.values() for place in of_row}
  assert set(NOT_BUILT) - named == set()
  text = PAGE.read_text(encoding="utf-8")
  for name, row in NOT_BUILT.items():
    assert row.documents, name
    assert f"| {name} | {row.documents} | {row.reason}" in text
