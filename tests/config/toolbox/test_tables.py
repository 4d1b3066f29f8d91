"""The tables of building blocks: what they name exists, and the page is made of them."""

import pytest

from sdt.config.resolve import choices_of, is_key
from sdt.config.toolbox.operation_blocks import CROPS, OPS, SMOTE
from sdt.config.toolbox.tables import CHAPTERS
from sdt.config.toolbox.view_blocks import EXPAND
from sdt.data.imbalance import COUNTS
from sdt.data.preprocess import FITS
from sdt.engine.clipping import CLIPS
from sdt.engine.optimisers import OPTIMISERS
from sdt.engine.schedule import SCHEDULES
from sdt.inputs.operations.geometry import GEOMETRY, MIRRORS
from sdt.inputs.operations.mixing import MIXERS
from sdt.inputs.operations.pipeline import PIXELS
from sdt.models.activations import ACTIVATIONS
from sdt.models.initialisation import INITS
from sdt.models.norms import NORMS
from sdt.models.pools import POOLS
from sdt.models.starts import STARTS
from sdt.scores.acquisition import WORTHS
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
  "Class imbalance": COUNTS,
  "Preprocessing": FITS,
  "Activations": ACTIVATIONS,
  "Normalisation": NORMS,
  "Pooling": POOLS,
  "Initial weights": INITS,
  "Starts": STARTS,
  "Optimisers": OPTIMISERS,
  "Gradient clipping": CLIPS,
  "Schedules": SCHEDULES,
  "Test-time views": EXPAND,
  "Active learning": WORTHS,
  # Of several tables, one for each kind; test_pipeline.py holds that they have no other names.
  "Augmentation": [
    name for name in OPS if name in {*CROPS, *MIRRORS, *GEOMETRY, *PIXELS, *MIXERS, SMOTE}
  ],
}


@pytest.mark.parametrize("title", CHAPTERS)
def test_every_block_has_a_function_of_its_name(title):
  assert list(CODE[title]) == list(CHAPTERS[title].table)
