"""npz files that are written in a stream and read mapped: like all others, or refused."""

import io
import zipfile

import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError, WorkdirError
from sdt.files.sealed import write_bytes
from tests.support.on_disk import tree

ARRAYS = {
  "half": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
  "names": np.array(["a", "müller"]),
  "none": np.zeros((0, 3), np.int32),
  "one": np.array(7, np.int64),
}


def written(path, arrays=ARRAYS):
  with files.writing_npz(path) as archive:
    for name, array in arrays.items():
      archive.write(name, array)
  return path


def test_what_is_written_in_pieces_is_read_by_map_read_npz_and_numpy(tmp_path):
  path = tmp_path / "new" / "a.npz"
  with files.writing_npz(path) as archive:
    half = ARRAYS["half"]
    with archive.stream("half", half.dtype, half.shape) as member:
      for row in half.reshape(6, 4):
        member.write(row.tobytes())
    for name in ("names", "none", "one"):
      archive.write(name, ARRAYS[name])
  mapped, read = files.map_npz(path), files.read_npz(path)
  with np.load(path) as by_numpy:
    assert list(mapped) == list(read) == list(by_numpy) == list(ARRAYS)
    for name, array in ARRAYS.items():
      for other in (mapped[name], read[name], by_numpy[name]):
        np.testing.assert_array_equal(other, array)
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
  with pytest.raises(ValueError, match="read-only"):
    mapped["half"][0, 0, 0] = 1
  assert path.read_bytes() == written(tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("count", [0, 23, 25])
def test_too_few_or_too_many_bytes_are_refused_and_leave_what_was_there(tmp_path, count):
  path = written(tmp_path / "a.npz")
  before = tree(tmp_path)
  with (
    pytest.raises(ValueError, match="do not fill"),
    files.writing_npz(path) as archive,
    archive.stream("half", np.dtype(np.float16), (2, 3, 4)) as member,
  ):
    member.write(np.zeros(count, np.float16).tobytes())
  assert tree(tmp_path) == before
  assert files.is_intact(path)


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
  path = written(tmp_path / "a.npz")
  before = tree(tmp_path)
  broken = {"half": ARRAYS["half"], "objects": np.array([{}])}
  with pytest.raises(ValueError, match="object"):
    written(path, broken)
  assert tree(tmp_path) == before


def test_a_file_of_somebody_else_is_kept_and_our_own_is_replaced(tmp_path, capsys):
  path = written(tmp_path / "a.npz")
  written(path, {"one": ARRAYS["one"]})
  assert list(files.map_npz(path)) == ["one"]
  assert sorted(one.name for one in tmp_path.iterdir()) == [".sha256", "a.npz"]
  path.write_bytes(b"mine")
  written(path)
  assert (tmp_path / "a.npz.kept-1").read_bytes() == b"mine"
  assert "kept as a.npz.kept-1" in capsys.readouterr().err
  assert files.is_intact(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
  (tmp_path / "file").write_bytes(b"")
  with (
    pytest.raises(WorkdirError, match="cannot write"),
    files.writing_npz(tmp_path / "file" / "a"),
  ):
    pass


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_changed_byte_anywhere_is_found(tmp_path, place):
  path = written(tmp_path / "a.npz")
  content = bytearray(path.read_bytes())
  content[int(place * len(content))] ^= 1
  path.write_bytes(content)
  assert not files.is_intact(path)
  with pytest.raises(DataError, match="digest"):
    files.map_npz(path)


def npz_of(compression=zipfile.ZIP_STORED, name="a.npy", content=None):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", compression) as archive:
    array = io.BytesIO()
    np.lib.format.write_array(array, np.arange(3))
    archive.writestr(name, array.getvalue() if content is None else content)
  return buffer.getvalue()


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (npz_of(zipfile.ZIP_DEFLATED), "compressed"),
    (npz_of(name="a.txt"), "not an array"),
    (npz_of(content=b"\x93NUMPY\x01\x00"), "not a sound npz"),
    (b"no archive", "not a sound npz"),
  ],
)
def test_a_sealed_file_that_is_no_such_npz_is_refused(tmp_path, content, reason):
  write_bytes(tmp_path / "a.npz", content)
  with pytest.raises(DataError, match=reason):
    files.map_npz(tmp_path / "a.npz")


def test_a_file_without_its_seal_or_none_at_all_is_refused(tmp_path):
  path = written(tmp_path / "a.npz")
  (tmp_path / ".sha256" / "a.npz").unlink()
  with pytest.raises(DataError):
    files.map_npz(path)
  with pytest.raises(DataError, match="cannot read"):
    files.map_npz(tmp_path / "b.npz")
