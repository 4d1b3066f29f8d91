"""Runs with corrected labels and labels from a file: what seals them, and where they are told."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest

import sdt
from sdt import files
from sdt.commands import dry_run
from sdt.config import from_dict, resolve, to_dict
from sdt.config.config_file import load_config_file
from sdt.data import corrections
from sdt.data.corrections import Row
from sdt.errors import ConfigError, DataError
from sdt.report import tables
from sdt.run import lifecycle
from tests.support import tiny, whole
from tests.support.places import ROOT, SHARED_DATA
from tests.support.report_page import page_alone, small_run

CONFIG = whole.config(seeds=(0,), rounds=1, optim__milestones=())
OWN = tiny.data(CONFIG).train.labels
GIVEN = np.where(np.arange(70) % 4 == 0, (OWN + 1) % 3, OWN)  # 18 are wrong


def _rows(config, *, side="train", change=(0, 1)):
  """Returns rows that drop the first of two examples and relabel the second."""
  data = tiny.data(config)
  split, names = getattr(data, side), data.class_names
  dropped, relabelled = change
  given = [names[label] for label in split.labels]
  other = next(name for name in names if name != given[relabelled])
  return [
    Row(dropped, "", given[dropped], "drop"),
    Row(relabelled, "", given[relabelled], "relabel", other),
  ]


def _write(path, rows):
  path.write_text(corrections.csv_text(rows), newline="")
  return str(path)


def _with(config, **keys):
  plain = to_dict(config)
  plain["data"] |= keys
  return from_dict(plain)


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
  """Returns (a folder, the config) of a finished run with every kind of file of labels."""
  folder = tmp_path_factory.mktemp("corrected")
  np.savez(folder / "labels.npz", given=GIVEN)
  config = _with(CONFIG, labels_file=str(folder / "labels.npz"))
  config = _with(
    config,
    corrections=[_write(folder / "fixes.csv", _rows(config))],
    corrections_test=[_write(folder / "test.csv", _rows(config, side="test"))],
  )
  with pytest.MonkeyPatch.context() as patch:
    whole.quick_report(patch)
    assert whole.run(config, folder / "run") == 0
  return folder, config


def test_a_corrected_run_says_at_the_top_of_every_result_what_was_changed(corrected):
  folder, _ = corrected
  results = files.read_json(folder / "run/results.json")
  test_text = "test labels corrected: 1 relabelled, 1 dropped (of 30), from test.csv"
  texts = (
    test_text,
    "labels: 18 of 70 training labels differ from the set's own",
    "corrections: 1 relabelled, 1 dropped (of 70), from fixes.csv",
  )
  assert results["sentence"].startswith(f"T{test_text[1:]} (")
  assert tables.result_table_text(results).startswith(f"! {test_text}")
  environment = files.read_json(folder / "run/environment.json")
  for notes in (results["data"]["notes"], environment["data"]["notes"]):
    for note, text in zip(notes, texts, strict=False):
      assert note.startswith(text)
  entries = results["data"]["label_changes"]
  keys = ["data.corrections_test", "data.labels_file", "data.corrections"]
  assert [entry["key"] for entry in entries] == keys
  assert set(keys) <= environment["file_checksums"].keys()
  assert [entry.get("dropped") for entry in entries] == [1, None, 1]
  assert (results["data"]["num_train"], results["data"]["num_test"]) == (69, 29)


def test_scores_are_graded_by_the_sets_own_labels(corrected):
  folder, config = corrected
  train = tiny.data(config).train
  truth = files.read_json(folder / "run/scores.json")["truth"]
  scores = files.read_npz(folder / "run/scores.npz")
  np.testing.assert_array_equal(scores["wrong_label"], train.labels != OWN[train.example_ids])
  assert truth["wrong_label_rate"] == pytest.approx(np.mean(scores["wrong_label"]))
  assert truth["auroc_wrong_label"]


def test_a_run_is_sealed_with_its_files(corrected, reference_run, monkeypatch):
  folder, config = corrected
  whole.forbid_training(monkeypatch)
  seals = files.read_json(folder / "run/environment.json")["file_checksums"]
  assert whole.run(config, folder / "run") == 0
  fixes = folder / "fixes.csv"
  shutil.copy(fixes, folder / "moved.csv")
  moved = _with(config, corrections=[str(folder / "moved.csv")])
  assert whole.run(moved, folder / "run") == 0
  others = (
    (
      {"corrections": []},
      rf"another data.corrections .SHA-256 {seals['data.corrections']}, now none",
    ),
    ({"corrections_test": []}, r"another data.corrections_test "),
    ({"labels_file": None, "corrections": []}, r"another data.labels_file "),
  )
  for keys, says in others:
    with pytest.raises(DataError, match=f"{says}.*restore that file or choose another --workdir"):
      sdt.run(_with(config, **keys), folder / "run")
  # A file that was changed; restored, it is accepted.
  content = fixes.read_bytes()
  fixes.write_bytes(content.replace(b"drop", b"keep"))
  with pytest.raises(DataError, match=r"another data.corrections .*restore that file or choose"):
    sdt.run(config, folder / "run")
  fixes.write_bytes(content)
  assert whole.run(config, folder / "run") == 0
  # A run that began without any.
  fresh = _with(whole.CONFIG, corrections=[_write(folder / "fresh.csv", _rows(whole.CONFIG))])
  with pytest.raises(DataError, match=r"another data.corrections .SHA-256 none, now [0-9a-f]{64}"):
    sdt.run(fresh, reference_run)


def test_predict_needs_no_file_of_labels(corrected):
  folder, _ = corrected
  run = sdt.load(folder / "run")
  away = folder.rename(folder.with_name("away"))
  try:
    assert len(sdt.load(away / "run").predict(tiny.data(CONFIG).test.inputs[:4])) == 4
    for path in [away / "run/model.safetensors", *away.glob("run/models/*.safetensors")]:
      assert b".csv" not in path.read_bytes()
      assert b".npz" not in path.read_bytes()
  finally:
    away.rename(folder)
  assert run.config.data.corrections


def test_the_report_has_a_warning_of_changed_labels_above_its_results(tmp_path):
  workdir = small_run(tmp_path)
  results = files.read_json(workdir / "results.json")
  results["data"]["notes"] = ["test labels corrected: 1 relabelled, from <b>.csv"]
  files.write_json(workdir / "results.json", results)
  text = page_alone(workdir)
  assert 0 < text.index("from &lt;b&gt;.csv") < text.index('id="results"')


def test_a_config_without_these_keys_is_what_it_was():
  plain = to_dict(resolve({}))
  assert not {"labels_file", "labels_key", "corrections", "corrections_test"} & plain["data"].keys()
  assert from_dict(to_dict(_with(CONFIG, corrections=["a.csv"]))).data.corrections == ("a.csv",)


def test_a_dry_run_shows_the_files_and_refuses_what_the_run_would(tmp_path):
  path = _write(tmp_path / "fixes.csv", _rows(CONFIG))
  lines = dry_run.describe(_with(CONFIG, corrections=[path]))
  assert any("data.corrections = [" in line for line in itertools.islice(lines, 5))
  (tmp_path / "fixes.csv").write_text("example_id\n")
  with pytest.raises(DataError, match=r"fixes.csv, line 1: the header is 'example_id'"):
    next(dry_run.describe(_with(CONFIG, corrections=[path])))


def test_a_set_in_memory_made_without_the_file_is_refused_and_one_made_with_it_is_not(
  tmp_path, monkeypatch
):
  config = _with(CONFIG, corrections=[_write(tmp_path / "fixes.csv", _rows(CONFIG))])
  with pytest.raises(ConfigError, match=r"data.corrections: the data are given .*load.config.data"):
    sdt.run(config, tmp_path / "run", tiny.data(CONFIG))

  def reached(kind, job):
    raise InterruptedError(len(job.loaded.train))

  monkeypatch.setattr(lifecycle, "complete", reached)
  with pytest.raises(InterruptedError, match="69"):
    sdt.run(config, tmp_path / "run", tiny.data(config))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "share"), [("aggregate", 0.09), ("random1", 0.17)])
def test_labels_that_people_gave_are_trained_on_and_graded_by_the_sets_own(tmp_path, kind, share):
  if not (SHARED_DATA / "human_labels/cifar10n.npz").is_file():
    pytest.skip("the labels of CIFAR-10N are not at ../shared/data/human_labels")
  unpack = [SHARED_DATA / "unpack.py", SHARED_DATA / "cifar10", tmp_path / "set.npz"]
  command = [sys.executable, *unpack, "--bin", tmp_path / "bin"]
  subprocess.run(command, check=True, capture_output=True, timeout=600)
  config = resolve(
    load_config_file(ROOT / "configs/noise/cifar10n.py", kind),
    [
      ("data.path", str(tmp_path / "bin")),
      ("data.labels_file", str(SHARED_DATA / "human_labels/cifar10n.npz")),
      ("data.verify", "known"),
      *((f"data.num_{side}", "600") for side in ("train", "test")),
      *(("rounds", "1"), ("eval_every_rounds", "1"), ("optim.milestones", "()"), ("seeds", "0,")),
    ],
  )
  run = sdt.run(config, tmp_path / "run")
  with np.load(tmp_path / "set.npz") as own, np.load(config.data.labels_file) as given:
    ids = run.scores["example_id"]
    wrong = own["train_y"][ids] != given[kind][ids]
  np.testing.assert_array_equal(run.scores["wrong_label"], wrong)
  assert wrong.mean() == pytest.approx(share, abs=0.05)
  truth = files.read_json(tmp_path / "run/scores.json")["truth"]
  assert truth["wrong_label_rate"] == pytest.approx(wrong.mean())
  assert set(truth["auroc_wrong_label"]) >= {"aum", "log_odds"}
