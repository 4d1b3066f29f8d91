"""The report, from the artifacts of runs that never happened."""

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sdt import files
from sdt.errors import DataError
from sdt.report import __main__ as command
from sdt.report import (
  build_report,
  curve_figures,
  drawing,
  figures,
  image_figures,
  read,
  score_figures,
  tables,
)
from sdt.report import run_page as report_html
from tests.support.fake_figures import add_cam, add_dynamics, add_norms
from tests.support.fake_run import make_fake_run, write_environment_and_timing
from tests.support.report_page import Page, page_alone, small_run

NUM_PICTURES = 20
TIMING = re.compile(r'<section id="timing">.*?</section>', re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  workdir = make_fake_run(tmp_path_factory.mktemp("run"))
  add_norms(workdir)
  add_dynamics(workdir)
  add_cam(workdir)
  return workdir, build_report(workdir).read_text(encoding="utf-8")


def test_report_is_one_file_without_script_or_network(built):
  page = Page(built[1])
  sections = {f"#{attrs['id']}" for tag, attrs in page.tags if tag == "section"}
  links = [source for source in page.sources if source.startswith("#")]
  assert links == list(dict.fromkeys(links))
  assert set(links) == sections
  assert all(source.startswith("data:image/png;base64,") for source in page.pictures)
  assert len(page.pictures) == NUM_PICTURES
  assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
  assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
  assert "http:" not in built[1]
  assert "https:" not in built[1]
  assert "@import" not in built[1]
  assert "url(" not in built[1]


def test_every_image_is_a_file_too_and_has_a_text(built):
  page = Page(built[1])
  assert len(list((built[0] / "figures").glob("*.png"))) == NUM_PICTURES
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
      "curves",
      "examples",
      "scores",
      "mechanism",
      "data",
      "timing",
    )
  ]
  assert order == sorted(order)
  assert built[1].index('class="verdict"') < built[1].index("<nav") < order[0]
  assert built[1].count("<figcaption>") == built[1].count("<figure") == NUM_PICTURES
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


def test_two_builds_give_the_same_bytes_outside_timing(built):
  workdir, first = built
  before = {path.name: path.read_bytes() for path in (workdir / "figures").glob("*.png")}
  write_environment_and_timing(workdir, 97.0)
  second = build_report(workdir).read_text(encoding="utf-8")
  assert {path.name: path.read_bytes() for path in (workdir / "figures").glob("*.png")} == before
  assert first != second
  assert TIMING.sub("", first) == TIMING.sub("", second)
  assert len(TIMING.findall(second)) == 1
  assert "machine-97.0" in TIMING.findall(second)[0]


def test_names_are_escaped(tmp_path):
  names = ["<script>alert(1)</script>", "a&b", "$x^$", '"q"', "猫"]
  text = page_alone(small_run(tmp_path, num_classes=5, class_names=names))
  page = Page(text)
  assert not any(tag == "script" for tag, _ in page.tags)
  assert names == [row[0] for row in page.rows if row[0] in names]
  # Neither mathematics nor letters that the font lacks stop or warn in a figure.
  figures.render(
    image_figures.mosaic, np.zeros((5, 8, 8, 1), np.uint8), np.arange(5), np.ones(5), names
  )
  figures.render(
    score_figures.class_counts,
    np.arange(5),
    np.eye(5, dtype=bool)[:1],
    ~np.eye(5, dtype=bool)[:1],
    names,
    "A",
  )


def test_one_seed_says_what_is_missing(tmp_path):
  text = build_report(small_run(tmp_path, seeds=(3,))).read_text(encoding="utf-8")
  assert "one seed: no verdict" in text
  assert "with one seed there is nothing to compare" in text
  assert not (tmp_path / "figures" / "stability.png").exists()


def test_two_seeds_have_no_verdict_and_no_interval(tmp_path):
  text = page_alone(small_run(tmp_path, seeds=(0, 1), arms=("baseline", "method")))
  row, _ = (row for row in Page(text).rows if row[0] == "method - baseline")
  assert row[2:8] == ["-", "two seeds: no verdict", "2", "-", "-", "-"]
  assert "these decide nothing" not in text


def test_run_without_a_method_and_without_optional_files(tmp_path):
  small_run(tmp_path, arms=("baseline",))
  for name in (
    "metrics.jsonl",
    "scores.npz",
    "scores.json",
    "split.csv",
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
    "figures/mosaics.npz",
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


def test_curves_leave_a_seed_that_diverges_out_of_every_round(tmp_path):
  rows = _rows("method", 0, "A", [None] * 3, last=False) + _rows(
    "method", 1, "A", [None] * 3, last=False
  )
  rows += _rows("method", 0, "B", [0.2, 0.4, 0.6]) + _rows("method", 1, "B", [0.8, 0.9, None])
  rows += _rows("baseline", 0, "all", [0.1, 0.2, 0.3]) + _rows(
    "baseline", 1, "all", [0.3, 0.4, 0.5]
  )
  next(row for row in rows if (row["seed"], row["round"], row["phase"]) == (1, 3, "B"))[
    "diverged"
  ] = True
  curves = read.curves(rows, ["baseline", "method"])
  figure = curve_figures.curve(
    curves,
    "test_accuracy",
    ["baseline", "method"],
    shown=["baseline", "method"],
    drops=[],
    title="t",
  )
  lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
  assert lines["baseline"] == pytest.approx([0.2, 0.3, 0.4])
  assert lines["method, after B (n = 1)"] == pytest.approx([0.2, 0.4, 0.6])
  (phase_a,) = (one for one in curves if one.phase == "A")
  assert phase_a.values["train_accuracy"].shape == (1, 3)
  assert figure.legends[0].get_title().get_text().startswith("mean of 2 seeds")
  every = read.curves([row | {"diverged": True} for row in rows], ["baseline", "method"])
  assert every == []


def test_captions_of_curves_name_the_seeds_left_out(tmp_path, monkeypatch):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3, 4), diverged={"method": [2, 4], "baseline": [0]})
  loaded = read.load(workdir)
  caption = (
    "Without seeds that diverged, over all rounds: baseline, seed 0; method, seed 2, "
    "4.</figcaption>"
  )
  monkeypatch.setattr(drawing, "render", lambda draw, *args, **kwargs: b"")
  text = report_html.page(loaded, drawing.draw(loaded))
  assert text.count(caption) == 5
  assert "the band shows one sd over" in text  # uniform_mean still has five
  whole = read.load(small_run(tmp_path / "other"))
  assert "Without seeds" not in report_html.page(whole, drawing.draw(whole))


@pytest.mark.parametrize(
  ("policy", "balanced", "subset", "mosaic"),
  [
    ("top", False, "A, the easiest", "The examples of A with the highest scores"),
    ("top", True, "A, the easiest of each class", "The examples of A with the highest scores"),
    ("bottom", False, "A, the hardest", "The examples of A with the lowest scores"),
    ("random", False, "A, a random draw", "The examples of the random A with the highest scores"),
    (None, False, "A", "Examples of A"),
  ],
)
def test_titles_follow_the_policy_that_made_the_subset(
  policy, balanced, subset, mosaic, tmp_path, monkeypatch
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
    drawing, "render", lambda draw, *args, **kwargs: drawn.append((draw, args)) or b""
  )
  loaded = read.load(workdir)
  text = report_html.page(loaded, drawing.draw(loaded))
  assert f"<h2>Examples of {subset}, and of B</h2>" in text
  assert f"<h3>{mosaic} (3)</h3>" in text
  (args,) = (args for draw, args in drawn if draw is score_figures.class_counts)
  panel = score_figures.class_counts(*args).axes[0]
  assert panel.get_title(loc="left").startswith(f"Subset {subset}: ")


def test_known_truth_is_one_line(tmp_path):
  truth = {
    "auroc_wrong_label": {"log_odds": 0.9123},
    "wrong_labels_in_A": {"0": 0.0, "1": 0.01},
    "spearman_difficulty": {"log_odds": 0.5},
  }
  line = tables.truth_text(truth, "log_odds")
  assert line is not None
  assert "curve of 0.912 (1 is perfect, 0.5 is chance); 0.50 % of A have a wrong label" in line
  assert line.endswith("easiness is 0.500.")
  precise = tables.truth_text(
    truth | {"average_precision_wrong_label": {"log_odds": 0.77}, "wrong_label_rate": 0.1},
    "log_odds",
  )
  assert "chance); its average precision is 0.770 (chance is 0.100); 0.50 % of A" in str(precise)
  clean = tables.truth_text(truth | {"auroc_wrong_label": {"log_odds": None}}, "log_odds")
  assert (
    clean == "Known truth: Spearman's correlation of log_odds with the known easiness is 0.500."
  )
  assert tables.truth_text({}, "log_odds") is None
  workdir = small_run(tmp_path)
  assert "Known truth" not in page_alone(workdir)
  files.write_json(
    workdir / "scores.json", files.read_json(workdir / "scores.json") | {"truth": truth}
  )
  assert line in page_alone(workdir).replace("&#39;", "'")
  assert tables.truth_text({"auroc_wrong_label": {"log_odds": None}}, "log_odds") is None


def test_the_note_claims_no_joint_coverage_of_intervals_that_holm_moved(tmp_path):
  text = " ".join(page_alone(small_run(tmp_path)).split())
  assert "is simultaneous" not in text
  assert "the end next to zero is moved to Holm's level" in text.replace("&#39;", "'")
  assert "the joint 5 % are then the test's, not the intervals'" in text.replace("&#39;", "'")


def test_rounds_that_are_not_evaluated_leave_the_curves_whole(tmp_path):
  small_run(tmp_path, rounds=10, eval_every_rounds=4)
  curves = read.curves(read.load(tmp_path).metrics, ("baseline", "method"))
  shown = (
    curve_figures.curve(
      curves,
      "test_accuracy",
      ("baseline", "method"),
      shown=("baseline", "method"),
      drops=[],
      title="t",
    )
    .axes[0]
    .lines[0]
  )
  assert shown.get_xdata().tolist() == [4, 8, 10]


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
  assert [row[0] for row in page.rows if row and row[0] in names] == names


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
    "import sdt.report.html; print({'jax'} & set(sys.modules))"
  )
  run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert run.stdout.split("\n")[:2] == ["set()", "set()"]


def _rows(arm, seed, phase, values, last=True, rates=None):
  rows = []
  for number, value in enumerate(values, start=1):
    row = {
      "arm": arm,
      "seed": seed,
      "round": number,
      "phase": phase,
      "last_phase": last,
      "learning_rate": rates[number - 1] if rates else 0.1,
    }
    rows.append(
      row | {"train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": value}
    )
  return rows


def test_curve_draws_the_mean_and_the_range_of_few_seeds():
  rows = _rows("method", 0, "B", [0.2, 0.4, None]) + _rows("method", 1, "B", [0.4, 0.8, 0.6])
  (curve,) = read.curves(rows, ["method"])
  axes = curve_figures.curve(
    [curve], "test_accuracy", ["method"], shown=["method"], drops=[], title="t"
  ).axes[0]
  np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.3, 0.6, 0.6])
  edges = axes.collections[0].get_paths()[0].vertices
  np.testing.assert_allclose(
    [[edges[edges[:, 0] == x, 1].min(), edges[edges[:, 0] == x, 1].max()] for x in (1, 2, 3)],
    [[0.2, 0.4], [0.4, 0.8], [0.6, 0.6]],
  )


def test_curve_draws_one_sd_of_five_seeds():
  values = [0.1, 0.2, 0.3, 0.4, 0.9]
  rows = [
    row for seed, value in enumerate(values) for row in _rows("method", seed, "B", [value, value])
  ]
  figure = curve_figures.curve(
    read.curves(rows, ["method"]),
    "test_accuracy",
    ["method"],
    shown=["method"],
    drops=[],
    title="t",
  )
  edges = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose(
    [edges.min(), edges.max()], np.mean(values) + np.array([-1, 1]) * np.std(values, ddof=1)
  )
  assert figure.legends[0].get_title().get_text() == "mean of 5 seeds, band: ± sd"


def test_phase_that_does_not_end_a_round_is_dotted_and_has_no_band():
  rows = _rows("method", 0, "A", [None, None], last=False) + _rows("method", 0, "B", [0.5, 0.6])
  curves = read.curves(rows, ["method"])
  axes = curve_figures.curve(
    curves, "train_accuracy", ["method"], shown=["method"], drops=[], title="t"
  ).axes[0]
  assert [line.get_label() for line in axes.lines] == ["method, phase A", "method, phase B"]
  assert [line.get_linestyle() for line in axes.lines] == [":", "-"]
  assert [
    line.get_label()
    for line in curve_figures.curve(
      curves, "test_accuracy", ["method"], shown=["method"], drops=[], title="t"
    )
    .axes[0]
    .lines
  ] == ["method, after B"]


def test_learning_rate_drops_are_the_rounds_that_begin_lower():
  assert read.learning_rate_drops(
    _rows("b", 0, "all", [0.1] * 5, rates=[0.1, 0.1, 0.01, 0.01, 0.001])
  ) == [3, 5]
  cosine = [0.05 * (1 + np.cos(np.pi * number / 50)) for number in range(50)]
  assert len(read.learning_rate_drops(_rows("b", 0, "all", [0.1] * 50, rates=cosine))) <= 3
  assert read.learning_rate_drops([]) == []


def test_cut_is_the_border_only_where_one_subset_lies_above():
  scores = np.array([1.0, 2.0, 3.0, 4.0])
  assert read.cut(scores, scores >= 3) == 3.0
  assert read.cut(scores, scores <= 2) == 2.0
  assert read.cut(scores, np.array([True, False, True, False])) is None
  assert read.cut(scores, np.array([True, False, False, True])) is None
  assert read.cut(scores, np.array([False, True, True, False])) is None
  assert read.cut(scores, scores > 9) is None


@pytest.mark.parametrize(
  ("split", "swapped", "caption"),
  [
    ({}, (), "; filled: A; dashed: its border."),
    (
      {"source": "mean"},
      (1,),
      (
        "; dashed: its border. The A of seed 1 has no border here: it is not one end of this "
        "score, because all seeds"
      ),
    ),
    (
      {"class_balanced": True},
      (0, 1, 2),
      "; filled: A. A has no border here: it is not one end of this score, because every class",
    ),
    (
      {"policy": "random"},
      (0, 1, 2),
      (
        "; filled: A. A has no border here: it is not one end of this score, because it is a "
        "random draw."
      ),
    ),
    (
      {"policy": "window"},
      (0, 1, 2),
      (
        "; filled: A. A has no border here: it is not one end of this score, because it leaves "
        "the very easiest to B."
      ),
    ),
    (
      {"policy": None},
      (0, 1, 2),
      "; filled: A. A has no border here: it is not one end of this score.",
    ),
  ],
)
def test_a_histogram_says_that_a_has_no_border_only_where_it_has_none(
  split, swapped, caption, tmp_path, monkeypatch
):
  workdir = small_run(tmp_path)
  config = files.read_json(workdir / "config.json")
  config["config"]["split"] |= split
  files.write_json(workdir / "config.json", config)
  loaded = read.load(workdir)
  for seed in swapped:  # the hardest of all joins A
    loaded.split.in_A[seed, loaded.scores["log_odds"][seed].argmin()] = True
  monkeypatch.setattr(drawing, "render", lambda draw, *args, **kwargs: b"")
  captions = [
    drawing.draw(loaded)[f"histogram_{name}"].caption for name in ("log_odds", "confidence")
  ]
  assert caption in captions[0]
  assert ["no border here" in one for one in captions] == [bool(swapped)] * 2


def test_the_histogram_of_a_score_that_does_not_rank_says_which_one_does(tmp_path, monkeypatch):
  workdir = small_run(tmp_path)
  files.write_json(
    workdir / "scores.json", files.read_json(workdir / "scores.json") | {"ranked_by": "aum"}
  )
  loaded = read.load(workdir)
  loaded.split.in_A[:, ::7] = True
  loaded.scores["aum"] = np.where(loaded.split.in_A, 1.0, 0.0) + loaded.scores["confidence"] / 2
  monkeypatch.setattr(drawing, "render", lambda draw, *args, **kwargs: b"")
  pictures = drawing.draw(loaded)
  assert pictures["histogram_aum"].caption.endswith(
    "each seed an outline; filled: A; dashed: its border."
  )
  assert pictures["histogram_confidence"].caption.endswith(
    "it is not one end of this score, because it was chosen by aum."
  )


def test_mosaic_shows_exact_pixels():
  images = np.zeros((11, 8, 8, 1), np.uint8)
  images[10, 2, 5] = 200
  png = figures.render(image_figures.mosaic, images, np.zeros(11, int), np.ones(11), ["zero"])
  pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
  scale = image_figures.TILE // 8
  assert pixels.shape == (
    2 * (image_figures.TILE + image_figures.CAPTION),
    10 * (image_figures.TILE + image_figures.TILE_GAP),
    3,
  )
  bright = np.argwhere((pixels == 200).all(axis=2))
  top = (
    image_figures.TILE + image_figures.CAPTION + (image_figures.TILE - 8 * scale) // 2 + 2 * scale
  )
  left = (image_figures.TILE + image_figures.TILE_GAP - 8 * scale) // 2 + 5 * scale
  inside = [
    (row, column) for row in range(top, top + scale) for column in range(left, left + scale)
  ]
  assert set(inside) <= set(map(tuple, bright.tolist()))


@pytest.mark.parametrize(
  ("name", "lines"),
  [
    ("rocking chair", ["rocking chair"]),
    ("Black_footed_Albatross", ["Black_footed_", "Albatross"]),
    ("European fire salamander", ["European fire", "salamander"]),
    ("fourteenlette rs", ["fourteenlette", "rs"]),
    ("onelongwordwithoutend", ["onelongwordwit", "houtend"]),
    ("Chuck_will_widow and_many_other_birds", ["Chuck_will_", "widow and_man…"]),
  ],
)
def test_a_long_class_name_takes_two_lines_below_its_image(name, lines):
  assert figures.in_two_lines(name, 14).split("\n") == lines
  image = figures.render(
    image_figures.mosaic, np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, int), np.ones(1), [name]
  )
  line = image_figures.CAPTION_LINE if len(lines) == 2 else 0
  assert Image.open(io.BytesIO(image)).size[1] == image_figures.TILE + image_figures.CAPTION + line


def test_confidence_of_one_is_only_bounded():
  assert image_figures.percent_of_confidence(1.0) == ">99.99 %"
  assert image_figures.percent_of_confidence(0.5) == "50.00 %"


def test_a_run_with_fewer_than_two_sound_seeds_says_that_no_mean_compares_them(tmp_path):
  workdir = small_run(tmp_path, seeds=(0, 1), diverged={"baseline": [1]})
  info = files.read_json(workdir / "scores.json")
  info["stability"] |= {"mean_spearman": None, "mean_overlap_of_A": None}
  files.write_json(workdir / "scores.json", info)
  text = page_alone(workdir)
  assert "Fewer than two seeds have a baseline that did not diverge" in text
  assert "of A on average" not in text


def test_scores_without_a_correlation_still_make_a_report(tmp_path, monkeypatch):
  """A network that diverged may give every example the same score; its correlation is null."""
  workdir = small_run(tmp_path, seeds=(0, 1))
  info = files.read_json(workdir / "scores.json")
  info["stability"] |= {"spearman": [[1.0, None], [None, 1.0]], "mean_spearman": None}
  files.write_json(workdir / "scores.json", info)
  titles = []
  monkeypatch.setattr(
    drawing,
    "render",
    lambda draw, *args, **kwargs: (
      titles.append(draw(*args, **kwargs).axes[0].get_title(loc="left")) or b""
    ),
  )
  loaded = read.load(workdir)
  assert "their correlation is not defined" in report_html.page(loaded, drawing.draw(loaded))
  assert any(title.startswith("Spearman's correlation is not defined") for title in titles)
