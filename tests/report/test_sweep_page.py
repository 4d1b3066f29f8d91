"""The report of a sweep: its table, its figure and its page, from runs that never happened."""

import copy
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from sdt import files
from sdt.commands import sweep
from sdt.config import resolve, to_dict
from sdt.config.sweep_points import expand
from sdt.errors import DataError
from sdt.report import build_report, sweep_figure
from sdt.report.figures import BLACK, BLUE, VERMILLION
from sdt.report.sweep_page import caption, cautions, table_text
from sdt.stats import paired
from tests.support.fake_run import make_fake_run

FRACTIONS = (0.3, 0.01, 0.05, 0.1)


def make_fake_sweep(
  workdir,
  key="method.fraction",
  values=FRACTIONS,
  *,
  arms=("baseline", "method", "uniform_mean"),
  lost=None,
  **changes,
):
  """Writes the fake runs of a sweep and its sweep.json, and returns the content of the latter."""
  config = resolve(
    {"seeds": (0, 1, 2), "arms": arms, "sweep": {"key": key, "values": values, **changes}}
  )
  points = expand(config)
  for number, point in enumerate(points):
    diverged = {"method": lost[number]} if lost and number in lost else None
    make_fake_run(
      workdir / point.folder, arms=arms, rounds=4, num_train=1437 + number, diverged=diverged
    )
  files.write_json(workdir / "config.json", {"config": to_dict(config), "hash": "5f" * 32})
  content = sweep.summarise(config, points, workdir)
  files.write_json(workdir / "sweep.json", content)
  return files.read_json(workdir / "sweep.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A sweep with a second key and seeds that diverged, and its page."""
  workdir = tmp_path_factory.mktemp("made") / "sweep"
  also = {"also_key": "method.lambda_A", "also_values": (5e-4, 1.4e-2, 2e-3, 1e-3)}
  content = make_fake_sweep(workdir, lost={1: [1], 2: [0, 1, 2]}, **also)
  build_report(workdir)
  return workdir, content, (workdir / "report.html").read_text()


def cells_of(page, section):
  """Returns the rows of text of every table in a section."""
  part = re.search(rf'<section id="{section}">(.*?)</section>', page, re.DOTALL)[1]
  tables = re.findall(r"<tbody>(.*?)</tbody>", part, re.DOTALL)
  rows = [
    [
      re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
      for row in re.findall(r"<tr>(.*?)</tr>", one, re.DOTALL)
    ]
    for one in tables
  ]
  return [[[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in one] for one in rows]


def test_the_page_shows_what_the_run_of_a_value_chose(made, tmp_path):
  workdir, content, page = made
  assert "chosen on the validation split" not in page
  shutil.copytree(workdir, tmp_path / "sweep")
  content = copy.deepcopy(content)
  content["values"][1]["selection"] = {
    "chosen": {"method.lambda_A": 5e-4, "method.lambda_tuned": 0.002},
    "file": "selection.json",
  }
  files.write_json(tmp_path / "sweep" / "sweep.json", content)
  build_report(tmp_path / "sweep")
  (rows,) = cells_of((tmp_path / "sweep" / "report.html").read_text(), "values")
  assert [row[4] for row in rows] == [
    "-",
    "method.lambda_A 0.0005, method.lambda_tuned 0.002",
    "-",
    "-",
  ]


def test_the_page_shows_the_numbers_of_every_value(made):
  _, content, page = made
  accuracies, differences = cells_of(page, "results")
  (seeds,) = cells_of(page, "seeds")
  (values,) = cells_of(page, "values")
  for number, entry in enumerate(content["values"]):
    baseline, method = (
      list(entry["arms"][arm]["accuracy"].values()) for arm in ("baseline", "method")
    )
    own = [value for value in method if value is not None]
    row = accuracies[number]
    assert row[0] == str(FRACTIONS[number])
    assert row[1] == f"{entry['also_value']:g}"
    assert row[3] == f"{100 * np.mean(baseline):.2f} \u00b1 {100 * np.std(baseline, ddof=1):.2f}"
    assert (
      row[4]
      == {
        3: f"{100 * np.mean(own or [0]):.2f} \u00b1 {100 * np.std(own or [0, 0], ddof=1):.2f}",
        2: f"{100 * np.mean(own or [0]):.2f} (n = 2)",
        0: "- (n = 0)",
      }[len(own)]
    )
    pairs = [one - other for one, other in zip(method, baseline, strict=True) if one is not None]
    assert differences[2 * number][:2] == [str(FRACTIONS[number]), "method - baseline"]
    assert differences[2 * number][2].startswith(f"{100 * np.mean(pairs):+.2f}" if pairs else "-")
    assert differences[2 * number][5] == str(len(pairs))
    assert seeds[3 * number + 1][2:] == [
      "diverged" if value is None else f"{100 * value:.2f}" for value in method
    ]
    assert values[number][2] == str((1437 + number) // 10)
    assert float(values[number][3]) == pytest.approx(
      (3 * entry["also_value"] + 21 * 1e-4) / 24, rel=1e-3
    )
    assert values[number][4] == "baseline all 23; method A 3 + B 21; uniform_mean all 23"


class _Links(HTMLParser):
  """Collects what a page refers to."""

  def __init__(self):
    super().__init__()
    self.links, self.loaded, self.tags = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    found = dict(attrs)
    self.links += [found["href"]] if tag == "a" and not found["href"].startswith("#") else []
    self.loaded += [found[name] for name in ("src", "srcset", "data") if name in found]


def test_the_page_is_self_contained_and_leads_to_the_reports_of_the_values(made):
  workdir, content, page = made
  found = _Links()
  found.feed(page)
  assert [unquote(link) for link in found.links] == [
    f"{entry['folder']}/report.html" for entry in content["values"]
  ]
  for link in found.links:
    assert (workdir / unquote(link)).parent.is_dir()
  assert [address[:22] for address in found.loaded] == ["data:image/svg+xml;bas"]
  assert not {"link", "iframe"} & set(found.tags)
  assert str(workdir) not in page


def test_the_page_and_the_table_warn_of_choosing_the_best(made):
  _, content, page = made
  text = " ".join(page.split())
  for told in (text, " ".join(table_text(content).split())):
    assert (
      "Whoever takes the best of 4 values on the test set must expect its mean to be about 1.03 "
      "standard deviations"
    ) in told
    assert "it is not corrected for the 4 values" in told
    assert "compared with the same baseline networks" in told
  assert "Diverged:</strong> fraction = 0.01, method, seed 1." in text
  assert cautions({"best_of": {"num_values": 1, "expected_gain_sds": 0.0}}) == [
    "This page chooses no value."
  ]


@pytest.mark.parametrize(
  ("count", "sds"),
  [(1, 0.0), (2, 0.5641895835), (3, 0.8462843753), (5, 1.1629644736), (7, 1.3521783756)],
)
def test_the_best_of_equals_is_expected_so_far_above_them(count, sds):
  assert paired.expected_best_of(count) == pytest.approx(sds, abs=1e-9)
  draws = np.random.default_rng(0).normal(size=(100_000, count)).max(axis=1)
  assert paired.expected_best_of(count) == pytest.approx(draws.mean(), abs=0.01)


@pytest.mark.slow
def test_two_builds_give_the_same_bytes_and_the_module_builds_a_sweep_too(made):
  workdir, _, _ = made
  before = {name: (workdir / name).read_bytes() for name in ("report.html", "figures/sweep.svg")}
  done = subprocess.run(
    [sys.executable, "-m", "sdt.report", str(workdir)],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout.strip()) == (0, str(workdir / "report.html"))
  assert {name: (workdir / name).read_bytes() for name in before} == before


def test_a_sweep_of_another_version_is_refused(tmp_path):
  files.write_json(tmp_path / "sweep.json", {"key": "method.lambda_A"})
  with pytest.raises(DataError, match="key 'also_key' is missing"):
    build_report(tmp_path)


def test_the_table_fits_the_screen_and_says_what_else_there_is(made):
  _, content, _ = made
  lines = table_text(content).splitlines()
  assert max(map(len, lines)) <= 110
  assert lines[2].split() == [
    "fraction",
    "lambda_A",
    "mean",
    "decay",
    "baseline",
    "sd",
    "method",
    "sd",
    "n",
    "difference",
    "verdict",
  ]
  rows = {line.split()[0]: line.split() for line in lines if line.startswith("0.")}
  assert list(rows) == [str(value) for value in FRACTIONS]
  entry = content["values"][0]
  method, difference = entry["arms"]["method"], entry["contrasts"]["baseline"]["mean"]
  assert rows["0.3"][5:9] == [
    f"{100 * method['mean']:.2f}",
    f"{100 * method['sd']:.2f}",
    "3",
    f"{100 * difference:+.2f}",
  ]
  assert rows["0.05"][5:9] == ["-", "-", "0-3", "-"]
  assert "The report also has these arms: uniform_mean." in lines


def test_the_table_says_at_its_top_that_test_labels_were_changed(made):
  content = copy.deepcopy(made[1])
  assert not table_text(content).startswith("!")
  change = {
    "key": "data.corrections_test",
    "text": "test labels corrected: " + "cat to dog 1, " * 9,
  }
  mine = change | {"key": "data.corrections", "text": "corrections: 1 dropped"}
  for entry in content["values"]:
    entry["data"]["label_changes"] = [change, mine]
  lines = table_text(content).splitlines()
  assert lines[0].startswith("! test labels corrected: cat to dog 1")
  assert max(map(len, lines)) <= 110
  assert sum("test labels corrected" in line for line in lines) == 1
  assert not any("dropped" in line for line in lines)


def test_a_sweep_of_baselines_alone_has_a_table_without_differences(tmp_path):
  content = make_fake_sweep(
    tmp_path / "sweep", "optim.learning_rate", (0.1, 0.2), arms=("baseline",)
  )
  assert not content["shared_baseline"]
  lines = table_text(content).splitlines()
  assert lines[2].split() == [
    "learning_rate",
    "mean",
    "decay",
    "baseline",
    "sd",
    "n",
    "difference",
    "verdict",
  ]
  assert lines[4].split()[1] == "-"
  build_report(tmp_path / "sweep")
  assert "Missing: the differences." in (tmp_path / "sweep" / "report.html").read_text()


def test_the_positive_control_of_every_value_stands_among_its_differences(tmp_path):
  content = make_fake_sweep(
    tmp_path / "sweep", values=(0.1, 0.2), arms=("baseline", "method", "less_data")
  )
  build_report(tmp_path / "sweep")
  _, differences = cells_of((tmp_path / "sweep" / "report.html").read_text(), "results")
  of_one_value = [
    "method - baseline",
    "method - less_data (outside the family)",
    "baseline - less_data (positive control)",
  ]
  assert [row[1] for row in differences] == 2 * of_one_value
  for row, entry in zip(differences[2::3], content["values"], strict=True):
    assert (
      entry["power"]
      == files.read_json(tmp_path / "sweep" / entry["folder"] / "results.json")["power"]
    )
    assert row[2].startswith(f"{100 * entry['power']['contrast']['mean']:+.2f}")


def test_numbers_that_span_more_than_a_factor_of_ten_stand_on_a_log_axis():
  def at(*numbers):
    entries, places = sweep_figure.ordered([{"value": number} for number in numbers])
    return [entry["value"] for entry in entries], places

  order, places = at(0.1, 0.001, 0.01)
  assert order == [0.001, 0.01, 0.1]
  np.testing.assert_allclose(places, [0, 0.5, 1], atol=1e-12)
  order, places = at(10, 1, 4)
  np.testing.assert_allclose(places, [0, 1 / 3, 1])
  np.testing.assert_allclose(at(0.0, 1.0, 100.0)[1], [0, 0.01, 1])
  np.testing.assert_allclose(at("b", "a", None)[1], [0, 0.5, 1])
  assert at("b", "a", True)[0] == ["b", "a", True]
  np.testing.assert_allclose(at(3.0)[1], [0.5])


def test_the_figure_has_a_line_per_arm_error_bars_of_one_sd_and_the_shared_baseline_as_a_band(made):
  _, content, _ = made
  figure = sweep_figure.accuracy(content)
  (axes,) = figure.axes
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == [
    "baseline, band \u00b1 sd (n = 3)",
    "method (n = 2 to 3)",
    "uniform_mean (n = 3)",
  ]
  entries = sorted(content["values"], key=lambda entry: entry["value"])
  baseline = entries[0]["arms"]["baseline"]
  (band,) = axes.patches
  np.testing.assert_allclose(
    [band.get_y(), band.get_height()], [baseline["mean"] - baseline["sd"], 2 * baseline["sd"]]
  )
  for container, arm in zip(axes.containers, ("method", "uniform_mean"), strict=True):
    line, _, (bars,) = container
    own = [entry["arms"][arm] for entry in entries]
    np.testing.assert_allclose(
      line.get_ydata(), [np.nan if one["mean"] is None else one["mean"] for one in own]
    )
    heights = [np.ptp(path.vertices[:, 1]) / 2 for path in bars.get_paths()]
    np.testing.assert_allclose(heights, [np.nan if one["sd"] is None else one["sd"] for one in own])
  assert [tick.get_text() for tick in axes.get_xticklabels()] == [
    "0.01\n0.014",
    "0.05\n0.002",
    "0.1\n0.001",
    "0.3\n0.0005",
  ]
  assert axes.get_xlabel() == "method.fraction, log scale; second line method.lambda_A"
  assert axes.get_ylabel() == "test accuracy, %"


def test_baselines_of_their_own_are_a_line_and_names_stand_in_their_order(tmp_path):
  content = make_fake_sweep(
    tmp_path / "sweep", "model.name", ("resnet20", "mlp"), arms=("baseline", "method")
  )
  figure = sweep_figure.accuracy(content)
  (axes,) = figure.axes
  assert [text.get_text() for text in figure.legends[0].get_texts()] == [
    "baseline (n = 3)",
    "method (n = 3)",
  ]
  assert len(axes.patches) == 0
  assert [tick.get_text() for tick in axes.get_xticklabels()] == ["resnet20", "mlp"]
  assert axes.get_xlabel() == "model.name"


def test_the_picture_has_the_colours_of_the_arms(made):
  workdir, _, _ = made
  svg = (workdir / "figures" / "sweep.svg").read_text().lower()
  assert all(colour.lower() in svg for colour in (BLACK, VERMILLION, BLUE))


@pytest.mark.parametrize(
  ("decays", "says"),
  [
    (
      [2.4e-4, 2.401e-4, 2.4e-4],
      "Every value has the same mean decay over the steps of a round, 0.00024: the values differ "
      "only in where this decay is applied.",
    ),
    (
      [1.5e-4, 2.4e-4, 5e-4],
      "over the steps of a round changes with the value too, from 0.00015 to 0.0005. This alone "
      "may explain a trend.",
    ),
    ([None, None], "mean over the seeds."),
  ],
)
def test_the_caption_says_whether_the_mean_decay_is_the_same_at_every_value(decays, says):
  content = {"key": "method.fraction", "values": [{"mean_decay": decay} for decay in decays]}
  assert caption(content).endswith(says)
