"""The wheel: what it holds, and that it works in an empty environment, in another folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import sdt
from tests.support.places import ROOT

# What a build reads; it writes beside it, so it gets a copy.
SOURCES = ("sdt", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """The wheel, built offline with the tools of this environment."""
  folder = tmp_path_factory.mktemp("wheel")
  for name in SOURCES:
    if (ROOT / name).is_dir():
      ignored = shutil.ignore_patterns("__pycache__")
      shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    else:
      shutil.copy(ROOT / name, folder / "source" / name)
  command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
  options = ["--no-index", "--disable-pip-version-check", "-w", str(folder), "./source"]
  done = subprocess.run(
    [*command, *options], cwd=folder, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  (path,) = folder.glob("*.whl")
  return path


def test_the_wheel_holds_the_package_its_data_and_every_config_and_nothing_else(wheel):
  assert wheel.name == f"sdt-{sdt.__version__}-py3-none-any.whl"
  with zipfile.ZipFile(wheel) as archive:
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert "sdt = sdt.commands.program:run" in archive.read(entry).decode().splitlines()
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
  ours = {f"{path.relative_to(ROOT)}" for path in (ROOT / "sdt").rglob("*") if path.is_file()}
  configs = {
    f"sdt/_configs/{path.relative_to(ROOT / 'configs')}"
    for path in (ROOT / "configs").rglob("*.py")
  }
  expected = {name for name in ours if "__pycache__" not in name} | configs
  assert names == expected
  assert {"sdt/py.typed", "sdt/_configs/paper/cub_resnet50.py"} <= names


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
  folder = tmp_path_factory.mktemp("unpacked")
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder)
  return folder


@pytest.mark.parametrize(
  ("words", "code", "part"),
  [
    (["--version"], 0, f"sdt {sdt.__version__}\n"),
    (["train", "--help"], 0, "  controls/digits_tuned "),
    (["train", "--config=digit"], 2, "--config=digit: no such file; did you mean digits?"),
    (["train", "--config=configs/digits.py"], 2, "no such file; did you mean digits?"),
    (["--config=digits", "--config.rouns=2"], 2, "--config.rouns: no such key; did you mean"),
    (["--config", "paper/svhn_resnet20", "--config.rounds=0"], 2, "--config.rounds=0: expected"),
  ],
)
def test_the_program_of_the_wheel_finds_its_configs_from_any_folder(
  words, code, part, unpacked, tmp_path
):
  done = subprocess.run(
    [sys.executable, "-m", "sdt", *words],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(unpacked)},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == code
  assert part in (done.stderr if code else done.stdout)
  assert os.listdir(tmp_path) == []


def test_the_changelog_has_a_dated_section_for_the_version():
  text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
  dated = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
  assert dated[0] == sdt.__version__
  project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  assert project["dynamic"] == ["version"]


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
  """An environment that has the wheel, and its dependencies from this one without our checkout."""
  folder = tmp_path_factory.mktemp("environment")
  subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
  python = folder / "bin/python"
  (site,) = folder.glob("lib/python*/site-packages")
  # A line of a .pth file is a folder whose own .pth files, such as that of our checkout, are not
  # read.
  ours = [path for path in sys.path if Path(path).name == "site-packages"]
  (site / "dependencies.pth").write_text("\n".join(ours) + "\n")
  options = ["-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
  command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options]
  subprocess.run(command, check=True, timeout=120)
  return folder


def called(environment: Path, folder: Path, *words: str):
  """Runs `sdt` of an environment in a folder that has nothing of the checkout."""
  variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
  return subprocess.run(
    [environment / "bin/sdt", *words],
    cwd=folder,
    env=variables,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.slow
def test_the_installed_program_trains_the_demo_elsewhere(environment, tmp_path):
  place = "import sdt; print(sdt.__file__)"
  done = subprocess.run(
    [environment / "bin/python", "-c", place],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.stdout.startswith(str(environment))
  short = ["--config.rounds=2", "--config.optim.milestones=1,", "--workdir=demo"]
  done = called(environment, tmp_path, "train", "--config=digits", *short)
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "demo/results.json").read_text())
  assert results["rounds"] == 2
  assert (tmp_path / "demo/report.html").is_file()
  assert os.listdir(tmp_path) == ["demo"]
  # Here follow `sdt predict demo IMAGE` and `sdt export demo --format=stablehlo`.


NOTEBOOK = ROOT / "notebooks/colab.ipynb"
# Cells with this tag are run where the wheel has `sdt.load`.
NEEDS_LOAD = "needs-load"


def executed(environment: Path, folder: Path, *, rounds: int):
  """Runs the notebook in a folder by the Python of an environment; returns it with its outputs."""
  import nbformat
  from nbclient import NotebookClient

  command = [environment / "bin/python", "-c", "import sdt; print(hasattr(sdt, 'load'))"]
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  left_out = {NEEDS_LOAD} if done.stdout.strip() == "False" else set()
  notebook.cells = [
    cell for cell in notebook.cells if not left_out & set(cell.metadata.get("tags", ()))
  ]
  for cell in notebook.cells:
    cell.source = cell.source.replace("ROUNDS, WORKDIR = 30,", f"ROUNDS, WORKDIR = {rounds},")
  spec = folder / "jupyter/kernels/wheel/kernel.json"
  spec.parent.mkdir(parents=True)
  start = [str(environment / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
  spec.write_text(json.dumps({"argv": start, "display_name": "wheel", "language": "python"}))
  resources = {"metadata": {"path": str(folder)}}
  client = NotebookClient(notebook, timeout=600, kernel_name="wheel", resources=resources)
  return client.execute()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs_on_the_wheel(environment, tmp_path, monkeypatch):
  monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
  monkeypatch.delenv("PYTHONPATH", raising=False)
  notebook = executed(environment, tmp_path, rounds=2)
  said = "".join(
    output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
  )
  assert "sdt is installed already\n" in said
  assert re.search(r"sdt runs on \d+ x cpu \(cpu\)", said)
  assert re.search(r"method +test accuracy \d+\.\d\d %, mean of 2 seeds", said)
  assert (tmp_path / "runs/digits/report.html").is_file()
  if any(NEEDS_LOAD in cell.metadata.get("tags", ()) for cell in notebook.cells):
    assert "one network says" in said


def test_the_notebook_is_committed_without_outputs_and_refuses_an_address_that_is_not_set():
  notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
  code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
  assert [cell["outputs"] for cell in code if cell["outputs"]] == []
  first = "".join(code[0]["source"])
  hidden = "import sys, importlib.util\nimportlib.util.find_spec = lambda name: None\n"
  done = subprocess.run(
    [sys.executable, "-c", hidden + first], capture_output=True, text=True, timeout=60
  )
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1] == (
    "RuntimeError: sdt is not installed: set REPOSITORY in this cell, and run it again"
  )
