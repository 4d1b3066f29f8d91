"""The command `probe`: its table beside one by hand, its advice, and what it refuses."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sdt.commands import probe, program
from sdt.commands.probe import main, next_command, parse
from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.engine.stage_features import View, features_by_stage
from sdt.errors import ConfigError, DataError, WorkdirError
from sdt.stats.transfer import Advice
from sdt.trained.model import read_model
from tests.support import tiny, whole


@pytest.fixture(scope="module")
def weights(reference_run):
  return reference_run / "model.safetensors"


@pytest.fixture(scope="module")
def command(weights):
  """Returns the words after `probe` that look at the network of the reference run."""
  return ["--config=shapes", *whole.overrides(), f"--config.model.pretrained={weights}"]


def with_key(command, key, value):
  """Returns the words with another value of a key that they have."""
  start = f"--config.{key}="
  return [f"{start}{value}" if word.startswith(start) else word for word in command]


def test_the_table_is_that_of_scikit_learn_on_features_by_hand(
  weights, command, reference_run, tmp_path, capsys
):
  output = tmp_path / "probe.json"
  scratch = f"--scratch={reference_run}"
  words = [*with_key(command, "seeds", 1), scratch]
  assert main([*words, f"--output={output}"]) == 0
  content = json.loads(output.read_text())
  (stage,) = content["stages"]
  model, data = read_model(weights), tiny.data(whole.CONFIG)

  def features(split):
    x = (split.inputs / 255.0 - data.mean) / data.std
    layer = model.variables["params"]["hidden1"]
    return np.maximum(x.reshape(len(split), -1) @ layer["kernel"] + layer["bias"], 0)

  scaler = StandardScaler().fit(features(data.train))
  by_hand = LogisticRegression(C=1 / (stage["strength"] * 70), max_iter=5000, tol=1e-8)
  by_hand.fit(scaler.transform(features(data.train)), data.train.labels)
  accuracy = by_hand.score(scaler.transform(features(data.test)), data.test.labels)
  assert (stage["stage"], stage["num_features"], stage["num_held_out"]) == ("hidden1", 16, 70)
  assert stage["accuracy"] == pytest.approx(accuracy, abs=1e-9)
  assert stage["interval"][0] < accuracy < stage["interval"][1]
  assert (content["num_train"], content["num_test"], content["seed"]) == (70, 30, 1)
  results = json.loads((reference_run / "results.json").read_text())
  accuracies = results["arms"]["baseline"]["accuracy"].values()
  assert content["scratch"] == pytest.approx(np.mean(list(accuracies)))
  printed = capsys.readouterr().out
  assert f"hidden1              16{stage['held_out_accuracy']:>10.1%}{accuracy:>9.1%}  " in printed
  assert printed.endswith(f"  {content['advice']['command']}\n")
  assert "70 training images of 3 classes are little data" in printed
  assert "without augmentation: rounds=4 at optim.learning_rate=0.05 may not reach that" in printed
  # The same seed repeats it.
  other = tmp_path / "other.json"
  assert main([*words, "--output", str(other)]) == 0
  assert other.read_bytes() == output.read_bytes()


def test_the_size_of_a_batch_changes_no_feature(weights):
  model, data = read_model(weights), tiny.data(whole.CONFIG)
  found = [
    features_by_stage(
      model.module, model.variables, data.train, view=View.of(data, crop_size, batch_size=size)
    )
    for crop_size, size in ((None, 70), (None, 32), (8, 1000))
  ]
  for other in found[1:]:
    np.testing.assert_allclose(other["hidden1"], found[0]["hidden1"], rtol=1e-5, atol=1e-6)
    assert other["hidden1"].dtype == np.float32


def test_the_next_command_keeps_what_was_asked_for_and_trains_as_advised(monkeypatch, tmp_path):
  monkeypatch.setattr("sys.argv", ["sdt"])
  monkeypatch.chdir(tmp_path)
  words = ["--config", "digits", "--config.model.pretrained=a b.safetensors"]
  words += ["--config.optim.learning_rate=0.2", "--config.optim.body_rate_factor=0.1"]
  asked = parse(words)
  request = asked.request
  config = resolve(load_config_file(request.config_path), request.overrides)
  said = next_command(asked, config, Advice((), "", "stage1", is_slow=True))
  start, name, *rest = shlex.split(said)
  assert (start, name) == ("sdt", "train")
  assert rest == [
    "--config=digits",
    "--workdir=runs/digits-stage1",
    "--config.model.pretrained=a b.safetensors",
    "--config.optim.train_from=stage1",
    "--config.optim.body_rate_factor=1.0",
    "--config.optim.learning_rate=0.02",
  ]
  for place in ("runs/digits", "runs/digits-head", "runs/digits-head-2"):
    (tmp_path / place).mkdir(parents=True)
  head = next_command(asked, config, Advice((), "", "head", is_slow=False))
  assert "learning_rate=0.2" in head
  assert "--workdir=runs/digits-head-3" in head
  every = next_command(asked, config, Advice((), "", None, is_slow=True))
  assert "--workdir=runs/digits-all" in every
  # What it prints is a config that can be run.
  overrides = [tuple(word.removeprefix("--config.").split("=", 1)) for word in rest[2:]]
  assert resolve(load_config_file(request.config_path), overrides).optim.train_from == "stage1"


@pytest.mark.parametrize(
  ("words", "part"),
  [
    ([], "--config is missing; usage: "),
    (["--config=digits", "--workdir=x"], "unknown flag --workdir"),
    (["--config=digits", "--scrath=x"], "did you mean --scratch?"),
    (["--config=digits", "--output"], "--output needs a value"),
    (["--config=digits", "--overwrite=1"], "--overwrite takes no value"),
    (["--config=digits", "--output=a", "--output=b"], "--output is given twice"),
    (["--config=digits", "x"], "unexpected argument 'x'; usage"),
    (["runs/t5"], "probe takes no folder; give --config=FILE, and --scratch=runs/t5; usage"),
    (["--config=digits"], "model.pretrained is None: probe asks what the weights of a file"),
    (["--config=toy"], "the toy has no classes"),
  ],
)
def test_what_the_words_alone_have_wrong_is_refused_before_jax_is_needed(words, part, monkeypatch):
  monkeypatch.setattr(probe, "load_jax", lambda: pytest.fail("too late"))
  with pytest.raises(ConfigError) as caught:
    main(words)
  assert part in str(caught.value)


def test_an_output_that_cannot_be_written_is_refused_at_once(command, tmp_path, monkeypatch):
  monkeypatch.setattr(probe, "load_jax", lambda: pytest.fail("too late"))
  (tmp_path / "there.json").write_text("mine")
  with pytest.raises(ConfigError, match="exists already; give --overwrite"):
    main([*command, f"--output={tmp_path}/there.json"])
  with pytest.raises(WorkdirError, match="make it first"):
    main([*command, f"--output={tmp_path}/none/x.json"])


def test_a_class_with_a_single_image_and_a_run_on_other_data_are_refused(command, reference_run):
  few = with_key(command, "data.shapes.num_train", 10)
  with pytest.raises(DataError, match=r"needs 2 of every class and 5 in all; class .* has 1"):
    main(with_key(few, "data.shapes.num_classes", 7))
  with pytest.raises(ConfigError, match="a run on other data"):
    main([*with_key(command, "data.shapes.num_train", 60), f"--scratch={reference_run}"])


def test_a_run_from_scratch_whose_seeds_all_diverged_is_refused():
  results = {"data": {"checksum": "ab"}, "arms": {"baseline": {"mean": None}}}
  config = SimpleNamespace(model=SimpleNamespace(pretrained=None))
  run = SimpleNamespace(workdir="lost", config=config, results=results, arms=("baseline",))
  with pytest.raises(ConfigError, match="--scratch=lost: every seed of its baseline diverged"):
    probe._reached(run, SimpleNamespace(data=SimpleNamespace(checksum="ab")))


def test_the_program_has_the_command_with_its_help(capsys):
  assert program.main(["probe", "--help"]) == 0
  assert "--scratch=WORKDIR" in capsys.readouterr().out
