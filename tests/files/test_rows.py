"""JSON lines: rows survive a kill at any byte, and damage is named by its line."""

import json
import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError
from tests.support.on_disk import Killed, killed_at


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
  """A kill tears the last append at any byte, before its seal; a checkpoint restores any round.

  Each round appends the rows of 1 or 2 phases.
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
  names = ("fsync", "replace", "unlink")
  with killed_at(kill_at, names, monkeypatch, for_good=True), pytest.raises(Killed):
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
