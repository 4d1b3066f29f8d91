"""Whoever follows the advice of a refusal gets a set that loads: no advice leads to a second error.

A case makes a set that is refused. Each of its pieces of advice must stand in the message, is then
carried out, and the set must load.
"""

import dataclasses
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import ConfigError, DataError
from tests.support import image_files

ROOT = Path(__file__).parents[3]
type Keys = dict[str, object]
type Act = Callable[[Path, str], Keys | None]  # (root, message) -> keys to change; None gives up


@dataclasses.dataclass(frozen=True)
class Case:
  """A set that is refused.

  Attributes:
    make: writes it below the root.
    keys: of the data, `path` relative to the root.
    advice: part of the message -> what it says to do.
  """

  make: Callable[[Path], object]
  keys: Mapping[str, object]
  advice: Mapping[str, Act]


def fill(root, *classes, num=4, size=(6, 4)):
  for label, name in enumerate(classes):
    (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(num):
      image_files.noise(size, 100 * label + i).save(root / name / f"{i}.png")


def made(*folders, also=lambda root: None):
  """Returns what fills the folders, each the path of a class, and does `also`."""
  return lambda root: (fill(root, *folders), also(root))


def save_npz(root, **changes):
  images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
  arrays = {"train_x": images, "train_y": np.arange(8) % 2} | changes
  np.savez(root / "set.npz", **{key: value for key, value in arrays.items() if value is not None})


def table(*rows, header="path,label"):
  """Returns what writes set.csv beside the images of the classes a and b."""

  def write(root):
    fill(root, "a", "b")
    (root / "set.csv").write_text("\n".join([header, *rows]) + "\n")

  return write


ALL = [f"{name}/{i}.png,{name}" for name in "ab" for i in range(4)]
WITH_TEST = [f"{row},{'test' if row[2] == '3' else 'train'}" for row in ALL]


def keys(**changes):
  return lambda root, message: changes


def given(root, message):
  """Takes the keys from the message itself."""
  found = re.findall(r"--config\.data\.(\w+)=([^\s,;)]+)", message)
  return {key: float(text) if key == "test_fraction" else text for key, text in found}


def command(root, message):
  """Takes config file and keys from the message itself."""
  (file,) = re.findall(r"--config=(\S+)", message)
  pairs = [(f"data.{key}", str(value)) for key, value in given(root, message).items()]
  data = resolve(load_config_file(ROOT / file), pairs).data
  return {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}


def move(old, new, **changes):
  def act(root, message):
    (root / new).parent.mkdir(exist_ok=True)
    (root / old).rename(root / new)
    return changes

  return act


def away(*names, **changes):
  def act(root, message):
    for name in names:
      place = root / name
      shutil.rmtree(place) if place.is_dir() else place.unlink()
    return changes

  return act


def then(*acts):
  def act(root, message):
    return {key: value for one in acts for key, value in (one(root, message) or {}).items()}

  return act


def as_csv(root, message):
  rows = [f"{path.relative_to(root)},{path.parent.name}" for path in root.glob("*/*.png")]
  (root / "list.csv").write_text("\n".join(["path,label", *rows]))
  return {"name": "csv", "path": str(root / "list.csv"), "test_fraction": 0.25}


def rewrite(*rows, header="path,label"):
  return lambda root, message: table(*rows, header=header)(root) and None


def resaved(**changes):
  return lambda root, message: save_npz(root, **changes)


FOLDER, CSV, NPZ = (
  {"name": name, "path": path}
  for name, path in (("folder", "."), ("csv", "set.csv"), ("npz", "set.npz"))
)
HELD = {"test_fraction": 0.25}
X = np.random.default_rng(1).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
CASES = {
  "no test split": Case(made("a", "b"), FOLDER, {"data.test_fraction=0.2": given}),
  "no test split beside train": Case(
    made("train/a", "train/b"), FOLDER, {"data.test_fraction=0.2": given}
  ),
  "a fraction beside a test split": Case(
    made("train/a", "train/b", "test/a", "test/b"),
    FOLDER | HELD,
    {"leave it out": keys(test_fraction=None)},
  ),
  "a split's name, with images": Case(
    made("a", "b", "test"),
    FOLDER | HELD,
    {"move test/ away": away("test"), "in a CSV file instead": as_csv},
  ),
  "a split's name, with images, without a fraction": Case(
    made("a", "b", "Train"),
    FOLDER,
    {"move Train/ away and give --config.data.test_fraction=0.2": away("Train", test_fraction=0.2)},
  ),
  "a split's name, with classes": Case(
    made("a", "b", "testing/a", "testing/b"),
    FOLDER | HELD,
    {
      "make a folder train/ and put a/, b/ into it, rename testing/ to test/, and leave "
      "data.test_fraction out": then(
        move("a", "train/a"),
        move("b", "train/b"),
        move("testing", "test", test_fraction=None),
      ),
      "or move testing/ away": away("testing"),
    },
  ),
  "Train and Test": Case(
    made("Train/a", "Train/b", "Test/a", "Test/b"),
    FOLDER | HELD,
    {
      "rename Test/ to test/ and Train/ to train/, and leave data.test_fraction out": then(
        move("Train", "train"), move("Test", "test", test_fraction=None)
      )
    },
  ),
  "Train alone": Case(
    made("Train/a", "Train/b"),
    FOLDER,
    {"rename Train/ to train/ and give": then(move("Train", "train"), given)},
  ),
  "train and testing": Case(
    made("train/a", "train/b", "testing/a", "testing/b"),
    FOLDER,
    {"rename testing/ to test/": move("testing", "test")},
  ),
  "a test split without classes": Case(
    made("train/a", "train/b", "test"),
    FOLDER,
    {"move test/ away and give --config.data.test_fraction": away("test", test_fraction=0.2)},
  ),
  "test classes that are not trained": Case(
    made("train/a", "train/b", "test/a", "test/y", "test/z"),
    FOLDER,
    {
      "move test/y/, test/z/ away": away("test/y", "test/z"),
      "add the folders there": lambda root, message: fill(root / "train", "y", "z"),
    },
  ),
  "test classes in another case": Case(
    made("train/Cat", "train/Dog", "test/cat", "test/dog"),
    FOLDER,
    {
      "write them in the same way": then(move("test/cat", "test/Cat"), move("test/dog", "test/Dog"))
    },
  ),
  "a folder in a folder": Case(
    made("pets/a", "pets/b"),
    FOLDER | HELD,
    {"give --config.data.path=": given},
  ),
  "a folder in a folder, without a fraction": Case(
    made("pets/a", "pets/b"), FOLDER, {"test_fraction=0.2": given}
  ),
  "loose images": Case(
    lambda root: [image_files.noise(seed=i).save(root / f"{i}.png") for i in range(8)],
    FOLDER | HELD,
    {
      "put the images of each class into a folder of its own": then(
        *(move(f"{i}.png", f"{'ab'[i % 2]}/{i}.png") for i in range(8))
      )
    },
  ),
  "a folder without images": Case(
    made("a", "b", also=lambda root: (root / "runs").mkdir()),
    FOLDER | HELD,
    {
      "move away what is no class": away("runs"),
      "add images": lambda root, message: fill(root, "runs"),
      "--config.data.allow_empty_class=True": keys(allow_empty_class=True),
    },
  ),
  "images deeper down": Case(
    made("a/x", "b/x"),
    FOLDER | HELD,
    {
      "put them directly into the folder of their class": then(
        *(move(f"{name}/x/{i}.png", f"{name}/{i}.png") for name in "ab" for i in range(4))
      )
    },
  ),
  "sizes that differ": Case(
    made("a", "b", also=lambda root: image_files.noise((9, 9)).save(root / "a" / "9.png")),
    FOLDER | HELD,
    {"--config.data.image_size=32": keys(image_size=32)},
  ),
  "a damaged image": Case(
    made("a", "b", also=lambda root: (root / "a" / "0.png").write_bytes(b"")),
    FOLDER | HELD,
    {
      "remove them": away("a/0.png"),
      "--config.data.on_bad_image=skip": given,
    },
  ),
  "a CSV file for folder": Case(
    table(*ALL), FOLDER | {"path": "set.csv"}, {"give --config=": command}
  ),
  "a CSV file with splits for folder": Case(
    table(*WITH_TEST, header="path,label,split"),
    FOLDER | {"path": "set.csv"} | HELD,
    {"without data.test_fraction": command},
  ),
  "arrays for folder": Case(save_npz, FOLDER | {"path": "set.npz"}, {"give --config=": command}),
  "a folder for csv": Case(made("a", "b"), CSV | {"path": "."}, {"give --config=": command}),
  "a folder with splits for npz": Case(
    made("train/a", "train/b", "test/a", "test/b"),
    NPZ | {"path": "."} | HELD,
    {"without data.test_fraction": command},
  ),
  "no test rows": Case(table(*ALL), CSV, {"data.test_fraction=0.2": given}),
  "a missing file": Case(
    table(*ALL, "a/99.png,a"),
    CSV | HELD,
    {"remove the rows": rewrite(*ALL), "--config.data.on_bad_image=skip": given},
  ),
  "an image twice": Case(table(*ALL, ALL[0]), CSV | HELD, {"list every image once": rewrite(*ALL)}),
  "a label twice": Case(
    table(*(row[:-1] + ("1" if "a/0" in row else "01" if "a/" in row else "2") for row in ALL)),
    CSV | HELD,
    {"write it in one way": rewrite(*(row[:-1] + str("ab".index(row[0])) for row in ALL))},
  ),
  "no label": Case(table(*ALL, "a/1.png,"), CSV | HELD, {"or remove the row": rewrite(*ALL)}),
  "commas": Case(
    table(*(row + ", x" for row in ALL)),
    CSV | HELD,
    {"quote cells that hold commas": rewrite(*(f'{row[:8]}"{row[8:]}, x"' for row in ALL))},
  ),
  "semicolons": Case(
    table(*(row.replace(",", ";") for row in ALL), header="path;label"),
    CSV | HELD,
    {"save the table with commas": rewrite(*ALL)},
  ),
  "paths of another system": Case(
    table(*(row.replace("/", "\\") for row in ALL)),
    CSV | HELD,
    {"there is a/0.png: separate folders by /": rewrite(*ALL)},
  ),
  "one missing path of another system": Case(
    table(*ALL[1:], ALL[0].upper().replace(",A", ",a")),
    CSV | HELD,
    {
      "there is a/0.png: write it in the same case": rewrite(*ALL),
      "--config.data.on_bad_image=skip": given,
    },
  ),
  "classes of one example": Case(
    lambda root: save_npz(root, train_y=np.array([0, 0, 0, 1, 2, 3, 4, 5])),
    NPZ | {"test_fraction": 0.5},
    {
      "--config.data.test_fraction=0.25 or less": given,
      "more examples of these classes": resaved(train_y=np.array([0, 0, 1, 1, 2, 2, 3, 3])),
    },
  ),
  "labels from 1": Case(
    lambda root: save_npz(root, train_y=np.arange(8) % 2 + 1),
    NPZ | HELD,
    {"write them anew as train_y - 1": resaved(train_y=np.arange(8) % 2)},
  ),
  "labels with gaps": Case(
    lambda root: save_npz(root, train_y=np.arange(8) % 2 * 3),
    NPZ | HELD,
    {"--config.data.allow_empty_class=True": keys(allow_empty_class=True)},
  ),
  "a name with a line break": Case(
    lambda root: save_npz(root, class_names=np.array(["a\nb", "c"])),
    NPZ | HELD,
    {"give it another": resaved(class_names=np.array(["a b", "c"]))},
  ),
  "one test array": Case(
    lambda root: save_npz(root, test_x=X),
    NPZ,
    {"give both or none": resaved(test_x=X, test_y=np.arange(8) % 2)},
  ),
  "an empty class in arrays": Case(
    lambda root: save_npz(root, class_names=["a", "b", "c"]),
    NPZ | HELD,
    {"--config.data.allow_empty_class=True": keys(allow_empty_class=True)},
  ),
  "image keys for arrays": Case(
    save_npz, NPZ | HELD | {"image_size": 8}, {"leave it out": keys(image_size=None)}
  ),
  "a crop that is missing": Case(
    made("a", "b"),
    FOLDER | HELD | {"resize": "short_side"},
    {"--config.data.crop_size=": lambda root, message: {"crop_size": 4}},
  ),
}


def _config(root, keys):
  return DataConfig(**keys | {"path": str(root / str(keys["path"]))})


@pytest.mark.parametrize(("case", "part"), [(c, p) for c in CASES for p in CASES[c].advice])
def test_followed_advice_leads_to_a_set_that_loads(tmp_path, case, part):
  root = tmp_path / "set"
  root.mkdir()
  CASES[case].make(root)
  with pytest.raises((DataError, ConfigError)) as caught:
    sources.load(_config(root, CASES[case].keys))
  assert part in str(caught.value)
  changes = CASES[case].advice[part](root, str(caught.value)) or {}
  data = sources.load(_config(root, {**CASES[case].keys, **changes}))
  assert len(data.class_names) >= 2
  assert len(data.train) > 0
  assert len(data.test) > 0
