"""Images listed in a CSV file: columns, labels, splits, and the line of every mistake."""

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError
from tests.support import image_files as made

NUM = 12


@pytest.fixture
def root(tmp_path):
  (tmp_path / "images").mkdir()
  for i in range(NUM):
    made.noise(seed=i).save(tmp_path / "images" / f"{i}.png")
  return tmp_path


def _write(root, text, encoding="utf-8"):
  (root / "set.csv").write_bytes(text.encode(encoding))
  return root / "set.csv"


def _load(path, **keys):
  return sources.load(DataConfig(**{"name": "csv", "path": str(path), "cache": False} | keys))


def _refused(path, **keys):
  with pytest.raises(DataError) as caught:
    _load(path, **keys)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def _rows(labels, splits=None):
  """Returns the text of a file whose row i is images/<i>.png."""
  lines = ["path,label" + (",split" if splits else "")]
  for i, label in enumerate(labels):
    lines.append(f"images/{i}.png,{label}" + (f",{splits[i]}" if splits else ""))
  return "\n".join(lines) + "\n"


def test_rows_are_examples_and_splits_are_as_written(root):
  splits = ["train", "test", "train", "train", "test", "train"]
  data = _load(_write(root, _rows(["cat", "cat", "ant", "cat", "ant", "bee"], splits)))
  assert data.class_names == ("ant", "bee", "cat")
  assert data.train.example_ids.tolist() == [0, 2, 3, 5], "rows of the whole file, from 0"
  assert data.test.example_ids.tolist() == [1, 4]
  assert data.train.labels.tolist() == [2, 0, 2, 1]
  assert data.train.source_files == ("images/0.png", "images/2.png", "images/3.png", "images/5.png")
  for split in (data.train, data.test):
    for image, i in zip(split.inputs, split.example_ids, strict=True):
      np.testing.assert_array_equal(image, made.noise(seed=int(i)))
  assert data.variant == "custom"
  assert data.notes == (
    "1 of 3 classes have no test example, so their accuracy is not measured: bee",
  )


def test_without_a_split_column_a_fraction_is_held_out(root):
  path = _write(root, _rows(["a", "b"] * 4))
  data = _load(path, test_fraction=0.25)
  assert np.bincount(data.test.labels).tolist() == [1, 1]
  assert sorted([*data.train.example_ids, *data.test.example_ids]) == list(range(8))
  assert "--config.data.test_fraction=0.2" in _refused(path)
  with_splits = _write(root, _rows(["a", "b"] * 4, ["train"] * 6 + ["test"] * 2))
  assert "has its own test split" in _refused(with_splits, test_fraction=0.25)
  only_train = _write(root, _rows(["a", "b"] * 4, ["train"] * 8))
  assert len(_load(only_train, test_fraction=0.25).test) == 2


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_the_validation_split_is_the_test_split_where_there_is_no_other(root, word):
  data = _load(_write(root, _rows("abab", ["train", "train", word, word])))
  assert data.test.example_ids.tolist() == [2, 3]
  assert data.notes == ("the validation split is the test split",)
  data = _load(_write(root, _rows("ababab", ["train", "train", word, word, "test", "test"])))
  assert data.test.example_ids.tolist() == [4, 5]
  assert data.notes == ("2 rows of the validation split are not used",)


@pytest.mark.parametrize(
  ("labels", "names"),
  [
    (["10", "9", "-1", "0"], ("-1", "0", "9", "10")),
    (["10", "9", "x", "0"], ("0", "10", "9", "x")),
    (["1.5", "10", "9", "0"], ("0", "1.5", "9", "10")),
    (["é", "Z", "a", "B"], ("B", "Z", "a", "é")),
  ],
)
def test_classes_are_ordered_by_number_if_all_labels_are_numbers_else_as_text(root, labels, names):
  data = _load(_write(root, _rows(labels * 2, ["train"] * 4 + ["test"] * 4)))
  assert data.class_names == names
  assert [names[label] for label in data.train.labels] == labels


@pytest.mark.parametrize(
  "text",
  [
    "label,path\na,images/0.png\nb,images/1.png\na,images/2.png\nb,images/3.png\n",
    (
      "id,label,path,note\n7,a,images/0.png,x\n8,b,images/1.png,\n9,a,images/2.png,\n"
      "10,b,images/3.png,\n"
    ),
    (
      '\ufeffpath,label\r\nimages/0.png,a\r\n"images/1.png","b"\r\n\r\nimages/2.png, a \r\n'
      "images/3.png,b"
    ),
    (
      'path , label\n"images/0.png", "a"\nimages/1.png,\tb\n./images/2.png,a\n'
      '"images/../images/3.png",b\n'
    ),
  ],
)
def test_columns_line_ends_marks_and_quotes_change_nothing(root, text):
  data = _load(_write(root, text), test_fraction=0.5)
  assert data.class_names == ("a", "b")
  assert sorted([*data.train.example_ids, *data.test.example_ids]) == [0, 1, 2, 3]
  for split in (data.train, data.test):
    np.testing.assert_array_equal(split.labels, split.example_ids % 2)
    for image, i in zip(split.inputs, split.example_ids, strict=True):
      np.testing.assert_array_equal(image, made.noise(seed=int(i)))


def test_lines_of_blanks_are_no_rows(root):
  rows = [
    "  ",
    "path,label",
    "images/0.png,a",
    "   ",
    "images/1.png,b",
    ",",
    " \t, ",
    "images/2.png,a",
  ]
  text = "\n".join([*rows, "images/3.png,b", "", ","]) + "\n"
  data = _load(_write(root, text), test_fraction=0.5)
  assert sorted([*data.train.example_ids, *data.test.example_ids]) == [0, 1, 2, 3]


@pytest.mark.parametrize(("ours", "theirs"), [("Cat", "cat"), ("1", "1.0"), ("\u00e9", "e\u0301")])
def test_a_test_label_that_differs_by_its_spelling_alone_is_refused(root, ours, theirs):
  rows = _rows([ours, "b", theirs, "b"], ["train", "train", "test", "test"])
  assert f"({theirs!a} for {ours!a}), which differ only in case" in _refused(_write(root, rows))


def test_training_labels_that_differ_by_their_spelling_alone_are_told(root):
  data = _load(_write(root, _rows(["Cat", "cat"] * 4)), test_fraction=0.25)
  assert "the names of the classes 0 ('Cat'), 1 ('cat') differ only in case" in data.notes[0]


def test_quoted_commas_and_absolute_paths_are_read(root):
  made.noise(seed=0).save(root / "a, b.png")
  text = (
    f'path,label,split\n"a, b.png","x, y",train\n{root}/images/1.png,z,train\n'
    '"images/2.png",z,test\n'
  )
  data = _load(_write(root, text))
  assert data.class_names == ("x, y", "z")
  assert data.train.source_files == ("a, b.png", f"{root}/images/1.png")


_HEAD = "path,label\nimages/0.png,a\nimages/1.png,b\n"
_WRONG = {
  "nothing": (
    "",
    (
      "line 1: column 'path' is missing in the header ''; expected a header path,label or "
      "path,label,split"
    ),
  ),
  "no header": (
    "images/0.png,a\n",
    "line 1: column 'path' is missing in the header 'images/0.png,a'",
  ),
  "semicolons": (
    "path;label\nimages/0.png;a\n",
    "line 1: the columns are separated by semicolons (;); save the table with commas",
  ),
  "tabs": ("path\tlabel\nimages/0.png\ta\n", "line 1: the columns are separated by tabs"),
  "bars": ("path|label\nimages/0.png|a\n", "line 1: the columns are separated by bars (|)"),
  "a column twice": ("path,label,path\nx,y,z\n", "line 1: column 'path' occurs twice"),
  "no label column": ("path,class\nx,y\n", "line 1: column 'label' is missing"),
  "header only": ("path,label\n", "no rows below the header"),
  "a cell too many": (
    _HEAD + "images/2.png,a,b\n",
    "line 4: 3 cells under a header of 2; quote cells that hold commas",
  ),
  "a cell too few": (_HEAD + "images/2.png\n", "line 4: 1 cells under a header of 2"),
  "empty label": (_HEAD + "\nimages/2.png, \n", "line 5: no label for images/2.png"),
  "empty path": (_HEAD + ",a\n", "line 4: no path"),
  "null byte": (_HEAD + "a\0b.png,a\n", "line 4: no path"),
  "twice": (
    _HEAD + "./images/../images/0.png,a\n",
    "line 4: ./images/../images/0.png is listed in line 2 already",
  ),
  "missing file": (_HEAD + "images/99.png,a\nimages/98.png,a\n", "line 4: no file"),
  "open quote": (_HEAD + '"images/2.png,a\n', "not CSV"),
  "text after a quote": (_HEAD + '"images/2.png"x,a\n', "line 4: not CSV"),
  "unknown split": (
    "path,label,split\nimages/0.png,a,train\nimages/1.png,b,dev\n",
    "line 3: split 'dev'; expected train, test or val",
  ),
  "empty split": (
    "path,label,split\nimages/0.png,a,train\nimages/1.png,b,\n",
    "line 3: split ''; expected train, test or val",
  ),
  "no training rows": (
    "path,label,split\nimages/0.png,a,test\nimages/1.png,b,test\n",
    "no row has the split train",
  ),
  "one number in two ways": (
    _HEAD.replace(",a", ",1").replace(",b", ",01"),
    "the labels '01' and '1' are the same number",
  ),
  "one class": (_HEAD.replace(",b", ",a"), "there is only 1 class (a), at least 2 are needed"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_every_mistake_is_told_with_its_line(root, name):
  text, message = _WRONG[name]
  path = _write(root, text)
  told = _refused(path, test_fraction=None if "split" in text.split("\n")[0] else 0.5)
  assert message in told
  assert str(path) in told


def test_a_missing_file_counts_as_a_bad_image_where_those_are_skipped(root):
  data = _load(
    _write(root, _rows(["a", "b"] * 4) + "images/99.png,a\n"),
    test_fraction=0.25,
    on_bad_image="skip",
  )
  assert data.notes == (
    (
      "1 of 9 images of the training split were skipped; the first is images/99.png: No such file "
      "or directory"
    ),
  )
  assert len(data.train) + len(data.test) == 8


def test_a_damaged_image_is_refused_by_name(root):
  (root / "images" / "1.png").write_bytes(b"")
  path = _write(root, _rows(["a", "b"] * 3, ["train"] * 4 + ["test"] * 2))
  assert (
    "1 of 4 images of the training split cannot be read; the first is images/1.png: the file is "
    "empty"
  ) in _refused(path)


def test_files_that_are_no_manifest_are_refused(root):
  with pytest.raises(DataError, match=r"needs the file: --config.data.path=FILE.csv"):
    sources.load(DataConfig(name="csv"))
  assert "no such file; expected a CSV file" in _refused(root / "none.csv")
  assert "a folder: give --config=configs/folder.py" in _refused(root)
  assert "not UTF-8 text at byte 11" in _refused(
    _write(root, "path,label\n\xe9.png,a\n", "latin-1")
  )
  assert "one image: give the folder or the list" in _refused(root / "images" / "0.png")
  (root / "long.csv").write_text("path,label\n" + "x" * 200_000 + ",a\n")
  assert "line 2: not CSV" in _refused(root / "long.csv")


@pytest.mark.parametrize(
  "spelling", ["relative", "absolute", "link to the file", "link to its folder"]
)
@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_a_file_is_listed_once_whatever_its_spelling_and_the_working_directory(
  root, monkeypatch, spelling, where
):
  (root / "again.png").symlink_to(root / "images" / "1.png")
  (root / "others").symlink_to(root / "images")
  spelled = {
    "relative": "images/../images/1.png",
    "absolute": str(root / "images" / "1.png"),
    "link to the file": "again.png",
    "link to its folder": "others/1.png",
  }[spelling]
  _write(root, f"path,label,split\nimages/0.png,a,train\nimages/1.png,b,train\n{spelled},b,test\n")
  monkeypatch.chdir(root if where == "beside" else root / "images")
  path = "set.csv" if where == "beside" else "../set.csv"
  assert f"line 4: {spelled} is listed in line 3 already" in _refused(path)
