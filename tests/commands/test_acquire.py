"""Active learning: ordinary runs whose labels follow from the networks before, however often it is
stopped.
"""

import csv
import dataclasses
import shutil

import numpy as np
import pytest

import sdt
from sdt import files
from sdt.commands import acquire, estimates, forecast
from sdt.data import sources
from sdt.data.seeded import tie_breaker
from sdt.errors import ConfigError, DataError, DivergedError, Interrupted, SdtError
from tests.support import tiny, whole

START, ADD = 8, 5


def config(**changes):
  given = {
    **{"arms": ("baseline",), "seeds": (0,), "rounds": 2, "optim__milestones": ()},
    "acquire__strategies": ("margin",),
    **{"acquire__start": START, "acquire__add": ADD, "acquire__times": 2},
  }
  return whole.config(**(given | changes))


CONFIG = config()
POOL = tiny.data(CONFIG)


def run(of, workdir):
  try:
    return acquire.run(of, workdir, "tiny")
  except SdtError as error:
    return error.exit_code


def outputs(workdir):
  """Returns what two starts must have in common: of every run, and of active learning itself."""
  content = {
    str(path.parent.relative_to(workdir)): whole.outputs(path.parent, report=False)
    for path in sorted(workdir.rglob("seed_*/results.json"))
  }
  named = [path for path in workdir.rglob("asked_*.npz") if ".sha256" not in path.parts]
  for path in [*named, *(workdir / name for name in acquire_files())]:
    content[str(path.relative_to(workdir))] = path.read_bytes()
  return content


def acquire_files():
  return ("config.json", "acquire.json", "acquired.csv", "report.html", acquire.FIGURE)


def rows(workdir):
  with (workdir / "acquired.csv").open(newline="") as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """Active learning that was left alone."""
  workdir = tmp_path_factory.mktemp("finished") / "acquire"
  assert run(CONFIG, workdir) == 0
  return workdir


@pytest.fixture
def copy(finished, tmp_path):
  return shutil.copytree(finished, tmp_path / "copy")


def test_what_is_asked_for_follows_from_the_network_before_as_in_numpy(finished):
  found = rows(finished)
  known = [int(row["example_id"]) for row in found if row["strategy"] == "start"]
  train = POOL.train
  hashes = tie_breaker(train.example_ids, 0, "acquire start")
  assert known == train.example_ids[np.argsort(hashes)[:START]].tolist()
  before = finished / "start" / "seed_0"
  for number in (1, 2):
    given = sdt.load(before).networks("baseline", 0).predict_proba(train.inputs)
    ordered = np.sort(given, axis=1)
    hidden = [at for at in range(len(train)) if train.example_ids[at] not in known]
    wanted = sorted(hidden, key=lambda at: ordered[at, -1] - ordered[at, -2])[:ADD]
    own = [row for row in found if (row["strategy"], row["acquisition"]) == ("margin", str(number))]
    assert [int(row["example_id"]) for row in own] == train.example_ids[wanted].tolist()
    for row, at in zip(own, wanted, strict=True):
      assert float(row["worth"]) == pytest.approx(ordered[at, -2] - ordered[at, -1], abs=1e-5)
      assert float(row["probability"]) == pytest.approx(ordered[at, -1], abs=1e-5)
      assert row["predicted"] == POOL.class_names[given[at].argmax()]
      assert row["label"] == POOL.class_names[train.labels[at]]
    known += [int(row["example_id"]) for row in own]
    before = finished / "margin" / f"acquisition_{number:02d}" / "seed_0"
    with np.load(before / "predictions.npz") as stored:
      assert stored["label"].tolist() == POOL.test.labels.tolist()


def test_every_run_is_an_ordinary_one_and_the_curve_is_made_of_their_accuracies(finished):
  content = files.read_json(finished / "acquire.json")
  assert content["labels"] == [8, 13, 18]
  folders = ("start", "margin/acquisition_01", "margin/acquisition_02")
  curve = content["curves"]["margin"]
  for folder, entry, num in zip(folders, curve, content["labels"], strict=True):
    workdir = finished / folder / "seed_0"
    results = files.read_json(workdir / "results.json")
    assert entry["per_seed"] == results["arms"]["baseline"]["accuracy"]
    assert results["data"]["num_train"] == num
    assert sdt.load(workdir).config.data.labelled == num
  assert "Nothing is compared: random is not among" in (finished / "report.html").read_text()


def test_a_finished_one_is_left_as_it_is_and_what_is_lost_is_made_again(finished, copy, capsys):
  before = whole.stamps(copy)
  assert run(CONFIG, copy) == 0
  said = capsys.readouterr().out
  assert f"asked for: {copy / 'acquired.csv'}\ncomplete: nothing to do" in said
  assert whole.stamps(copy) == before | {
    name: stamp for name, stamp in whole.stamps(copy).items() if name.endswith("config.json")
  }
  (copy / "margin" / "acquisition_01" / "asked_seed_0.npz").unlink()
  (copy / "acquired.csv").write_text("damaged")
  shutil.rmtree(copy / "margin" / "acquisition_02" / "seed_0")
  assert run(CONFIG, copy) == 0
  assert outputs(copy) == outputs(finished)


@pytest.mark.slow
def test_permuting_the_labels_that_stay_hidden_changes_no_byte(finished, tmp_path, monkeypatch):
  asked = {int(row["example_id"]) for row in rows(finished)}
  is_hidden = ~np.isin(POOL.train.example_ids, sorted(asked))
  labels = POOL.train.labels.copy()
  labels[is_hidden] = np.random.default_rng(1).permutation(labels[is_hidden])
  assert (labels != POOL.train.labels).sum() > 10
  other = dataclasses.replace(POOL, train=dataclasses.replace(POOL.train, labels=labels))
  monkeypatch.setattr(sources, "load", lambda *_: other)
  assert run(CONFIG, tmp_path / "other") == 0
  assert outputs(tmp_path / "other") == outputs(finished)


@pytest.mark.slow
@pytest.mark.parametrize(("times", "folders"), [(3, ()), (9, ("start",))])
def test_a_stop_in_the_middle_of_a_training_changes_no_byte(
  finished, tmp_path, monkeypatch, times, folders
):
  workdir = tmp_path / "stopped"
  workdir.mkdir()
  (workdir / ".lock").touch()  # active learning was here
  for folder in folders:
    shutil.copytree(finished / folder, workdir / folder)
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "baseline", 1.4, times=2)
    with pytest.raises(Interrupted):
      acquire.run(CONFIG, workdir, "tiny")
  assert not (workdir / "acquire.json").exists()
  assert run(CONFIG, workdir) == 0
  assert outputs(workdir) == outputs(finished)


@pytest.mark.slow
def test_more_acquisitions_strategies_and_seeds_later_are_those_of_one_start(
  finished, copy, tmp_path
):
  more = config(seeds=(0, 1), acquire__strategies=("margin", "random"), acquire__times=3)
  assert run(more, copy) == 0
  assert run(more, tmp_path / "at_once") == 0
  content = files.read_json(copy / "acquire.json")
  assert content["primary"]["margin"]["verdict"] == "two seeds: no verdict"
  assert outputs(copy) == outputs(tmp_path / "at_once")


@pytest.mark.slow
def test_an_arm_that_learns_of_unlabelled_examples_may_ask(tmp_path):
  of = config(
    arms=("baseline", "fix"),
    own_arms=("fix = all&unlabelled@baseline[fixmatch=1]",),
    acquire__arm="fix",
    acquire__times=1,
    augment__strong="noise(0.1)",
    method__fraction=0.5,
  )
  assert run(of, tmp_path) == 0
  results = files.read_json(tmp_path / "margin" / "acquisition_01" / "seed_0" / "results.json")
  curve = files.read_json(tmp_path / "acquire.json")["curves"]["margin"]
  assert curve[1]["per_seed"] == results["arms"]["fix"]["accuracy"]


@pytest.mark.slow
def test_a_network_that_diverges_ends_its_curve_alone(tmp_path):
  of = config(optim__learning_rate=1e6, acquire__times=3)
  with pytest.raises(DivergedError, match="1 of 1 learning curves end early"):
    acquire.run(of, tmp_path, "tiny")
  content = files.read_json(tmp_path / "acquire.json")
  # It is too much for the third run, which has two steps a round.
  curve = [entry["per_seed"]["0"] for entry in content["curves"]["margin"]]
  assert [value is None for value in curve] == [False, False, True, True]
  assert content["diverged"] == [["margin", 0]]
  assert (tmp_path / "report.html").exists()
  assert not (tmp_path / "margin" / "acquisition_03").exists()


def test_a_workdir_of_something_else_and_other_data_are_refused(copy, tmp_path, monkeypatch):
  with pytest.raises(ConfigError, match=r"of another config \(acquire.add: 5 -> 6\)"):
    acquire.run(config(acquire__add=6), copy, "tiny")
  with pytest.raises(ConfigError, match=r"active learning of another config .*learning_rate"):
    acquire.run(config(optim__learning_rate=0.1), copy, "tiny")
  files.write_json(tmp_path / "run" / "config.json", {"config": {"seeds": [0]}})
  with pytest.raises(ConfigError, match="holds a run or a sweep of another config"):
    acquire.run(CONFIG, tmp_path / "run", "tiny")
  labels = (POOL.train.labels + 1) % 3
  other = dataclasses.replace(POOL, train=dataclasses.replace(POOL.train, labels=labels))
  monkeypatch.setattr(sources, "load", lambda *_: other)
  with pytest.raises(DataError, match="holds a run on other data"):
    acquire.run(CONFIG, copy, "tiny")


def test_fewer_acquisitions_strategies_or_seeds_are_refused_and_nothing_is_written(copy):
  before = whole.stamps(copy)
  with pytest.raises(ConfigError, match=r"copy has 2 acquisitions; give acquire\.times=2 or more"):
    acquire.run(config(acquire__times=1), copy, "tiny")
  other = config(seeds=(1,), acquire__strategies=("random",))
  said = "the strategies margin and the seeds 0; give all of acquire.strategies=margin and all of s"
  with pytest.raises(ConfigError, match=said):
    acquire.run(other, copy, "tiny")
  assert whole.stamps(copy) == before


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"acquire__times": 13}, "5 more are 73, of 70 training examples; expected fewer"),
    ({"acquire__start": 2}, "acquire.start=2 leaves classes without a label; expected one"),
    ({"data__labelled": 20}, "data.labelled = 20: it hides labels by itself"),
    ({"arms": ("baseline", "method")}, "would train arms that nobody reads"),
    ({"acquire__arm": "method"}, "the arm that asks for labels is not trained"),
    ({"acquire__strategies": ("margins",)}, "'margin'"),
    ({"acquire__strategies": ()}, "acquire.start = 8 has no meaning with acquire.strategies = ()"),
    ({"stop__patience": 1}, "a validation split would be cut out of the few labels"),
    ({"evaluate__prior_shift": 1.0}, "a validation split would be cut out of the few labels"),
    ({"evaluate__ensemble": True, "seeds": (0, 1)}, "one network is no ensemble"),
    ({"stats__looks": (5, 10)}, "looked at once"),
    ({"sweep__key": "rounds", "sweep__values": ("1", "2")}, "every acquisition is a whole run"),
    ({"log__tensorboard": True}, "many short runs"),
    ({"baseline_from": "runs/x"}, "no baseline of another run fits"),
    ({"data__pretext": "rotation"}, "cost nothing"),
  ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(changes, said, tmp_path):
  with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
    acquire.run(config(**changes), tmp_path / "new", "tiny")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "new").exists()


def test_dry_run_tells_how_many_runs_there_are_and_their_time_and_writes_nothing(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(estimates, "measure_pace", lambda *_, compile_secs: forecast.Pace(1.0, 30.0))
  both = config(seeds=(0, 1), acquire__strategies=("margin", "random"))
  said = "\n".join(acquire.describe(both, tmp_path / "new"))
  assert "10 runs with 8 to 18 labels of 70 training examples, 5 more each time, n = 2" in said
  assert "the first, start/seed_0:" in said
  assert "8 of 70 training examples have a label (acquire.start, acquire.add)" in said
  training = 2 * (3 * 16 + 30)  # of two rounds of a step and the test set
  whole = 10 * training + 30 + 2 * 30 + forecast.SECS_AROUND  # with predictions, and compiling
  assert f" {training / 60:.0f} minutes to train 1 arm(s) with 1 seed(s)" in said
  assert f"for one of 10 runs; all together at least roughly {whole / 60:.0f} minutes" in said
  assert list(tmp_path.iterdir()) == []
