"""review.html in a real browser: what a person does with it, by mouse and by keyboard alone."""

import contextlib
import csv
import io
import os
import random
import signal

import pytest

from sdt import files
from sdt.files.csv_lines import CsvWriter
from sdt.report import read, review_page
from tests.support import browser
from tests.support.fake_review import HOSTILE, add_review
from tests.support.fake_run import make_fake_run

pytestmark = pytest.mark.slow
HEADER = ["example_id", "source_file", "given", "action", "label"]
WIDTHS = (400, 1280)


def made(folder, *, num_images=40, size=8, names=HOSTILE, **changes):
  """Makes a run whose classes and files have hostile names; returns its page and its suspects."""
  settings = {"rounds": 2, "num_mosaic": 2, "num_classes": len(names), "class_names": list(names)}
  workdir = make_fake_run(folder, **(settings | changes))
  paths = [f'train/{HOSTILE[number % 8]}/photo, "{number}".png' for number in range(200)]
  ids = add_review(workdir, num_images=num_images, size=size, source_files=paths)
  page = review_page.write(workdir, read.load(workdir))
  with open(workdir / "suspects.csv", encoding="utf-8", newline="") as file:
    rows = {int(row["example_id"]): row for row in csv.DictReader(file)}
  return page, [rows[number] for number in ids.tolist()]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
  return made(tmp_path_factory.mktemp("hostile") / "run", num_train=200)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
  names = [*HOSTILE, *(f"class number {number} of a thousand" for number in range(992))]
  folder = tmp_path_factory.mktemp("many") / "run"
  return made(folder, num_images=2000, size=48, names=names, num_train=2200)


@pytest.fixture(scope="module")
def chromium():
  with browser.chromium() as one:
    yield one


@pytest.fixture
def opened(chromium):
  """Returns a function that opens a page in a fresh profile; in the end all must be quiet."""
  contexts, pages = [], []

  def open_page(path, width=1280):
    contexts.append(chromium.new_context(viewport={"width": width, "height": 800}))
    pages.append(browser.Watched(contexts[-1], path))
    return pages[-1]

  yield open_page
  for watched in pages:
    watched.assert_quiet()
  for context in contexts:
    context.close()


def table(rows):
  """Returns rows (suspect, action, label) as the bytes of a corrections.csv, by Python's writer."""
  text = io.StringIO(newline="")
  writer = CsvWriter(text)
  writer.writerow(HEADER)
  for row, action, label in sorted(rows, key=lambda one: int(one[0]["example_id"])):
    writer.writerow([row["example_id"], row["source_file"], row["given"], action, label])
  return text.getvalue().encode()


def relabel(page, typed):
  """Chooses a class by keys alone, in the dialog that R opens."""
  page.keyboard.press("r")
  page.wait_for_selector("#chooser[open]")
  page.keyboard.type(typed)
  page.keyboard.press("Enter")


def test_what_is_filtered_relabelled_dropped_undone_and_reloaded_is_exactly_the_file(
  hostile, opened
):
  path, suspects = hostile
  watched = opened(path)
  page = watched.page
  # Only the suspects of one pair, in the order of the table.
  disputed = [row for row in suspects if row["seeds_agree"] == "3"]
  pairs = [(row["given"], row["suggested"]) for row in disputed]
  pair = max(pairs, key=pairs.count)
  own = [row for row, of in zip(disputed, pairs, strict=True) if of == pair]
  assert len(own) >= 5
  (option,) = page.eval_on_selector_all(
    "#by-pair option",
    "(all, names) => all.filter(one => names.every(name => one.textContent.includes(name)))"
    ".map(one => one.value)",
    [f"\u2068{pair[0]}\u2069 given", f"\u2068{pair[1]}\u2069 suggested"],
  )
  page.select_option("#by-pair", option)
  assert watched.text("#matches") == f"{len(own)} images match"
  assert watched.text("#heading") == f"Example {own[0]['example_id']}"
  assert (watched.text("#given"), watched.text("#suggested")) == pair
  # Relabel three: by the suggestion, by searching, by a click in the list of classes.
  page.click("#accept")
  searched, clicked = [name for name in HOSTILE if name not in pair][:2]
  page.click("#relabel")
  page.fill("#search", " ".join(searched.split())[:9])
  page.keyboard.press("Enter")
  page.click("#relabel")
  page.fill("#search", clicked[:5])
  page.locator("#choices li").filter(has_text=clicked[:5]).first.click()
  page.click("#drop")
  page.click("#keep")
  page.click("#undo")
  assert watched.text("#heading") == f"Example {own[4]['example_id']}"
  labels = [pair[1], searched, clicked]
  expected = [(row, "relabel", label) for row, label in zip(own, labels, strict=False)]
  expected.append((own[3], "drop", ""))
  assert watched.text("#counter") == "4 of 40 decided: 0 keep, 3 relabel, 1 drop"
  watched.open()
  assert watched.text("#counter") == "4 of 40 decided: 0 keep, 3 relabel, 1 drop"
  assert watched.text("#heading") == f"Example {own[4]['example_id']}"
  content = watched.downloaded(lambda: page.click("#download"))
  assert content == table(expected)
  # What was undone before the reload is gone; what was done before it can still be undone.
  page.click("#undo")
  assert watched.text("#counter") == "3 of 40 decided: 0 keep, 3 relabel, 0 drop"
  assert watched.downloaded(lambda: page.click("#download")) == table(expected[:3])


def test_the_file_restores_the_work_in_a_fresh_profile_and_comes_out_as_it_went_in(
  hostile, opened, tmp_path
):
  path, suspects = hostile
  actions = [("keep", ""), ("relabel", suspects[1]["suggested"]), ("drop", "")]
  content = table([(row, *action) for row, action in zip(suspects, actions, strict=False)])
  (tmp_path / "mine.csv").write_bytes(content)
  watched = opened(path, width=400)
  assert watched.text("#counter").startswith("0 of 40 decided")
  watched.page.set_input_files("#upload", tmp_path / "mine.csv")
  watched.page.wait_for_selector('.tile[data-action="drop"]')
  assert watched.text("#counter") == "3 of 40 decided: 1 keep, 1 relabel, 1 drop"
  assert watched.downloaded(lambda: watched.page.click("#download")) == content
  watched.page.click("#undo")
  assert watched.text("#counter").startswith("0 of 40 decided")


def test_everything_goes_by_keyboard_alone_on_a_narrow_screen(hostile, opened):
  path, suspects = hostile
  watched = opened(path, width=400)
  page, keys = watched.page, watched.page.keyboard

  def tab_to(name):
    for _ in range(40):
      keys.press("Tab")
      if page.evaluate("document.activeElement.id || document.activeElement.className") == name:
        return
    raise AssertionError(f"Tab does not reach {name}")

  tab_to("keep")
  keys.press("Enter")  # the first is kept
  keys.press("n")
  keys.press("d")  # the third is dropped
  relabel(page, suspects[3]["suggested"][:6])
  tab_to("by-state")
  keys.press("ArrowDown")  # to do
  assert watched.text("#matches") == "37 images match"
  tab_to("tile")
  assert watched.text("#heading") == f"Example {suspects[4]['example_id']}"
  keys.press("ArrowDown")
  moved = page.evaluate("Number(document.activeElement.value)")
  assert watched.text("#heading") == f"Example {moved}"
  keys.press("End")
  assert watched.text("#heading") == f"Example {suspects[-1]['example_id']}"
  keys.press("a")
  keys.press("u")
  keys.press("k")
  # Letters are letters where something is typed, and Escape leaves without a decision.
  keys.press("r")
  keys.type("kdu")
  keys.press("Escape")
  labels = [suspects[3]["suggested"]]
  expected = [
    *[(suspects[0], "keep", ""), (suspects[2], "drop", "")],
    *[(suspects[3], "relabel", labels[0]), (suspects[-1], "keep", "")],
  ]
  assert watched.downloaded(lambda: keys.press("s")) == table(expected)
  assert "corrections.csv with 4 rows" in watched.text("#said")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen_and_all_controls_have_names(many, opened, width):
  watched = opened(many[0], width=width)
  page = watched.page
  keys = page.keyboard

  def is_within():
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")

  assert is_within()
  keys.press("a")
  keys.press("r")
  assert is_within()
  assert page.evaluate("document.querySelector('#chooser').getBoundingClientRect().right") <= width
  assert watched.text("#num-choices") == "999 classes, the first 60 are shown"
  page.keyboard.type("NUMBER 77 OF")
  assert watched.text("#num-choices") == "1 class"
  assert page.get_attribute("#search", "aria-activedescendant") == "choice-0"
  page.keyboard.press("Enter")
  assert watched.text("#counter").startswith("2 of 2,000 decided: 0 keep, 2 relabel")
  page.click("#help summary")
  page.locator("#help").scroll_into_view_if_needed()
  assert is_within()
  session = page.context.new_cdp_session(page)
  nodes = session.send("Accessibility.getFullAXTree")["nodes"]
  roles = ("button", "combobox", "checkbox", "textbox", "progressbar", "image", "dialog", "region")
  found = [node for node in nodes if node.get("role", {}).get("value") in roles]
  assert len(found) > 12
  assert [node for node in found if not node.get("name", {}).get("value")] == []


def test_names_are_shown_as_they_are_and_none_of_them_runs(hostile, opened):
  path, suspects = hostile
  watched = opened(path)
  shown = set()
  for row in suspects:
    assert watched.text("#heading") == f"Example {row['example_id']}"
    assert watched.text("#given") == row["given"]
    assert row["source_file"] in watched.text("#origin")
    assert row["suggested"] in watched.text("#why")
    shown.add(watched.text("#given"))
    watched.page.keyboard.press("n")
  assert shown >= set(HOSTILE[:4])
  images = watched.page.eval_on_selector_all("img", "all => all.map(one => one.src)")
  assert {source.partition(",")[0] for source in images} == {"data:image/png;base64"}
  assert watched.page.evaluate("document.scripts.length") == 2


def test_filters_and_orders_show_what_the_tables_say(hostile, opened):
  path, suspects = hostile
  watched = opened(path)
  page, scores = watched.page, files.read_npz(path.parent / "scores.npz")

  def shown():
    return page.eval_on_selector_all(".tile", "all => all.map(one => Number(one.value))")

  ids = [int(row["example_id"]) for row in suspects]
  assert shown() == ids
  page.select_option("#by-seeds", "3")
  assert shown() == [int(row["example_id"]) for row in suspects if row["seeds_agree"] == "3"]
  page.click("#unfilter")
  name = suspects[0]["suggested"]
  page.select_option("#by-class", name)
  assert shown() == [
    int(row["example_id"]) for row in suspects if name in (row["given"], row["suggested"])
  ]
  page.click("#unfilter")
  page.select_option("#by-order", "confidence")
  means = [float(f"{scores['confidence'][:, one].astype(float).mean():.4g}") for one in ids]
  by_mean = [one for _, _, one in sorted(zip(means, range(40), ids, strict=True))]
  assert shown() == by_mean
  page.check("#reverse")
  assert shown() == by_mean[::-1]
  page.click("#unfilter")
  assert shown() == ids
  with open(path.parent / "split.csv", encoding="utf-8", newline="") as file:
    subset = {int(row["example_id"]): row["subset"] for row in csv.DictReader(file)}
  page.select_option("#by-subset", "B")
  assert shown() == [one for one in ids if subset[one] == "B"]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda text: text.replace("given", "label", 1), "line 1: expected the columns"),
    (lambda text: text.replace(",drop,", ",dorp,"), 'action "dorp", expected keep, relabel, drop'),
    (lambda text: text.replace(",drop,", ",drop,x"), 'label "x" does not go with drop'),
    (lambda text: text.replace("photo", "foto"), "is the file of other data?"),
    (lambda text: text + text.splitlines()[-1] + "\n", "is there twice"),
    (lambda text: text + '7,"open\n', "a quote is out of place"),
    (lambda text: text + "x,,,keep,\n", 'example_id "x" is no number'),
    (lambda text: text + "199,,nobody,keep,\n", '"nobody" is no class of this run'),
  ],
)
def test_a_file_that_does_not_fit_is_refused_whole(hostile, opened, tmp_path, change, message):
  path, suspects = hostile
  plain = [row for row in suspects if row["given"] == HOSTILE[3]]
  watched = opened(path)
  watched.page.keyboard.press("k")
  changed = change(table([(plain[0], "drop", "")]).decode())
  (tmp_path / "corrections.csv").write_text(changed, encoding="utf-8", newline="")
  watched.page.set_input_files("#upload", tmp_path / "corrections.csv")
  watched.page.wait_for_selector("#problem:not([hidden])")
  assert message in watched.text("#problem")
  assert watched.text("#counter").startswith("1 of 40 decided: 1 keep")


def test_a_file_of_windows_and_rows_of_images_that_are_not_shown_are_taken_and_given_back(
  hostile, opened, tmp_path
):
  path, suspects = hostile
  hidden = next(
    number for number in range(200) if f"{number}" not in {row["example_id"] for row in suspects}
  )
  elsewhere = {"example_id": f"{hidden}", "source_file": "far, away.png", "given": HOSTILE[1]}
  content = table([(suspects[0], "keep", ""), (elsewhere, "relabel", HOSTILE[4])])
  plain = content.decode().splitlines(keepends=True)
  (tmp_path / "corrections.csv").write_bytes(
    b"\xef\xbb\xbf" + plain[0].encode()[:-1] + b"\r\n" + "".join(plain[1:]).encode()
  )
  watched = opened(path)
  watched.page.set_input_files("#upload", tmp_path / "corrections.csv")
  watched.page.wait_for_selector('.tile[data-action="keep"]')
  assert watched.text("#counter").endswith("1 of them of images that are not shown here")
  assert watched.downloaded(lambda: watched.page.click("#download")) == content


def test_a_relabelled_row_that_the_run_has_already_counts_as_kept(hostile, opened, tmp_path):
  path, suspects = hostile
  row = suspects[0]
  before = next(name for name in HOSTILE if name != row["given"])
  (tmp_path / "corrections.csv").write_bytes(
    table([(row | {"given": before}, "relabel", row["given"])])
  )
  watched = opened(path)
  watched.page.set_input_files("#upload", tmp_path / "corrections.csv")
  watched.page.wait_for_selector('.tile[data-action="keep"]')
  assert watched.downloaded(lambda: watched.page.click("#download")) == table([(row, "keep", "")])


def test_the_scripts_csv_is_pythons_in_both_directions(hostile, opened):
  draw = random.Random(0)
  letters = "ab ,;\"\n\r\t'=é猫\u2028"
  rows = [
    ["".join(draw.choices(letters, k=draw.randrange(6))) + "x" for _ in range(5)]
    for _ in range(300)
  ]
  text = io.StringIO(newline="")
  CsvWriter(text).writerows(rows)
  watched = opened(hostile[0])
  assert watched.page.evaluate("rows => toCsv(rows)", rows) == text.getvalue()
  found = watched.page.evaluate("text => fromCsv(text)", text.getvalue())
  assert [one["cells"] for one in found] == rows
  windows = text.getvalue().replace("x\n", "x\r\n")
  expected = list(csv.reader(io.StringIO(windows, newline="")))
  assert [
    one["cells"] for one in watched.page.evaluate("text => fromCsv(text)", windows)
  ] == expected


def test_work_of_the_last_moment_survives_a_killed_browser(hostile, chromium, tmp_path):
  from playwright.sync_api import Error

  profile, how = tmp_path / "profile", browser.options()
  context = chromium.browser_type.launch_persistent_context(profile, **how)
  watched = browser.Watched(context, hostile[0])
  for key in "kad":
    watched.page.keyboard.press(key)
  assert watched.text("#counter").startswith("3 of 40 decided")
  watched.page.wait_for_timeout(300)
  os.kill(browser.pid_of_profile(profile), signal.SIGKILL)
  with contextlib.suppress(Error):  # it is dead
    context.close()
  context = chromium.browser_type.launch_persistent_context(profile, **how)
  watched = browser.Watched(context, hostile[0])
  assert watched.text("#counter") == "3 of 40 decided: 1 keep, 1 relabel, 1 drop"
  watched.page.keyboard.press("u")
  assert watched.text("#counter") == "2 of 40 decided: 1 keep, 1 relabel, 0 drop"
  watched.assert_quiet()
  context.close()


def test_two_tabs_and_another_run_keep_their_work_apart_and_together(hostile, opened, tmp_path):
  watched = opened(hostile[0])
  context = watched.page.context
  watched.page.keyboard.press("k")
  other_run, _ = made(tmp_path / "other", num_train=200)
  results = files.read_json(other_run.parent / "results.json")
  results["data"]["checksum"] = "6e" * 32
  files.write_json(other_run.parent / "results.json", results)
  review_page.write(other_run.parent, read.load(other_run.parent))
  second = context.new_page()
  second.goto(hostile[0].as_uri())
  second.wait_for_selector("[data-ready]")
  second.keyboard.press("d")
  watched.page.wait_for_function("document.querySelector('#counter').textContent.startsWith('2 ')")
  assert watched.text("#counter") == "2 of 40 decided: 1 keep, 0 relabel, 1 drop"
  second.goto(other_run.as_uri())
  second.wait_for_selector("[data-ready]")
  assert second.text_content("#counter").startswith("0 of 40 decided")
  second.close()
  watched.requests = [url for url in watched.requests if url != other_run.as_uri()]
