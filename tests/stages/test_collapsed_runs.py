"""Whole runs: with an A of two classes the method collapses, with an A of all classes it does not.

At a rate of 1.0 a network of one block collapses as larger ones do at 0.1, in seconds.
"""

import contextlib
import io

import numpy as np
import pytest
from safetensors import safe_open

from sdt import experiment, files
from sdt.config import from_dict, to_dict
from tests.support import tiny, whole

SEEDS = (0, 1)
CONFIG = tiny.config(
  data__shapes={"num_train": 400, "num_test": 200, "num_classes": 10, "image_size": 8},
  model__name="resnet",
  model__hidden_sizes=None,
  model__blocks=(1,),
  model__widths=(8,),
  seeds=SEEDS,
  rounds=12,
  batch_size=32,
  optim__learning_rate=1.0,
  optim__milestones=(8, 10),
  parallel__steps_per_dispatch=14,  # a round
  compilation_cache=False,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Returns workdir, results.json and the log of a run with the paper's A and of one by default.

  They have the same scores, of a file: the easiest examples are of two classes of ten.
  """
  folder, made = tmp_path_factory.mktemp("collapse"), {}
  labels = tiny.data(CONFIG).train.labels
  rows = [f"{number},{int(label < 2)}" for number, label in enumerate(labels)]
  (folder / "scores.csv").write_text("\n".join(["example_id,score", *rows]))
  plain = to_dict(CONFIG)
  plain["score"] |= {"name": "file", "path": str(folder / "scores.csv")}
  with pytest.MonkeyPatch.context() as patch:
    whole.quick_report(patch)
    for name, balanced in (("paper", False), ("default", None)):
      plain["split"]["class_balanced"] = balanced
      plain["baseline_from"] = str(folder / "paper") if made else None
      with contextlib.redirect_stderr(io.StringIO()) as log:
        assert experiment.run(from_dict(plain), folder / name, name) == 0
      made[name] = folder / name, files.read_json(folder / name / "results.json"), log.getvalue()
  return made


@pytest.mark.slow
def test_an_a_of_two_classes_collapses_and_the_default_of_own_data_does_not(runs):
  _, paper, _ = runs["paper"]
  assert paper["arms"]["method"]["effective_classes"]["A"] == pytest.approx(2.0, abs=0.01)
  assert paper["arms"]["method"]["collapsed"] == list(SEEDS)
  assert paper["arms"]["baseline"]["collapsed"] == []
  _, default, _ = runs["default"]
  assert default["arms"]["method"]["effective_classes"]["A"] == pytest.approx(10.0, abs=0.01)
  assert [entry["collapsed"] for entry in default["arms"].values()] == [[], []]
  assert default["arms"]["method"]["mean"] > paper["arms"]["method"]["mean"] + 0.4
  assert "collapse" not in default
  assert not default["sentence"].startswith("Collapsed")


@pytest.mark.slow
def test_the_collapse_is_told_while_it_happens_with_cause_and_cures_and_first_in_the_result(runs):
  _, results, log = runs["paper"]
  lines = log.splitlines()
  told = [index for index, line in enumerate(lines) if line.startswith("collapsed: method, seed")]
  assert len(told) == 2
  last_round = next(
    index for index, line in enumerate(lines) if "method" in line and "12/12" in line
  )
  assert max(told) < last_round
  for text in (*(lines[index] for index in told), results["sentence"]):
    assert "A has 2.0 classes in effect, the training set 10.0" in text
    assert "--config.split.class_balanced=True, or --config.method.order=hard_first" in text
  assert results["sentence"].startswith("Collapsed to chance: method, 2 of 2 seeds (0, 1). ")
  assert "collapsed" not in runs["default"][2]


@pytest.mark.slow
def test_the_network_that_collapsed_is_kept_and_marked_and_another_is_recommended(runs):
  workdir, results, _ = runs["paper"]
  assert results["recommended"]["file"] == "models/baseline-seed0.safetensors"
  for name, flag in (("models/method-seed1", "true"), ("model", "false")):
    with safe_open(workdir / f"{name}.safetensors", "np") as stored:
      assert stored.metadata()["collapsed"] == flag
      assert all(np.isfinite(stored.get_tensor(key)).all() for key in stored.keys())
