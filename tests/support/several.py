"""Starts the processes of a run on this machine, and waits for them."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.places import ROOT, SUPPORT


@dataclasses.dataclass(frozen=True)
class Ended:
  """How one process ended: exit code (negative: the signal), what it said, the clock when it was
  seen to be gone.
  """

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
  """Runs tests/support/one_of_several.py once for each of `flags`, together; `folder` takes what
  they say.
  """
  command, port = (
    [sys.executable, str(SUPPORT / "one_of_several.py"), str(workdir)],
    str(free_port()),
  )
  return run_all(folder, [[*command, port, str(index), *own] for index, own in enumerate(flags)])


def run_all(
  folder: Path, commands: Sequence[Sequence[str]], seconds: float = 900, devices: int = 1
) -> list[Ended]:
  """Runs commands side by side, on so many CPU devices each, until all have ended."""
  folder.mkdir(parents=True, exist_ok=True)
  own = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
  own["JAX_COMPILATION_CACHE_DIR"] = str(
    folder / "cache"
  )  # a start after the first finds its programs
  streams = [
    [open(folder / f"{index}.{name}", "w+") for name in ("out", "err")]
    for index in range(len(commands))
  ]
  children = [
    subprocess.Popen(command, env={**os.environ, **own}, stdout=out, stderr=err, cwd=folder)
    for command, (out, err) in zip(commands, streams, strict=True)
  ]
  ends: dict[int, float] = {}
  deadline = time.time() + seconds
  try:
    while len(ends) < len(children):
      for index, child in enumerate(children):
        if index not in ends and child.poll() is not None:
          ends[index] = time.time()
      if time.time() > deadline:
        raise TimeoutError(
          f"processes {sorted(set(range(len(children))) - ends.keys())} go on for more than "
          f"{seconds} s"
        )
      time.sleep(0.05)
  finally:
    for child in children:
      child.kill()
      child.wait()
    texts = []
    for pair in streams:
      for stream in pair:
        stream.seek(0)
      texts.append([stream.read() for stream in pair])
      for stream in pair:
        stream.close()
  return [
    Ended(child.returncode, out, err, ends[index])
    for index, (child, (out, err)) in enumerate(zip(children, texts, strict=True))
  ]
