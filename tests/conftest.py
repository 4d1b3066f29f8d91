"""Every test runs under JAX's strict rules, on two simulated CPU devices.

This file must not import sdt: the option --jaxtyping-packages checks what is imported after it.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Before JAX is imported anywhere: two devices, so that both data-parallel modes have something to
# divide.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")

import filelock
import hypothesis
import jax
import pytest

import tests.support.typechecker  # noqa: F401  # before anything of sdt is imported
from tests.support.programs import forget_programs, resident_bytes

# Where bytecode is switched off, every process of the tests would compile all of sdt again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# No test can see what survives a power cut; waiting for the disk was 2 of 26 s of a test file.
os.fsync = lambda handle: None

# Decoded images are kept in the data directory: not in that of whoever runs the tests.
_DATA = tempfile.TemporaryDirectory(prefix="sdt-data-")
# Where pytest has no cache of its own (-p no:cacheprovider), the programs of one worker lie here.
_PROGRAMS = tempfile.TemporaryDirectory(prefix="sdt-xla-")
os.environ["SDT_DATA_DIR"] = _DATA.name

hypothesis.settings.register_profile("sdt", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.load_profile("sdt")

# The files that train whole runs, which take longest, come first: two workers then end together.
_WHOLE_RUNS = tuple(f"tests/{name}" for name in "test_ stages run commands api toy trained".split())
_LONGEST_FIRST = (
  *_WHOLE_RUNS,
  *(f"tests/{name}" for name in "devices arms engine models".split()),
)

_MOST_RESIDENT = 3 * 10**9  # bytes of a worker


def _machine() -> str:
  """Returns a name for this processor: a compiled program is cut for it and for its cores."""
  path = Path("/proc/cpuinfo")
  lines = path.read_text().splitlines() if path.exists() else [platform.processor()]
  kinds = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
  text = "\n".join([platform.machine(), *sorted(kinds)])
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  return f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-{cores}"


def pytest_configure(config):
  """Keeps compiled programs in .pytest_cache/d: for all workers, their child processes, later runs.

  JAX locks a cache that has a size limit, so that processes may share it.
  """
  cache = getattr(config, "cache", None)
  settings = {
    "jax_compilation_cache_dir": str(cache.mkdir(f"xla-{_machine()}") if cache else _PROGRAMS.name),
    "jax_compilation_cache_max_size": 2**31,
    "jax_persistent_cache_min_compile_time_secs": 0.2,
  }
  for name, value in settings.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  """Compiles the programs of whole runs without the optimisations of LLVM, by default.

  These tests are about files, words, stops and what a run is made of. To compile their programs is
  half of their time, and a third of that goes to the optimisations. What a program computes is
  tested in the other folders, by programs as users have them; so is everything in `make slow`.
  """
  is_default = "not slow" in item.config.option.markexpr
  fast = is_default and item.nodeid.startswith(_WHOLE_RUNS)
  if fast == jax.config.read("jax_disable_most_optimizations"):
    return
  jax.config.update("jax_disable_most_optimizations", fast)
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(fast).lower()  # for child processes
  forget_programs()


def pytest_runtest_teardown(item, nextitem):
  """Frees the compiled programs of a file where they have come to much: files share few of them.

  Without it two workers of `make slow` come to 15 GB.
  """
  is_last_of_file = nextitem is None or nextitem.path != item.path
  if is_last_of_file and resident_bytes() > _MOST_RESIDENT:
    forget_programs()


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked as slow
def pytest_collection_modifyitems(items):
  for item in items:
    for mark in item.iter_markers("slow_rows"):
      if item.callspec.id in mark.args:
        item.add_marker("slow")

  def place(item):
    name = item.nodeid
    return next(
      (index for index, start in enumerate(_LONGEST_FIRST) if name.startswith(start)),
      len(_LONGEST_FIRST),
    )

  items.sort(key=place)


@pytest.fixture(scope="session")
def reference_run(tmp_path_factory):
  """Returns the workdir of a finished run of `whole.CONFIG`, report and all.

  One worker trains it, each has a copy. Tests must not change it: `shutil.copytree` it first.
  It was a process of its own, in an odd place; `said` has what it wrote.
  """
  from tests.support import whole

  base = tmp_path_factory.getbasetemp()
  shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
  with filelock.FileLock(shared / "reference.lock"):
    if not (shared / "reference").exists():
      odd = shared / "a rün" / ("long " * 40).strip()
      done = subprocess.run(whole.command(odd), capture_output=True, text=True, timeout=600)
      assert done.returncode == 0, done.stderr
      told = {"workdir": str(odd), "stdout": done.stdout, "stderr": done.stderr}
      (shared / "said.json").write_text(json.dumps(told))
      odd.rename(shared / "reference")
  folder = tmp_path_factory.mktemp("reference")
  shutil.copy(shared / "said.json", folder)
  return shutil.copytree(shared / "reference", folder / "run")


@pytest.fixture(scope="session")
def said(reference_run):
  """Returns the `workdir` that the process of `reference_run` had, its `stdout` and `stderr`."""
  return json.loads((reference_run.parent / "said.json").read_text())


@pytest.fixture
def no_training(monkeypatch):
  """Makes any training fail the test."""
  from tests.support import whole

  whole.forbid_training(monkeypatch)


@pytest.fixture
def compiles_anew(monkeypatch):
  """Compiles every program, also those that an earlier test has compiled."""
  import sdt.devices.compile as module

  monkeypatch.setattr(module, "_slot", module._slot.__wrapped__)


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture
def figure(record_property):
  """Returns a function that prints a line at the end of the session: a measurement and its seed."""
  return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter):
  reports = [
    one
    for some in terminalreporter.stats.values()
    for one in some
    if getattr(one, "when", None) == "call"
  ]
  for name, line in (named for one in reports for named in one.user_properties):
    if name == "figure":
      terminalreporter.write_line(line)
