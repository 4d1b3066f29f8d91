"""`sdt.run` on files and on arrays in memory: the same as the command, and it can be continued."""

import dataclasses
import inspect
import subprocess
import sys
import threading

import numpy as np
import pytest
from ml_collections import ConfigDict

import sdt
from sdt.api.running import resolved_config, run
from sdt.config import to_dict
from sdt.data import sources
from sdt.data.readers.arrays import load_arrays
from sdt.errors import ConfigError, DataError
from tests.support import tiny, whole
from tests.support.places import ROOT

CONFIG = whole.CONFIG


def test_import_sdt_loads_nothing_until_something_is_asked_for():
  code = (
    "import sys, sdt\n"
    "assert not {'jax', 'numpy', 'sklearn'} & sys.modules.keys()\n"
    "assert callable(sdt.run) and 'load' in dir(sdt) and 'SdtClassifier' in dir(sdt)\n"
    "assert not {'jax', 'numpy'} & sys.modules.keys()\n"
    "import sdt.run.lifecycle\n"
    "assert callable(sdt.run) and sdt.load.__name__ == 'load'\n"
  )
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
  alone = "import sdt; assert issubclass(sdt.errors.DataError, sdt.errors.SdtError)"
  subprocess.run([sys.executable, "-c", alone], cwd=ROOT, check=True)
  with pytest.raises(AttributeError, match="has no attribute 'lod'"):
    sdt.lod  # noqa: B018


def test_the_package_has_the_signature_and_the_words_of_the_function():
  called, function = inspect.signature(sdt.run), inspect.signature(run)
  assert list(called.parameters) == list(function.parameters)
  assert [one.default for one in called.parameters.values()] == [
    one.default for one in function.parameters.values()
  ]
  assert "sdt.run(config, workdir, data=None)" in sdt.run.__doc__.splitlines()[0]
  with pytest.raises(TypeError, match="wokdir"):
    sdt.run(CONFIG, wokdir="x")


@pytest.mark.parametrize("data", [(np.zeros((9, 2)), [0] * 9), np.zeros((9, 2)), [1], "x.npz"])
def test_data_that_are_no_dict_are_refused_in_one_line(data, tmp_path):
  with pytest.raises(DataError, match=r"data is a \w+, expected a dict of arrays"):
    sdt.run({}, tmp_path / "run", data)
  with pytest.raises(ConfigError, match="workdir=None: expected a path"):
    sdt.run({}, None)
  assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_returned_and_nothing_is_trained(reference_run, no_training):
  run = sdt.run(CONFIG, reference_run)
  assert run.results == sdt.load(reference_run).results


def test_a_config_may_be_a_file_a_dict_of_either_kind_or_a_config(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "import ml_collections\ndef get_config():\n"
    "  return ml_collections.ConfigDict({'rounds': 7, 'optim': {'milestones': (3,)}})\n"
  )
  expected = resolved_config({"rounds": 7, "optim": {"milestones": [3]}})
  assert expected.rounds == 7
  both = {"rounds": 7, "optim": {"milestones": (3,)}}
  for same in (file, str(file), ConfigDict(both), both, expected):
    assert resolved_config(same) == expected
  with pytest.raises(ConfigError, match="config is a int, expected a path"):
    resolved_config(7)


def test_a_config_that_was_changed_by_hand_is_checked_before_anything_is_trained(tmp_path):
  changed = dataclasses.replace(tiny.config(split__policy="bottom"), arms=("baseline",))
  with pytest.raises(ConfigError, match=r"split\.policy = 'bottom' has no meaning with arms"):
    sdt.run(changed, tmp_path / "run")


def arrays_of(data, **changes):
  """Returns the splits of a set as arrays."""
  return {
    "train_x": data.train.inputs,
    "train_y": data.train.labels,
    "test_x": data.test.inputs,
    "test_y": data.test.labels,
    "class_names": data.class_names,
  } | changes


@pytest.mark.slow
def test_a_run_on_arrays_is_the_run_on_the_same_examples_and_knows_them_again(
  tmp_path, monkeypatch, reference_run
):
  data = tiny.data(CONFIG)
  config = {key: value for key, value in to_dict(CONFIG).items() if key != "data"}
  whole.quick_report(monkeypatch)
  run = sdt.run(config, tmp_path / "run", arrays_of(data))
  reference = sdt.load(reference_run)
  for arm in CONFIG.arms:
    assert run.results["arms"][arm]["accuracy"] == reference.results["arms"][arm]["accuracy"]
  assert run.results["data"]["checksum"] == data.checksum
  assert (run.config.data.name, run.class_names) == ("arrays", data.class_names)
  np.testing.assert_array_equal(
    run.predict_proba(data.test.inputs), reference.predict_proba(data.test.inputs)
  )
  with monkeypatch.context() as patch:
    whole.forbid_training(patch)
    assert sdt.run(config, tmp_path / "run", arrays_of(data)).results == run.results
  other = data.train.inputs.copy()
  other[0, 0, 0, 0] ^= 1
  for changed in ({"train_x": other}, {"class_names": data.class_names[::-1]}):
    with pytest.raises(DataError, match="holds a run on other data"):
      sdt.run(config, tmp_path / "run", arrays_of(data, **changed))


def test_without_a_test_split_a_fifth_is_held_out_or_what_the_config_says(tmp_path, monkeypatch):
  found = []
  monkeypatch.setattr("sdt.api.running.lifecycle.complete", lambda kind, job: found.append(job))
  monkeypatch.setattr("sdt.api.running.load", lambda workdir: workdir)
  data = {"train_x": np.arange(40, dtype=np.float64).reshape(20, 2), "train_y": list("ab" * 10)}
  sdt.run({"model": {"name": "mlp"}}, tmp_path / "a", data)
  sdt.run({"model": {"name": "mlp"}, "data": {"test_fraction": 0.5}}, tmp_path / "b", data)
  assert [len(job.loaded.test) for job in found] == [4, 10]
  assert found[0].config.split.class_balanced is True  # as for all own data
  assert found[0].loaded.train.inputs.dtype == np.float32


def test_labels_may_be_names_or_numbers():
  config = resolved_config({"data": {"name": "arrays", "test_fraction": 0.5}}).data
  images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), dtype=np.uint8)

  def labels_of(labels, **more):
    data = load_arrays({"train_x": images, "train_y": labels, **more}, config)
    ids = np.concatenate([data.train.example_ids, data.test.example_ids])
    labels = np.concatenate([data.train.labels, data.test.labels])[np.argsort(ids)]
    return data.class_names, list(labels)

  ten = [10, 2, 1] * 4
  assert labels_of(ten) == (("1", "2", "10"), [2, 1, 0] * 4)
  assert labels_of(list("cab") * 4) == (("a", "b", "c"), [2, 0, 1] * 4)
  assert labels_of([2, 0, 1] * 4, class_names=["x", "y", "z"]) == (("x", "y", "z"), [2, 0, 1] * 4)
  named = labels_of(list("zxy") * 4, class_names=["x", "y", "z"])
  assert named == (("x", "y", "z"), [2, 0, 1] * 4)
  for bad, told in (
    ({"train_y": list("abq") * 4, "class_names": ["a", "b"]}, "label 'q' is none of the 2"),
    ({"train_y": np.zeros((12, 1))}, r"has shape \[12, 1\], expected one label each"),
    ({"train_y": [0, 3] * 6, "class_names": ["a", "b"]}, "outside"),
    ({"test_x": images}, "expected train_x, train_y"),
    ({"y": ten}, "found train_x, train_y, y"),
    ({"train_x": images / 255}, "images must be uint8"),
  ):
    with pytest.raises(DataError, match=told):
      load_arrays({"train_x": images, "train_y": ten} | bad, config)


def test_the_command_line_cannot_have_arrays():
  config = resolved_config({"data": {"name": "arrays"}})
  with pytest.raises(ConfigError, match=r"sdt\.run\(config, workdir, data=\.\.\.\)"):
    sources.load(config.data)


def test_a_sweep_and_the_toy_are_refused(tmp_path):
  for config, told in (
    ({"sweep": {"key": "rounds", "values": ["1", "2"]}}, "sweep.key makes a run of every value"),
    ({"data": {"name": "curve"}, "model": {"name": "mlp"}}, "the toy runs from the command line"),
  ):
    with pytest.raises(ConfigError, match=told):
      sdt.run(config, tmp_path / "run")


def test_a_thread_may_run_too(reference_run):
  found = []
  thread = threading.Thread(target=lambda: found.append(sdt.run(CONFIG, reference_run)))
  thread.start()
  thread.join()
  assert found[0].arms == CONFIG.arms
