r"""One of several processes of a tiny run, as run.py starts it, on one CPU device.

    python tests/support/one_of_several.py WORKDIR PORT PROCESS_ID [--network=resnet] \
      [--divide=seeds] [--heartbeat=SECS] [--mode=pmap]
                                   [--placement=stream] [--lesson] [--at=save|dispatch --number=N
                                   --delay=SECS --signal=SIGKILL|SIGTERM]

At the N-th save, or the N-th time that it asks whether it shall stop, which is after every
dispatch, the process gets the signal, from a thread beside it after `delay` seconds. No report is
made: it takes most of the time of a tiny run. `--lesson` is that of
tests/devices/test_processes.py: what must be refused, a stop, and the rest.
"""

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sdt import experiment
from sdt.config import Config
from sdt.config.command_line import Launch
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.errors import SdtError
from sdt.run import checkpoints, lifecycle, shared_checkpoints, signals
from tests.support import tiny


def config(
  network: str = "mlp", heartbeat: str = "100", divide: str = "batch", **changes: Any
) -> Config:
  """Returns a run on all devices: 20 dispatches an arm, with a save after almost every one."""
  timeouts = {
    "distributed__heartbeat_timeout_secs": int(heartbeat),
    "distributed__connect_timeout_secs": 120,
  }
  fixed = {
    "parallel__num_devices": 2,
    "parallel__divide": divide,
    "parallel__steps_per_dispatch": 1,
    "compilation_cache": False,
  }
  return (tiny.resnet if network == "resnet" else tiny.config)(
    **fixed, **timeouts, **({"checkpoint__every_secs": 0.05} | changes)
  )


def strike_at(where: str, number: int, delay: float, name: str) -> None:
  """Sends this process a signal at the `number`-th save or dispatch, `delay` seconds later."""
  calls = [0]

  def kill() -> None:
    time.sleep(delay)
    print(f"struck at {time.time()}", flush=True)
    os.kill(os.getpid(), getattr(signal, name))

  owner: type
  if where == "dispatch":
    owner, method = signals.StopRequest, "asked"
  elif processes.is_first():
    owner, method = checkpoints.CheckpointStore, "_write"
  else:
    owner, method = shared_checkpoints.SharedStore, "save"
  before = getattr(owner, method)

  def counted(*args: Any, **kwargs: Any) -> Any:
    calls[0] += 1
    if calls[0] == number:
      threading.Thread(target=kill).start()
    return before(*args, **kwargs)

  setattr(owner, method, counted)


def attempt(own: Config, workdir: Path, data: Data | None = None) -> int:
  """Runs as run.py does, and prints one line: the exit code and the error."""
  try:
    with processes.together(own):
      code, text = experiment.run(own, workdir, "tiny", loaded=data), ""
  except SdtError as error:
    code, text = error.exit_code, f" {error}"
  print(f"ended with {code}{text}", flush=True)
  return code


def lesson(workdir: Path, network: str) -> None:
  """Is refused with another config, other seeds, inputs elsewhere, a file that only the first has
  or only the others lack, and other data; then is asked to stop, and goes on to the end.
  """
  me, own = processes.index(), config(network, checkpoint__every_secs=None)
  attempt(config(network, rounds=4 + me), workdir)
  attempt(config(network, seeds=(0, 1 + me)), workdir)
  attempt(config(network, data__placement="stream" if me else "device"), workdir)
  attempt(
    config(network, **({"model__pretrained": str(workdir / "none.safetensors")} if me else {})),
    workdir,
  )
  attempt(own, Path(__file__))
  data = tiny.data(own)
  attempt(own, workdir, dataclasses.replace(data, checksum=data.checksum[::-1]) if me else data)
  print(f"workdir is there: {workdir.exists()}", flush=True)
  if me == 1:
    strike_at("dispatch", 12, 0.0, "SIGTERM")
  attempt(own, workdir)
  attempt(own, workdir)
  attempt(own, workdir)


def main(workdir: str, port: str, process_id: str, *flags: str) -> int:
  given = dict(flag.removeprefix("--").split("=") for flag in flags if "=" in flag)
  lifecycle.build_report = lambda workdir: workdir
  keys = {
    "network": "network",
    "heartbeat": "heartbeat",
    "divide": "divide",
    "mode": "parallel__mode",
    "placement": "data__placement",
  }
  own = config(**{key: given[name] for name, key in keys.items() if name in given})
  processes.join(own.distributed, Launch(f"127.0.0.1:{port}", 2, int(process_id)))
  if "--lesson" in flags:
    lesson(Path(workdir), given["network"])
    return 0
  if "at" in given:
    strike_at(given["at"], int(given["number"]), float(given["delay"]), given["signal"])
  return attempt(own, Path(workdir))


if __name__ == "__main__":
  sys.exit(main(*sys.argv[1:]))
