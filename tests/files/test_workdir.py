import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sdt.errors import LockedError, WorkdirError
from sdt.files.workdir import TMP_PREFIX, hold_workdir

CHILD = """
import sys
from sdt.errors import SdtError
from sdt.files.workdir import hold_workdir
try:
  with hold_workdir(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
except SdtError as error:
  print(error, flush=True)
  sys.exit(error.exit_code)
"""


def start(workdir):
  return subprocess.Popen(
    [sys.executable, "-c", CHILD, str(workdir)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )


def finish(child):
  child.stdin.close()
  child.stdout.close()
  return child.wait(timeout=30)


@pytest.mark.slow
def test_of_five_starts_at_once_one_holds_and_four_name_it(tmp_path):
  children = [start(tmp_path / "run") for _ in range(5)]
  lines = [child.stdout.readline().strip() for child in children]
  codes = [
    None if line == "held" else child.wait(timeout=30)
    for line, child in zip(lines, children, strict=True)
  ]
  assert sorted(codes, key=str) == [6, 6, 6, 6, None]
  holder = children[codes.index(None)]
  for line in lines:
    assert line == "held" or f"in use by pid {holder.pid} on host {socket.gethostname()};" in line
  assert [finish(child) for child in children] == [0 if code is None else 6 for code in codes]


def test_lock_of_a_killed_holder_is_free_at_once(tmp_path):
  child = start(tmp_path)
  assert child.stdout.readline() == "held\n"
  with pytest.raises(LockedError, match=f"pid {child.pid} "), hold_workdir(tmp_path):
    pass
  child.send_signal(signal.SIGKILL)
  child.wait()
  with hold_workdir(tmp_path) as path:
    assert path == tmp_path
    assert (path / ".lock").read_text() == f"pid {os.getpid()} on host {socket.gethostname()}"
  finish(child)


def test_lock_is_free_after_an_error_in_the_block(tmp_path):
  with pytest.raises(KeyError), hold_workdir(tmp_path):
    raise KeyError
  with hold_workdir(tmp_path):
    pass


def test_workdir_is_made_with_its_parents_and_is_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with hold_workdir("a b/ü/" + "x" * 200) as path:
    assert path == tmp_path / "a b" / "ü" / ("x" * 200)
    assert os.listdir(path) == [".lock"]


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("file", "a file stands where a directory is needed"),
    ("file/x", "a part of the path is a file"),
    ("x" * 300, "too long"),
  ],
)
def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path, name, message):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(WorkdirError, match=message) as caught, hold_workdir(tmp_path / name):
    pass
  assert str(tmp_path / name) in str(caught.value)
  assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_without_write_permission_is_refused(tmp_path, exists):
  """As root, who may write anywhere, in a child that has given up its rights."""
  parent = tmp_path / "parent"
  workdir = parent / "run"
  workdir.mkdir(parents=True) if exists else parent.mkdir()
  for path in ([workdir] if exists else []) + [parent]:
    path.chmod(0o555)
  script = (
    CHILD
    if os.geteuid()
    else "import os; from sdt import errors; from sdt.files import workdir; os.setgroups([]); "
    "os.setuid(65534)\n" + CHILD
  )
  # The directories above must let a stranger in, and pytest makes them private.
  opened = [
    path for path in workdir.parents if path.is_relative_to(tmp_path.parents[1]) and path != parent
  ]
  for path in opened if not os.geteuid() else []:
    path.chmod(path.stat().st_mode | 0o011)
  done = subprocess.run(
    [sys.executable, "-c", script, str(workdir)],
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert (done.returncode, done.stderr) == (7, "")
  assert (
    f"cannot write {workdir}: Permission denied; give this user write permission" in done.stdout
  )
  parent.chmod(0o755)


def test_full_disk_is_seen_at_the_start_with_the_bytes_needed(tmp_path):
  script = (
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))\n"
    + CHILD
  )
  done = subprocess.run(
    [sys.executable, "-c", script, str(tmp_path)],
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 7
  assert f"cannot write {tmp_path}: File too large; 65536 bytes needed" in done.stdout
  assert os.listdir(tmp_path) == [".lock"]


def test_temporary_files_of_killed_writers_go_and_look_alikes_stay(tmp_path):
  for name in (
    ".lock",  # a run was here
    f"{TMP_PREFIX}12-0",
    f"figures/{TMP_PREFIX}1-1",
    f"figures/.sha256/{TMP_PREFIX}1-2",
    f"x{TMP_PREFIX}",
    "checkpoints/1/d",
  ):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
  with hold_workdir(tmp_path):
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
  assert left == [".lock", "checkpoints/1/d", f"x{TMP_PREFIX}"]


def test_only_the_top_may_be_a_link(tmp_path):
  (tmp_path / "real").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "real")
  with hold_workdir(tmp_path / "link"):
    assert (tmp_path / "real" / ".lock").exists()
  victim = tmp_path / "victim"
  victim.write_text("mine")
  (tmp_path / "real" / ".lock").unlink()
  (tmp_path / "real" / ".lock").symlink_to(victim)
  with pytest.raises(WorkdirError, match="cannot write"), hold_workdir(tmp_path / "real"):
    pass
  assert Path(victim).read_text() == "mine"
