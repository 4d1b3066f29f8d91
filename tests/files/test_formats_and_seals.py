import csv
import errno
import hashlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import tracemalloc
import zipfile

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError, WorkdirError
from sdt.files import formats


class Killed(BaseException):
  """Stands for a kill at a system call: nothing in sdt may catch it for good."""


def tree(directory):
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob("*")
    if path.is_file()
  }


def test_written_file_has_its_digest_beside_it_and_nothing_else(tmp_path):
  files.write_bytes(tmp_path / "a" / "x.bin", b"hello")
  seal = f"{hashlib.sha256(b'hello').hexdigest()} 5\n".encode()
  assert tree(tmp_path) == {"a/x.bin": b"hello", "a/.sha256/x.bin": seal}
  assert files.is_intact(tmp_path / "a" / "x.bin")
  assert files.read_bytes_verified(tmp_path / "a" / "x.bin") == b"hello"


@pytest.mark.parametrize(
  "damage",
  ["flip", "shorter", "longer", "gone", "no seal", "seal of another", "seal damaged", "seal empty"],
)
def test_any_damage_to_file_or_seal_is_seen(tmp_path, damage):
  path, seal = tmp_path / "x", tmp_path / ".sha256" / "x"
  files.write_bytes(path, b"hello")
  files.write_bytes(tmp_path / "y", b"world")
  {
    "flip": lambda: path.write_bytes(b"hellp"),
    "shorter": lambda: path.write_bytes(b"hell"),
    "longer": lambda: path.write_bytes(b"hello!"),
    "gone": path.unlink,
    "no seal": seal.unlink,
    "seal of another": lambda: seal.write_bytes((tmp_path / ".sha256" / "y").read_bytes()),
    "seal damaged": lambda: seal.write_bytes(b"\xff\xfe"),
    "seal empty": lambda: seal.write_bytes(b""),
  }[damage]()
  assert not files.is_intact(path)
  with pytest.raises(DataError, match="x"):
    files.read_bytes_verified(path)


def test_kill_at_any_system_call_leaves_old_or_new_bytes_and_no_false_match(tmp_path, monkeypatch):
  path = tmp_path / "x"
  outcomes = set()
  for kill_at in range(12):
    files.write_bytes(path, b"old")
    calls = 0

    def killing(call):
      def wrapper(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == kill_at + 1:  # noqa: B023 - called within this turn of the loop
          raise Killed
        return call(*args, **kwargs)

      return wrapper

    with monkeypatch.context() as patch:
      for name in ("open", "fsync", "replace"):
        patch.setattr(os, name, killing(getattr(os, name)))
      try:
        files.write_bytes(path, b"new!")
        killed = False
      except Killed:
        killed = True
    assert path.read_bytes() in (b"old", b"new!")
    outcomes.add((killed, path.read_bytes(), files.is_intact(path)))
    assert not [name for name in tree(tmp_path) if formats.TMP_PREFIX in name]
  # A whole new file, a whole old file, and an old file whose seal says that a new one was under
  # way.
  assert outcomes == {
    (False, b"new!", True),
    (True, b"new!", True),
    (True, b"old", True),
    (True, b"old", False),
  }


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
    '{\n "z": 0.1,\n "a": [\n  0,\n  1\n ],\n "3": [\n  1,\n  null,\n  true\n ],\n "ü": [\n  '
    "null,\n  null,\n  0.5\n ]\n}\n"
  )
  assert files.read_json(tmp_path / "x.json") == {
    "z": 0.1,
    "a": [0, 1],
    "3": [1, None, True],
    "ü": [None, None, 0.5],
  }


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


def test_rows_come_back_in_order(tmp_path):
  path = tmp_path / "metrics.jsonl"
  assert files.read_rows(path) == []
  files.append_rows(
    path, [{"round": 1, "loss": float("nan")}, {"round": 2, "loss": np.float32(0.5)}]
  )
  files.append_rows(path, [{"round": 3, "text": "a\r\n\u2028b"}])
  assert files.read_rows(path) == [
    {"round": 1, "loss": None},
    {"round": 2, "loss": 0.5},
    {"round": 3, "text": "a\r\n\u2028b"},
  ]
  assert files.is_intact(path)


@hypothesis.given(st.data())
def test_rows_torn_anywhere_and_resumed_equal_rows_of_an_undisturbed_run(tmp_path_factory, data):
  """Rounds of 1 or 2 phases are appended; a kill tears the last append at any byte, before its
  seal; a checkpoint restores any round.
  """
  rounds = data.draw(st.integers(1, 6), label="rounds")
  done = data.draw(st.integers(1, rounds), label="rounds appended before the kill")
  restored = data.draw(st.integers(0, done), label="round of the newest checkpoint")
  rows = {
    number: [
      {"round": number, "phase": phase, "loss": 1 / (number + 3)}
      for phase in "AB"[: 1 + number % 2]
    ]
    for number in range(1, 7)
  }
  directory = tmp_path_factory.mktemp("rows")
  for number in range(1, rounds + 1):
    files.append_rows(directory / "whole.jsonl", rows[number])
  path = directory / "metrics.jsonl"
  for number in range(1, done):
    files.append_rows(path, rows[number])
  text = "".join(json.dumps(row) + "\n" for row in rows[done]).encode()
  torn = data.draw(st.integers(0, len(text)), label="bytes of the last append on disk")
  with open(path, "ab") as file:
    file.write(text[:torn])
  # A round is saved after its rows are on disk.
  restored = restored if torn == len(text) else min(restored, done - 1)
  files.truncate_rows(path, lambda row: row["round"] <= restored)
  assert [row["round"] for row in files.read_rows(path)] == [
    number for number in range(1, restored + 1) for _ in rows[number]
  ]
  for number in range(restored + 1, rounds + 1):
    files.append_rows(path, rows[number])
  assert path.read_bytes() == (directory / "whole.jsonl").read_bytes()
  assert files.is_intact(path)


@pytest.mark.parametrize("kill_at", range(6))
def test_kill_in_truncation_never_makes_rows_unreadable(tmp_path, monkeypatch, kill_at):
  path = tmp_path / "metrics.jsonl"
  files.append_rows(path, [{"round": number} for number in (1, 2, 3)])
  calls = 0

  def killing(call):
    def wrapper(*args, **kwargs):
      nonlocal calls
      calls += 1
      if calls > kill_at:
        raise Killed
      return call(*args, **kwargs)

    return wrapper

  with monkeypatch.context() as patch:
    for name in ("fsync", "replace", "unlink"):
      patch.setattr(os, name, killing(getattr(os, name)))
    with pytest.raises(Killed):
      files.truncate_rows(path, lambda row: row["round"] != 2)
  assert [row["round"] for row in files.read_rows(path)] in ([1, 2, 3], [1, 3])
  files.truncate_rows(path, lambda row: row["round"] != 2)
  assert [row["round"] for row in files.read_rows(path)] == [1, 3]


def test_truncation_that_keeps_all_writes_nothing(tmp_path):
  path = tmp_path / "metrics.jsonl"
  assert files.truncate_rows(path, lambda row: True) == 0
  assert not path.exists()
  files.append_rows(path, [{"round": 1}])
  before = os.stat(path)
  assert files.truncate_rows(path, lambda row: True) == 0
  assert os.stat(path) == before


@pytest.mark.parametrize(
  "line", [b'{"round": NaN}\n', b"[1]\n", b"\n", b'{"round": 1\n', b"\x00" * 20 + b"\n"]
)
def test_a_whole_line_that_is_no_row_is_refused_with_its_number(tmp_path, line):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"round": 1}\n' + line + b'{"round": 3}\n')
  with pytest.raises(DataError, match="line 2"):
    files.read_rows(path)


def damage(path, rng):
  """Damages one file in one of six ways; returns which."""
  data = bytearray(path.read_bytes())
  kind = rng.choice(["flip", "truncate", "empty", "zero", "delete", "drop line"])
  at = rng.randrange(len(data))
  if kind == "flip":
    data[at] ^= 1 << rng.randrange(8)
  elif kind == "truncate":
    del data[at:]
  elif kind == "empty":
    data.clear()
  elif kind == "zero":
    data[at : at + 512] = bytes(len(data[at : at + 512]))
  elif kind == "drop line":
    lines = bytes(data).splitlines(keepends=True)
    lines.pop(rng.randrange(len(lines)))
    data = bytearray(b"".join(lines))
  path.write_bytes(data)
  if kind == "delete":
    path.unlink()
  return kind


def test_200_faults_in_artifacts_are_all_seen(tmp_path, figure):
  seed = 20_260
  rng = random.Random(seed)
  for trial in range(200):
    directory = tmp_path / str(trial)
    name = rng.choice(["scores.npz", "split.csv", "metrics.jsonl"])
    path = directory / name
    if name == "scores.npz":
      files.write_npz(path, log_odds=np.linspace(0, 1, 50, dtype=np.float32)[None])
    elif name == "split.csv":
      files.write_csv(
        path, ["example_id", "subset"], [(number, "AB"[number % 2]) for number in range(50)]
      )
    else:
      files.append_rows(
        path, [{"round": number, "train_loss": 1.0 / (number + 1)} for number in range(20)]
      )
    before = path.read_bytes()
    kind = damage(path, rng)
    if path.exists() and path.read_bytes() == before:
      continue  # zeros over zeros
    assert not files.is_intact(path), (trial, name, kind)
    with pytest.raises(DataError, match=name):
      {
        "scores.npz": files.read_npz,
        "split.csv": files.read_bytes_verified,
        "metrics.jsonl": files.read_rows,
      }[name](path)
  figure(f"200 faults in scores, split and metrics: all seen (seed {seed})")


@pytest.mark.parametrize("name", ["a b", "ü" * 100, "x" * 200, "-rf", ".hidden"])
def test_odd_names_work(tmp_path, name):
  files.write_text(tmp_path / name / name, "hello")
  assert files.read_bytes_verified(tmp_path / name / name) == b"hello"


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("file/x", "is a file|Not a directory|needed"),
    ("a/" + "x" * 300, "too long"),
    ("directory", "cannot write"),
  ],
)
def test_paths_that_cannot_be_written_are_a_workdir_error(tmp_path, path, message):
  (tmp_path / "file").write_text("")
  (tmp_path / "directory").mkdir()
  with pytest.raises(WorkdirError, match=message) as caught:
    files.write_bytes(tmp_path / path, b"hello")
  assert str(tmp_path / path) in str(caught.value)
  assert caught.value.exit_code == 7


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_said_with_path_and_bytes(tmp_path, monkeypatch, number):
  def full(handle):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(WorkdirError, match=r"x\.bin: .*; 5 bytes needed, \d+ free") as caught:
    files.write_bytes(tmp_path / "x.bin", b"hello")
  assert "\n" not in str(caught.value)
  assert tree(tmp_path) == {}


FULL_DISK = """
import resource, signal, sys
from sdt import files
from sdt.errors import WorkdirError
path, rows = sys.argv[1], sys.argv[2]
files.write_bytes(path, b"old")
files.append_rows(rows, [{"round": 1}])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
large = [{"round": 2, "text": "x" * 100_000}]

def large_file(): files.write_bytes(path, bytes(100_000))
def large_rows(): files.append_rows(rows, large)
for write in (large_file, large_rows):
  try:
    write()
  except WorkdirError as error:
    print(error.exit_code, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert files.read_bytes_verified(path) == b"old"
assert files.read_rows(rows) == [{"round": 1}]
files.append_rows(rows, [{"round": 2}])
assert files.read_rows(rows) == [{"round": 1}, {"round": 2}]
"""


@pytest.mark.skipif(
  resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY,
  reason="the file-size limit is set already",
)
def test_a_real_full_disk_keeps_the_old_file_and_rows(tmp_path):
  command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "x"), str(tmp_path / "metrics.jsonl")]
  done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
  row = {"round": 2, "text": "x" * 100_000}
  first, second = done.stdout.splitlines()
  assert first.startswith(f"7 cannot write {tmp_path / 'x'}: File too large; 100000 bytes needed")
  assert second.startswith(
    f"7 cannot write {tmp_path / 'metrics.jsonl'}: File too large; {len(json.dumps(row)) + 1} "
    "bytes needed"
  )
  assert not [name for name in tree(tmp_path) if formats.TMP_PREFIX in name]
