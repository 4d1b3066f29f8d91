"""A program goes on where nobody reads what it prints, and where it cannot be written."""

import fcntl
import os
import subprocess
import sys
import time

import pytest

from tests.support import whole
from tests.support.places import READS_CACHE_ONLY, ROOT

PRINTS = """
import sys
from sdt.output import endure
endure()
for number in range(20_000):
  print("a line of results", number)
  if number % 20 == 0:
    print("a line of progress", number, file=sys.stderr)
open("done", "w").write("done")
sys.exit(4)
"""


def without_a_reader():
  reading, writing = os.pipe()
  os.close(reading)
  return writing


def full():
  return os.open("/dev/full", os.O_WRONLY)


def started(words, folder, *, closed=(), **streams):
  """Starts Python on `words`; the descriptors in `closed` are closed from the start."""
  # The shell closes them: a function of this process would need a fork, and JAX warns of that.
  closing = " ".join(f"{number}>&-" for number in closed)
  return subprocess.Popen(
    ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, *words],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    text=True,
    **streams,
  )


@pytest.mark.parametrize("broken", [without_a_reader, full])
@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_program_whose_output_is_broken_ends_as_it_would_have(broken, names, tmp_path):
  handles = {name: broken() for name in names}
  other = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in names}
  process = started(["-c", PRINTS], tmp_path, **handles, **other)
  for handle in handles.values():
    os.close(handle)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 4
  assert (tmp_path / "done").read_text() == "done"
  assert out is None or out.count("\n") == 20_000
  if "stderr" in other:
    told = [line for line in err.splitlines() if "progress" not in line]
    note = "note: stdout cannot be written (No space left on device): sdt goes on without it"
    assert told == ([note] if broken is full else [])


def test_output_to_a_slow_reader_that_must_not_block_is_whole(tmp_path):
  reading, writing = os.pipe()
  fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
  process = started(["-c", PRINTS], tmp_path, stdout=writing, stderr=subprocess.DEVNULL)
  os.close(writing)
  time.sleep(0.3)  # by now the pipe is full
  with open(reading) as lines:
    numbers = [int(line.split()[-1]) for line in lines]
  assert process.wait(timeout=60) == 4
  assert numbers == list(range(20_000))


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_what_is_printed_to_a_closed_descriptor_stands_in_no_file_of_the_program(closed, tmp_path):
  script = """
import os, sys
from sdt.output import endure
endure()
with open("mine", "w") as file:
  print("to stdout")
  print("to stderr", file=sys.stderr, flush=True)
  for number in (1, 2):
    os.write(number, b"a library prints")
  file.write("mine")
"""
  process = started(["-c", script], tmp_path, closed=closed)
  assert process.wait(timeout=60) == 0
  assert (tmp_path / "mine").read_text() == "mine"


def test_what_the_locale_cannot_show_is_escaped(tmp_path):
  script = "from sdt.output import endure; endure(); print('0.5 \u00b1 0.1 \u732b')"
  environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
  done = subprocess.run(
    [sys.executable, "-c", script], env=environment, capture_output=True, timeout=60
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, b"0.5 \xb1 0.1 \\u732b\n", b"")


@pytest.mark.parametrize(
  ("words", "code"), [(["--help"], 0), (["--config=nowhere.py"], 2), (["--rounds=3"], 2)]
)
@pytest.mark.parametrize("broken", [without_a_reader, full])
def test_the_exit_code_is_what_it_is_though_nothing_can_be_said(words, code, broken, tmp_path):
  handle = broken()
  process = started([str(ROOT / "run.py"), *words], tmp_path, stdout=handle, stderr=handle)
  os.close(handle)
  assert process.wait(timeout=60) == code


def run_words(workdir):
  return [
    str(ROOT / "run.py"),
    f"--config={ROOT}/configs/shapes.py",
    f"--workdir={workdir}",
    *whole.overrides(),
  ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("undisturbed") / "run"
  done = subprocess.run([sys.executable, *run_words(workdir)], capture_output=True, timeout=300)
  assert done.returncode == 0
  return workdir


@pytest.mark.chaos
def test_a_run_without_a_reader_on_a_full_disk_of_its_log_ends_with_the_same_bytes(
  undisturbed, tmp_path
):
  """stderr loses its reader after the first round, stdout is full when the results are printed."""
  handle = full()
  process = started(run_words(tmp_path / "run"), tmp_path, stdout=handle, stderr=subprocess.PIPE)
  os.close(handle)
  for line in process.stderr:
    if "round 1/4" in line:
      break
  process.stderr.close()
  assert process.wait(timeout=300) == 0
  whole.assert_same(whole.CONFIG, undisturbed, tmp_path / "run")


ON_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.chaos
def test_a_run_whose_terminal_is_closed_saves_and_goes_on_with_the_same_command(
  undisturbed, tmp_path
):
  words, workdir = run_words(tmp_path / "run"), tmp_path / "run"
  terminal, theirs = os.openpty()
  process = subprocess.Popen(
    [sys.executable, "-c", ON_ITS_TERMINAL, *words],
    stdin=theirs,
    stdout=theirs,
    stderr=theirs,
    env=os.environ | READS_CACHE_ONLY,
  )
  os.close(theirs)
  said = b""
  while b"baseline: compiling" not in said:
    said += os.read(terminal, 65536)
  os.close(terminal)  # the kernel sends SIGHUP, and writes to the terminal fail from now on
  assert process.wait(timeout=300) == 75
  assert not (workdir / "results.json").exists()
  done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  whole.assert_same(whole.CONFIG, undisturbed, workdir)
