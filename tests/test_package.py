"""The wheel: what it holds, and that it works in an empty environment, in another folder."""

import ast
import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from sklearn.datasets import load_digits

import sdt
from tests.support import wheel_environment
from tests.support.places import ROOT

# What a build reads; it writes beside it, so it gets a copy.
SOURCES = ("sdt", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")


# In a process of its own, because it works in the folder of the sources.
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def copied(folder: Path) -> Path:
  """Copies what a build reads into a folder, and returns it."""
  for name in SOURCES:
    if (ROOT / name).is_dir():
      shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
      shutil.copy(ROOT / name, folder / name)
  return folder


def built(source: Path, folder: Path) -> Path:
  """Builds the wheel offline with the tools of this environment, and returns its path."""
  done = subprocess.run(
    [sys.executable, "-c", BUILD, folder], cwd=source, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  return copied(tmp_path_factory.mktemp("sources") / "source")


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
  return built(sources, tmp_path_factory.mktemp("wheel"))


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
    (["train", "--help"], 0, "  noise/cifar10n  "),
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


@pytest.mark.slow
def test_a_second_build_in_one_tree_has_no_module_that_was_deleted_since(tmp_path):
  source = copied(tmp_path / "source")
  (source / "sdt/report/gone.py").touch()
  (source / "configs/gone.py").touch()
  # What a build that did not clean up has left.
  (source / "build/lib/sdt").mkdir(parents=True)
  (source / "build/lib/sdt/left_over.py").touch()
  names = []
  for number in ("first", "second"):
    (tmp_path / number).mkdir()
    with zipfile.ZipFile(built(source, tmp_path / number)) as archive:
      names.append({name for name in archive.namelist() if ".dist-info/" not in name})
    (source / "sdt/report/gone.py").unlink(missing_ok=True)
    (source / "configs/gone.py").unlink(missing_ok=True)
  assert names[0] - names[1] == {"sdt/report/gone.py", "sdt/_configs/gone.py"}
  assert [name for name in names[0] if "left_over" in name] == []
  ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
  assert {"build/", "dist/", "*.egg-info/"} <= set(ignored)


def imported(path: Path) -> set[str]:
  """Returns the top names of what a file imports, wherever in the file."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      names |= {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names.add(node.module.partition(".")[0])
  return names


def test_every_package_that_sdt_imports_is_declared():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  needed = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
  of_folder = {"exports": ["onnx"], "loggers": ["tensorboard", "wandb", "mlflow"]}
  of_folder["scores"] = ["cleanlab"]
  extras = {
    folder: {
      canonicalize_name(Requirement(text).name)
      for name in names
      for text in project["optional-dependencies"][name]
    }
    for folder, names in of_folder.items()
  }
  packages = importlib.metadata.packages_distributions()
  lacking = []
  for path in [*(ROOT / "sdt").rglob("*.py"), *(ROOT / "configs").rglob("*.py")]:
    allowed = needed | extras.get(path.parent.name, set())
    for name in imported(path) - set(sys.stdlib_module_names) - {"sdt"}:
      if not {canonicalize_name(package) for package in packages.get(name, ())} & allowed:
        lacking.append(f"{path.relative_to(ROOT)} imports {name}")
  assert lacking == []


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
  """An environment that has the wheel and what it needs, and nothing else."""
  return wheel_environment.make(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="module")
def notebook_environment(wheel, tmp_path_factory):
  """One with the extra `onnx`, and with what runs a notebook."""
  folder = tmp_path_factory.mktemp("notebook_environment")
  return wheel_environment.make(folder, wheel, "onnx", also=["ipykernel"])


# Variables of the tests: where they find the checkout, and how their cache is locked, for which JAX
# needs a package that sdt does not.
OURS = ("PYTHONPATH", "JAX_COMPILATION_CACHE_MAX_SIZE")


def called(environment: Path, folder: Path, *words: str):
  """Runs a program of an environment in a folder that has nothing of the checkout."""
  variables = {name: value for name, value in os.environ.items() if name not in OURS}
  program, *arguments = words
  return subprocess.run(
    [environment / "bin" / program, *arguments],
    cwd=folder,
    env=variables,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.fixture(scope="module")
def demo(environment, tmp_path_factory):
  """A folder with the run `demo` of two rounds, trained by the installed program."""
  folder = tmp_path_factory.mktemp("elsewhere")
  short = ["--config.rounds=2", "--config.optim.milestones=1,", "--workdir=demo"]
  done = called(environment, folder, "sdt", "train", "--config=digits", *short)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.mark.slow
def test_the_installed_program_trains_the_demo_elsewhere(environment, demo):
  # `-I` leaves out the folder; what the tests need and sdt does not is not there.
  look = "import sdt, importlib.util as u; print(sdt.__file__, u.find_spec('pytest'))"
  place, _, other = called(environment, demo, "python", "-I", "-c", look).stdout.partition(" ")
  assert place.startswith(str(environment))
  assert other == "None\n"
  assert json.loads((demo / "demo/results.json").read_text())["rounds"] == 2
  assert (demo / "demo/report.html").is_file()
  assert os.listdir(demo) == ["demo"]


@pytest.mark.slow
def test_the_installed_program_predicts_new_images(environment, demo, tmp_path):
  (tmp_path / "photos").mkdir()
  for index, image in enumerate(load_digits().images[:3]):
    pixels = np.rint(image * (255 / 16)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"photos/{index}.png")
  done = called(environment, tmp_path, "sdt", "predict", str(demo / "demo"), "photos")
  assert done.returncode == 0, done.stderr
  rows = list(csv.DictReader(done.stdout.splitlines()))
  assert [Path(row["path"]).name for row in rows] == ["0.png", "1.png", "2.png"]
  assert all(row["class"] in "0123456789" for row in rows), rows


@pytest.mark.slow
def test_the_installed_program_exports_stablehlo_and_says_what_onnx_needs(
  environment, demo, tmp_path
):
  words = ["sdt", "export", str(demo / "demo"), "--format=stablehlo", "--output=net.stablehlo"]
  done = called(environment, tmp_path, *words)
  assert done.returncode == 0, done.stderr
  # In a process of its own, which has no sdt.
  load = (
    "import sys, jax, numpy as np, jax.export;"
    "program = jax.export.deserialize(bytearray(open('net.stablehlo', 'rb').read()));"
    "print(np.asarray(program.call(np.zeros((2, 8, 8, 1), np.uint8))).shape, 'sdt' in sys.modules)"
  )
  assert called(environment, tmp_path, "python", "-c", load).stdout == "(2, 10) False\n"
  done = called(environment, tmp_path, "sdt", "export", str(demo / "demo"), "--format=onnx")
  assert (done.returncode, "onnx" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.slow
def test_the_program_exports_onnx_where_the_extra_is_installed(
  notebook_environment, demo, tmp_path
):
  import onnx

  words = ["sdt", "export", str(demo / "demo"), "--format=onnx", "--output=net.onnx"]
  done = called(notebook_environment, tmp_path, *words)
  assert done.returncode == 0, done.stderr
  onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"))


NOTEBOOK = ROOT / "notebooks/colab.ipynb"


def executed(environment: Path, folder: Path, *, rounds: int):
  """Runs the notebook in a folder by the Python of an environment; returns it with its outputs."""
  import nbformat
  from nbclient import NotebookClient

  notebook = nbformat.read(NOTEBOOK, as_version=4)
  written, wanted = "ROUNDS, WORKDIR = 30,", f"ROUNDS, WORKDIR = {rounds},"
  assert [cell.source.count(written) for cell in notebook.cells].count(1) == 1
  for cell in notebook.cells:
    cell.source = cell.source.replace(written, wanted)
  spec = folder / "jupyter/kernels/wheel/kernel.json"
  spec.parent.mkdir(parents=True)
  start = [str(environment / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
  spec.write_text(json.dumps({"argv": start, "display_name": "wheel", "language": "python"}))
  resources = {"metadata": {"path": str(folder)}}
  client = NotebookClient(notebook, timeout=600, kernel_name="wheel", resources=resources)
  return client.execute()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_whole_notebook_runs_on_the_wheel(notebook_environment, tmp_path, monkeypatch):
  monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
  for name in OURS:
    monkeypatch.delenv(name, raising=False)
  (tmp_path / "sdt").mkdir()  # a folder of that name is no installation
  notebook = executed(notebook_environment, tmp_path, rounds=2)
  said = "".join(
    output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
  )
  assert f"sdt {sdt.__version__} is installed already\n" in said
  assert re.search(r"sdt runs on \d+ x cpu \(cpu\)", said)
  assert re.search(r"method +test accuracy \d+\.\d\d %, mean of 5 seeds", said)
  assert (tmp_path / "runs/digits/report.html").is_file()
  assert re.search(r"the mean of the seeds is right in \d+\.\d\d% of the test set", said)
  assert re.search(r"array: .* probability: ", said, re.DOTALL)
  assert re.search(r"digits\.stablehlo [\d,]+ bytes", said)
  assert "one network says" in said


def first_cell(folder: Path, *, before: str = "", **replaced: str):
  """Runs the notebook's first cell in a folder, by a Python that has no packages but that folder's.

  Args:
    before: code that runs before the cell.
    replaced: texts of the cell that are others here.
  """
  code = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
  source = "".join(code[0]["source"])
  for text, other in replaced.items():
    assert source.count(text) > 0
    source = source.replace(f'{text} = "SET ME"', f"{text} = {other!r}")
  return subprocess.run(
    [sys.executable, "-S", "-c", f"{before}\n{source}"],
    cwd=folder,
    env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    capture_output=True,
    text=True,
    timeout=60,
  )


def distribution(folder: Path, name: str, version: str) -> None:
  """Writes what pip writes about a package that it has installed."""
  place = folder / f"{name}-{version}.dist-info"
  place.mkdir()
  (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_the_notebook_is_committed_without_outputs_and_refuses_an_address_that_is_not_set(
  tmp_path,
):
  notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
  code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
  assert [cell["outputs"] for cell in code if cell["outputs"]] == []
  assert [cell["metadata"] for cell in code if cell["metadata"]] == []
  refused = "RuntimeError: sdt is not installed: set REPOSITORY in this cell, and run it again"
  assert first_cell(tmp_path).stderr.splitlines()[-1] == refused
  # Neither a folder nor a checkout with that name is an installation.
  (tmp_path / "sdt").mkdir()
  assert first_cell(tmp_path).stderr.splitlines()[-1] == refused
  (tmp_path / "sdt/__init__.py").touch()
  assert first_cell(tmp_path).stderr.splitlines()[-1] == refused
  distribution(tmp_path, "sdt", "0.2.0")
  assert first_cell(tmp_path).stdout.startswith("sdt 0.2.0 is installed already\nthis machine has ")


@pytest.mark.parametrize(
  ("loaded", "told"),
  [
    ("", None),
    ("2.0", None),
    (
      "1.0",
      "RuntimeError: pip replaced numpy, which this session has loaded: restart the runtime ",
    ),
  ],
)
def test_the_notebook_asks_for_a_restart_where_pip_replaced_what_is_loaded(loaded, told, tmp_path):
  # A pip that installs numpy 2.0: the first `pip` that Python finds is the folder's.
  text = "Metadata-Version: 2.1\\nName: numpy\\nVersion: 2.0\\n"
  (tmp_path / "pip.py").write_text(
    "import pathlib\nplace = pathlib.Path('numpy-2.0.dist-info')\nplace.mkdir()\n"
    f"(place / 'METADATA').write_text('{text}')\n"
  )
  before = "import sys, types, importlib.metadata as m\nassert not list(m.distributions())\n"
  if loaded:
    before += "sys.modules['numpy'] = types.ModuleType('numpy')\n"
    before += f"sys.modules['numpy'].__version__ = {loaded!r}\n"
  done = first_cell(tmp_path, before=before, REPOSITORY="address")
  assert (tmp_path / "numpy-2.0.dist-info").is_dir()
  assert re.search(r"^installed sdt.* @ git\+address$", done.stdout, re.MULTILINE)
  if told is None:
    assert (done.returncode, done.stderr) == (0, "")
  else:
    assert told in done.stderr
