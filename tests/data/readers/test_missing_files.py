"""A path of a list that leads to no file: which one may be meant."""

import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.readers.missing_files import meant
from sdt.errors import DataError
from tests.support import image_files


@pytest.mark.parametrize(
  ("written", "told"),
  [
    ("a\\1.png", "; there is a/1.png: separate folders by / and not by \\"),
    ("a/1.png ", "; there is a/1.png: remove the blanks around the path"),
    ("/a/1.png", "; there is a/1.png: leave out the / at the beginning"),
    ("A/1.PNG", "; there is a/1.png: write it in the same case"),
    ("a/1.Png", "; there is a/1.png: write it in the same case"),
    ("a/1", "; there is a/1.png: list the whole name, with its end"),
    ("C:\\data\\a\\1.png", "; this is a path on a Windows machine"),
    ("D:/a/1.png", "; this is a path on a Windows machine"),
    ("\\\\server\\a\\1.png", "; this is a path on a Windows machine"),
    ("b\\2.png", "; folders are separated by /, and not by \\"),
    ("https://x.org/a/1.png", "; this is an address: download the images"),
    ("s3://bucket/1.png", "; this is an address: download the images"),
    ("a/2.png", ""),
    ("b/1.png", ""),
    ("a", ""),
    ("", ""),
    ("x" * 5000, ""),
  ],
)
def test_what_is_meant_is_told(tmp_path, written, told):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "1.png").touch()
  found = meant(tmp_path, written)
  assert found.startswith(told)
  assert bool(found) == bool(told)


@pytest.mark.parametrize(
  ("missing", "advises_skipping"), [(1, True), (8, False)], ids=["one", "all of them"]
)
def test_a_list_says_it_and_advises_skipping_only_where_images_are_left(
  tmp_path, missing, advises_skipping
):
  for i in range(8):
    image_files.noise(seed=i).save(tmp_path / f"{i}.png")
  rows = [f".{'\\' if i < missing else '/'}{i}.png,{i % 2}" for i in range(8)]
  (tmp_path / "set.csv").write_text("\n".join(["path,label", *rows]))
  config = DataConfig(name="csv", path=str(tmp_path / "set.csv"), test_fraction=0.25, cache=False)
  with pytest.raises(DataError, match=r"line 2: no file .*; there is \./0\.png: ") as caught:
    sources.load(config)
  assert ("on_bad_image=skip" in str(caught.value)) == advises_skipping
