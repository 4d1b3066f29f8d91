"""The columns of a run's tables have the type that their name says, whatever they hold."""

import io

import numpy as np
import pytest

from sdt.errors import DataError
from sdt.files.csv_lines import CsvWriter
from sdt.trained.run_tables import columns


def written(*rows):
  text = io.StringIO(newline="")
  for row in rows:
    CsvWriter(text).writerow(row)
  return text.getvalue().encode()


def test_text_stays_text_where_it_looks_like_numbers_or_is_empty():
  names = ["1_0", "007", "nan", " a\rb"]
  rows = [(place, "", name, "A", 0.5) for place, name in enumerate(names)]
  header = ("example_id", "source_file", "class_name", "subset_seed3", "log_odds")
  found = columns(written(header, *rows), "x.csv")
  assert found["class_name"].tolist() == names
  assert found["source_file"].tolist() == [""] * 4
  assert found["subset_seed3"].tolist() == ["A"] * 4
  assert {name: one.dtype.kind for name, one in found.items()} == {
    **{"example_id": "i", "log_odds": "f"},
    **dict.fromkeys(("source_file", "class_name", "subset_seed3"), "U"),
  }


def test_an_empty_number_is_nan_and_a_table_may_have_no_rows():
  found = columns(b"log_odds_sd,label\n,3\n0.25,-1\n", "x.csv")
  np.testing.assert_array_equal(found["log_odds_sd"], [np.nan, 0.25])
  np.testing.assert_array_equal(found["label"], np.array([3, -1]))
  assert columns(b"class_name,label\n", "x.csv")["class_name"].shape == (0,)


@pytest.mark.parametrize("content", [b"", b"label\nx\n", b"a,b\n1\n", b'a\n"1\n', b"\xff\n"])
def test_what_is_no_such_table_is_a_data_error(content):
  with pytest.raises(DataError, match=r"^x\.csv"):
    columns(content, "x.csv")
