r"""A tiny run in a process of its own that dies, or is asked to stop, at a chosen write.

    python tests/support/killed_run.py WORKDIR [--at=K | --kind=KIND] \
      [--signal=SIGKILL|SIGTERM|SIGINT|exit] [--delay=SECS] [--times=N]
                               [--events=FILE] [--file-limit=BYTES] [--cores=N] [--rounds=N]
                               [--loggers=NAME,...] [--acquire=TIMES]

A *write* is anything that changes the workdir through Python: a file opened for writing, a rename,
a removal, a new directory. Python tells of each before it is done. At the K-th (from 0), or at the
first of a kind (`kind_of`), the process gets the signal, after `delay` seconds from a thread beside
it, so that the run goes on meanwhile, and `times` times; `exit` ends it at once, before the write.
`events` lists the writes of the run, a line each. No file may grow beyond `file-limit`: a full
disk. `cores` limits the processors. `rounds` makes it a run of the baseline alone, with so many
rounds, that tells its memory after every round. `loggers` are told its rows. `acquire` makes it
active learning of the baseline with so many acquisitions.
"""

import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

EVENTS = {
  "open",
  "os.rename",
  "os.remove",
  "os.mkdir",
  "os.rmdir",
  "os.truncate",
  "os.link",
  "os.symlink",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _path_of(event: str, args: tuple[Any, ...], workdir: str) -> str | None:
  """Returns the path below the workdir that a write changes, None for any other event."""
  if event not in EVENTS or not args or not isinstance(args[0], str | bytes | os.PathLike):
    return None
  if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITES):
    return None
  path = os.path.abspath(os.fsdecode(args[1] if event == "os.rename" else args[0]))
  return os.path.relpath(path, workdir) if path.startswith(workdir + os.sep) else None


def kind_of(line: str) -> str:
  """Returns the kind of a write: its line without numbers of steps and names of pictures."""
  return re.sub(r"\d+", "N", re.sub(r"\w+\.(?:png|svg)", "picture.png", line))


def watch(workdir: str, given: Mapping[str, str], events: int | None) -> None:
  """Installs the watch; it cannot be taken away again."""
  count, done, lock = [0], [False], threading.Lock()
  at, kind, how = int(given.get("at", -1)), given.get("kind"), given.get("signal", "SIGKILL")

  def kill(line: str) -> None:
    time.sleep(float(given.get("delay", 0)))
    for _ in range(int(given.get("times", 1))):
      os.write(2, f"signalled at {time.monotonic()} after {line}\n".encode())
      os.kill(os.getpid(), getattr(signal, how))
      time.sleep(0.05)

  def hook(event: str, args: tuple[Any, ...]) -> None:
    path = _path_of(event, args, workdir)
    if path is None:
      return
    line = f"{event} {path}"
    with lock:
      number, count[0] = count[0], count[0] + 1
      strikes = not done[0] and (number == at or kind_of(line) == kind)
      done[0] |= strikes
    if events is not None:
      os.write(events, f"{line}\n".encode())
    if strikes and how == "exit":
      os._exit(137)
    if strikes:
      threading.Thread(target=kill, args=(line,), daemon=True).start()

  sys.addaudithook(hook)


def main(argv: list[str]) -> int:
  workdir = os.path.abspath(argv[0])
  given = dict(part.removeprefix("--").split("=", 1) for part in argv[1:])
  events = (
    os.open(given["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "events" in given else None
  )
  if "cores" in given:  # before anything counts them
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(given["cores"])])
    # A program from the cache is cut for the cores for which it was compiled.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
  from sdt import experiment
  from sdt.commands import acquire, program
  from sdt.errors import SdtError
  from sdt.run import progress
  from tests.support import tiny

  changes: dict[str, Any] = {}
  if "rounds" in given:
    changes |= {"rounds": int(given["rounds"]), "arms": ("baseline",)}
    vars(progress)["Task"].line = tell_memory

  if "loggers" in given:
    changes |= {f"log__{name}": True for name in given["loggers"].split(",")}

  if "acquire" in given:
    changes |= {"arms": ("baseline",), "acquire__times": int(given["acquire"]), "seeds": (0,)}
    changes |= {"acquire__strategies": ("margin", "random"), "acquire__start": 8, "acquire__add": 5}

  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, program.StopAtOnce())
  watch(workdir, given, events)
  if "file-limit" in given:
    limit = int(given["file-limit"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  try:
    if "acquire" in given:
      return acquire.run(config(tiny, **changes), Path(workdir), "tiny")
    return experiment.run(config(tiny, **changes), Path(workdir), "tiny")
  except SdtError as error:
    print(f"sdt: error: {error}", file=sys.stderr)
    return error.exit_code


def tell_memory(*_: Any) -> None:
  """Prints how many bytes of this process are in memory, in place of the line of a round."""
  pages = int(Path("/proc/self/statm").read_text().split()[1])
  print(f"resident {pages * resource.getpagesize()}", flush=True)


def config(tiny: ModuleType, rounds: int = 3, **changes: Any) -> Any:
  """Returns a run of 30 steps that is saved after every one."""
  return tiny.config(
    parallel__steps_per_dispatch=1, checkpoint__every_secs=1e-6, rounds=rounds, **changes
  )


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
