"""The command `export`: what it writes, what it refuses, and that nothing of anybody's is lost."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from sdt import files
from sdt.commands.export import main
from sdt.errors import ConfigError, DataError, WorkdirError
from sdt.trained.exports import onnx_file
from sdt.trained.exports.formats import FORMATS
from sdt.trained.exports.model_card import card
from sdt.trained.load import load
from tests.support import exported
from tests.support.places import ROOT


@pytest.fixture
def run(reference_run, tmp_path):
  """Returns a finished run that a test may change."""
  return shutil.copytree(reference_run, tmp_path / "run")


def names_below(folder):
  return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_program_exports_a_network_that_is_asked_for_beside_its_model_card(run, tmp_path):
  before, output = names_below(run), tmp_path / "made/here.onnx"
  command = [sys.executable, "run.py", "export", str(run), "--format=onnx", "--arm=method"]
  done = subprocess.run(
    [*command, "--seed=1", f"--output={output}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, "")
  assert done.stdout.startswith(f"{output}: arm method, seed 1, ")
  assert names_below(output.parent) == {"here.onnx", "here.onnx.md"}
  said = {one.key: one.value for one in onnx.load(output).metadata_props}
  assert (said["arm"], said["seed"]) == ("method", "1")
  assert names_below(run) == before


@pytest.mark.parametrize("name", ["stablehlo", "onnx"])
def test_by_default_the_recommended_network_goes_into_the_run(name, run, capsys):
  recommended = files.read_json(run / "results.json")["recommended"]
  assert main([str(run), f"--format={name}"]) == 0
  stem = f"{recommended['arm']}-seed{recommended['seed']}{FORMATS[name].suffix}"
  assert names_below(run / "exports") == {stem, f"{stem}.md"}
  assert f"exports/{stem}.md" in capsys.readouterr().out
  content = (run / "exports" / stem).read_bytes()
  assert content == FORMATS[name].content(load(run).network())


@pytest.mark.parametrize("which", ["x.onnx", "x.onnx.md"])
def test_a_file_that_is_there_is_replaced_only_with_overwrite(which, run, tmp_path):
  output = tmp_path / "x.onnx"
  (tmp_path / which).write_text("mine")
  command = [str(run), "--format=onnx", f"--output={output}"]
  with pytest.raises(
    ConfigError, match=f"--output={tmp_path / which}: exists already; give --overwrite"
  ):
    main(command)
  assert (tmp_path / which).read_text() == "mine"
  assert names_below(tmp_path) - names_below(tmp_path / "run") >= {which}
  assert main([*command, "--overwrite"]) == 0
  assert onnx.load(output).graph.name == "network"
  assert output.with_name("x.onnx.md").read_text().startswith("# mlp, trained on shapes")


def test_an_export_that_fails_leaves_what_was_there(run, tmp_path, monkeypatch):
  output = tmp_path / "x.onnx"
  output.write_text("mine")
  monkeypatch.setattr("sdt.trained.exports.export.card", lambda *_, **__: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    main([str(run), "--format=onnx", f"--output={output}", "--overwrite"])
  assert output.read_text() == "mine"
  assert {path.name for path in tmp_path.iterdir()} == {"run", "x.onnx"}


@pytest.mark.parametrize(
  ("more", "told"),
  [
    ([], "the following arguments are required: --format"),
    (["--format=onxx"], "--format=onxx is no format; did you mean 'onnx'?"),
    (["--format=onnx", "--arm=metod"], "no arm 'metod'; did you mean 'method'?"),
    (["--format=onnx", "--seed=7"], "no seed 7; expected all, or some of 0, 1"),
    (["--format=onnx", "--seed=x"], "argument --seed: invalid int value: 'x'"),
    (["--format=onnx", "--overwrit"], "unrecognized arguments: --overwrit"),
    (["--format=torch"], "torchvision and timm have no model.name='mlp'"),
  ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(
  more, told, reference_run, tmp_path
):
  before = names_below(reference_run)
  with pytest.raises(ConfigError) as caught:
    main([str(reference_run), *(word.replace("{tmp}", str(tmp_path)) for word in more)])
  assert told in str(caught.value)
  assert "\n" not in str(caught.value)
  assert names_below(reference_run) == before
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["stablehlo", "onnx"])
def test_a_place_that_cannot_be_written_is_a_matter_of_the_disk(name, reference_run, tmp_path):
  (tmp_path / "file").write_text("mine")
  (tmp_path / "folder").mkdir()
  for place, told in (("file/x", "cannot write"), ("folder", "a folder; name a file in it")):
    command = [str(reference_run), f"--format={name}", f"--output={tmp_path / place}"]
    with pytest.raises(WorkdirError, match=told):
      main([*command, "--overwrite"])
  assert names_below(tmp_path) == {"file"}


def test_a_folder_without_a_finished_run_is_refused(run, tmp_path):
  (tmp_path / "empty").mkdir()
  for folder in (tmp_path / "none", tmp_path / "empty"):
    with pytest.raises(ConfigError, match="name the workdir of a finished run"):
      main([str(folder), "--format=onnx"])
  (run / "results.json").unlink()
  with pytest.raises(ConfigError, match="not finished"):
    main([str(run), "--format=onnx"])


def test_damaged_files_of_a_run_are_refused(run):
  recommended = run / files.read_json(run / "results.json")["recommended"]["file"]
  content = recommended.read_bytes()
  recommended.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
  with pytest.raises(DataError, match="does not match its digest"):
    main([str(run), "--format=stablehlo"])
  recommended.unlink()
  with pytest.raises(DataError, match="cannot read"):
    main([str(run), "--format=stablehlo"])


def test_without_the_package_onnx_it_says_what_to_install(reference_run, tmp_path, monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(ConfigError, match="pip install onnx, or use --format=stablehlo"):
    main([str(reference_run), "--format=onnx", f"--output={tmp_path / 'x'}"])
  assert list(tmp_path.iterdir()) == []


def test_an_arm_gives_its_first_seed_that_is_fit(run):
  def network(*names, **changes):
    results["recommended"] |= changes
    files.write_json(run / "results.json", results)
    model = load(run).network(*names)
    return model.arm, model.seed

  results = files.read_json(run / "results.json")
  assert network("method") == ("method", 0)
  results["arms"]["method"]["collapsed"] = [0]
  assert network("method", arm="baseline", seed=1) == ("method", 1)
  assert network("method", 0) == ("method", 0)
  assert network() == ("baseline", 1)
  with pytest.raises(ConfigError, match="all diverged; name an arm and a seed"):
    network(arm=None, seed=None, why="all diverged")


def test_python_exports_by_the_suffix_as_the_command_does(run, tmp_path):
  for name, suffix in (("onnx", ".onnx"), ("stablehlo", ".stablehlo")):
    path = tmp_path / f"by python{suffix}"
    assert load(run).export(path, arm="method") == path
    assert main([str(run), f"--format={name}", "--arm=method"]) == 0
    assert path.read_bytes() == (run / "exports" / f"method-seed0{suffix}").read_bytes()
  with pytest.raises(ConfigError, match=r"end it in .stablehlo \(stablehlo\), .onnx"):
    load(run).export(tmp_path / "by python.pb")
  load(run).export(tmp_path / "by python.pb", "onnx")


def test_the_model_card_has_the_figures_of_the_results_and_the_formula(reference_run):
  done = load(reference_run)
  model, results = done.network("method", 1), done.results
  text = card(model, results, FORMATS["onnx"], file="net.onnx")
  entry = results["arms"]["method"]
  mean, sd = 100 * entry["mean"], 100 * entry["sd"]
  assert f"| `method` | {mean:.2f} | {sd:.2f} | {entry['n']} |" in text
  assert f"This network: {100 * entry['accuracy']['1']:.2f} % of 30 test examples" in text
  assert "uint8 [batch, 8, 8, 3]" in text
  numbers = (", ".join(map(str, values)) for values in (model.mean, model.std))
  assert "(pixel / 255 - mean) / std with mean = [{}], std = [{}]".format(*numbers) in text
  assert json.dumps(list(model.class_names)) in text
  assert "licence: none needed: drawn by sdt" in text
  assert results["data"]["checksum"] in text


def test_the_example_of_a_model_card_runs(tmp_path, monkeypatch, reference_run):
  done = load(reference_run)
  model = done.network()
  monkeypatch.chdir(tmp_path)
  inputs = np.zeros((2, 8, 8, 3), np.uint8)
  for name in ("stablehlo", "onnx"):
    kind = FORMATS[name]
    (tmp_path / "net").write_bytes(kind.content(model))
    text = card(model, done.results, kind, file="net")
    known = {"inputs": inputs}
    exec(text.partition("```python\n")[2].partition("```")[0], known)
    assert np.asarray(known["logits"]).shape == (2, 3)


def test_a_card_of_torch_says_that_the_file_does_not_normalise_and_how_images_are_read(
  reference_run,
):
  results = load(reference_run).results
  model = exported.described("resnet18", {}, shape=(64, 64, 3))
  entry = {"accuracy": {"3": None}, "mean": None, "sd": None, "n": 0}
  arms = {"method": {**results["arms"]["method"], **entry, "diverged": [3]}}
  data = {**results["data"], "name": "folder"}
  text = card(
    model, {**results, "arms": arms, "data": data}, FORMATS["torch"], file="r.safetensors"
  )
  assert "torchvision.models.resnet18(num_classes=3)" in text
  assert "float32 [batch, 3, 64, 64]" in text
  assert "the file does not do it" in text
  assert "diverged or collapsed" in text
  assert "This network: not known" in text
  assert "licence: not known to sdt: the data are the user's own" in text
  # Names with a line break and quotation marks stay one line of JSON.
  assert json.loads(text.partition("```json\n")[2].partition("\n```")[0]) == list(
    exported.CLASS_NAMES
  )


def test_all_formats_are_offered_to_the_shell():
  from sdt.commands.export import FLAGS

  assert {f"--format={name}" for name in FORMATS} <= set(FLAGS)
  assert onnx_file.INPUT in FORMATS["onnx"].example
