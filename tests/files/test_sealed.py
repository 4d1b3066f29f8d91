"""Atomic writes and seals: kills, damage, odd paths and full disks."""

import errno
import hashlib
import json
import os
import random
import resource
import subprocess
import sys

import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError, WorkdirError
from sdt.files.workdir import TMP_PREFIX
from tests.support.on_disk import Killed, killed_at, tree


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
  for kill_at in range(20):
    files.write_bytes(path, b"old")
    with killed_at(kill_at, ("open", "fsync", "replace"), monkeypatch):
      try:
        files.write_bytes(path, b"new!")
        killed = False
      except Killed:
        killed = True
    assert path.read_bytes() in (b"old", b"new!")
    outcomes.add((killed, path.read_bytes(), files.is_intact(path)))
    assert not [name for name in tree(tmp_path) if TMP_PREFIX in name]
  # A whole new file, a whole old file, and an old file whose seal says that a new one was under
  # way.
  assert outcomes == {
    (False, b"new!", True),
    (True, b"new!", True),
    (True, b"old", True),
    (True, b"old", False),
  }


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
  assert not [name for name in tree(tmp_path) if TMP_PREFIX in name]
