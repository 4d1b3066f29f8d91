"""Starts the processes of a run on this machine, and waits for them."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

from tests.support.places import READS_CACHE_ONLY, ROOT, SUPPORT


@dataclasses.dataclass(frozen=True)
class Ended:
  """How a process ended: exit code (negative: the signal), stdout, stderr, the clock at its end."""

  code: int
  out: str
  err: str
  at: float

  @property
  def lines(self) -> list[str]:
    """What it said itself, without the lines of the libraries below."""
    return [
      line for line in self.out.splitlines() if line.startswith(("ended", "struck", "workdir"))
    ]


def free_port() -> int:
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return int(found.getsockname()[1])


def run(folder: Path, workdir: Path, flags: Sequence[Sequence[str]]) -> list[Ended]:
  """Runs one_of_several.py once for each of `flags`, together; `folder` takes what they say."""
  command = [sys.executable, str(SUPPORT / "one_of_several.py"), str(workdir), str(free_port())]
  commands = [[*command, str(index), *own] for index, own in enumerate(flags)]
  is_killed = any("SIGKILL" in word for own in flags for word in own)
  return run_all(folder, commands, variables=READS_CACHE_ONLY if is_killed else {})


def run_all(
  folder: Path,
  commands: Sequence[Sequence[str]],
  *,
  seconds: float = 900,
  devices: int = 1,
  variables: Mapping[str, str] = MappingProxyType({}),
) -> list[Ended]:
  """Runs commands side by side, on so many CPU devices each, until all have ended."""
  folder.mkdir(parents=True, exist_ok=True)
  environment = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(devices),
    **variables,
  }

  def run_one(index: int) -> Ended:
    out, err = (folder / f"{index}.{name}" for name in ("out", "err"))
    with out.open("w") as stdout, err.open("w") as stderr:
      done = subprocess.run(
        commands[index],
        env=environment,
        cwd=folder,
        stdout=stdout,
        stderr=stderr,
        timeout=seconds,
        check=False,
      )
    return Ended(done.returncode, out.read_text(), err.read_text(), time.time())

  with ThreadPoolExecutor(len(commands)) as pool:
    return list(pool.map(run_one, range(len(commands))))
