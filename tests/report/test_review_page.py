"""review.html: what stands in it, and that no name in it is ever markup."""

import base64
import hashlib
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdt import files
from sdt.errors import DataError
from sdt.report import read, review_page, run_page, thumbnails
from sdt.run import resume
from tests.support.fake_review import HOSTILE, add_review, add_test_review
from tests.support.fake_run import make_fake_run

FEW = {"num_train": 60, "rounds": 2, "num_mosaic": 2}


class Scripts(html.parser.HTMLParser):
  """Collects the tags of a page, and the text of its scripts and styles."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.inside, self.texts = [], None, []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag in ("script", "style"):
      self.inside = (tag, dict(attrs))
      self.texts.append([tag, dict(attrs), ""])

  def handle_endtag(self, tag):
    self.inside = None

  def handle_data(self, data):
    if self.inside:
      self.texts[-1][2] += data


def page_of(workdir):
  return review_page.write(workdir, read.load(workdir)).read_text(encoding="utf-8")


def data_of(page):
  (text,) = [text for _, attrs, text in Scripts(page).texts if attrs.get("id") == "data"]
  return json.loads(text)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
  """A run whose classes and files have names that would be markup; its ids."""
  names, paths = list(HOSTILE), [f"{name}/{number}.png" for number, name in enumerate(HOSTILE)]
  workdir = make_fake_run(
    tmp_path_factory.mktemp("hostile"), **FEW, num_classes=len(names), class_names=names
  )
  return workdir, add_review(workdir, num_images=20, source_files=paths * 8)


def test_names_that_look_like_markup_stand_in_the_page_as_they_are_and_add_no_tag(hostile):
  workdir, ids = hostile
  page = page_of(workdir)
  plain = make_fake_run(workdir.parent / "plain", **FEW)
  add_review(plain, num_images=20)
  assert [tag for tag, _ in Scripts(page).tags] == [tag for tag, _ in Scripts(page_of(plain)).tags]
  data = data_of(page)
  assert data["run"]["classes"] == list(HOSTILE)
  labels = files.read_npz(workdir / "scores.npz")["label"]
  assert data["examples"]["id"] == ids.tolist()
  assert [HOSTILE[number] for number in data["examples"]["given"]] == [
    HOSTILE[labels[number]] for number in ids
  ]
  assert data["examples"]["file"] == [
    f"{HOSTILE[number % 8]}/{number % 8}.png" for number in ids.tolist()
  ]


@given(name=st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_text_can_end_the_block_of_data(name):
  block = review_page.escaped({"name": name, name: [name]})
  page = f'<script type="application/json" id="data">{block}</script><script>1</script>'
  assert [tag for tag, _ in Scripts(page).tags] == ["script", "script"]
  assert not set("<>&'") & set(block)
  assert data_of(page) == {"name": name} | {name: [name]}


def test_the_policy_lets_nothing_run_or_load_but_what_the_page_holds(hostile):
  page = Scripts(page_of(hostile[0]))
  (policy,) = [
    attrs["content"] for tag, attrs in page.tags if tag == "meta" if "http-equiv" in attrs
  ]
  rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
  digests = {
    tag: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
    for tag, attrs, text in page.texts
    if attrs.get("id") != "data"
  }
  assert rules == {
    "default-src": "'none'",
    "img-src": "data:",
    "style-src": digests["style"],
    "script-src": digests["script"],
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
  }
  # The policy stands before whatever it rules.
  order = [tag for tag, _ in page.tags]
  assert order.index("meta") < order.index("style")
  assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
  sources = [attrs.get(name) for _, attrs in page.tags for name in ("src", "href")]
  assert set(sources) <= {None, "data:,"}


def test_the_script_never_writes_markup():
  folder = Path(review_page.__file__).parent
  text = "".join((folder / name).read_text(encoding="utf-8") for name in review_page.SCRIPTS)
  banned = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|DOMParser|fetch"
  )
  assert re.findall(banned, text) == []
  assert "</" not in text
  assert "<!--" not in text


def test_every_field_of_an_element_has_a_label_and_every_reference_leads_to_an_id(hostile):
  tags = Scripts(page_of(hostile[0])).tags
  ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
  assert len(set(ids)) == len(ids)
  wanted = ("for", "aria-labelledby", "aria-controls")
  assert {attrs[name] for _, attrs in tags for name in wanted if name in attrs} <= set(ids)
  labelled = {attrs["for"] for tag, attrs in tags if tag == "label" and "for" in attrs}
  assert {"upload", "search"} <= labelled


def test_scores_means_seeds_subsets_and_other_classes_are_those_of_the_files(tmp_path):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  ids = add_review(workdir, num_images=10)
  scores = files.read_npz(workdir / "scores.npz")
  # The second seed diverged, and one of its scores is not finite.
  scores["log_odds"][1, ids[0]] = np.nan
  files.write_npz(workdir / "scores.npz", **scores, sound=np.array([True, False, True]))
  data = data_of(page_of(workdir))
  (shown,) = [one for one in data["scores"] if one["name"] == "log_odds"]
  for place, number in enumerate(ids):
    own = scores["log_odds"][:, number].astype(float)
    expected = [(own[0] + own[2]) / 2, *own]
    found = [np.nan if value is None else value for value in shown["values"][place]]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
  assert shown["values"][0][2] is None
  assert shown["hardFirst"] == 1
  assert data["examples"]["others"] == scores["other_class"][:, ids].T.tolist()
  with open(workdir / "split.csv", encoding="utf-8") as file:
    subset = {line.split(",")[0]: line.split(",")[2] for line in file}
  assert data["examples"]["subset"] == [subset[str(number)] for number in ids]
  assert data["run"]["numAll"] == 60
  assert data["run"]["numSeeds"] == 3
  key = files.read_json(workdir / "config.json")["hash"] + ":" + "5f" * 32
  assert data["run"]["key"] == f"sdt-review:{key}"


def test_what_an_earlier_review_has_kept_stands_in_the_page(hostile, tmp_path):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  add_review(workdir, num_images=5, reviewed={1, 4, 30})
  assert data_of(page_of(workdir))["examples"]["reviewed"] == [False, True, False, False, True]
  assert "reviewed" not in data_of(page_of(hostile[0]))["examples"]


def test_test_images_stand_in_a_block_of_their_own_under_another_key(tmp_path):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  add_review(workdir, num_images=5)
  add_test_review(workdir, num_images=8, reviewed=2)
  page = page_of(workdir)
  (text,) = [text for _, attrs, text in Scripts(page).texts if attrs.get("id") == "data-test"]
  data, training = json.loads(text), data_of(page)
  assert data["run"]["key"] == training["run"]["key"].replace("sdt-review", "sdt-review-test")
  assert (data["run"]["side"], training["run"]["side"]) == ("test", "training")
  assert data["examples"]["subset"] == ["random", "", "", "", "", "random", "", ""]
  assert data["examples"]["reviewed"] == [False, False, True, *[False] * 5]
  assert data["scores"] == []
  assert 'href="review.html#test"' in run_page.html(read.load(workdir), {})
  (workdir / read.TEST_SUSPECTS).unlink()
  assert 'id="data-test"' not in page_of(workdir)


def test_two_classes_of_one_name_are_one_and_do_not_shift_the_others(tmp_path):
  names = ["cat", "cat", "dog", "eel"]
  workdir = make_fake_run(tmp_path / "run", **FEW, num_classes=4, class_names=names)
  ids = add_review(workdir, num_images=10)
  data = data_of(page_of(workdir))
  other = files.read_npz(workdir / "scores.npz")["other_class"]
  classes = data["run"]["classes"]
  assert classes == ["cat", "dog", "eel"]
  found = [[classes[number] for number in row] for row in data["examples"]["others"]]
  assert found == [[names[number] for number in row] for row in other[:, ids].T]


def decoded(source):
  kind, _, content = source.removeprefix("data:image/").partition(";base64,")
  return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (20, 2), (16, 5)])
def test_small_images_keep_every_pixel(size, channels):
  image = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
  kind, found = decoded(thumbnails.address(image))
  assert kind == "png"
  np.testing.assert_array_equal(found, image[..., 0] if channels < 3 else image[..., :3])


def test_a_large_photo_is_a_jpeg_near_its_pixels_and_a_large_drawing_a_png():
  rng = np.random.default_rng(0)
  rows = np.linspace(0, 200, 96)[:, None, None] + np.linspace(0, 50, 96)[None, :, None]
  photo = np.clip(rows + rng.normal(0, 3, (96, 96, 3)), 0, 255).astype(np.uint8)
  kind, found = decoded(thumbnails.address(photo))
  assert kind == "jpeg"
  assert np.abs(found.astype(int) - photo).mean() < 4
  drawing = np.repeat(np.repeat(rng.integers(0, 256, (24, 24, 3), np.uint8), 4, 0), 4, 1)
  kind, found = decoded(thumbnails.address(drawing))
  assert kind == "png"
  np.testing.assert_array_equal(found, drawing)


def test_a_page_of_2000_images_and_1000_classes_is_small_and_one_that_is_not_is_cut(
  tmp_path, monkeypatch
):
  names = [f"class {number}" for number in range(1000)]
  workdir = make_fake_run(
    tmp_path / "run", num_train=2100, rounds=2, num_mosaic=2, num_classes=1000, class_names=names
  )
  add_review(workdir, num_images=2000, size=16)
  path = review_page.write(workdir, read.load(workdir))
  assert len(data_of(path.read_text())["examples"]["id"]) == 2000
  assert path.stat().st_size < 4_000_000
  monkeypatch.setattr(review_page, "MAX_BYTES", 900_000)
  data = data_of(page_of(workdir))
  count = len(data["examples"]["id"])
  assert 100 < count < 2000
  assert {len(column) for column in data["examples"].values()} == {count}
  assert {len(one["values"]) for one in data["scores"]} == {count}
  assert path.stat().st_size < 900_000 + 50_000  # the script and the style come on top
  assert data["run"]["numAll"] == 2100


def test_the_same_files_give_the_same_bytes(hostile):
  assert page_of(hostile[0]) == page_of(hostile[0])


def without_review(workdir):
  for name in (read.SUSPECTS, read.REVIEW_IMAGES):
    (workdir / name).unlink()
  return workdir


def test_a_run_without_suspects_has_no_page_and_no_link_to_one(tmp_path):
  workdir = without_review(make_fake_run(tmp_path / "run", **FEW))
  loaded = read.load(workdir)
  assert review_page.write(workdir, loaded) is None
  assert not (workdir / "review.html").exists()
  assert "review.html" not in run_page.html(loaded, {})
  add_review(workdir)
  assert '<a href="review.html">' in run_page.html(read.load(workdir), {})
  (workdir / "figures" / "review.npz").unlink()
  assert review_page.write(workdir, read.load(workdir)) is None


def test_a_class_that_the_networks_have_not_learned_is_told_on_page_and_report(tmp_path):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  add_review(workdir)
  results = files.read_json(workdir / "results.json")
  results["suspects"] |= {"unlearned": [{"class": "<b>rare", "num": 3, "of": 3}]}
  files.write_json(workdir / "results.json", results)
  loaded = read.load(workdir)
  for text in (review_page.write(workdir, loaded).read_text(), run_page.html(loaded, {})):
    assert "(&lt;b&gt;rare: 3 of 3)" in text
    assert "Do not drop its examples" in text


def test_a_run_lacks_its_page_only_where_it_has_what_the_page_is_made_of(hostile, tmp_path):
  def lacks(workdir):
    return review_page.FILE in [path.name for path in resume.missing(workdir, [review_page.FILE])]

  old = without_review(make_fake_run(tmp_path / "old", **FEW))
  assert not lacks(old)
  page_of(hostile[0])
  assert not lacks(hostile[0])
  (hostile[0] / review_page.FILE).unlink()
  assert lacks(hostile[0])


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    ("example_id,source_file", "example,source_file", "expected the columns example_id"),
    ("\n{first},", "\n999999,", "no row for example {first}, which figures/review.npz shows"),
    (",{given},", ",nobody,", "given 'nobody' is no class of results.json"),
  ],
)
def test_files_of_two_runs_are_refused(tmp_path, old, new, message):
  workdir = make_fake_run(tmp_path / "run", **FEW)
  words = {"first": add_review(workdir)[0], "given": ""}
  text = (workdir / "suspects.csv").read_text()
  words["given"] = text.splitlines()[1].split(",")[2]
  files.write_text(workdir / "suspects.csv", text.replace(old.format(**words), new, 1))
  with pytest.raises(DataError, match=re.escape(message.format(**words))):
    review_page.write(workdir, read.load(workdir))
