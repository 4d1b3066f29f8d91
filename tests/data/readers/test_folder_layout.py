"""What is a class, a split, or neither, in a folder of images; what is left out, and is told."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.class_names import counts_line
from sdt.errors import ConfigError, DataError
from tests.support import image_files

SPLITS = ["test", "val", "valid", "validation", "testing", "Train", "TEST", "Training"]


def fill(root, *classes, num=4):
  """Writes `num` noisy PNGs a class below root; returns root."""
  for label, name in enumerate(classes):
    (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(num):
      seed = 100 * label + i + 10_000 * len(root.name)  # other images in other splits
      image_files.noise(seed=seed).save(root / name / f"{i}.png")
  return root


def load(root, **keys):
  return sources.load(DataConfig(name="folder", path=str(root), cache=False, **keys))


def refused(root, **keys):
  with pytest.raises(DataError) as caught:
    load(root, **keys)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("name", SPLITS)
def test_the_name_of_a_split_beside_classes_is_no_class(tmp_path, name):
  fill(fill(tmp_path, "cat", "dog"), name, num=3)
  text = refused(tmp_path, test_fraction=0.25)
  assert "cat/ (4 images), dog/ (4 images)" in text
  assert f"{name}/ (3 images)" in text
  assert f"move {name}/ away" in text
  assert "in a CSV file instead" in text


@pytest.mark.parametrize(
  "name",
  ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "$RECYCLE.BIN", "#recycle", ".git", "__macosx"],
)
@pytest.mark.parametrize("below", ["", "cat"])
def test_folders_of_the_system_are_no_class_and_are_counted(tmp_path, name, below):
  fill(fill(tmp_path, "cat", "dog") / below, name, num=3)
  data = load(tmp_path, test_fraction=0.25)
  assert data.class_names == ("cat", "dog")
  place = f"{below}/{name}/0.png".lstrip("/")
  assert data.notes == (f"left out: 3 images in system or hidden folders (the first is {place})",)


@pytest.mark.parametrize("name", ["figures", "runs", "Output"])
def test_an_unlikely_class_is_told_and_seen_among_the_classes(tmp_path, name):
  data = load(fill(tmp_path, "cat", name), test_fraction=0.25)
  assert data.notes == (f"{name}/ is taken for a class; if it is none, move it away",)
  assert f"{name} 3 + 1" in counts_line(data)


def test_a_run_of_ours_among_the_classes_is_no_class(tmp_path):
  fill(fill(tmp_path, "cat", "dog"), "figures", "runs/mine/figures")
  for folder in ("figures", "runs/mine"):
    (tmp_path / folder / ".sha256").mkdir()
  assert load(tmp_path, test_fraction=0.25).class_names == ("cat", "dog")


def test_a_class_called_train_works_through_a_csv_file(tmp_path):
  fill(tmp_path, "train", "test", "plane")
  assert "in a CSV file instead" in refused(tmp_path, test_fraction=0.25)
  rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in tmp_path.glob("*/*.png")]
  (tmp_path / "set.csv").write_text("\n".join(["path,label", *rows]))
  config = DataConfig(name="csv", path=str(tmp_path / "set.csv"), test_fraction=0.25, cache=False)
  assert sources.load(config).class_names == ("plane", "test", "train")


@pytest.mark.parametrize(
  ("train", "test", "advice"),
  [
    ("Train", "Test", "rename Test/ to test/ and Train/ to train/"),
    ("training", "validation", "rename training/ to train/ and validation/ to val/"),
    ("train", "testing", "rename testing/ to test/"),
    ("train", "Val", "rename Val/ to val/"),
  ],
)
@pytest.mark.parametrize("fraction", [None, 0.25])
def test_splits_by_another_name_are_told_how_to_be_called(tmp_path, train, test, advice, fraction):
  fill(tmp_path / train, "cat", "dog")
  fill(tmp_path / test, "cat", "dog")
  text = refused(tmp_path, test_fraction=fraction)
  assert advice in text
  assert f"{train}/ (2 folders)" in text
  assert ("leave data.test_fraction out" in text) == (fraction is not None)


def test_what_lies_beside_train_and_is_not_used_is_told(tmp_path):
  fill(tmp_path / "train", "cat", "dog")
  fill(tmp_path / "test", "cat", "dog", num=1)
  fill(tmp_path, "bird", num=2)
  fill(tmp_path / "Testing", "cat")
  (tmp_path / "docs").mkdir()
  assert load(tmp_path).notes == ("Testing/, bird/ are not used",)


def test_test_images_without_class_folders_have_no_labels(tmp_path):
  fill(tmp_path / "train", "cat", "dog")
  fill(tmp_path, "test", num=3)
  text = refused(tmp_path)
  assert "test/ holds 3 images, but no class folders, so its labels are not known" in text
  assert "move test/ away and give --config.data.test_fraction=0.2" in text


@pytest.mark.parametrize(("ours", "theirs"), [("Cat", "cat"), ("1", "1.0"), ("cat", "cat ")])
def test_splits_that_disagree_by_spelling_alone_are_refused(tmp_path, ours, theirs):
  fill(tmp_path / "train", ours, "dog")
  fill(tmp_path / "test", theirs, "dog")
  assert f"({theirs!a} for {ours!a}), which differ only in case" in refused(tmp_path)


def test_classes_that_differ_by_spelling_alone_are_told(tmp_path):
  notes = load(fill(tmp_path, "1", "1.0"), test_fraction=0.25).notes
  assert "the names of the classes 0 ('1'), 1 ('1.0') differ only in case" in notes[0]


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
  data = load(fill(tmp_path, "10", "2", "1"), test_fraction=0.25)
  assert data.class_names == ("1", "2", "10")
  assert [file[: file.index("/")] for file in data.train.source_files] == [
    name for name in ("1", "2", "10") for _ in range(3)
  ]


@pytest.mark.parametrize(
  "files",
  [
    {"a.jfif": "JPEG", "b.jpe": "JPEG", "c.avif": "AVIF", "d.jp2": "JPEG2000"},
    {"a.APNG": "PNG", "b.pnm": "PPM", "c.mpo": "JPEG"},
    {"photo": "JPEG", "photo.jpg_large": "JPEG", "x.img": "WEBP"},
  ],
)
def test_what_pillow_opens_is_an_image_whatever_its_suffix(tmp_path, files):
  fill(tmp_path, "cat", "dog")
  for seed, (file, kind) in enumerate(files.items()):
    image_files.noise((32, 32), seed).resize((6, 4)).save(tmp_path / "cat" / file, kind)
  data = load(tmp_path, test_fraction=0.25)
  assert len(data.train) + len(data.test) == 8 + len(files)
  told = (
    "3 images have no suffix of an image and are taken by their content (the first is cat/photo)"
  )
  assert data.notes == ((told,) if "photo" in files else ())


def test_raw_files_of_cameras_and_texts_are_no_images(tmp_path):
  fill(tmp_path, "cat", "dog")
  image_files.noise().save(tmp_path / "cat" / "raw.NEF", "TIFF")
  (tmp_path / "cat" / "empty").touch()
  (tmp_path / "dog" / "BM.txt").write_text("BM is how a bitmap begins")
  notes = load(tmp_path, test_fraction=0.25).notes
  assert notes == (
    "left out: 2 files that are no images (the first is cat/empty); 1 pictures to be converted to "
    "JPEG or PNG first (the first is cat/raw.NEF)",
  )


@pytest.mark.parametrize("name", ["a.heic", "A.HEIF", "b.dng", "c.svg"])
def test_photographs_that_are_not_read_are_told_apart_from_other_files(tmp_path, name):
  fill(tmp_path, "cat", "dog")
  (tmp_path / "cat" / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
  (note,) = load(tmp_path, test_fraction=0.25).notes
  assert note == (
    f"left out: 1 pictures to be converted to JPEG or PNG first (the first is cat/{name})"
  )


def test_what_is_left_out_is_counted_by_each_reason(tmp_path):
  fill(tmp_path / "train", "cat", "dog", "cat/more")
  fill(tmp_path / "test", "cat", "dog", num=1)
  (tmp_path / "train" / "dog" / "._0.png").touch()
  for folder in ("", "train", "test"):
    image_files.noise().save(tmp_path / folder / "loose.png")
  assert load(tmp_path).notes == (
    "left out: 4 images deeper down (the first is train/cat/more/0.png); 1 hidden files (the first "
    "is train/dog/._0.png); 3 images beside the class folders (the first is loose.png)",
  )


@pytest.mark.parametrize(
  ("make", "part"),
  [
    (lambda root: (root / "runs").mkdir(), "1 of 3 classes have no training example: runs/ of"),
    (lambda root: fill(root / "x", "deep"), "(4 images lie deeper down, such as x/deep/0.png:"),
    (
      lambda root: [(root / "x").mkdir(), (root / "x" / "a.heic").touch()],
      "x/ of {root} holds no image (but 1 .heic: convert them to JPEG or PNG",
    ),
  ],
)
def test_a_class_folder_without_images_is_told_with_what_is_in_it(tmp_path, make, part):
  make(fill(tmp_path, "cat", "dog"))
  assert part.format(root=tmp_path) in refused(tmp_path, test_fraction=0.25)
  data = load(tmp_path, test_fraction=0.25, allow_empty_class=True)
  assert len(data.class_names) == 3


def test_a_class_without_test_images_is_told(tmp_path):
  fill(tmp_path / "train", "cat", "dog", "elk")
  fill(tmp_path / "test", "cat", num=2)
  data = load(tmp_path)
  assert data.notes == (
    "2 of 3 classes have no test example, so their accuracy is not measured: dog, elk",
  )
  assert counts_line(data) == "3 classes, training + test examples: cat 4 + 2, dog 4 + 0, elk 4 + 0"


@pytest.mark.parametrize(
  ("workdir", "is_refused"),
  [
    ("runs/folder", True),
    ("cat/run", True),
    (".", True),
    ("../set/runs", True),
    ("../runs/folder", False),
    ("../set-runs/folder", False),
    (".runs/folder", False),
  ],
)
@pytest.mark.parametrize("path", [".", "../set", "../link"])
def test_a_workdir_among_the_classes_is_refused_with_one_that_will_do(
  tmp_path, monkeypatch, workdir, is_refused, path
):
  root = fill(tmp_path / "set", "cat", "dog")
  (tmp_path / "link").symlink_to(root)
  monkeypatch.chdir(root)
  config = DataConfig(name="folder", path=path)
  if not is_refused:
    sources.check_workdir(config, root.__class__(workdir))
    return
  with pytest.raises(ConfigError, match="the run could not be continued") as caught:
    sources.check_workdir(config, root.__class__(workdir))
  place = root.__class__(str(caught.value).rpartition("--workdir=")[2])
  assert place.parent == tmp_path / "set-runs"
  sources.check_workdir(config, place)


def test_a_workdir_beside_train_is_not_among_the_classes(tmp_path):
  fill(tmp_path / "train", "cat", "dog")
  config = DataConfig(name="folder", path=str(tmp_path))
  sources.check_workdir(config, tmp_path / "runs" / "folder")
  with pytest.raises(ConfigError):
    sources.check_workdir(config, tmp_path / "train" / "runs")


def _zip(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("pets/cat/0.png", b"x")


def _npz(path):
  images, labels = np.zeros((4, 4, 4, 3), np.uint8), np.array([0, 1, 0, 1])
  images[:, 0] = np.arange(4)[:, None, None] * 9
  np.savez(path, train_x=images, train_y=labels, test_x=images, test_y=labels)


@pytest.mark.parametrize(
  ("name", "file", "make", "part"),
  [
    ("folder", "a.zip", _zip, "an archive: unpack it"),
    ("csv", "a.zip", _zip, "an archive: unpack it"),
    (
      "folder",
      "a.csv",
      lambda path: path.write_text("path,label\nx.png,a\n"),
      "--config.data.name=csv",
    ),
    ("folder", "a.npz", _npz, "a npz: give --config=configs/npz.py"),
    ("csv", "a.npz", _npz, "a npz: give --config=configs/npz.py"),
    ("folder", "a.png", lambda path: image_files.noise().save(path), "one image"),
    ("npz", "a.png", lambda path: image_files.noise().save(path), "one image"),
    ("csv", "pets", lambda path: fill(path, "a", "b"), "a folder: give --config=configs/folder.py"),
    ("npz", "pets", lambda path: fill(path, "a", "b"), "a folder: give --config=configs/folder.py"),
  ],
)
def test_a_path_of_another_kind_is_told_what_reads_it(tmp_path, name, file, make, part):
  make(tmp_path / file)
  with pytest.raises(DataError) as caught:
    sources.load(DataConfig(name=name, path=str(tmp_path / file), test_fraction=None))
  assert part in str(caught.value)
  assert str(caught.value).startswith(f"data.path={tmp_path / file}: ")


@pytest.mark.parametrize("name", ["folder", "csv", "npz"])
def test_a_misspelt_path_is_told_its_neighbour(tmp_path, name):
  (tmp_path / "pictures").mkdir()
  with pytest.raises(DataError, match=r"no such .*; did you mean 'pictures'"):
    sources.load(DataConfig(name=name, path=str(tmp_path / "picturs")))


def test_avif_pixels_are_those_that_pillow_shows(tmp_path):
  fill(tmp_path, "cat", "dog")
  buffer = io.BytesIO()
  Image.new("RGB", (6, 4), (200, 40, 90)).save(buffer, "AVIF", quality=100)
  (tmp_path / "cat" / "z.avif").write_bytes(buffer.getvalue())
  data = load(tmp_path, test_fraction=0.25)
  both = [(split, file) for split in (data.train, data.test) for file in split.source_files]
  split = next(split for split, file in both if file == "cat/z.avif")
  pixels = split.inputs[split.source_files.index("cat/z.avif")]
  np.testing.assert_allclose(pixels.astype(int), np.broadcast_to([200, 40, 90], (4, 6, 3)), atol=6)
