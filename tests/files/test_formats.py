"""JSON, npz and CSV: they come back exactly, and hostile ones are refused."""

import csv
import io
import os
import tracemalloc
import zipfile

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError
from tests.support.on_disk import tree


def test_json_is_canonical_and_takes_arrays(tmp_path):
  value = {
    "z": np.float64(0.1),
    "a": jnp.arange(2),
    3: (np.int32(1), None, True),
    "ü": [float("nan"), -np.inf, np.float32(0.5)],
  }
  files.write_json(tmp_path / "x.json", value)
  text = (tmp_path / "x.json").read_text()
  assert text == (
    '{\n "z": 0.1,\n "a": [0, 1],\n "3": [1, null, true],\n "ü": [null, null, 0.5]\n}\n'
  )
  assert files.read_json(tmp_path / "x.json") == {
    "z": 0.1,
    "a": [0, 1],
    "3": [1, None, True],
    "ü": [None, None, 0.5],
  }


def test_only_lists_of_numbers_become_one_line():
  value = {"rows": [[1, 2], [3, 4]], "texts": ["a", "[\n1\n]"], "mixed": [1, "b"], "none": []}
  assert files.json_text(value) == (
    '{\n "rows": [\n  [1, 2],\n  [3, 4]\n ],\n "texts": [\n  "a",\n  "[\\n1\\n]"\n ],\n '
    '"mixed": [\n  1,\n  "b"\n ],\n "none": []\n}'
  )


json_values = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats(allow_nan=False, allow_infinity=False)
  | st.text(),
  lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
  max_leaves=12,
)


@hypothesis.given(json_values)
def test_json_comes_back_exactly(value):
  text = files.json_text(value)
  back = files.parse_json(text.encode(), "here")
  assert back == value
  assert files.json_text(back) == text


@pytest.mark.parametrize("value", [{1: 0, "1": 0}, {True: 0}, {1.5: 0}, object(), {1, 2}, b"bytes"])
def test_json_refuses_what_has_no_single_form(tmp_path, value):
  with pytest.raises((TypeError, ValueError)):
    files.write_json(tmp_path / "x.json", value)
  assert tree(tmp_path) == {}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (b"NaN", "NaN is not a JSON number"),
    (b'{"a": -Infinity}', "-Infinity"),
    (b"1e999", "out of range"),
    (b'{"a": 1, "b": {"c": 1, "c": 2}}', "duplicate key 'c'"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000, "nested too deeply"),
    (b"9" * 5000, "not valid JSON"),
    (b'{"a": 1', "not valid JSON"),
    (b"\xff", "not valid JSON"),
    (b"", "not valid JSON"),
  ],
)
def test_hostile_json_is_refused_in_one_line(tmp_path, text, message):
  (tmp_path / "x.json").write_bytes(text)
  with pytest.raises(DataError, match=message) as caught:
    files.read_json(tmp_path / "x.json")
  assert str(tmp_path / "x.json") in str(caught.value)
  assert len(str(caught.value)) < 500


def test_json_that_is_too_large_is_refused_before_it_is_read(tmp_path):
  with open(tmp_path / "x.json", "wb") as file:
    file.truncate(2**40)  # a sparse file of 1 TiB
  with pytest.raises(DataError, match="1099511627776 bytes"):
    files.read_json(tmp_path / "x.json")


def test_json_that_differs_from_its_seal_is_refused(tmp_path):
  files.write_json(tmp_path / "x.json", {"a": 1})
  (tmp_path / "x.json").write_text('{\n "a": 2\n}\n')
  with pytest.raises(DataError, match="does not match its digest"):
    files.read_json(tmp_path / "x.json")


def arrays():
  return {
    "example_id": np.arange(5, dtype=np.int32),
    "scores": np.array([[0.5, -0.0], [np.nan, np.inf]], np.float32).T,
    "seeds": np.array([2**40]),
    "empty": np.zeros((0, 3), np.uint8),
    "scalar": np.float64(0.1),
    "names": np.array(["cat", "ü"]),
    "flags": np.array([True, False]),
    "jax": jnp.ones((2, 1)),
  }


def test_npz_comes_back_bit_for_bit_and_numpy_reads_it_too(tmp_path):
  files.write_npz(tmp_path / "x.npz", **arrays())
  back = files.read_npz(tmp_path / "x.npz")
  assert list(back) == list(arrays())
  with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
    for name, value in arrays().items():
      for array in (back[name], archive[name]):
        expected = np.asarray(value)
        assert (array.dtype, array.shape, array.tobytes()) == (
          expected.dtype,
          expected.shape,
          expected.tobytes(),
        )


def test_npz_bytes_depend_on_values_only(tmp_path, monkeypatch):
  files.write_npz(tmp_path / "x.npz", **arrays())
  monkeypatch.setattr("time.time", lambda: 2.0e9)
  monkeypatch.setattr("time.localtime", lambda *args: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
  files.write_npz(
    tmp_path / "y.npz", **{**arrays(), "scores": np.ascontiguousarray(arrays()["scores"])}
  )
  assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_npz_refuses_python_objects_on_write(tmp_path):
  with pytest.raises(ValueError, match="Python objects"):
    files.write_npz(tmp_path / "x.npz", x=np.array([{}], dtype=object))


class Payload:
  def __reduce__(self):
    return os.system, ("touch executed",)


def npy(array):
  content = io.BytesIO()
  np.lib.format.write_array(content, array)
  return content.getvalue()


def lying_npy(count):
  content = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    content, {"descr": "<f8", "fortran_order": False, "shape": (count,)}
  )
  return content.getvalue() + bytes(64)


@pytest.mark.parametrize(
  ("members", "message"),
  [
    ([("x.npy", npy(np.array([Payload()], dtype=object)))], "Python objects"),
    ([("x.npy", lying_npy(10**12))], "header declares 8000000000000 bytes"),
    ([("x.npy", lying_npy(2 * 10**9))], "header declares 16000000000 bytes"),
    ([("x.npy", lying_npy(-1))], "declares"),
    ([("x.npy", bytes(10**8))], "100000000 bytes, at most 10000000"),
    ([(f"{i}.npy", b"") for i in range(5000)], "5000 members"),
    ([("x.npy", npy(np.ones(3))), ("x.npy", npy(np.ones(3)))], "one name"),
    ([("x.txt", b"hello")], "not an array"),
    ([("x.npy", b"hello, I am no array")], "not a sound npz"),
  ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_npz_is_refused_before_memory_is_taken(tmp_path, monkeypatch, members, message):
  monkeypatch.chdir(tmp_path)
  with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in members:
      archive.writestr(name, content)
  del members
  tracemalloc.start()
  try:
    with pytest.raises(DataError, match=message):
      files.read_npz(tmp_path / "x.npz", max_bytes=10**7)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert peak < 50 * 2**20
  assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04K\x01.", b"x" * 1000])
def test_what_is_no_archive_is_refused(tmp_path, content):
  (tmp_path / "x.npz").write_bytes(content)
  with pytest.raises(DataError, match="not a sound npz"):
    files.read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("cell", ["a\rb", "\r", "a\nb", "a\r\nb", "b\r\n", 'a"\r', "", " a"])
def test_cells_with_line_breaks_of_any_kind_come_back_from_csv(cell, tmp_path):
  rows = [["1", cell], [cell, "2"], [cell, cell]]
  files.write_csv(tmp_path / "x.csv", ["a", "b"], rows)
  with open(tmp_path / "x.csv", newline="") as file:
    assert list(csv.reader(file, strict=True)) == [["a", "b"], *rows]


def test_csv_is_exact(tmp_path):
  rows = [(0, np.float32(0.1), "a,b"), (np.int32(1), 0.1 + 0.2, None)]
  files.write_csv(tmp_path / "x.csv", ["id", "score", "ü"], rows)
  assert (
    tmp_path / "x.csv"
  ).read_bytes() == 'id,score,ü\n0,0.1,"a,b"\n1,0.30000000000000004,\n'.encode()
  with open(tmp_path / "x.csv", newline="") as file:
    assert float(list(csv.reader(file))[2][1]) == 0.1 + 0.2
  with pytest.raises(ValueError, match="a row of 1 cells"):
    files.write_csv(tmp_path / "y.csv", ["id", "score"], [(1,)])
