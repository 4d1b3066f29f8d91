"""More seeds and arms for a finished run: the bytes of one run of all, and no training twice."""

import dataclasses
import json
import re
import shutil

import pytest

from sdt import experiment, files
from sdt.commands import standing
from sdt.config import to_dict
from sdt.errors import CheckpointError, ConfigError, DataError
from sdt.run import context, extension, lifecycle, publishing
from sdt.run.identity import Identity
from sdt.run.loggers.feed import Feed
from sdt.run.shared_checkpoints import SharedStore
from tests.support import tiny, whole

SMALL = whole.CONFIG  # seeds 0 and 1, of the reference run
FIRST = whole.config(seeds=(1,))
LARGE = whole.config(seeds=(0, 5, 1), arms=("baseline", "method", "random_subset"))


def without_looks(outputs):
  """Returns the artifacts without what only tells that the run was looked at before."""
  results = files.parse_json(outputs["results.json"], "results.json", "")
  sentence = results.pop("looks", {"sentence": ""})["sentence"]
  told = f" {sentence}" if sentence else ", exploratory"  # never a blank alone
  control = results.get("power", {}).get("contrast", {})
  for contrast in (*results["contrasts"].values(), control):
    contrast.pop("planned", None)
  sentence = results["sentence"].removesuffix(told).replace(", exploratory", "")
  page = outputs.get("report.html", "").replace(told, "").replace(", exploratory", "")
  page = re.sub(r"<li>(Looks|Seen before).*\n", "", page.replace(" (exploratory)", ""))
  page = re.sub(r"data:image/[^\"]*", "", page)  # the figures are compared as files
  seal = {".sha256/results.json": None, "figures/.sha256/forest.svg": None}
  return (
    outputs
    | seal
    | {
      "results.json": json.loads(
        json.dumps(results | {"sentence": sentence}).replace(", exploratory", "")
      ),
      "report.html": page,
      "figures/forest.svg": None,
    }
  )


def assert_same(config, left, right, *, report=False):
  ours, theirs = (without_looks(whole.outputs(one, report=report)) for one in (left, right))
  assert ours.keys() == theirs.keys()
  for name in ours:
    assert ours[name] == theirs[name], name
  if config.stop.patience:  # the files of models/ have its networks
    return
  for one, other in zip(
    whole.final_states(config, left), whole.final_states(config, right), strict=True
  ):
    assert one.keys() == other.keys()
    for name in one:
      assert one[name].tobytes() == other[name].tobytes(), name


@pytest.fixture
def first(tmp_path, monkeypatch):
  """A run of the reference run's second seed alone, without a report."""
  whole.quick_report(monkeypatch)
  assert whole.run(FIRST, tmp_path / "run") == 0
  return tmp_path / "run"


@pytest.fixture
def copy(reference_run, tmp_path):
  return shutil.copytree(reference_run, tmp_path / "run")


def killed(*_):
  raise KeyboardInterrupt


def of_run(workdir):
  """Returns the stamps of a run without those of its extension."""
  of_all = whole.stamps(workdir).items()
  return {name: stamp for name, stamp in of_all if not name.startswith(publishing.FOLDER)}


def test_a_missing_seed_is_trained_alone_and_a_kill_anywhere_costs_nothing(
  first, reference_run, monkeypatch, capsys
):
  """The missing seed is the first of the two."""
  before, save = of_run(first), SharedStore.save

  def killed_at_the_method(self, step, state, meta, pin=False):
    if meta["arm"] == "method" and pin:
      raise KeyboardInterrupt
    save(self, step, state, meta, pin=pin)

  whole.stopped(SMALL, first, monkeypatch, task="method", done=1.4)
  assert of_run(first) == before
  assert whole.run(FIRST, first) == 0  # the old run is whole, and nothing is done to it
  assert of_run(first) == before
  capsys.readouterr()
  # At the end of the missing seed's method, then before and between the joined states.
  for place, name, act in (
    (SharedStore, "save", killed_at_the_method),
    (extension, "begin_whole", killed),
    (SharedStore, "save", killed_at_the_method),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(place, name, act)
      with pytest.raises(KeyboardInterrupt):
        whole.run(SMALL, first)
  assert of_run(first) == before
  with monkeypatch.context() as patch:
    patch.setattr(files, "move", killed)
    with pytest.raises(KeyboardInterrupt):
      whole.run(SMALL, first)
  said = capsys.readouterr().err
  assert "baseline  round" not in said
  assert "method  round 1/" not in said
  assert whole.run(SMALL, first) == 0
  assert_same(SMALL, reference_run, first)
  assert not (first / publishing.FOLDER).exists()
  looks = files.read_json(first / "results.json")["looks"]
  assert [one["seeds"] for one in looks["made"]] == [[1], [0, 1]]
  assert looks["made"][0]["verdicts"] == {"method - baseline": "one seed: no verdict"}
  assert looks["exploratory"] == []


@pytest.mark.slow
def test_a_new_arm_alone_trains_nothing_else_and_the_report_is_that_of_one_run(
  copy, tmp_path, monkeypatch, capsys
):
  config = dataclasses.replace(SMALL, arms=("baseline", "method", "uniform_mean"))
  whole.quick_report(monkeypatch)
  assert whole.run(config, tmp_path / "at_once") == 0
  capsys.readouterr()
  assert whole.run(config, copy) == 0
  said = capsys.readouterr().err
  assert f"{copy}: 1 more arm (uniform_mean); what is there is not trained again" in said
  assert "baseline  round" not in said
  assert "method  round" not in said
  assert_same(config, tmp_path / "at_once", copy)
  stamps = whole.stamps(copy)
  assert whole.run(config, copy) == 0
  assert whole.stamps(copy) == stamps


VARIANTS = {
  "a seed and an arm": (SMALL, {"seeds": LARGE.seeds, "arms": LARGE.arms}),
  "folds and a scored round": (
    whole.config(score__folds=2, score__at_round=2, score__name="confidence"),
    {"seeds": (0, 1, 2)},
  ),
  "batch norm, gradients": (
    whole.resnet(score__name="grand", score__grand=True),
    {"seeds": (2, 0, 1), "arms": ("baseline", "method", "warm_start")},
  ),
  "unrolled": (whole.config(parallel__replicas="unroll"), {"seeds": (0, 1, 2)}),
  "one seed, a baseline alone": (
    whole.config(seeds=(3,), arms=("baseline",)),
    {"seeds": (3, 4), "arms": ("baseline", "method", "less_data")},
  ),
  "streamed, steps and units": (
    whole.config(data__placement="stream", monitor__steps=True, monitor__units=True),
    {"seeds": (0, 1, 2)},
  ),
  "own arms": (
    SMALL,
    {"arms": ("baseline", "method", "mine"), "own_arms": ("mine = A@0.01 + B@0.001 + A@0.02",)},
  ),
  "early stopping, a new arm": (
    whole.config(stop__patience=1, data__validation_fraction=0.3),
    {"arms": ("baseline", "method", "random_subset")},
  ),
  "the mean splits, a new arm": (
    whole.config(split__source="mean"),
    {"arms": ("baseline", "method", "random_subset")},
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("small", "more"), VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_run_grows_to_the_bytes_of_one_run_of_all(small, more, tmp_path):
  large = dataclasses.replace(small, **more)
  assert whole.run(small, tmp_path / "grown") == 0
  assert whole.run(large, tmp_path / "at_once") == 0
  assert whole.run(large, tmp_path / "grown") == 0
  assert_same(large, tmp_path / "at_once", tmp_path / "grown", report=True)


@pytest.mark.slow
def test_planned_looks_are_made_one_after_the_other_and_a_further_one_is_exploratory(
  tmp_path, monkeypatch
):
  whole.quick_report(monkeypatch)
  workdir, config = tmp_path / "run", whole.config(seeds=(0, 1, 2), stats__looks=(3, 5))
  for seeds, number in (((0, 1, 2), 1), (tuple(range(5)), 2), (tuple(range(6)), None)):
    assert whole.run(dataclasses.replace(config, seeds=seeds), workdir) == 0
    results = files.read_json(workdir / "results.json")
    assert results["looks"]["number"] == number
    assert results["looks"]["exploratory"] == ([] if number else ["method - baseline"])
    assert ("exploratory" in results["sentence"]) == (number is None)
  assert [len(look["seeds"]) for look in results["looks"]["made"]] == [3, 5, 6]
  once = tmp_path / "once"
  assert whole.run(dataclasses.replace(config, seeds=tuple(range(6))), once) == 0
  assert_same(dataclasses.replace(config, seeds=tuple(range(6))), once, workdir)


def found_for(before, after, workdir):
  """Returns what `extension.find` says of a workdir whose config.json has `before`."""
  workdir.mkdir(exist_ok=True)
  context.write_config(workdir, before)
  return extension.find(workdir, Identity(to_dict(after), ""), after)


def changed(**changes):
  return whole.config(**changes)


MORE = {"seeds": (0, 1, 2)}
ARM = {"arms": ("baseline", "method", "random_subset")}
REFUSED = {
  "mean": ({"split__source": "mean"}, MORE, "A is made from the scores of all seeds"),
  "stopping": (
    {"stop__patience": 1, "data__validation_fraction": 0.3},
    MORE,
    "a training lasts until its last seed stops",
  ),
  "selection": (
    {"select__lambda_A": (0.1, 0.2), "data__validation_fraction": 0.3},
    ARM,
    "a selection chose values",
  ),
  "teachers": (
    {"own_arms": ("t = all@0[distil_mean]",), "arms": ("baseline", "t")},
    MORE,
    "with distil_mean the networks of all seeds teach",
  ),
  "divided": ({"parallel__divide": "seeds"}, MORE, "parallel.divide='seeds'"),
  "order": (
    {},
    {"arms": ("baseline", "random_subset", "method")},
    "give arms=baseline,method,random_subset",
  ),
  "unfinished": ({}, MORE, "it is not finished, results.json is missing or damaged"),
}


@pytest.mark.parametrize(("keys", "more", "part"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_extended_is_refused_in_one_line_with_the_way_out(
  keys, more, part, tmp_path
):
  with pytest.raises(ConfigError) as caught:
    found_for(changed(**keys), changed(**keys, **more), tmp_path / "run")
  message = str(caught.value)
  assert part in message
  assert ("--workdir" in message) or ("give arms=" in message)
  assert len(message.splitlines()) == 1


NO_EXTENSION = {
  "the same": ({}, {}),
  "fewer seeds": ({"seeds": (0, 1, 2)}, {}),
  "other seeds": ({}, {"seeds": (0, 2)}),
  "fewer arms": (ARM, MORE),
  "another key too": ({}, {"rounds": 5, **MORE}),
  "other looks": ({}, {"stats__looks": (3, 5), **MORE}),
}


@pytest.mark.parametrize(("before", "after"), NO_EXTENSION.values(), ids=NO_EXTENSION)
def test_a_config_that_adds_nothing_or_changes_more_is_no_extension(before, after, tmp_path):
  assert found_for(changed(**before), changed(**after), tmp_path / "run") is None


def test_a_run_that_lost_its_checkpoints_cannot_grow_and_stays_as_it_is(
  copy, no_training, monkeypatch
):
  shutil.rmtree(copy / "checkpoints")
  before = of_run(copy)
  with pytest.raises(CheckpointError, match="is not usable"):
    experiment.run(LARGE, copy, "tiny")
  assert of_run(copy) == before


def test_other_data_are_refused_before_anything_is_trained(copy):
  described = files.read_json(copy / "environment.json")
  described["data"]["checksum"] = "another"
  files.write_json(copy / "environment.json", described)
  with pytest.raises(DataError, match="holds a run on other data"):
    extension.find(copy, Identity(to_dict(LARGE), tiny.data(LARGE).checksum), LARGE)


def test_an_extension_that_fails_leaves_the_run_usable_and_another_begins_anew(
  copy, monkeypatch, capsys
):
  whole.without_report(monkeypatch)
  before = of_run(copy)
  whole.stopped(LARGE, copy, monkeypatch, task="baseline", done=1.0)
  other = dataclasses.replace(SMALL, seeds=(0, 1, 7))
  whole.stopped(other, copy, monkeypatch, task="baseline", done=1.0)
  assert (
    "seeds: of another extension that was not finished; it is removed" in capsys.readouterr().err
  )
  assert of_run(copy) == before
  found = standing.find_standing(
    other, tiny.data(other), Identity(to_dict(other), ""), workdir=copy
  )
  assert found.text.startswith("a finished run that would be extended: 1 more seed (7); ")


@pytest.mark.slow
def test_loggers_hear_of_the_grown_run_alone_in_its_place(copy, monkeypatch):
  whole.quick_report(monkeypatch)
  heard = []

  class Heard(Feed):
    @classmethod
    def of(cls, config, workdir, log):
      heard.append((config.log.tensorboard, workdir, config.seeds))
      return cls(workdir)

  monkeypatch.setattr(lifecycle, "Feed", Heard)
  monkeypatch.setattr(lifecycle, "require_packages", lambda config: None)
  more = whole.config(seeds=(0, 1, 2), log__tensorboard=True)
  assert whole.run(more, copy) == 0
  assert [one for one in heard if one[0]] == [(True, copy, (0, 1, 2))]
