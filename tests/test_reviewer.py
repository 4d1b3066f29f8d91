"""The simulated reviewer: what he mends, and that the files which he writes are taken."""

import dataclasses
import runpy
import types

import numpy as np
import pytest

from sdt import files
from sdt.api.running import resolved_config
from sdt.errors import DataError
from sdt.report.read import SUSPECT_COLUMNS
from tests.support import tiny, whole
from tests.support.places import ROOT

reviewer = types.SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks/reviewer.py")))
CONFIG = tiny.config(data__wrong_label_fraction=0.3)


def _write_suspects(workdir, data, order, suspects=()):
  """Writes a suspects.csv that suggests the class after the given one, as that of `suspects`."""
  names = [data.class_names[label] for label in data.train.labels]
  after = dict(zip(data.class_names, data.class_names[1:] + data.class_names[:1], strict=True))
  rows = [
    [i, "", names[i], after[names[i]], 0.5, 3, int(i in suspects), 1, 2, "why, indeed"]
    for i in order
  ]
  files.write_csv(workdir / "suspects.csv", SUSPECT_COLUMNS, rows)


def test_a_perfect_reviewer_mends_what_is_wrong_among_what_he_looks_at(tmp_path):
  data = tiny.data(CONFIG)
  wrong = np.flatnonzero(data.train.wrong_label)
  assert len(wrong) == 21
  order = [*wrong.tolist(), *np.flatnonzero(~data.train.wrong_label).tolist()]
  _write_suspects(tmp_path, data, order)
  examples, truth = reviewer.examples_of(tmp_path), reviewer.truth_of(CONFIG)
  own = tiny.data(tiny.config()).train.labels
  assert [truth[i] for i in range(70)] == [data.class_names[label] for label in own]
  found = {
    (way, look): reviewer.summary(way, look, rows, truth, wrong=21) | {"rows": rows}
    for way, look, rows in reviewer.reviews(examples, truth, (10, 40, 70), 200)
  }
  assert [found["suspects", look]["mended"] for look in (10, 40, 70)] == [10, 21, 21]
  assert [found["suspects", look]["per_hundred"] for look in (10, 40)] == [100, 52.5]
  assert found["suspects", 10]["left_wrong"] == pytest.approx(11 / 70)
  # Of ten random ones three are wrong; 200 draws scatter by sqrt(10 * 0.21 * 60 / 69) = 1.35.
  assert found["random", 10]["mended"] == pytest.approx(3, abs=4 * 1.35 / 200**0.5)
  assert found["random", 10]["mended_sd"] == pytest.approx(1.35, rel=0.25)
  assert found["random", 70]["mended_sd"] == 0
  # What he writes is taken, and mends the labels.
  path = tmp_path / "fixes.csv"
  path.write_text(reviewer.corrections.csv_text(found["suspects", 70]["rows"][0]), newline="")
  mended = tiny.data(tiny.config(data__wrong_label_fraction=0.3, data__corrections=(str(path),)))
  np.testing.assert_array_equal(mended.train.labels, own)
  assert not mended.train.wrong_label.any()


def test_what_is_done_unseen_counts_what_it_mends_and_what_it_spoils():
  def example(number, given, suggested, is_suspect):
    return reviewer.Example(reviewer.Row(number, "", given, "keep"), suggested, is_suspect)

  truth = {0: "b", 1: "c", 2: "a", 3: "a", 4: "b"}
  examples = [
    example(0, "a", "b", True),  # wrong, and made right
    example(1, "a", "b", True),  # wrong, and wrong in another way
    example(2, "a", "b", True),  # right, and spoiled
    example(3, "a", "b", False),
    example(4, "a", "b", False),  # wrong, and left
  ]
  of = reviewer.unseen(examples)
  relabelled, dropped = (
    reviewer.summary(way, 0, [rows], truth, wrong=3) for way, rows in of.items()
  )
  assert (relabelled["changed"], relabelled["mended"]) == (3, 1)
  assert relabelled["left_wrong"] == pytest.approx(3 / 5)
  assert relabelled["per_hundred"] is None
  assert (dropped["changed"], dropped["mended"]) == (3, 0)
  assert dropped["left_wrong"] == pytest.approx(1 / 2)


def test_a_run_without_a_known_truth_or_without_suspects_is_refused(tmp_path):
  with pytest.raises(DataError, match="nobody knows which are wrong; name a run with"):
    reviewer.truth_of(tiny.config())
  with pytest.raises(DataError, match=r"suspects.csv: missing or damaged"):
    reviewer.examples_of(tmp_path)


def test_a_run_with_folds_and_arms_of_its_own_is_trained_again_as_its_baseline_alone(tmp_path):
  config = resolved_config(ROOT / "configs/noise/cifar10n.py")
  mended = resolved_config(reviewer.corrected(config, tmp_path / "fixes.csv"))
  assert mended.arms == ("baseline",)
  assert mended.data.corrections == (str(tmp_path / "fixes.csv"),)
  assert (mended.optim, mended.seeds) == (config.optim, config.seeds)


@pytest.mark.slow
def test_the_reviewer_writes_trains_and_compares_with_nobody(tmp_path, capsys):
  config = whole.config(data__wrong_label_fraction=0.3, seeds=(0, 1, 2), arms=("baseline",))
  assert whole.run(config, tmp_path / "run") == 0
  data = tiny.data(config)
  wrong = data.train.wrong_label
  _write_suspects(tmp_path / "run", data, np.argsort(~wrong, kind="stable").tolist(), suspects=[3])
  out = tmp_path / "figures.json"
  words = [str(tmp_path / "run"), "--looks=21", "--train", f"--out={out}"]
  assert reviewer.main(words) == 0
  shown = capsys.readouterr().out
  assert "21 of 70 labels are wrong (30.00 %)" in shown
  assert "| suspects | 21 | 21.0 | 21.0 | 100.0 | 0.00 % |" in shown
  clean = whole.config(seeds=(0, 1, 2), arms=("baseline",))
  assert whole.run(dataclasses.replace(clean), tmp_path / "clean") == 0
  right = files.read_json(tmp_path / "clean/results.json")["arms"]["baseline"]["accuracy"]
  found = files.read_json(out)["reviews"][0]
  assert found["accuracy"]["per_seed"] == right  # the labels are those of the set again
