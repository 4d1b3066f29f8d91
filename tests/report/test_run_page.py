"""The report, from the artifacts of runs that never happened."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sdt import files
from sdt.errors import DataError
from sdt.report import __main__ as command
from sdt.report import (
  build_report,
  class_figures,
  drawing,
  figures,
  image_figures,
  norm_figures,
  read,
  run_page,
  score_pictures,
)
from sdt.report import page as page_of
from sdt.report.read import Split
from tests.support.fake_figures import add_cam, add_dynamics, add_norms
from tests.support.fake_run import make_fake_run, write_environment_and_timing
from tests.support.report_page import Page, page_alone, small_run

NUM_FIGURES, NUM_TILES = 18, 80
TIMING = re.compile(r'<section id="timing">.*?</section>', re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  workdir = make_fake_run(tmp_path_factory.mktemp("run"))
  add_norms(workdir)
  add_dynamics(workdir)
  add_cam(workdir)
  return workdir, build_report(workdir).read_text(encoding="utf-8")


def test_report_is_one_file_without_network_and_with_one_script_of_its_own(built):
  page = Page(built[1])
  sections = {f"#{attrs['id']}" for tag, attrs in page.tags if tag == "section"}
  links = [source for source in page.sources if source.startswith("#")]
  assert links == list(dict.fromkeys(links))
  assert set(links) == sections
  addresses = [source for source in page.pictures if source != "review.html"]
  kinds = ("data:image/png;base64,", "data:image/svg+xml;base64,")
  assert all(source.startswith(kinds) for source in addresses)
  assert len(addresses) == NUM_FIGURES + NUM_TILES
  assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
  (script,) = re.findall(r"<script>(.*?)</script>", built[1], re.DOTALL)
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  assert f"script-src 'sha256-{digest}'\"" in built[1]
  assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
  assert "http:" not in built[1]
  assert "https:" not in built[1]
  assert "@import" not in built[1]
  assert "url(" not in built[1]


def test_every_image_is_a_file_too_and_has_a_text(built):
  page = Page(built[1])
  pictures = [*(built[0] / "figures").glob("*.png"), *(built[0] / "figures").glob("*.svg")]
  assert len(pictures) == NUM_FIGURES
  assert all(attrs["alt"] for tag, attrs in page.tags if tag == "img")


def test_seeds_that_share_little_of_a_are_a_warning(built):
  warning = json.loads((built[0] / "scores.json").read_text())["stability"]["warning"]
  assert warning
  assert f"<strong>Warning:</strong> {warning}." in built[1]


def test_the_page_has_its_order_a_sentence_below_every_figure_and_a_sensible_size(built):
  order = [
    built[1].index(f'id="{name}"')
    for name in (
      "results",
      "differences",
      "images",
      "curves",
      "scores",
      "mechanism",
      "data",
      "timing",
    )
  ]
  assert order == sorted(order)
  assert built[1].index('class="verdict"') < built[1].index("<nav") < order[0]
  assert built[1].count("<figcaption>") == built[1].count("<figure") == NUM_FIGURES
  assert len(built[1]) < 3e6


def test_table_shows_the_numbers_of_results_json(built):
  results = json.loads((built[0] / "results.json").read_text())
  page = Page(built[1])
  for arm, entry in results["arms"].items():
    texts = next(row for row in page.rows if row[0] == arm and len(row) > 2)
    assert texts[1:4] == [f"{100 * entry['accuracy'][str(seed)]:.2f}" for seed in results["seeds"]]
    assert texts[4] == f"{100 * entry['mean']:.2f} ± {100 * entry['sd']:.2f}"
    gap = np.mean(
      [
        entry["train_accuracy"][str(seed)] - entry["accuracy"][str(seed)]
        for seed in results["seeds"]
      ]
    )
    assert texts[7] == f"{100 * gap:+.2f}"
    assert texts[8] == f"{100 * entry['fluctuation']['mean']:.2f}"
  for entry in results["contrasts"].values():
    texts, beside, per_seed = (row for row in page.rows if row[0] == entry["difference"])
    assert texts[1:] == [
      f"{100 * entry['mean']:+.2f} ± {100 * entry['sd']:.2f}",
      f"{100 * entry['interval'][0]:+.2f} to {100 * entry['interval'][1]:+.2f}",
      entry["verdict"],
      str(entry["n"]),
      f"{entry['p']:.3f}",
      f"{entry['p_holm']:.3f}",
      f"{100 * entry['smallest_detectable']:.2f}",
    ]
    correlation = "-" if entry["correlation"] is None else f"{entry['correlation']:+.2f}"
    assert beside[1:] == [
      correlation,
      f"{entry['wilcoxon']['p']:.3g}",
      f"{entry['wilcoxon']['smallest_p']:.3g}",
    ]
    assert per_seed[1:] == [f"{100 * value:+.2f}" for value in entry["per_seed"].values()]
  assert results["sentence"].replace("+-", "±") in built[1]
  assert results["data"]["notes"][0] in built[1]


@pytest.mark.slow
def test_two_builds_give_the_same_bytes_outside_timing(built):
  workdir, first = built
  before = {path.name: path.read_bytes() for path in (workdir / "figures").glob("*.svg")}
  write_environment_and_timing(workdir, 97.0)
  second = build_report(workdir).read_text(encoding="utf-8")
  assert {path.name: path.read_bytes() for path in (workdir / "figures").glob("*.svg")} == before
  assert first != second
  assert TIMING.sub("", first) == TIMING.sub("", second)
  assert len(TIMING.findall(second)) == 1
  assert "machine-97.0" in TIMING.findall(second)[0]


def test_names_are_escaped(tmp_path):
  names = ["<script>alert(1)</script>", "a&b", "$x^$", '"q"', "猫"]
  text = page_alone(small_run(tmp_path, num_classes=5, class_names=names))
  page = Page(text)
  assert sum(tag == "script" for tag, _ in page.tags) == 1
  assert names[0] in html.unescape(text[text.index('id="images"') : text.index('id="curves"')])
  assert names == [row[0] for row in page.rows if row[0] in names and len(row) == 4]
  # Neither mathematics nor letters that the font lacks stop or warn in a figure.
  figures.render(image_figures.contact_sheet, names, np.zeros((5, 1, 8, 8, 1), np.uint8))
  in_A = np.eye(5, dtype=bool)[:1]
  split = Split([0], np.arange(5), in_A, in_B=~in_A)
  figures.render(class_figures.class_counts, split, names, "A")


def test_a_test_set_that_was_trained_on_is_told_once_above_all_other_warnings(tmp_path):
  workdir = small_run(tmp_path)
  results = json.loads((workdir / "results.json").read_text())
  warning = "9.1 % of the test examples are in the training set too"
  results["data"]["notes"] = ["the first note", warning]
  results["data"]["duplicates"] = {"test_in_train": 3, "warning": warning}
  files.write_json(workdir / "results.json", results)
  text = page_alone(workdir)
  assert text.count(warning) == 1
  first = text.index('class="warning"')
  assert text[first:].startswith(f'class="warning"><strong>Leakage:</strong> {warning}.')
  assert text.index('class="verdict"') < first < text.index("the first note")


def test_one_seed_says_what_is_missing(tmp_path):
  text = page_alone(small_run(tmp_path, seeds=(3,)))
  assert "one seed: no verdict" in text
  assert "a comparison needs at least two seeds" in text
  assert score_pictures.stability(read.load(tmp_path)) == {}


def test_two_seeds_have_no_verdict_and_no_interval(tmp_path):
  text = page_alone(small_run(tmp_path, seeds=(0, 1), arms=("baseline", "method")))
  row, _ = (row for row in Page(text).rows if row[0] == "method - baseline")
  assert row[2:8] == ["-", "two seeds: no verdict", "2", "-", "-", "-"]
  assert "which do not change the verdicts" not in text


def test_a_run_of_the_baseline_alone_has_no_section_on_scores_that_it_never_made(tmp_path):
  text = page_alone(small_run(tmp_path, arms=("baseline",)))
  page = Page(text)
  sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
  assert [f"#{name}" for name in sections] == [one for one in page.sources if one[0] == "#"]
  assert sections == ["results", "differences", "curves", "mechanism", "data", "timing"]
  assert not re.search("Missing: [^<]*(scores|split|suspects|two seeds)", text)
  config = json.loads((tmp_path / "config.json").read_text())["config"]
  assert f"{len(page_of.pairs(config))} keys of the config; all others are at their def" in text


def test_run_without_a_method_and_without_optional_files(tmp_path):
  small_run(tmp_path, seeds=(0, 1), arms=("baseline", "uniform_mean"))
  for name in (
    "metrics.jsonl",
    "scores.npz",
    "scores.json",
    "split.csv",
    "suspects.csv",
    "config.json",
    "environment.json",
    "timing.json",
  ):
    (tmp_path / name).unlink()
  shutil.rmtree(tmp_path / "figures")
  text = build_report(tmp_path).read_text(encoding="utf-8")
  for what in (
    "the differences",
    "metrics.jsonl",
    "scores.npz",
    "split.csv",
    "suspects.csv",
    "scores.json, which says how far they agree",
    "timing.json",
    "environment.json",
  ):
    assert re.search(rf"Missing: [^<]*{re.escape(what)}", text), what
  assert not Page(text).pictures


def test_diverged_seed_is_flagged(tmp_path):
  text = page_alone(small_run(tmp_path, seeds=(0, 1, 2, 3), diverged={"method": [2]}))
  assert re.search(r"Diverged:</strong> method, seed 2\.", text)
  row = next(row for row in Page(text).rows if row[0] == "method" and len(row) > 2)
  assert row[3] == "diverged"
  assert row[6] == "3"


@pytest.mark.parametrize(
  ("policy", "balanced", "subset"),
  [
    ("top", False, "A (the easiest examples)"),
    ("top", True, "A (the easiest examples of each class)"),
    ("bottom", False, "A (the hardest examples)"),
    ("random", False, "A (a random draw)"),
    (None, False, "A"),
  ],
)
def test_titles_follow_the_policy_that_made_the_subset(
  policy, balanced, subset, tmp_path, monkeypatch
):
  workdir = small_run(tmp_path)
  config = files.read_json(workdir / "config.json")
  if policy is None:
    (workdir / "config.json").unlink()
  else:
    config["config"]["split"] |= {"policy": policy, "class_balanced": balanced}
    files.write_json(workdir / "config.json", config)
  drawn = []
  monkeypatch.setattr(
    figures, "render", lambda draw, *args, **kwargs: drawn.append((draw, args)) or b""
  )
  loaded = read.load(workdir)
  text = run_page.html(loaded, drawing.draw(loaded))
  assert f"<h2>Scores, and the split into {subset} and B</h2>" in text
  (args,) = (args for draw, args in drawn if draw is class_figures.class_counts)
  panel = class_figures.class_counts(*args).axes[0]
  assert panel.get_title(loc="left").startswith(f"Subset {subset}: ")


def test_the_page_warns_at_its_top_and_shows_batches_and_decay_of_every_arm(tmp_path):
  small_run(tmp_path)
  results = files.read_json(tmp_path / "results.json")
  design = {
    "formula": "2 x rate x decay / (1 - momentum)",
    "arms": {
      "baseline": {"decay_constants": 0.25, "smallest_batch": 8},
      "method": {"decay_constants": None, "smallest_batch": 64},
    },
    "warnings": ["the smallest batch of a round is 8 in arm baseline"],
  }
  files.write_json(tmp_path / "results.json", results | {"design": design})
  text = page_alone(tmp_path)
  assert "The smallest batch of a round is 8 in arm baseline." in text
  assert text.index("The smallest batch of a round") < text.index('<section id="results"')
  rows = {row[0]: row[2:] for row in Page(text).rows if row and len(row) == 4}
  assert rows["baseline"] == ["8", "0.25"]
  assert rows["method"] == ["64", "-"]
  assert "2 x rate x decay / (1 - momentum), summed over all steps" in text
  files.write_json(tmp_path / "results.json", results)  # of a run before there was this entry
  assert "Steps, batches and decay" in page_alone(tmp_path)


@pytest.mark.slow
def test_hundred_classes_and_large_colour_images(tmp_path):
  names = [f"a rather long class name {index}" for index in range(100)]
  make_fake_run(
    tmp_path,
    num_classes=100,
    class_names=names,
    num_train=1000,
    image_size=224,
    channels=3,
    rounds=4,
    num_mosaic=12,
    seeds=(0, 1, 2, 3, 4),
  )
  page = Page(build_report(tmp_path).read_text(encoding="utf-8"))
  named = [row[0] for row in page.rows if row and row[0] in names]
  assert named[-len(names) :] == names  # above this table some classes stand in others


def test_damaged_or_missing_artifacts_are_named(tmp_path):
  with pytest.raises(DataError, match=r"results\.json is missing"):
    build_report(tmp_path)
  (tmp_path / "results.json").write_text("{}")
  with pytest.raises(DataError, match="key 'data' is missing"):
    build_report(tmp_path)
  (tmp_path / "results.json").write_text("[1")
  with pytest.raises(DataError, match=r"results\.json"):
    build_report(tmp_path)
  shutil.rmtree(tmp_path)
  small_run(tmp_path)
  (tmp_path / "split.csv").write_text("example_id,label\n0,1\n")
  with pytest.raises(DataError, match=r"split\.csv: expected the columns"):
    build_report(tmp_path)


@pytest.mark.slow
def test_command_prints_the_path_or_one_line(built, tmp_path, capsys):
  shutil.copytree(built[0], tmp_path / "run")
  (tmp_path / "run" / "metrics.jsonl").unlink()
  assert command.main([str(tmp_path / "run")]) == 0
  assert capsys.readouterr().out == f"{tmp_path / 'run' / 'report.html'}\n"
  assert command.main([str(tmp_path / "nowhere")]) == 3
  error = capsys.readouterr().err
  assert error.startswith("error: ")
  assert error.count("\n") == 1


def test_report_never_imports_jax_and_matplotlib_only_when_it_draws():
  code = (
    "import sys, sdt.report, sdt.report.tables; print({'jax', 'matplotlib', 'jinja2'} & "
    "set(sys.modules)); "
    "import sdt.report.run_page; print({'jax'} & set(sys.modules))"
  )
  run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert run.stdout.split("\n")[:2] == ["set()", "set()"]


def test_runs_without_norms_dynamics_or_maps_have_no_such_figures(tmp_path, drawn):
  made, pictures = drawn(small_run(tmp_path, seeds=(0,)))
  assert not {*read.NORMS, "layer_norms", "cam", "data_map", "stability"} & set(pictures)
  assert set(made) == {
    "contrasts",
    "curve",
    "histogram",
    "class_histograms",
    "class_counts",
  }
  assert all(picture.caption and picture.alt for picture in pictures.values())
  (tmp_path / "scores.json").unlink()
  assert "class_histograms" in drawn(tmp_path)[1]
  rows = files.read_rows(tmp_path / "metrics.jsonl")
  assert all(
    row["effective_rate"] is None
    for row in norm_figures.with_effective_rate([row | {"weight_norm": None} for row in rows])
  )
