"""Downloads one registered file, with time limits; keeps it only if it is whole and verified.

We do not use tfds's download manager: a server that stalls hangs it for ever, see
docs/decisions/0002-data-without-tensorflow.md.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from sdt.errors import DataError
from sdt.types import Log

_PROBE_SECS = 5.0
_PROGRESS_SECS = 2.0
_BLOCK_BYTES = 2**18


@dataclasses.dataclass(frozen=True)
class RemoteFile:
  """A file as tensorflow-datasets registers it.

  Attributes:
    url: its address.
    name: its name on disk.
    size: in bytes.
    sha256: in hex.
  """

  url: str
  name: str
  size: int
  sha256: str


def _server(url: str) -> tuple[str, int]:
  """Returns (host, port) that a request connects to: the environment's proxy, else the server."""
  parts = urllib.parse.urlsplit(url)
  proxy = urllib.request.getproxies().get(parts.scheme)
  if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
    parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
  return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def unreachable(url: str, limit_secs: float = _PROBE_SECS) -> str | None:
  """Returns why the server of `url` (or the proxy) accepts no connection; None if it does.

  It asks in a thread, because without a network the look-up of a name can take minutes, and has no
  time limit.

  Args:
    url: an address on the server.
    limit_secs: how long to wait.
  """
  host, port = _server(url)
  outcome: list[str | None] = []

  def probe() -> None:
    try:
      socket.create_connection((host, port), timeout=limit_secs).close()
      outcome.append(None)
    except OSError as error:
      outcome.append(f"cannot reach {host}: {error.strerror or error}")

  thread = threading.Thread(target=probe, daemon=True)
  thread.start()
  thread.join(limit_secs)
  return outcome[0] if outcome else f"cannot reach {host} within {limit_secs:g} s"


class _Progress:
  """Logs the progress of a download, at most every two seconds."""

  def __init__(self, remote: RemoteFile, log: Log):
    self._remote, self._log = remote, log
    self._start = self._last = time.monotonic()

  def __call__(self, num_bytes: int) -> None:
    now = time.monotonic()
    if now - self._last >= _PROGRESS_SECS:
      self._last = now
      rate = num_bytes / (now - self._start)
      left_secs = (self._remote.size - num_bytes) / rate
      self._log(
        f"{self._remote.name}: {num_bytes / 1e6:.0f} of {self._remote.size / 1e6:.0f} MB, "
        f"{rate / 1e6:.1f} MB/s, {left_secs:.0f} s left"
      )


def _stream(remote: RemoteFile, part: Path, timeout_secs: float, log: Log) -> None:
  """Downloads `remote` to `part`, and checks its length and SHA-256 at the same time."""
  request = urllib.request.Request(remote.url, headers={"User-Agent": "sdt"})
  digest, done, progress = hashlib.sha256(), 0, _Progress(remote, log)
  with urllib.request.urlopen(request, timeout=timeout_secs) as response, part.open("wb") as file:
    while block := response.read1(_BLOCK_BYTES):
      done += len(block)
      if done > remote.size:
        raise DataError(
          f"download of {remote.url} failed: it is longer than the registered {remote.size} "
          "bytes; nothing was kept"
        )
      digest.update(block)
      file.write(block)
      progress(done)
    file.flush()
    os.fsync(file.fileno())
  if done < remote.size:
    raise DataError(
      f"download of {remote.url} failed: it ended after {done} of {remote.size} bytes; nothing "
      "was kept, run the command again"
    )
  if digest.hexdigest() != remote.sha256:
    raise DataError(
      f"download of {remote.url} failed: its SHA-256 is {digest.hexdigest()}, registered is "
      f"{remote.sha256}; the file on the server changed or a proxy replaced it; nothing was kept"
    )


def fetch(remote: RemoteFile, folder: Path, timeout_secs: float, log: Log) -> Path:
  """Downloads and verifies a file, and returns its path, `folder / remote.name`.

  Nothing but the verified file ever has that name.

  Args:
    remote: what to fetch.
    folder: made if it does not exist.
    timeout_secs: the download fails after this time without a byte.
    log: gets a line of progress every two seconds.

  Raises:
    DataError: no answer, a stall, a short, long or other file, or a full disk. Nothing is left
      behind.
  """
  part = folder / f"{remote.name}.{os.getpid()}.part"
  try:
    folder.mkdir(parents=True, exist_ok=True)
    _stream(remote, part, timeout_secs, log=log)
    os.replace(part, folder / remote.name)
  except urllib.error.HTTPError as error:
    error.close()
    raise DataError(
      f"download of {remote.url} failed: the server answers {error.code} {error.reason}; nothing "
      "was kept"
    ) from error
  except TimeoutError as error:
    raise DataError(
      f"download of {remote.url} failed: no byte for {timeout_secs:g} s "
      "(data.download_timeout_secs); nothing was kept"
    ) from error
  except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
    raise DataError(
      f"download of {remote.url} to {folder} failed: {error}; nothing was kept"
    ) from error
  finally:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
  return folder / remote.name
