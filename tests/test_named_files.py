"""What a user names and cannot be opened is told in one line, with the code of its kind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sdt import named_files
from sdt.config.config_file import load_config_file
from sdt.data import sources
from sdt.data.sources import DataConfig
from sdt.errors import ConfigError, DataError, SdtError, WorkdirError
from sdt.files.workdir import hold_workdir
from sdt.models import pretrained
from sdt.run import reused_baseline
from sdt.scores import from_file
from tests.support.places import ROOT

LONG = "x" * 300
OPENERS = {
  "--config": (lambda path: load_config_file(Path(path)), ConfigError),
  "model.pretrained": (pretrained.find, DataError),
  "score.path": (lambda path: from_file.load(path, "score", None), DataError),
  "baseline_from": (lambda path: reused_baseline.find(Path(path), None, None), ConfigError),
  "data.path": (lambda path: sources.load(DataConfig(name="folder", path=str(path))), DataError),
}


def message(key, path):
  opener, kind = OPENERS[key]
  with pytest.raises(SdtError) as caught:
    opener(path)
  assert type(caught.value) is kind
  return str(caught.value)


@pytest.mark.parametrize("key", OPENERS)
def test_a_name_that_no_system_takes_is_told_in_one_line_with_the_key(key):
  for path in (LONG, f"{LONG}/inside", f"inside/{LONG}"):
    text = message(key, path)
    assert text.startswith(f"{key}=")
    assert "\n" not in text
    assert len(text) < 1000
    assert re.search(r"too long|no such|it is no folder", text, re.IGNORECASE)


@pytest.mark.parametrize("key", OPENERS)
@pytest.mark.parametrize("name", ["nowhere", "file/inside", "~nobody_here/x"])
def test_a_name_of_nothing_is_told_with_the_key(key, name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "file").write_text("mine")
  assert message(key, name).startswith(f"{key}=")


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from sdt.errors import SdtError
from tests.test_named_files import OPENERS
from sdt.data import cache
if not os.geteuid():
  os.setgroups([])
  os.setuid(54321)
for key, (opener, _) in OPENERS.items():
  for name in ("inside", "inside/deeper"):
    try:
      opener(f"secret/{name}")
    except SdtError as error:
      print(error.exit_code, error)
for name in ("HOME", "SDT_DATA_DIR"):
  os.environ.pop(name, None)
try:
  cache.data_directory()
except SdtError as error:
  print(error.exit_code, error)
"""


@pytest.mark.slow
def test_a_folder_that_may_not_be_entered_and_a_home_that_is_unknown_are_told_with_the_key(
  tmp_path,
):
  (tmp_path / "secret").mkdir()
  (tmp_path / "secret").chmod(0o700 if not os.geteuid() else 0o000)
  opened = [
    path for path in (tmp_path, *tmp_path.parents) if path.is_relative_to(tmp_path.parents[1])
  ]
  for path in opened if not os.geteuid() else []:
    path.chmod(path.stat().st_mode | 0o011)
  done = subprocess.run(
    [sys.executable, "-c", AS_ANOTHER_USER],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=120,
  )
  (tmp_path / "secret").chmod(0o700)
  assert (done.returncode, done.stderr) == (0, "")
  lines = done.stdout.splitlines()
  if not os.geteuid():  # a user without an entry in the table of users
    assert lines.pop().endswith("set SDT_DATA_DIR to a folder that may be written")
  codes = [kind.exit_code for _, kind in OPENERS.values() for _ in range(2)]
  assert [int(line.split()[0]) for line in lines] == codes
  assert [line for line in lines if "Permission denied" not in line] == []


def test_a_file_is_found_and_read_below_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "a").write_bytes(b"mine")
  assert named_files.find("key", "~/a", "advice") == tmp_path / "a"
  assert named_files.read("key", "~/a", "advice", max_bytes=4) == b"mine"
  with pytest.raises(DataError, match=r"^key=.*a: 4 bytes, at most 3 are expected"):
    named_files.read("key", "~/a", "advice", max_bytes=3)
  for path, part in ((tmp_path, "not a file"), ("a\0b", "null"), ("/dev/null", "not a file")):
    with pytest.raises(WorkdirError, match=rf"^key=.*: .*{part}.*; advice$"):
      named_files.find("key", path, "advice", error=WorkdirError)


@pytest.mark.parametrize("name", [LONG, f"{LONG}/run"])
def test_a_workdir_that_cannot_be_is_refused_wherever_it_is_looked_at(name, tmp_path):
  for look in (reused_baseline.is_needed, lambda path: hold_workdir(path).__enter__()):
    with pytest.raises(WorkdirError, match=r"cannot write .*too long"):
      look(tmp_path / name)


def run(words, folder, **variables):
  done = subprocess.run(
    [sys.executable, str(ROOT / "run.py"), *words],
    cwd=folder,
    env=os.environ | variables,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert len(done.stderr.splitlines()) == 1, done.stderr
  assert done.stdout == ""
  return done.returncode, done.stderr


DIGITS = f"--config={ROOT}/configs/digits.py"


@pytest.mark.slow_rows("variables1-JAX_PLATFORMS=cuda asks for what is not there")
@pytest.mark.parametrize(
  ("variables", "part"),
  [
    ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "set PYTHONUTF8=1"),
    ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS=cuda asks for what is not there"),
    ({"JAX_ENABLE_X64": "maybe"}, r"JAX does not start \(.*JAX_ENABLE_X64"),
  ],
)
def test_an_environment_that_cannot_be_is_told_in_one_line(variables, part, tmp_path):
  code, line = run([DIGITS, f"--workdir={tmp_path / 'run'}"], tmp_path, **variables)
  assert code == 2
  assert re.search(part, line)
  assert not (tmp_path / "run").exists()


def test_a_working_directory_that_is_gone_is_told_in_one_line(tmp_path):
  script = (
    "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
  )
  done = subprocess.run(
    [sys.executable, "-c", script, str(ROOT / "run.py"), DIGITS],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 2
  assert re.fullmatch(r"sdt: error: the working directory cannot be used .*\n", done.stderr)


LIMITED = """
import resource, sys
import numpy
from sdt.commands import program, run_config
def beyond(*_):
  raise {error}
run_config.run_config = beyond
sys.exit(program.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  ("error", "part"),
  [
    ("OSError(24, 'Too many open files', '/data/1.png')", "/data/1.png: Too many open files; "),
    ("MemoryError('Unable to allocate 7 TiB')", "out of memory (Unable to allocate 7 TiB); "),
  ],
)
def test_what_the_system_refuses_anywhere_is_one_line_and_no_traceback(error, part, tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", LIMITED.format(error=error), DIGITS],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 7
  assert done.stderr.startswith(f"sdt: error: {part}")
  assert done.stderr.count("\n") == 1
