"""The tables of building blocks: what they name exists, and the page is made of them."""

import dataclasses

import pytest

from sdt.config.resolve import choices_of, is_key
from sdt.config.schema import Config
from sdt.config.toolbox.tables import CHAPTERS
from sdt.engine.optim import _chain
from sdt.engine.schedule import learning_rates
from sdt.models.activations import ACTIVATIONS
from sdt.models.initialisation import INITS
from sdt.models.norms import NORMS
from sdt.models.pools import POOLS
from sdt.models.starts import STARTS
from tests.support.toolbox_page import PAGE, page


def test_the_page_of_the_toolbox_is_that_of_the_tables():
  assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.support.toolbox_page"


@pytest.mark.parametrize("title", CHAPTERS)
def test_keys_exist_and_every_row_says_what_and_from_where(title):
  chapter = CHAPTERS[title]
  assert is_key(chapter.key)
  for name, block in chapter.table.items():
    assert block.meaning, name
    assert block.source, name
    assert not block.meaning.endswith(".")
    assert all(is_key(key) for key in block.keys), name
  if choices := choices_of(chapter.key):
    assert list(choices) == list(chapter.table)


CODE = {
  "Activations": ACTIVATIONS,
  "Normalisation": NORMS,
  "Pooling": POOLS,
  "Initial weights": INITS,
  "Starts": STARTS,
}


@pytest.mark.parametrize("title", CODE)
def test_blocks_of_networks_have_a_function_each(title):
  assert list(CODE[title]) == list(CHAPTERS[title].table)


@pytest.mark.parametrize("name", CHAPTERS["Optimisers"].table)
def test_optimisers_have_a_transformation_each(name):
  _chain(dataclasses.replace(Config().optim, name=name), 0.1, 0.1)


@pytest.mark.parametrize("name", CHAPTERS["Schedules"].table)
def test_schedules_have_a_rate_for_each_round(name):
  assert learning_rates(dataclasses.replace(Config().optim, schedule=name), 5).shape == (5,)
