"""suspects.csv and the thumbnails of the most suspicious images."""

import dataclasses

import numpy as np
import pytest

from sdt import files
from sdt.data.dataset import Data, Dataset, LabelChange
from sdt.scores.cleanlab_issues import CleanlabIssues
from sdt.scores.suspects import find
from sdt.stages import suspect_files
from tests.support.scored import CONFIG, make_data, read_table


def suspects_of(data: Data, seed: int = 0):
  margin = np.random.default_rng(seed).normal(size=(2, len(data.train))).astype(np.float32)
  other = ((data.train.labels + 1) % 3)[None].repeat(2, axis=0).astype(np.int32)
  return find({"margin": margin}, other, np.ones(2, bool)), margin


def images(data: Data, inputs: np.ndarray, **changes) -> Data:
  train = dataclasses.replace(data.train, inputs=inputs, **changes)
  return dataclasses.replace(data, train=train)


def test_the_table_names_every_example_the_most_suspicious_first(tmp_path):
  data = make_data()
  found, margin = suspects_of(data)
  suspect_files.write_suspects(tmp_path, data, CONFIG, found)
  rows = read_table(tmp_path / suspect_files.TABLE)
  places = [(int(row["example_id"]) - 5) // 3 for row in rows]  # ids are not positions
  assert sorted(places) == list(range(70))
  suspicion = [float(row["suspicion"]) for row in rows]
  assert suspicion == sorted(suspicion, reverse=True)
  for place, row in zip(places, rows, strict=True):
    label, votes = int(data.train.labels[place]), int((margin[:, place] < 0).sum())
    assert row["source_file"] == f"a/{place}.png"
    assert row["given"] == data.class_names[label]
    assert row["suggested"] == data.class_names[(label + 1) % 3]
    assert (int(row["seeds_agree"]), row["num_seeds"]) == (votes, "2")
    odds = np.exp(-margin[:, place].mean())
    assert float(row["odds"]) == pytest.approx(odds, rel=1e-3)
    assert row["suspect"] == str(int(odds > 12.2))
    assert row["reason"].startswith(f"odds of {odds:.3g} to 1 against {row['given']}; ")
    assert f"; {votes} of 2 seeds prefer {row['suggested']} (" in row["reason"]
  stored = files.read_npz(tmp_path / suspect_files.IMAGES)
  np.testing.assert_array_equal(stored["example_id"], [int(row["example_id"]) for row in rows])
  np.testing.assert_array_equal(stored["images"], data.train.inputs[places])
  np.testing.assert_array_equal(stored["labels"], data.train.labels[places])


def test_what_a_file_of_corrections_kept_is_in_a_last_column_of_its_own(tmp_path):
  data = make_data()
  found, _ = suspects_of(data)
  change = LabelChange("data.corrections", "a.csv", "", "", {}, reviewed=frozenset([8, 11, 999]))
  of_test = dataclasses.replace(change, key="data.corrections_test", reviewed=frozenset([14]))
  mended = dataclasses.replace(data, label_changes=(of_test, change))
  suspect_files.write_suspects(tmp_path, mended, CONFIG, found)
  rows = read_table(tmp_path / suspect_files.TABLE)
  assert list(rows[0])[-1] == "reviewed"
  assert {int(row["example_id"]) for row in rows if row["reviewed"] == "1"} == {8, 11}
  untouched = dataclasses.replace(data, label_changes=(of_test,))
  suspect_files.write_suspects(tmp_path, untouched, CONFIG, found)
  assert "reviewed" not in read_table(tmp_path / suspect_files.TABLE)[0]


def test_cleanlab_adds_the_last_column_and_changes_no_other_byte(tmp_path):
  data = make_data()
  found, _ = suspects_of(data)
  called = np.random.default_rng(1).random((2, 70)) < 0.5
  beside = dataclasses.replace(found, cleanlab=CleanlabIssues(called, "2.9.0"))
  texts = []
  for name, suspects in (("alone", found), ("beside", beside)):
    (tmp_path / name).mkdir()
    suspect_files.write_suspects(tmp_path / name, data, CONFIG, suspects)
    texts.append((tmp_path / name / suspect_files.TABLE).read_bytes())
  rows = read_table(tmp_path / "beside" / suspect_files.TABLE)
  agree = {int(row["example_id"]): int(row["cleanlab_agree"]) for row in rows}
  assert [agree[5 + 3 * place] for place in range(70)] == called.sum(axis=0).tolist()
  cut = [line.rpartition(b",")[0] for line in texts[1].splitlines()]
  assert b"".join(line + b"\n" for line in cut) == texts[0]


def test_thumbnails_are_small_in_the_shape_of_the_image_and_within_the_limit(monkeypatch):
  rng = np.random.default_rng(0)
  data = make_data()
  large = rng.integers(0, 256, (70, 200, 300, 5), np.uint8)
  shown = suspect_files.thumbnails(images(data, large).train, np.arange(70), None)
  assert shown.shape == (70, 64, 96, 5)
  # Each channel is scaled alone.
  grey = suspect_files.thumbnails(images(data, large[..., 2:3]).train, np.arange(70), None)
  np.testing.assert_array_equal(shown[..., 2:3], grey)
  monkeypatch.setattr(suspect_files, "_MOST_BYTES", 10 * 64 * 96 * 5)
  assert len(suspect_files.thumbnails(images(data, large).train, np.arange(70), None)) == 10


def test_thumbnails_of_images_of_several_sizes_are_their_middles():
  inputs = np.zeros((70, 12, 12, 1), np.uint8)
  inputs[:, 2:6, 2:6] = 9
  sizes = np.full((70, 2), 8, np.int32)
  data = images(make_data(), inputs, sizes=sizes)
  shown = suspect_files.thumbnails(data.train, np.array([3, 1]), 4)
  np.testing.assert_array_equal(shown, np.full((2, 4, 4, 1), 9))


def test_vectors_have_a_table_and_no_images(tmp_path):
  data = make_data()
  vectors = images(data, data.train.inputs.reshape(70, -1).astype(np.float32))
  assert isinstance(vectors.train, Dataset)
  suspect_files.write_suspects(tmp_path, vectors, CONFIG, suspects_of(data)[0])
  assert (tmp_path / suspect_files.TABLE).exists()
  assert not (tmp_path / suspect_files.IMAGES).exists()
