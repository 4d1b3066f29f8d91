"""The command `predict`: its table, its errors, and that nothing is left half-written."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from sdt.commands import predict, program
from sdt.commands.predict import main
from sdt.errors import ConfigError, DataError, WorkdirError
from sdt.trained import networks
from sdt.trained.load import load
from tests.support import tiny, whole
from tests.support.places import ROOT

CONFIG = whole.CONFIG


@pytest.fixture(scope="module")
def images():
  return tiny.data(CONFIG).test.inputs


@pytest.fixture
def pictures(tmp_path, images):
  """Returns a folder of ten images, some below others, with what is no image among them."""
  folder = tmp_path / "pictures"
  for place, image in enumerate(images[:10]):
    path = folder / ("deep/er" if place % 2 else ".") / f"{place}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  (folder / "notes.txt").write_text("no image")
  (folder / "__MACOSX").mkdir()
  shutil.copy(folder / "0.png", folder / "__MACOSX" / "0.png")
  shutil.copy(folder / "0.png", folder / ".hidden.png")
  (folder / "deep" / "loop").symlink_to(folder)
  return folder


def table(text):
  return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_has_the_class_its_probability_the_five_best_and_the_spread(
  reference_run, pictures, capsys
):
  assert main([str(reference_run), str(pictures)]) == 0
  captured = capsys.readouterr()
  rows, run = table(captured.out), load(reference_run)
  files_there = sorted(pictures.glob("*.png")), sorted((pictures / "deep" / "er").iterdir())
  paths = [str(path) for some in files_there for path in some if path.name[0] != "."]
  assert [row["path"] for row in rows] == paths
  expected = run.predict_proba(paths, batch_size=16)
  each = [run.predict_proba(paths, seeds=seed, batch_size=16) for seed in CONFIG.seeds]
  for place, row in enumerate(rows):
    order = np.argsort(-expected[place], kind="stable")
    best = [(row[f"class_{n}"], float(row[f"probability_{n}"])) for n in (1, 2, 3)]
    assert [name for name, _ in best] == [run.class_names[label] for label in order]
    np.testing.assert_allclose([p for _, p in best], expected[place][order], rtol=1e-5)
    assert (row["class"], float(row["probability"])) == best[0]
    spread = np.std([one[place][order[0]] for one in each], ddof=1)
    assert float(row["spread"]) == pytest.approx(spread, rel=1e-4)
    assert row["error"] == ""
  assert "predict: 10 images, arm baseline, seed(s) 0, 1" in captured.err


def test_files_folders_lists_and_archives_may_stand_side_by_side(
  reference_run, pictures, tmp_path, images, capsys
):
  (tmp_path / "list.csv").write_text('no,path\n1,"pictures/0.png"\n\n2,pictures/deep/er/1.png\n')
  np.savez_compressed(tmp_path / "some.npz", test_x=images[:5], test_y=np.zeros(5))
  np.savez(tmp_path / "one.npz", anything=images[3:5, ..., 0])
  names = ("pictures/2.png", "list.csv", "some.npz", "one.npz")
  assert main([str(reference_run), *(str(tmp_path / name) for name in names), "--seeds=1"]) == 0
  rows = table(capsys.readouterr().out)
  assert [row["path"] for row in rows] == [
    str(pictures / "2.png"),
    "pictures/0.png",
    "pictures/deep/er/1.png",
    *(f"{tmp_path}/some.npz:test_x:{place}" for place in range(5)),
    *(f"{tmp_path}/one.npz:anything:{place}" for place in range(2)),
  ]
  by_place = {0: rows[1], 1: rows[2], 2: rows[0]}
  for place, row in by_place.items():
    assert row["probability"] == rows[3 + place]["probability"]
  assert {row["spread"] for row in rows} == {""}  # of one seed


def test_an_image_that_cannot_be_read_has_a_row_with_the_reason_and_the_code_is_3(
  reference_run, pictures, tmp_path
):
  (pictures / "1 empty.png").write_bytes(b"")
  (pictures / "2 cut.png").write_bytes((pictures / "0.png").read_bytes()[:70])
  (pictures / "3 gone.png").symlink_to("nowhere")
  out = tmp_path / "out.csv"
  with pytest.raises(DataError, match="3 of 13 images could not be predicted") as caught:
    main([str(reference_run), str(pictures), f"--output={out}"])
  assert "1 empty.png: the file is empty" in str(caught.value)
  rows = table(out.read_text())
  bad = {os.path.basename(row["path"]): row for row in rows if row["error"]}
  assert list(bad) == ["1 empty.png", "2 cut.png", "3 gone.png"]
  assert len(rows) == 13
  assert {(row["class"], row["probability"], row["class_3"]) for row in bad.values()} == {
    ("", "", "")
  }
  assert "No such file" in bad["3 gone.png"]["error"]


def test_a_path_that_is_not_there_beside_good_ones_has_a_row_and_the_code_is_3(
  reference_run, pictures, tmp_path
):
  out, gone = tmp_path / "out.csv", str(tmp_path / "gone.png")
  good = str(pictures / "0.png")
  with pytest.raises(DataError, match=r"2 of 3 images could not.*gone\.png: No such file"):
    main([str(reference_run), gone, good, "x" * 300, f"--output={out}"])
  rows = table(out.read_text())
  assert [row["path"] for row in rows] == [gone, good, "x" * 300]
  assert [bool(row["error"]) for row in rows] == [True, False, True]
  with pytest.raises(DataError, match="no such file or folder"):
    main([str(reference_run), gone, gone, f"--output={tmp_path / 'other.csv'}"])
  assert not (tmp_path / "other.csv").exists()


def test_paths_with_line_breaks_of_any_kind_come_back_from_the_table(
  reference_run, pictures, tmp_path
):
  names = ["a\rb.png", "c\nd.png", 'e\r\n,"f.png']
  for name in names:
    shutil.copy(pictures / "0.png", tmp_path / name)
  out = tmp_path / "out.csv"
  assert main([str(reference_run), *(str(tmp_path / n) for n in names), f"--output={out}"]) == 0
  with out.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["path"] for row in rows] == [str(tmp_path / name) for name in names]


def test_class_names_with_commas_quotes_and_line_breaks_come_back_from_the_table(
  reference_run, pictures, tmp_path, monkeypatch
):
  names = ('a, "b"', "line\nbreak", "=1+2\r\n;ü")
  monkeypatch.setattr(networks.Networks, "class_names", names)
  out = tmp_path / "out.csv"
  assert main([str(reference_run), str(pictures), "--output", str(out)]) == 0
  with out.open(newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 10
  assert {row[f"class_{place}"] for row in rows for place in (1, 2, 3)} == set(names)


def test_the_output_is_never_overwritten_by_itself(reference_run, pictures, tmp_path, capsys):
  out = tmp_path / "out.csv"
  out.write_text("mine")
  with pytest.raises(ConfigError, match="exists already; give --overwrite"):
    main([str(reference_run), str(pictures), f"--output={out}"])
  assert out.read_text() == "mine"
  assert main([str(reference_run), str(pictures), f"--output={out}", "--overwrite"]) == 0
  assert len(table(out.read_text())) == 10


@pytest.mark.parametrize(
  ("output", "told"), [(".", "a folder"), ("none/out.csv", "no folder"), ("x" * 300, "too long")]
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_predicted(
  output, told, reference_run, pictures, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(predict, "_predict", lambda request: pytest.fail("it went on"))
  with pytest.raises(WorkdirError, match=told):
    main([str(reference_run), str(pictures), f"--output={output}"])
  assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_nothing_is_left_where_it_fails_in_the_middle(
  reference_run, pictures, tmp_path, monkeypatch
):
  out = tmp_path / "out.csv"
  out.write_text("before")
  rows = predict.rows

  def full(*args):
    yield from rows(*args)
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(predict, "rows", full)
  with pytest.raises(WorkdirError, match="No space left on device"):
    main([str(reference_run), str(pictures), f"--output={out}", "--overwrite"])
  assert out.read_text() == "before"
  assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "pictures"]


def bad_archive(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, ")


@pytest.mark.parametrize(
  ("make", "told"),
  [
    (lambda path: path.mkdir(), "no image in it"),
    (lambda path: None, "no such file or folder"),
    (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)), "an archive: unpack it"),
    (lambda path: path.with_suffix(".csv").write_text("a,b\n1,2\n"), "has no column path"),
    (lambda path: path.with_suffix(".csv").write_text("path\n"), "no image in it"),
    (bad_archive, "cannot be read"),
    (lambda path: np.savez(path, a=np.zeros(3), b=np.zeros(3)), "expected the images as an array"),
    (lambda path: np.savez(path, x=np.zeros((2, 8, 8, 2), np.uint8)), "images of 3"),
    (lambda path: np.savez(path, x=np.zeros((2, 8, 8, 3))), "expected uint8"),
    (lambda path: np.savez(path, x=np.zeros((0, 8, 8, 3), np.uint8)), "no image in it"),
    (
      lambda path: np.savez(path, x=np.asfortranarray(np.zeros((2, 8, 8, 3), np.uint8))),
      "lies in Fortran's order",
    ),
  ],
)
def test_paths_without_an_image_that_can_be_predicted_are_refused_and_nothing_is_written(
  make, told, reference_run, tmp_path
):
  make(tmp_path / "it")
  path = next(tmp_path.iterdir(), tmp_path / "it")
  out = tmp_path / "out.csv"
  with pytest.raises(DataError, match=told) as caught:
    main([str(reference_run), str(path), f"--output={out}"])
  assert "\n" not in str(caught.value)
  assert not out.exists()


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    ([], "expected a workdir and at least one path"),
    (["run"], "expected a workdir and at least one path"),
    (["run", "x", "--sed=1"], "unknown flag --sed; did you mean --seeds"),
    (["run", "x", "--folds=2"], "unknown flag --folds"),
    (["run", "x", "--seeds=a"], "--seeds=a: expected all, or seeds such as 0,1"),
    (["run", "x", "--batch_size=0"], "--batch_size=0: expected a whole number"),
    (["run", "x", "--arm"], "--arm needs a value"),
    (["run", "x", "--arm=a", "--arm=b"], "--arm is given twice"),
    (["run", "x", "--overwrite=1"], "--overwrite takes no value"),
  ],
)
def test_a_mistake_in_the_command_is_told_with_the_usage(arguments, told):
  with pytest.raises(ConfigError, match=told) as caught:
    main(arguments)
  assert "usage: python run.py predict WORKDIR PATH..." in str(caught.value)


def test_the_help_names_every_flag(capsys):
  assert main(["--help"]) == 0
  text = capsys.readouterr().out
  assert all(flag.rstrip("=") in text for flag in predict.FLAGS if flag != "--help")


def test_the_program_runs_the_command_and_its_codes_come_through(
  reference_run, pictures, tmp_path, capsys
):
  out = tmp_path / "out.csv"
  assert program.main(["predict", str(reference_run), str(pictures), f"--output={out}"]) == 0
  assert program.main(["predict", str(reference_run), str(pictures), f"--output={out}"]) == 2
  assert program.main(["predict", str(tmp_path), str(pictures)]) == 2
  assert program.main(["predict", str(reference_run), str(tmp_path / "none")]) == 3
  assert program.main(["predict", str(reference_run), str(pictures), "--output=none/x"]) == 7
  assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("vectors", [1, 3])
def test_an_archive_is_read_in_parts_of_any_number(
  vectors, tmp_path, images, reference_run, capsys
):
  np.savez(tmp_path / "x.npz", x=images)
  run = load(reference_run)
  expected = run.predict_proba(images, batch_size=32)
  from sdt.trained import pictures as module

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(module, "_PART_BYTES", vectors * images[0].nbytes)
    assert main([str(reference_run), str(tmp_path / "x.npz")]) == 0
  rows = table(capsys.readouterr().out)
  np.testing.assert_allclose(
    [float(row["probability"]) for row in rows], expected.max(axis=1), rtol=1e-5
  )


@pytest.mark.slow
def test_a_signal_ends_the_command_and_leaves_nothing(reference_run, tmp_path):
  np.savez_compressed(tmp_path / "many.npz", x=np.zeros((400_000, 8, 8, 3), np.uint8))
  command = [sys.executable, "run.py", "predict", str(reference_run), str(tmp_path / "many.npz")]
  process = subprocess.Popen(
    [*command, f"--output={tmp_path / 'out.csv'}"], cwd=ROOT, stderr=subprocess.PIPE, text=True
  )
  assert "predict: 400,000 images" in process.stderr.readline()
  process.send_signal(signal.SIGINT)
  _, told = process.communicate(timeout=60)
  assert process.returncode == 130
  assert "stopped before there was anything to save" in told
  assert [path.name for path in tmp_path.iterdir()] == ["many.npz"]


@pytest.mark.slow
def test_the_same_command_in_a_process_of_its_own_writes_the_same_bytes(
  reference_run, pictures, tmp_path
):
  here = tmp_path / "here.csv"
  assert main([str(reference_run), str(pictures), f"--output={here}"]) == 0
  command = [sys.executable, "run.py", "predict", str(reference_run), str(pictures)]
  there = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
  assert there.stdout == here.read_bytes()
