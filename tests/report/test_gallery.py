"""The tiles of the images to look at: what stands below each, and that no name is HTML."""

import base64
import csv
import dataclasses
import io

import numpy as np
from PIL import Image

from sdt import files
from sdt.report import gallery, read, thumbnails
from tests.support.report_page import page_alone, small_run


def test_tiles_say_which_image_it_is_what_it_was_called_and_how_sure_that_is(tmp_path):
  workdir = small_run(tmp_path)
  with open(workdir / "suspects.csv", newline="") as file:
    first = next(csv.DictReader(file))
  described = gallery.describe(read.load(workdir))
  assert len(described["tiles"]) == read.NUM_SUSPECTS
  tile = described["tiles"][0]
  assert tile.title == f"{first['given']} \u2192 {first['suggested']}?"
  assert tile.notes == (
    f"odds {float(first['odds']):.3g} to 1, {first['seeds_agree']} of 3 seeds",
    f"id {first['example_id']}, {first['source_file']}",
  )
  mosaics = np.load(workdir / "figures" / "mosaics.npz")
  hardest, number = described["hardest"][0], int(mosaics["hardest_ids"][0])
  label = int(mosaics["hardest_labels"][0])
  assert hardest.title.startswith(f"{label}; or ")
  assert hardest.notes[1] == f"id {number}, {label}/{number}.png"
  assert all("; or " not in one.title for one in described["easiest"])
  assert len(described["hardest"]) == len(described["easiest"]) == 3


def test_what_cleanlab_says_is_on_the_tiles_and_in_a_sentence(tmp_path):
  workdir = small_run(tmp_path)
  assert "cleanlab" not in page_alone(workdir)
  with open(workdir / "suspects.csv", newline="") as file:
    rows = [row | {"cleanlab_agree": "2"} for row in csv.DictReader(file)]
  files.write_csv(workdir / "suspects.csv", rows[0], [row.values() for row in rows])
  results = files.read_json(workdir / "results.json")
  results["suspects"]["cleanlab"] = {"version": "2.9.0", "num": 1234, "num_ours": 56}
  files.write_json(workdir / "results.json", results)
  assert gallery.describe(read.load(workdir))["tiles"][0].notes[0].endswith(" seeds, cleanlab 2")
  text = page_alone(workdir)
  assert "cleanlab 2.9.0 calls 1,234 labels wrong by the networks of every seed; 56 of them" in text


def test_the_picture_of_a_tile_has_the_exact_pixels():
  image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  assert _decoded(thumbnails.address(image)).tolist() == image.tolist()
  # One and two channels are grey, of five the first three are shown.
  assert (
    _decoded(thumbnails.address(image[..., :2])).tolist()
    == np.repeat(image[..., :1], 3, axis=2).tolist()
  )
  five = np.concatenate([image, image[..., :2]], axis=2)
  assert _decoded(thumbnails.address(five)).tolist() == image.tolist()


def _decoded(address):
  start, _, content = address.partition(",")
  assert start == "data:image/png;base64"
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_of_a_large_table_only_the_rows_that_are_shown_are_kept(tmp_path):
  workdir = small_run(tmp_path)
  shown = read.load(workdir).suspects
  mosaics = np.load(workdir / "figures" / "mosaics.npz")
  ids = {*mosaics["hardest_ids"].tolist(), *mosaics["easiest_ids"].tolist()}
  assert len(shown) <= read.NUM_SUSPECTS + len(ids) < 200
  assert ids <= set(shown)


def test_without_suspects_the_page_says_what_is_missing_and_vectors_have_no_pictures(tmp_path):
  artifacts = read.load(small_run(tmp_path))
  assert gallery.describe(dataclasses.replace(artifacts, suspects={})) is None
  vectors = dataclasses.replace(artifacts, review={}, mosaics={})
  described = gallery.describe(vectors)
  assert {tile.source for tile in described["tiles"]} == {""}
  assert described["hardest"] == []


def test_hostile_names_stay_text(tmp_path):
  names = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "a&b"]
  text = page_alone(small_run(tmp_path, num_classes=3, class_names=names))
  assert "<img src=x" not in text
  assert "</script><script>" not in text
  assert text.count("<script>") == 1
