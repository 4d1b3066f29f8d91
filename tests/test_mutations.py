"""The table of tests/mutations.py points at lines that are there, and at tests that are there."""

import pytest

from tests import mutations


@pytest.mark.parametrize("name", mutations.MUTATIONS)
def test_a_mutation_breaks_one_line_that_stands_once(name):
  mutation = mutations.MUTATIONS[name]
  assert (mutations.ROOT / mutation.file).read_text().count(mutation.old) == 1
  assert mutation.new != mutation.old
  assert all((mutations.ROOT / path).is_file() for path in mutation.tests.split())
