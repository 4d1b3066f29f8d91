"""Samples of Tiny-ImageNet and CUB through every stage, from the files of the run."""

import csv
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data.readers.decoding import decode
from tests.support.places import ROOT

SAMPLES = ROOT / ".." / "shared" / "data" / "samples"
NETWORK = {
  "model.name": "resnet",
  "model.stem": "None",
  "model.blocks": "(1,1,1)",
  "model.widths": "(8,16,32)",
}
SHORT = {
  "rounds": "2",
  "optim.milestones": "(1,)",
  "seeds": "(0,)",
  "batch_size": "64",
  "data.verify": "known",
}
CUB = {"data.image_size": "96", "data.crop_size": "80", "method.num_easy": "8"}
RUNS = {
  "tiny_imagenet": (
    "tiny-imagenet-200",
    "paper/tiny_imagenet_resnet50.py",
    {"data.num_train": "500"},
  ),
  "cub": ("CUB_200_2011", "paper/cub_resnet50.py", CUB),
  "cub, stretched": (
    "CUB_200_2011",
    "paper/cub_resnet50.py",
    CUB | {"data.image_size": "64", "data.resize": "stretch", "data.crop_size": "None"},
  ),
}
EXPECTED = {
  "tiny_imagenet": (
    500,
    500,
    50,
    "10 of 200 classes, 2,000 of 100,000 training and 500 of 10,000 test images",
  ),
  "cub": (80, 40, 8, "10 of 200 classes, 80 of 5,994 training and 40 of 5,794 test images"),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
  """A finished run: (name, folder of the sample, workdir, data config, command, environment)."""
  top, config, keys = RUNS[request.param]
  sample = SAMPLES / f"{top}-sample.tar"
  if not sample.is_file():
    pytest.skip(f"{sample.name} is not at ../shared/data/samples")
  place = tmp_path_factory.mktemp("sample")
  with tarfile.open(sample) as archive:
    archive.extractall(place, filter="data")
  keys = NETWORK | SHORT | keys | {"data.path": str(place)}
  command = [
    sys.executable,
    "-W",
    "error",
    str(ROOT / "run.py"),
    f"--config={ROOT / 'configs' / config}",
    f"--workdir={place / 'run'}",
  ]
  command += [f"--config.{key}={value}" for key, value in keys.items()]
  environment = {**os.environ, "SDT_DATA_DIR": str(place / "cache")}
  done = subprocess.run(
    command, env=environment, capture_output=True, text=True, timeout=900, check=False
  )
  assert done.returncode == 0, done.stderr
  data = json.loads((place / "run" / "config.json").read_text())["config"]["data"]
  return (
    request.param.split(",")[0],
    place / top,
    place / "run",
    DataConfig(**(data | {"shapes": None})),
    command,
    environment,
  )


def _middle(image, size):
  if size is None:
    return image
  top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
  return image[top : top + size, left : left + size]


@pytest.mark.slow
def test_the_results_name_the_set_and_how_much_of_it_there_was(run):
  name, _, workdir, *_ = run
  num_train, num_test, num_easy, counts = EXPECTED[name]
  results = json.loads((workdir / "results.json").read_text())
  data = results["data"]
  assert (data["name"], data["variant"], data["num_classes"]) == (name, "subset-10-classes", 10)
  assert (data["num_train"], data["num_test"], results["num_easy"]) == (
    num_train,
    num_test,
    num_easy,
  )
  assert data["notes"][0] == f"data variant 'subset-10-classes': {counts}"
  assert set(results["arms"]) == {"baseline", "method"}
  assert all(0 <= arm["mean"] <= 1 for arm in results["arms"].values())
  assert counts in (workdir / "report.html").read_text()


@pytest.mark.slow
def test_every_score_stands_beside_the_file_and_the_class_it_belongs_to(run):
  name, folder, workdir, *_ = run
  names = json.loads((workdir / "results.json").read_text())["data"]["class_names"]
  with (workdir / "scores.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == EXPECTED[name][0]
  if name == "cub":
    ids = {
      line.split()[1]: int(line.split()[0]) - 1
      for line in (folder / "images.txt").read_text().splitlines()
    }
    for row in rows:
      assert ids[row["source_file"].removeprefix("images/")] == int(row["example_id"])
      assert f".{names[int(row['label'])]}/" in row["source_file"]
    return
  wnids = (folder / "wnids.txt").read_text().split()
  for row in rows:
    label, number = divmod(int(row["example_id"]), 500)
    assert int(row["label"]) == label
    assert row["source_file"] == f"train/{wnids[label]}/images/{wnids[label]}_{number}.JPEG"


@pytest.mark.slow
def test_the_mosaics_show_the_files_upright_in_their_colours(run):
  _, folder, workdir, config, *_ = run
  with (workdir / "scores.csv").open() as file:
    files = {int(row["example_id"]): row["source_file"] for row in csv.DictReader(file)}
  with np.load(workdir / "figures" / "mosaics.npz") as mosaics:
    for side in ("easiest", "hardest"):
      assert len(mosaics[f"{side}_images"])
      for image, example_id in zip(
        mosaics[f"{side}_images"], mosaics[f"{side}_ids"].tolist(), strict=True
      ):
        np.testing.assert_array_equal(
          image, _middle(decode(folder / files[example_id], config).pixels, config.crop_size)
        )


@pytest.mark.slow
def test_the_same_command_again_reads_the_kept_images_and_has_nothing_to_do(run):
  *_, command, environment = run
  done = subprocess.run(
    command, env=environment, capture_output=True, text=True, timeout=300, check=False
  )
  assert done.returncode == 0
  assert "prepared images from" in done.stderr
  assert "complete: nothing to do" in done.stdout
