"""The command `export`: what it writes, what it refuses, and that nothing of anybody's is lost."""

import os
import shutil
import subprocess
import sys
import tomllib

import onnx
import pytest

from sdt import files
from sdt.commands.export import main
from sdt.errors import ConfigError, DataError, WorkdirError
from sdt.trained.exports import onnx_file
from sdt.trained.exports.formats import FORMATS
from sdt.trained.load import load
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
    with pytest.raises(ConfigError, match=r"among the files of the run; name a file in .*exports"):
      main([str(run), "--format=onnx", f"--output={place}", "--overwrite"])
  assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_runs_own_folder_of_exports_is_made_however_it_is_written(run, monkeypatch):
  monkeypatch.chdir(run)
  assert main([".", "--format=onnx", f"--output={run}/exports/x.onnx"]) == 0
  assert main([str(run), "--format=onnx", "--output=exports/y.onnx"]) == 0
  assert names_below(run / "exports") == {"x.onnx", "x.onnx.md", "y.onnx", "y.onnx.md"}
  with pytest.raises(WorkdirError, match=r"no folder exports/z; make it first"):
    main([".", "--format=onnx", "--output=exports/z/x.onnx"])


@pytest.mark.parametrize(("name", "file"), [("results.json", "results.json"), ("log", "log.md")])
def test_a_file_of_another_run_is_never_replaced(name, file, reference_run, tmp_path):
  files.write_bytes(tmp_path / file, b"theirs")
  with pytest.raises(ConfigError, match="is a file of a run, which nothing replaces"):
    main([str(reference_run), "--format=onnx", f"--output={tmp_path / name}", "--overwrite"])
  assert (tmp_path / file).read_bytes() == b"theirs"


@pytest.mark.slow
def test_what_is_refused_is_refused_before_jax_looks_for_devices(reference_run, tmp_path):
  (tmp_path / "x").write_text("mine")
  program = (
    "import sys\nfrom sdt.commands.export import main\nfrom sdt.errors import SdtError\n"
    "for words in (['--format=onxx'], ['--format=onnx', f'--output={sys.argv[2]}'],"
    " ['--format=onnx', '--output='], ['--format=onnx']):\n"
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
  told = ("is no format", "exists already", "names no file", "JAX finds no device")
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
  results["arms"]["method"]["fit"] = [1]
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


def test_all_formats_are_offered_to_the_shell():
  from sdt.commands.export import FLAGS

  assert {f"--format={name}" for name in FORMATS} <= set(FLAGS)
  assert onnx_file.INPUT in FORMATS["onnx"].example
