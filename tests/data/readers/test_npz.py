"""NumPy archives: what is read, and the hostile or damaged ones that are refused."""

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError


def _arrays(num=40, **more):
  rng = np.random.default_rng(0)
  return {
    "train_x": rng.integers(0, 256, (num, 4, 5, 3), dtype=np.uint8),
    "train_y": np.arange(num) % 4,
    **more,
  }


def _write(path, **arrays):
  np.savez(path, **arrays)
  return str(path)


def _load(path, **keys):
  return sources.load(DataConfig(name="npz", path=str(path), **keys))


def _refused(path, **keys):
  folder = Path(path).parent
  before = sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))
  with pytest.raises(DataError) as caught:
    _load(path, **{"test_fraction": 0.25, **keys})
  assert sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")) == before, (
    "a refused set changed something"
  )
  text = str(caught.value)
  assert "\n" not in text
  return text


def test_arrays_come_back_as_they_were(tmp_path):
  arrays = _arrays(
    test_x=_arrays(8)["train_x"],
    test_y=np.arange(8) % 4,
    class_names=np.array(["a", "b", "c", "d"]),
  )
  data = _load(_write(tmp_path / "set.npz", **arrays))
  np.testing.assert_array_equal(data.train.inputs, arrays["train_x"])
  np.testing.assert_array_equal(data.train.labels, arrays["train_y"])
  np.testing.assert_array_equal(data.test.inputs, arrays["test_x"])
  assert data.class_names == ("a", "b", "c", "d")
  assert (data.name, data.variant) == ("npz", "custom")


def test_compressed_archives_read_the_same(tmp_path):
  plain = _load(_write(tmp_path / "a.npz", **_arrays()), test_fraction=0.25)
  np.savez_compressed(tmp_path / "b.npz", **_arrays())
  assert _load(tmp_path / "b.npz", test_fraction=0.25).checksum == plain.checksum


def test_grey_images_get_a_channel_and_floats_are_vectors(tmp_path):
  grey = _load(
    _write(tmp_path / "g.npz", **_arrays(train_x=_arrays()["train_x"][..., 0])),
    test_fraction=0.25,
  )
  assert grey.train.inputs.shape == (30, 4, 5, 1)
  vectors = np.random.default_rng(0).normal(size=(40, 3))
  data = _load(_write(tmp_path / "v.npz", **_arrays(train_x=vectors)), test_fraction=0.25)
  np.testing.assert_array_equal(
    data.train.inputs, vectors[data.train.example_ids].astype(np.float32)
  )
  assert data.mean.shape == (3,)


_NAN = np.zeros((40, 3))
_NAN[11, 2] = np.nan
_HUGE = np.zeros((40, 3))
_HUGE[4, 0] = 1e300
_CASES = {
  "label -1": (
    _arrays(train_y=np.arange(40) % 4 - 1),
    "the labels are -1 to 2; expected class numbers 0, 1, ...: integers [N]: write them anew as "
    "train_y + 1; or remove the examples of -1",
  ),
  "label beyond the names": (
    _arrays(class_names=np.array(["a", "b"])),
    "20 of 40 labels are outside [0, 2); the first is 2 at example 2",
  ),
  "label far out": (_arrays(train_y=np.full(40, 2**40)), "the largest label is 1099511627776"),
  "float labels": (
    _arrays(train_y=np.zeros(40)),
    "train_y is float64 [40]; expected class numbers",
  ),
  "one-hot labels": (
    _arrays(train_y=np.eye(4, dtype=int)[np.arange(40) % 4]),
    "train_y is int64 [40, 4]; expected class numbers",
  ),
  "scalar labels": (_arrays(train_y=np.array(3)), "train_y is int64 []; expected class numbers"),
  "one integer as inputs": (_arrays(train_x=np.uint8(3)), "train_x is one value"),
  "one float as inputs": (_arrays(train_x=np.float64(3)), "train_x is one value"),
  "one row of values": (_arrays(train_x=np.zeros(40, np.uint8)), "inputs are uint8 [40]"),
  "length": (_arrays(train_y=np.arange(39) % 4), "40 inputs but 39 labels"),
  "NaN": (_arrays(train_x=_NAN), "the first is nan in example 11, column 2"),
  "beyond float32": (
    _arrays(train_x=_HUGE),
    "not finite in float32; the first is inf in example 4, column 0",
  ),
  "float images": (_arrays(train_x=np.zeros((40, 4, 5, 3))), "images must be uint8, 0 to 255"),
  "int images": (
    _arrays(train_x=np.zeros((40, 4, 5, 3), np.int64)),
    "images must be uint8, 0 to 255",
  ),
  "empty": (
    _arrays(train_x=np.zeros((0, 4, 5, 3), np.uint8), train_y=np.zeros(0, int)),
    "hold nothing",
  ),
  "empty class": (
    _arrays(train_y=np.arange(40) % 4 * 2),
    "3 of the labels 0 to 6 have no example; expected class numbers",
  ),
  "no labels": ({"train_x": np.zeros((4, 2, 2, 3), np.uint8)}, "no array 'train_y'"),
  "half a test split": (
    _arrays(test_x=np.zeros((4, 4, 5, 3), np.uint8)),
    "one of test_x and test_y is missing",
  ),
  "names": (_arrays(class_names=np.arange(4)), "class_names is int64 [4], expected text"),
  "objects": (
    _arrays(train_y=np.array([{}] * 40, dtype=object)),
    "array train_y holds Python objects",
  ),
}


@pytest.mark.parametrize("name", _CASES)
def test_wrong_arrays_are_refused_in_one_line(tmp_path, name):
  arrays, message = _CASES[name]
  assert message in _refused(_write(tmp_path / "set.npz", **arrays))


def test_a_missing_path_is_refused(tmp_path):
  assert "no such file" in _refused(tmp_path / "none.npz")
  with pytest.raises(DataError, match="needs the archive"):
    sources.load(DataConfig(name="npz"))


def test_a_payload_is_never_run(tmp_path):
  class Payload:
    def __reduce__(self):
      return os.system, (f"touch {tmp_path / 'executed'}",)

  arrays = _arrays(train_y=np.array([Payload()] * 40, dtype=object))
  np.savez(tmp_path / "set.npz", **arrays)
  assert "Python objects" in _refused(tmp_path / "set.npz")
  assert not (tmp_path / "executed").exists()


def _npy(header_shape, body, descr="|u1"):
  buffer = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    buffer, {"descr": descr, "fortran_order": False, "shape": header_shape}
  )
  return buffer.getvalue() + body


def _zip(path, members, compression=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, "w", compression) as archive:
    for name, content in members:
      archive.writestr(name, content)
  return path


def _refused_cheaply(path):
  """Refused within 50 MB."""
  tracemalloc.start()
  text = _refused(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 50 * 2**20
  return text


@pytest.mark.parametrize("num", [2_000_000_000, 10**12])
def test_a_lying_header_is_refused_before_allocation(tmp_path, num):
  labels = _npy((40,), b"\0" * 40)
  path = _zip(
    tmp_path / "set.npz", [("train_x.npy", _npy((num,), b"\0" * 100)), ("train_y.npy", labels)]
  )
  assert f"declares {num + 128} bytes, but the archive holds 228" in _refused_cheaply(path)


def test_a_zip_bomb_is_refused_from_its_declared_size(tmp_path):
  members = [
    ("train_x.npy", _npy((200_000_000,), b"\0" * 200_000_000)),
    ("train_y.npy", _npy((40,), b"\0" * 40)),
  ]
  path = _zip(tmp_path / "set.npz", members, zipfile.ZIP_DEFLATED)
  assert path.stat().st_size < 300_000
  assert "claim to unpack to" in _refused_cheaply(path)


def test_a_directory_of_a_million_entries_is_not_read(tmp_path):
  path = tmp_path / "set.npz"
  entry = b"PK\x01\x02" + b"\0" * 42
  directory = entry * 10**6
  path.write_bytes(
    directory + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
  )
  del directory
  assert "more entries than a data set can have" in _refused_cheaply(path)


def test_an_array_stored_twice_is_refused(tmp_path):
  label = _npy((40,), b"\0" * 40)
  with pytest.warns(UserWarning, match="Duplicate"):
    path = _zip(
      tmp_path / "set.npz", [("train_x.npy", label), ("train_y.npy", label), ("train_y.npy", label)]
    )
  assert "stored twice" in _refused(path)


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty", "folder"])
def test_damaged_archives_are_refused(tmp_path, damage):
  path = tmp_path / "set.npz"
  np.savez_compressed(path, **_arrays())
  content = bytearray(path.read_bytes())
  if damage == "cut":
    path.write_bytes(content[: len(content) // 2])
  elif damage == "flip":
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
  elif damage == "folder":
    path.unlink()
    path.mkdir()
  else:
    path.write_bytes(b"" if damage == "empty" else b"no archive at all" * 9)
  assert str(path) in _refused(path)


def test_any_flipped_bit_is_refused_or_harmless(tmp_path):
  path = tmp_path / "set.npz"
  np.savez(path, **_arrays(8))
  content, checksum = path.read_bytes(), _load(path, test_fraction=0.5).checksum
  rng = np.random.default_rng(0)
  for position in rng.integers(0, len(content), 150):
    damaged = bytearray(content)
    damaged[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(damaged)
    try:
      assert _load(path, test_fraction=0.5).checksum == checksum
    except DataError:
      continue
