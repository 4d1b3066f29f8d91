"""The command `export`: what it writes, what it refuses, and that nothing of anybody's is lost."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib

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
  before, output = names_below(run), tmp_path / "mine/here.onnx"
  output.parent.mkdir()
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
  with pytest.raises(ConfigError, match=rf"^{tmp_path / which}\S* .*exists already; give --over"):
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


@pytest.mark.parametrize("text", [".", "/", "x/", "..", "x/.", "{tmp}/x/"])
def test_an_output_that_can_only_be_a_folder_is_refused(text, reference_run, tmp_path):
  output = f"--output={text.replace('{tmp}', str(tmp_path))}"
  with pytest.raises(WorkdirError, match="a folder; name a file in it"):
    main([str(reference_run), "--format=stablehlo", output])
  assert list(tmp_path.iterdir()) == []


def test_an_empty_output_and_an_empty_workdir_are_refused(reference_run, monkeypatch):
  with pytest.raises(ConfigError, match="--output= names no file"):
    main([str(reference_run), "--format=stablehlo", "--output="])
  monkeypatch.chdir(reference_run)  # an empty text is not the working directory
  with pytest.raises(ConfigError, match="the workdir is an empty text"):
    main(["", "--format=stablehlo"])


def test_python_refuses_places_that_are_no_files_too(reference_run, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for place in (".", "/", "", ".."):
    with pytest.raises(WorkdirError, match="a folder; name a file in it"):
      load(reference_run).export(place, "stablehlo")
  with pytest.raises(WorkdirError, match="null"):
    load(reference_run).export("x\0.onnx")


def test_a_folder_that_is_not_there_is_not_made_and_a_long_name_is_told_short(
  reference_run, tmp_path
):
  for place, told in (
    ("none/x.onnx", "no folder .*none; make it first"),
    ("none/of/x.onnx", "no folder .*of; make it first"),
    ("x" * 300, r"File name too long; name a file in a folder"),
    ("x" * 254, r"File name too long; name a file in a folder"),  # of the card
  ):
    with pytest.raises(WorkdirError, match=told) as caught:
      main([str(reference_run), "--format=onnx", f"--output={tmp_path / place}"])
    assert str(tmp_path / place)[:150] in str(caught.value)
    assert "workdir" not in str(caught.value)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["results.json", "model.safetensors", "new.onnx", "models/x.onnx"])
def test_nothing_is_written_among_the_files_of_the_run_even_with_overwrite(name, run, tmp_path):
  before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
  (tmp_path / "link").symlink_to(run)
  for place in (run / name, tmp_path / "link" / name, run / "exports/.." / name):
    with pytest.raises(ConfigError, match="among the files of the run; name a file in .*exports"):
      main([str(run), "--format=onnx", f"--output={place}", "--overwrite"])
  assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("name", "file"), [("results.json", "results.json"), ("log", "log.md")])
def test_a_file_of_another_run_is_never_replaced(name, file, reference_run, tmp_path):
  files.write_bytes(tmp_path / file, b"theirs")
  with pytest.raises(ConfigError, match="is a file of a run, which nothing replaces"):
    main([str(reference_run), "--format=onnx", f"--output={tmp_path / name}", "--overwrite"])
  assert (tmp_path / file).read_bytes() == b"theirs"


def test_what_is_refused_is_refused_before_jax_looks_for_devices(reference_run, tmp_path):
  (tmp_path / "x").write_text("mine")
  program = (
    "import sys\nfrom sdt.commands.export import main\nfrom sdt.errors import SdtError\n"
    "for words in (['--format=onxx'], ['--format=onnx', f'--output={sys.argv[2]}'],"
    " ['--format=torch'], ['--format=onnx', '--seed=7'], ['--format=onnx']):\n"
    "  try: main([sys.argv[1], *words])\n  except SdtError as error: print(error)"
  )
  done = subprocess.run(
    [sys.executable, "-c", program, str(reference_run), str(tmp_path / "x")],
    cwd=ROOT,
    env={**os.environ, "JAX_PLATFORMS": "none_such"},
    capture_output=True,
    text=True,
    check=True,
  )
  told = ("is no format", "exists already", "torchvision and timm", "no seed 7", "JAX finds no dev")
  for line, part in zip(done.stdout.splitlines(), told, strict=True):
    assert part in line


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
  model = load(reference_run).network()
  (tmp_path / "onnx").mkdir()
  (tmp_path / "onnx/__init__.py").write_text("")  # what can be imported need not be the package
  monkeypatch.setattr(sys, "path", [str(tmp_path)])
  with pytest.raises(ConfigError, match=r"is not installed: pip install 'onnx>=1.19', or use --fo"):
    onnx_file.check(model)


@pytest.mark.parametrize(
  ("version", "is_enough"),
  [("1.9.2", False), ("1.18.0", False), ("1.19.0rc1", True), ("1.20", True), ("2.0.0", True)],
)
def test_a_package_onnx_that_is_too_old_is_refused(
  version, is_enough, reference_run, tmp_path, monkeypatch
):
  model = load(reference_run).network()
  about = tmp_path / f"onnx-{version}.dist-info"
  about.mkdir()
  (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnx\nVersion: {version}\n")
  monkeypatch.syspath_prepend(tmp_path)
  if is_enough:
    onnx_file.check(model)
  else:
    with pytest.raises(
      ConfigError, match=f"1.19 or newer, which is installed in version {version}"
    ):
      onnx_file.check(model)


def test_the_least_version_of_onnx_is_that_of_the_extra():
  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  assert extras["onnx"] == [f"onnx>={'.'.join(map(str, onnx_file._LEAST))}"]


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


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({}, ""),
    ({"diverged": [1]}, "This network diverged in training: its answers are of no use."),
    (
      {"collapsed": [1], "how": (None, True)},
      "This network ended at chance: it is no better than chance on the test set.",
    ),
    (
      {"collapsed": [1], "how": ([2, 3], True)},
      "This network ended at chance: it is no better than chance on the test set.",
    ),
    (
      {"collapsed": [1], "how": ([2, 3], False)},
      "This network was at chance in rounds 2 to 3 of its training, and is not at its end.",
    ),
    ({"diverged": [0], "collapsed": []}, ""),
  ],
)
@pytest.mark.parametrize("fit", [None, [0], [0, 1]])
def test_the_model_card_says_how_a_training_went_wrong(changes, told, fit, reference_run):
  done = load(reference_run)
  entry = {key: value for key, value in done.results["arms"]["method"].items() if key != "fit"}
  entry |= {key: value for key, value in changes.items() if key != "how"}
  if "how" in changes:
    rounds, ended = changes["how"]
    seeds = {"1": {"stuck_in_rounds": rounds, "ended_at_chance": ended}}
    entry["collapse"] = {"seeds": seeds, "likely_cause": "", "cures": []}
  if fit is not None:
    entry["fit"] = fit
  results = {**done.results, "arms": {**done.results["arms"], "method": entry}}
  text = card(done.network("method", 1), results, FORMATS["onnx"], file="net.onnx")
  is_fit = 1 in fit if fit is not None else not told
  told = " ".join(filter(None, (told, "" if is_fit else "The run does not recommend it.")))
  found = [line.strip("*") for line in text.splitlines() if line.startswith("**")]
  assert found == ([told] if told else [])


@pytest.mark.parametrize(
  ("shape", "keys", "told"),
  [
    ((8, 8, 3), {}, ("a grey one becomes RGB", "One of another size is scaled to that", "8 x 8")),
    ((8, 6, 1), {}, ("it must be grey", "its images have 6 x 8 pixels", "the upper 8 bits count")),
    (
      (8, 8, 3),
      {"image_size": 8, "value_range": (0.0, 4095.0)},
      ("0 becomes 0, 4095 becomes 255", "height and width become 8 pixels"),
    ),
    (
      (8, 8, 3),
      {"image_size": 9, "resize": "short_side", "crop_size": 8},
      ("the shorter side becomes 9", "then the middle 8 x 8 pixels are taken"),
    ),
    ((8, 8, 3), {"crop_size": 8}, ("then the middle 8 x 8 pixels are taken",)),
    ((8, 8, 2), {}, ()),
  ],
)
def test_the_model_card_says_how_an_image_file_becomes_an_input(shape, keys, told, reference_run):
  model = exported.described("resnet", exported.SMALL, shape=shape)
  data = dataclasses.replace(model.config.data, **keys)
  model = dataclasses.replace(model, config=dataclasses.replace(model.config, data=data))
  text = card(model, load(reference_run).results, FORMATS["onnx"], file="net.onnx")
  for part in told:
    assert part in text
  is_scaled = not keys and shape[2] in (1, 3)
  assert ("One of another size" in text) == is_scaled
  assert ("an image file is made upright" in text) == (shape[2] in (1, 3))
  assert ("the upper 8 bits count" in text) == (shape[2] in (1, 3) and "value_range" not in keys)
  assert "one image or more" in text


def test_the_model_card_says_in_which_precision_the_figures_were_measured(run):
  def made():
    load(run).export(run / "exports/x.onnx", arm="method", overwrite=True)
    return (run / "exports/x.onnx.md").read_text()

  assert "figures were measured in float32, as this file computes." in made()
  environment = files.read_json(run / "environment.json")
  environment["choices"]["precision"] = "bfloat16"
  files.write_json(run / "environment.json", environment)
  assert "measured in bfloat16; this file computes in float32, where a few answers" in made()


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
  assert "This network diverged in training" in text
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
