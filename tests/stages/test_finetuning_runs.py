"""Whole runs that start from the weights of an earlier run: what they change, what they name, and
what they refuse to go on with.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from sdt import experiment, files
from sdt.commands import dry_run
from sdt.config import from_dict, to_dict
from sdt.errors import ConfigError, DataError
from sdt.models.pretrained import Pretrained
from sdt.run import load_inputs
from sdt.run.programs import Setup
from tests.support import tiny, whole
from tests.support.places import ROOT


def finetuning(path, **changes):
  """Returns the config of a run on 5 classes that trains the head alone.

  One program trains both arms.
  """
  return whole.resnet(
    arms=("baseline", "uniform_mean"),
    score__dynamics=False,
    model__pretrained=None if path is None else str(path),
    optim__body_rate_factor=0.0,
    data__shapes__num_classes=5,
    **changes,
  )


@pytest.fixture(scope="module", autouse=True)
def no_reports():
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    yield


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
  """Returns the model.safetensors of a run on 3 classes."""
  workdir = tmp_path_factory.mktemp("earlier") / "run"
  assert whole.run(whole.resnet(arms=("baseline",)), workdir) == 0
  return workdir / "model.safetensors"


@pytest.fixture(scope="module")
def finetuned(earlier, tmp_path_factory):
  """Returns the workdir of a run from the weights of `earlier`, and what it said on stderr."""
  workdir = tmp_path_factory.mktemp("finetuned") / "run"
  with contextlib.redirect_stderr(io.StringIO()) as said:
    assert whole.run(finetuning(earlier), workdir) == 0
  return workdir, said.getvalue()


def digest(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


def with_other_stem(path, to):
  """Writes the weights of `path` with another first convolution; returns the new path."""
  weights = load_file(path)
  weights["params/stem_conv/kernel"] += 1
  to.write_bytes(save(weights))
  return to


@pytest.mark.slow
def test_a_run_from_an_earlier_runs_weights_trains_a_new_head_alone(earlier, finetuned):
  """Every arm begins with the body of the file and ends with it, running statistics and all."""
  workdir, _ = finetuned
  before, after = load_file(earlier), load_file(workdir / "model.safetensors")
  assert before.keys() == after.keys()
  changed = [name for name in after if not np.array_equal(before[name], after[name])]
  assert changed == ["params/head/bias", "params/head/kernel"]
  assert after["params/head/kernel"].shape == (4, 5)
  for state in whole.final_states(finetuning(earlier), workdir):
    for name, leaf in state.items():
      if "head" in name and "params" in name:  # each seed has its own
        assert np.any(leaf[0] != leaf[1])
      elif "params" in name or "batch_stats" in name:
        np.testing.assert_array_equal(leaf[0], leaf[1])


@pytest.mark.slow
def test_the_weights_are_told_with_their_checksum(earlier, finetuned, tmp_path):
  (workdir, said), checksum = finetuned, digest(earlier)
  lines = dry_run.describe(finetuning(earlier), tmp_path / "run")
  assert any("note      weights from " in line for line in lines)
  assert not (tmp_path / "run").exists()
  assert f"note: weights from {earlier} (SHA-256 {checksum}), the head starts afresh\n" in said
  assert "data: 5 classes, training + test examples: " in said
  checksums = files.read_json(workdir / "environment.json")["file_checksums"]
  assert checksums == {"model.pretrained": checksum, "score.path": "none"}
  with safe_open(workdir / "model.safetensors", "numpy") as file:
    assert json.loads(file.metadata()["config"])["model"]["pretrained"] == checksum


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_weights_wherever_they_lie_and_with_no_others(
  earlier, finetuned, tmp_path
):
  workdir = shutil.copytree(finetuned[0], tmp_path / "run")
  assert whole.run(finetuning(shutil.copy(earlier, tmp_path / "moved.safetensors")), workdir) == 0
  other = with_other_stem(earlier, tmp_path / "other.safetensors")
  stamps = whole.stamps(workdir)
  refusal = f"holds a run with another model.pretrained .SHA-256 {digest(earlier)}, now "
  for config in (finetuning(other), finetuning(None)):
    with pytest.raises(DataError, match=refusal):
      experiment.run(config, workdir, "tiny")
  with pytest.raises(DataError, match=r"that run started from another model\.pretrained"):
    experiment.run(finetuning(other, baseline_from=str(workdir)), tmp_path / "new", "tiny")
  assert not (tmp_path / "new").exists()
  assert whole.stamps(workdir) == stamps
  # The checkpoint knows the weights too.
  (workdir / "environment.json").unlink()
  with pytest.raises(DataError, match=r"holds a run with another model\.pretrained"):
    experiment.run(finetuning(other), workdir, "tiny")


@pytest.mark.slow
def test_the_files_head_is_taken_on_request_if_the_classes_are_as_many(earlier, tmp_path):
  config = whole.resnet(
    model__pretrained=str(earlier), model__pretrained_head=True, arms=("baseline",)
  )
  data = tiny.data(config)
  weights = load_inputs.load_weights(config, data)
  start = Setup.make(config, data, pretrained=weights).fresh_start
  expected = [load_file(earlier)["params/head/kernel"]] * 2
  np.testing.assert_array_equal(start.state.params["head"]["kernel"], expected)
  turned = dataclasses.replace(data, class_names=data.class_names[::-1])
  weights = load_inputs.load_weights(config, turned)
  np.testing.assert_array_equal(weights.leaves["params/head/kernel"][:, ::-1], expected[0])
  with pytest.raises(DataError, match=r"leave model\.pretrained_head off"):
    experiment.run(finetuning(earlier, model__pretrained_head=True), tmp_path / "run", "tiny")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("model", "error", "part"),
  [
    ({"name": "resnet18"}, DataError, "that this network needs: 98 missing"),
    ({"name": "resnet18", "stem": "imagenet"}, DataError, "that this network needs: 98 missing"),
    (
      {"name": "resnet18", "stem": "small"},
      ConfigError,
      "those that have a stem with model.stem=imagenet",
    ),
    ({"name": "resnet20"}, ConfigError, "those that have a stem with model.stem=imagenet"),
    ({"name": "mlp"}, ConfigError, "those that have a stem with model.stem=imagenet"),
    ({"name": "resnet18", "activation": "prelu"}, ConfigError, "have no params/stage1_block1/act1"),
  ],
)
def test_public_names_are_for_the_networks_that_have_them(model, error, part, tmp_path):
  path = tmp_path / "public.safetensors"
  path.write_bytes(
    save(
      {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32), "bn1.weight": np.ones(64, np.float32)}
    )
  )
  plain = to_dict(tiny.config())
  plain["model"] = {**model, "pretrained": str(path)}
  config = from_dict(plain)
  with pytest.raises(error, match=part):
    load_inputs.load_weights(config, tiny.data(config))


def test_public_weights_on_images_that_are_normalised_otherwise_are_told():
  def told(statistics, is_public, name="resnet18"):
    """Returns the values of data.statistics that a note names."""
    plain = to_dict(tiny.config(data__statistics=statistics))
    config = from_dict(plain | {"model": {"name": name, "pretrained": "some.safetensors"}})
    beside = load_inputs.Beside(Pretrained({}, "ab", is_public))
    (*_, note) = load_inputs.notes(config, tiny.data(config), beside)
    return [word for word in ("imagenet", "inception") if f"data.statistics={word}" in note]

  assert told("own", True) == told("inception", True) == ["imagenet"]
  assert told("own", False) == told("imagenet", True) == []
  # timm's ViTs have two kinds, and their files do not say which.
  assert told("own", True, "vit_tiny") == ["imagenet", "inception"]
  assert told("imagenet", True, "vit_tiny") == told("inception", True, "vit_tiny") == []


def test_a_frozen_body_without_weights_is_told():
  def told(config, weights=None):
    return any(
      "the body is frozen as it was drawn" in note
      for note in load_inputs.notes(config, tiny.data(config), load_inputs.Beside(weights))
    )

  assert told(finetuning(None))
  assert not told(finetuning("some.safetensors"), Pretrained({}, "ab", is_public=False))
  assert not told(tiny.resnet())


@pytest.mark.parametrize(
  ("optim", "said"),
  [
    (
      {"optim__train_from": "stage1"},
      "optim.train_from=stage1: stage1, head learn, {learn:,} of {all:,} parameters; frozen: stem",
    ),
    ({"optim__train_from": "stem"}, "optim.train_from=stem: no stage comes before it, so none is"),
    ({"optim__body_rate_factor": 0.0}, "optim.body_rate_factor=0: head learn"),
  ],
)
def test_which_stages_learn_and_which_are_frozen_is_told_with_their_sizes(optim, said):
  config = tiny.resnet(**optim)
  params = tiny.first_state(config).params
  sizes = {name: sum(leaf.size for leaf in tiny.leaves(of).values()) for name, of in params.items()}
  frozen = sum(size for name, size in sizes.items() if name.startswith("stem"))
  total = sum(sizes.values())
  (note, *_) = [
    note
    for note in load_inputs.notes(config, tiny.data(config), load_inputs.Beside())
    if note.startswith("optim.")
  ]
  assert said.format(learn=total - frozen, all=total) in note


def test_a_wrong_path_is_told_before_the_data_are_read(tmp_path):
  config = finetuning(
    tmp_path / "none.safetensors", data__name="npz", data__path=str(tmp_path / "none.npz")
  )
  with pytest.raises(DataError, match="no such file; expected a safetensors file of weights"):
    experiment.run(config, tmp_path / "run", "tiny")
  assert not (tmp_path / "run").exists()


def test_keys_that_would_do_nothing_are_refused():
  with pytest.raises(
    ConfigError, match=r"model.pretrained_head = True has no meaning with model.pretrained = None"
  ):
    tiny.resnet(model__pretrained_head=True)


@pytest.mark.slow
def test_weights_that_cannot_be_used_exit_with_3_and_one_line_and_write_nothing(tmp_path):
  (tmp_path / "resnet50.pth").write_bytes(b"PK\x03\x04")
  command = [
    sys.executable,
    str(ROOT / "run.py"),
    f"--config={ROOT}/configs/shapes.py",
    "--config.model.pretrained=resnet50.pth",
  ]
  done = subprocess.run(
    command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
  )
  assert (done.returncode, done.stdout) == (3, "")
  assert done.stderr.startswith(
    "sdt: error: model.pretrained=resnet50.pth: not safetensors but, it seems, a pickle"
  )
  assert done.stderr.count("\n") == 1
  assert [path.name for path in tmp_path.iterdir()] == ["resnet50.pth"]
