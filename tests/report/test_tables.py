"""The tables of a report, on the page and as plain text."""

import re
import types

import numpy as np
import pytest

from sdt import files
from sdt.report import run_page, tables
from tests.support.fake_run import make_fake_run
from tests.support.report_page import Page, page_alone, small_run


def _first_cells(text):
  return [row[0] for row in Page(text).rows if row]


def test_tables_mark_what_is_not_like_the_other_contrasts(tmp_path):
  arms = ("baseline", "method", "long_baseline", "less_data")
  text = page_alone(small_run(tmp_path, seeds=(0, 1, 2, 3), arms=arms))
  found = _first_cells(text)
  assert (
    text.count('<tr class="family"><th scope="row">baseline - less_data (positive control)</th>')
    == text.count('class="family"')
    == 3
  )
  # In the table of verdicts, the one of what is shown beside them, and the one of the seeds.
  assert (
    found.count("method - baseline") == found.count("method - long_baseline (not equal work)") == 3
  )
  assert found.count("method - less_data (outside the family)") == 3
  assert found.count("baseline - less_data (positive control)") == 3
  assert "Not equal work: the two arms" in text
  table = tables.result_table_text(files.read_json(tmp_path / "results.json"))
  assert [line.split()[0] for line in table.split("\n") if line.endswith(" *")] == ["long_baseline"]
  assert "* not equal work, ^ outside the family" in table
  assert "Not equal work: the two arms" not in page_alone(
    small_run(tmp_path / "equal", arms=("baseline", "method"))
  )


@pytest.mark.parametrize(
  ("called_worse", "verdict"),
  [(True, "found, as it must be"), (False, "not found: no power"), (None, "two seeds")],
)
def test_the_positive_control_is_marked_and_a_run_without_power_is_warned_of(
  called_worse, verdict, tmp_path
):
  workdir = small_run(
    tmp_path,
    seeds=(0, 1) if called_worse is None else (0, 1, 2, 3),
    arms=("baseline", "method", "less_data"),
  )
  results = files.read_json(workdir / "results.json")
  power = results["power"]
  if called_worse is not None:
    words = (
      f"{'it is worse' if called_worse else 'this experiment has no power'}: "
      f"{'many words ' * 20}end"
    )
    results["sentence"] = results["sentence"].replace(power["says"], words)
    power |= {"called_worse": called_worse, "says": words}
    files.write_json(workdir / "results.json", results)
  text = page_alone(workdir)
  (row,) = (
    row
    for row in Page(text).rows
    if row and row[0] == "baseline - less_data (positive control)" and len(row) == 8
  )
  assert row[3].startswith(verdict)
  assert text.count(f"{power['says']}.") == 1  # in the sentence, or as a warning
  assert (
    'class="warning"><strong>Positive control:</strong> this experiment has no power' in text
  ) == (called_worse is False)
  table = tables.result_table_text(results)
  assert " ".join(table.split()).endswith(f"Positive control: {' '.join(power['says'].split())}.")
  assert max(map(len, table.split("\n"))) <= 100


def test_many_seeds_stand_in_tables_of_ten(tmp_path):
  rows = Page(
    page_alone(small_run(tmp_path, seeds=tuple(range(12)), arms=("baseline", "method")))
  ).rows
  results = files.read_json(tmp_path / "results.json")
  for head, name, values in (
    (
      "arm, each seed",
      "method",
      [f"{100 * value:.2f}" for value in results["arms"]["method"]["accuracy"].values()],
    ),
    (
      "difference, each seed",
      "method - baseline",
      [f"{100 * v:+.2f}" for v in results["contrasts"]["baseline"]["per_seed"].values()],
    ),
  ):
    heads = [index for index, row in enumerate(rows) if row and row[0] == head]
    assert [rows[index][1:] for index in heads] == [
      [f"seed {seed}" for seed in range(10)],
      ["seed 10", "seed 11"],
    ]
    own = [next(row for row in rows[index:] if row[0] == name)[1:] for index in heads]
    assert own == [values[:10], values[10:]]
  assert max(map(len, rows)) == 11


def test_the_bootstrap_has_a_column_from_ten_pairs_on(tmp_path):
  few, many = (page_alone(small_run(tmp_path / str(n), seeds=tuple(range(n)))) for n in (9, 10))
  assert '<th scope="col">bootstrap 95 %</th>' not in few
  assert '<th scope="col">bootstrap 95 %</th>' in many
  low, high = files.read_json(tmp_path / "10" / "results.json")["contrasts"]["baseline"][
    "bootstrap"
  ]
  assert f"<td>{100 * low:+.2f} to {100 * high:+.2f}</td></tr>" in many


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5, 8, 11])
def test_text_table_fits_100_columns(num_seeds, tmp_path):
  arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "class_matched_random",
  )
  make_fake_run(
    tmp_path, seeds=tuple(range(num_seeds)), arms=arms, rounds=3, num_train=100, num_mosaic=1
  )
  results = files.read_json(tmp_path / "results.json")
  results["contrasts"]["baseline"]["verdict"] = "equal within +-0.25 points"
  text = tables.result_table_text(results)
  assert max(map(len, text.split("\n"))) <= 100
  for entry in results["arms"].values():
    for value in entry["accuracy"].values():
      assert f"{100 * value:.2f}" in text
  headers = " ".join(line for line in text.split("\n") if line.startswith("test accuracy"))
  assert re.findall(r"\bs\d+", headers) == [f"s{seed}" for seed in range(num_seeds)]


def test_text_table_of_the_demo():
  results = {
    "seeds": [0, 1],
    "arms": {
      "baseline": {"accuracy": {"0": 0.975, "1": 0.98}, "mean": 0.9775, "sd": 0.00354, "n": 2},
      "method": {
        "accuracy": {"0": 0.985, "1": None},
        "mean": 0.985,
        "sd": None,
        "n": 1,
        "diverged": [1],
      },
    },
    "contrasts": {"baseline": {"mean": 0.01, "verdict": "one seed: no verdict"}},
  }
  assert tables.result_table_text(results).split("\n") == [
    "test accuracy, %     s0        s1   mean    sd  method-arm  verdict",
    "-" * 80,
    "baseline          97.50     98.00  97.75  0.35       +1.00  one seed: no verdict",
    "method            98.50  diverged  98.50     -",
    (
      "method-arm, in points: the method minus the arm of that line; above 0 the method is more "
      "accurate."
    ),
    "For a verdict give the same command at least 3 seeds: --config.seeds=0,1,2,3,4.",
  ]


def result_with_a_collapse():
  """Returns results of two arms, of whose networks one collapsed."""
  fine = {"accuracy": {"0": 0.9, "1": 0.7}, "mean": 0.8, "sd": 0.1, "n": 2}
  of_classes = {"per_seed": {}, "mean": [0.5, 0.9, 0.25, None, 1.0]}
  return {
    "data": {"class_names": ["ant", "bee", "cow", "dog", "eel"]},
    "seeds": [0, 1],
    "arms": {
      "baseline": fine | {"class_accuracy": of_classes},
      "method": fine | {"accuracy": {"0": 0.9, "1": 0.2}, "collapsed": [1]},
    },
    "contrasts": {},
    "collapse": "Collapsed to chance: method, 1 of 2 seeds (1).",
    "recommended": {
      "arm": "baseline",
      "seed": 0,
      "file": "models/baseline-seed0.safetensors",
      "rule": "the best",
      "why": "not resolved",
    },
  }


def test_a_collapsed_seed_has_a_sign_and_the_reason_follows_with_classes_and_recommendation():
  results = result_with_a_collapse()
  text = tables.result_table_text(results)
  assert re.search(r"method +90.00 +20.00! ", text)
  assert text.split("\n\n")[-3:] == [
    "! Collapsed to chance: method, 1 of 2 seeds (1).",
    "Classes, lowest accuracy first, %, mean over seeds: baseline cow 25.00, ant 50.00, bee 90.00.",
    "Recommended (model.safetensors): baseline, seed 0; not resolved. The rule: the best.",
  ]
  _, method = tables.accuracy_rows(results)
  assert method["cells"] == [("90.00", False), ("20.00!", True)]


def test_where_no_network_is_fit_the_end_of_the_text_says_so():
  results = result_with_a_collapse()
  results["recommended"] |= {"arm": None, "seed": None, "file": None, "why": "all collapsed"}
  assert tables.result_table_text(results).endswith(
    "\n\n! There is no model.safetensors: all collapsed."
  )


def test_every_class_has_its_accuracy_in_every_arm_or_a_dash():
  results = result_with_a_collapse()
  assert tables.class_rows(results, ["baseline", "method"]) == [
    ("ant", ["50.00", "-"]),
    ("bee", ["90.00", "-"]),
    ("cow", ["25.00", "-"]),
    ("dog", ["-", "-"]),
    ("eel", ["100.00", "-"]),
  ]
  assert tables.class_rows(results, ["method"]) == []  # a run of an earlier version


def test_arms_with_a_control_of_their_own_stand_in_the_text_and_in_the_report_after_the_methods():
  own = {
    "smooth_easy": {
      "difference": "smooth_easy - alternate_only",
      "mean": 0.005,
      "verdict": "not resolved",
      "equal_work": False,
    }
  }
  arms = {
    name: {"accuracy": {"0": 0.9}, "mean": 0.9, "sd": None, "n": 1}
    for name in ("baseline", "alternate_only", "smooth_easy")
  }
  results = {
    "seeds": [0],
    "arms": arms,
    "contrasts": {"baseline": {"difference": "method - baseline"}},
    "against_control": own,
  }
  assert [entry["difference"] for entry in tables.contrasts_of(results)] == [
    "method - baseline",
    "smooth_easy - alternate_only",
  ]
  assert tables.result_table_text(results | {"contrasts": {}}).split("\n\n")[1:] == [
    "\n".join(
      (
        "arm minus its own control     points  verdict",
        "-" * 52,
        "smooth_easy - alternate_only   +0.50  not resolved *",
        "points: the first arm minus the second, its control; above 0 the first is more accurate.",
      )
    ),
    "* not equal work",
  ]


def test_a_line_parts_the_families_in_the_tables():
  one = {
    "difference": "a - b",
    "per_seed": {"0": 0.01},
    "mean": 0.01,
    "sd": None,
    "n": 1,
    "interval": None,
    "p": None,
    "p_holm": None,
  }
  one |= {"smallest_detectable": None, "verdict": "one seed: no verdict"}
  several = {"baseline": one, "uniform_mean": one}
  for parts, starts in (
    ({"contrasts": several}, []),
    (
      {
        "contrasts": several,
        "against_control": several,
        "power": {"contrast": one, "called_worse": None},
      },
      [2, 4],
    ),
    ({"contrasts": several, "power": {"contrast": one, "called_worse": None}}, [2]),
    ({"contrasts": {}, "against_control": several}, []),
  ):
    assert tables.family_starts(parts) == starts
    assert [
      index
      for index, row in enumerate(tables.contrast_rows({"seeds": [0], **parts}))
      if row["begins"]
    ] == starts


def test_the_page_of_a_run_without_the_method_has_its_arms_against_their_controls(tmp_path):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3), arms=("baseline", "method"))
  results = files.read_json(workdir / "results.json")
  assert "two families" not in page_alone(workdir)
  own = results["contrasts"]["baseline"] | {"difference": "mixup_easy - alternate_only"}
  files.write_json(
    workdir / "results.json", results | {"contrasts": {}, "against_control": {"mixup_easy": own}}
  )
  text = page_alone(workdir)
  assert _first_cells(text).count("mixup_easy - alternate_only") == 3
  assert "There are two families of tests: the differences of the method, and the" in text
  assert "which holds for all differences of a family at once" in text
  assert (
    "Each row is the first arm minus the second. Above 0, the first arm is more accurate." in text
  )
  assert "Missing: the differences" not in text


def test_a_diverged_seed_counts_in_no_best_round_and_no_mean_of_the_table():
  entry = {
    "accuracy": {"0": 0.5, "1": 0.9},
    "paper_protocol": {"0": 0.6, "1": 0.99},
    "loss": {"0": 1.5, "1": 0.1},
  }
  entry |= {
    "train_accuracy": {"0": 0.7, "1": 1.0},
    "mean": 0.5,
    "sd": None,
    "n": 1,
    "diverged": [1],
  }
  (row,) = tables.accuracy_rows({"seeds": [0, 1], "arms": {"method": entry}})
  assert (row["best"], row["loss"], row["train"]) == ("60.00", "1.5000", "70.00")


def test_every_score_is_a_row_with_what_is_known_of_it():
  entry = {
    "direction": "higher_is_harder",
    "source": "file",
    "mean": 0.12345,
    "sd": 2.0,
    "sd_over_seeds": None,
    "mean_spearman": 0.5,
  }
  info = {
    "scorers": {"file": entry},
    "truth": {
      "auroc_wrong_label": {"file": 0.98765},
      "average_precision_wrong_label": {"file": None},
    },
  }
  assert tables.score_rows(info) == [
    ("file", "harder", "file", "0.123 \u00b1 2", "-", "0.5", "0.988", "-")
  ]
  assert tables.score_rows({}) == []


def test_a_class_without_examples_has_no_share():
  split = types.SimpleNamespace(labels=np.array([0, 0, 2]), in_A=np.array([[True, False, False]]))
  artifacts = types.SimpleNamespace(
    split=split, results={"data": {"class_names": ["a", "b", "c"], "num_classes": 3}}
  )
  assert run_page._class_table(artifacts) == [
    ("a", 2, "1.0", "50.0 %"),
    ("b", 0, "0.0", "-"),
    ("c", 1, "0.0", "0.0 %"),
  ]


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
  assert "chance); the average precision is 0.770 (chance is 0.100); 0.50 % of A" in str(precise)
  clean = tables.truth_text(truth | {"auroc_wrong_label": {"log_odds": None}}, "log_odds")
  assert clean == (
    "Against the known truth: the rank correlation (Spearman) of log_odds with the known easiness "
    "is 0.500."
  )
  assert tables.truth_text({}, "log_odds") is None
  workdir = small_run(tmp_path)
  assert "known truth" not in page_alone(workdir)
  files.write_json(
    workdir / "scores.json", files.read_json(workdir / "scores.json") | {"truth": truth}
  )
  assert line in page_alone(workdir).replace("&#39;", "'")
  assert tables.truth_text({"auroc_wrong_label": {"log_odds": None}}, "log_odds") is None


def test_the_note_claims_no_joint_coverage_of_intervals_that_holm_moved(tmp_path):
  text = " ".join(page_alone(small_run(tmp_path)).split())
  plain = text.replace("&#39;", "'")
  assert "is simultaneous" not in plain
  assert "we move the end of the interval that is next to zero to Holm's level" in plain
  assert "the 95 % hold for the test only" in plain
