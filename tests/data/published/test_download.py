"""Downloads from a local server that behaves, lies, hangs up or falls silent."""

import contextlib
import dataclasses
import http.server
import os
import socket
import threading
import urllib.request

import pytest

from sdt.config.schema import DataConfig
from sdt.data.published import download, registered
from sdt.data.published.download import RemoteFile
from sdt.errors import DataError
from tests.support import registered_sets as made

BODY = os.urandom(700_000)
SHORT_TIMEOUT_SECS = 0.5


class _Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *arguments):
    pass

  def do_GET(self):
    body, how = self.server.body, self.path.rsplit("/", 1)[-1]
    if how == "missing":
      self.send_error(404)
      return
    if how == "moved":
      self.send_response(302)
      self.send_header("Location", "/right")
      self.end_headers()
      return
    self.send_response(200)
    if how not in ("nolength", "long"):
      self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    with contextlib.suppress(OSError):  # the client may hang up first
      if how in ("short", "stall"):
        self.wfile.write(body[:300_000])
        self.wfile.flush()
        if how == "stall":
          self.server.stop.wait(30)
      elif how == "wrong":
        self.wfile.write(bytes([body[0] ^ 1]) + body[1:])
      else:
        self.wfile.write(body + b"more" * (how == "long"))


@pytest.fixture
def server(monkeypatch):
  for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    monkeypatch.delenv(name, raising=False)
  httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
  httpd.body, httpd.stop, httpd.daemon_threads = BODY, threading.Event(), True
  thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
  thread.start()
  yield httpd
  httpd.stop.set()
  httpd.shutdown()
  thread.join()
  httpd.server_close()


def _remote(server, how):
  return RemoteFile(
    f"http://127.0.0.1:{server.server_port}/{how}", "set.bin", len(BODY), sha256=made.sha256(BODY)
  )


@pytest.mark.parametrize("how", ["right", "nolength", "moved"])
def test_a_right_download_ends_under_its_name(server, tmp_path, how):
  path = download.fetch(_remote(server, how), tmp_path / "new" / "folder", 10.0, log=print)
  assert path.read_bytes() == BODY
  assert [p.name for p in path.parent.iterdir()] == ["set.bin"]


_FAILURES = {
  "wrong": "its SHA-256 is",
  "short": "it ended after 300000 of 700000 bytes",
  "long": "it is longer than the registered 700000 bytes",
  "stall": "no byte for 0.5 s (data.download_timeout_secs)",
  "missing": "the server answers 404 Not Found",
}


@pytest.mark.parametrize("how", _FAILURES)
def test_a_failed_download_leaves_nothing_behind(server, tmp_path, how):
  with pytest.raises(DataError) as caught:
    download.fetch(_remote(server, how), tmp_path, SHORT_TIMEOUT_SECS, log=print)
  text = str(caught.value)
  assert _FAILURES[how] in text
  assert "nothing was kept" in text
  assert "\n" not in text
  assert list(tmp_path.iterdir()) == []


def test_the_time_limit_is_the_one_asked_for(server, tmp_path, monkeypatch):
  limits, real = [], urllib.request.urlopen

  def watched(request, timeout):
    limits.append(timeout)
    return real(request, timeout=timeout)

  monkeypatch.setattr(urllib.request, "urlopen", watched)
  download.fetch(_remote(server, "right"), tmp_path, 12.5, log=print)
  assert limits == [12.5]


def test_a_failed_download_keeps_the_file_that_was_there(server, tmp_path):
  (tmp_path / "set.bin").write_bytes(b"earlier")
  with pytest.raises(DataError):
    download.fetch(_remote(server, "short"), tmp_path, SHORT_TIMEOUT_SECS, log=print)
  assert (tmp_path / "set.bin").read_bytes() == b"earlier"


def test_a_closed_port_and_a_folder_that_cannot_be_made_are_data_errors(server, tmp_path):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    remote = RemoteFile(f"http://127.0.0.1:{free.getsockname()[1]}/x", "set.bin", 1, sha256="")
    with pytest.raises(DataError, match="nothing was kept"):
      download.fetch(remote, tmp_path, 1.0, log=print)
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(DataError, match="failed"):
    download.fetch(_remote(server, "right"), tmp_path / "file", 1.0, log=print)


def test_progress_says_how_far_it_is(server, tmp_path, monkeypatch):
  monkeypatch.setattr(download, "_PROGRESS_SECS", 0.0)
  monkeypatch.setattr(download, "_BLOCK_BYTES", 2**16)
  lines = []
  download.fetch(_remote(server, "right"), tmp_path, 10.0, log=lines.append)
  assert len(lines) >= 10
  assert all(line.startswith("set.bin: ") and "MB/s" in line and "s left" in line for line in lines)


def test_the_probe_is_bounded_even_where_the_name_look_up_hangs(monkeypatch):
  release = threading.Event()

  def hang(*arguments, **keywords):
    release.wait(30)
    raise OSError("late")

  monkeypatch.setattr(socket, "create_connection", hang)
  assert (
    download.unreachable("http://example.invalid/x", 0.2)
    == "cannot reach example.invalid within 0.2 s"
  )
  release.set()


def test_the_probe_asks_the_proxy_where_there_is_one(server, monkeypatch):
  monkeypatch.delenv("no_proxy", raising=False)
  monkeypatch.delenv("NO_PROXY", raising=False)
  monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
  assert download.unreachable("http://example.invalid/x") is None
  monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.server_port}")
  assert download.unreachable("http://example.invalid/x") is None


def _registered(server, how="right"):
  spec, contents, _ = made.make_cifar(url=f"http://127.0.0.1:{server.server_port}/{how}")
  archive = made.pack({f"small-bin/{name}": content for name, content in contents.items()})
  server.body = archive
  remote = RemoteFile(
    spec.remotes[0].url, "small.tar.gz", len(archive), sha256=made.sha256(archive)
  )
  return dataclasses.replace(spec, remotes=(remote,))


def test_a_missing_set_is_fetched_once_and_then_found(server, own_places):
  spec, lines = _registered(server), []
  first = registered.load_registered(DataConfig(name="cifar10"), spec, lines.append)
  assert any(line.startswith("fetching http") for line in lines)
  assert [p.name for p in (own_places / "cache").iterdir()] == ["small.tar.gz"]
  server.body = b"gone"
  again = registered.load_registered(DataConfig(name="cifar10"), spec, lines.append)
  assert first.checksum == again.checksum
  assert first.variant == "canonical"


@pytest.mark.parametrize("how", ["wrong", "short", "stall", "missing"])
def test_a_set_whose_download_fails_leaves_the_data_directory_empty(server, own_places, how):
  spec = _registered(server, how)
  server.body += os.urandom(max(0, 700_000 - len(server.body)))
  with pytest.raises(DataError):
    registered.load_registered(
      DataConfig(name="cifar10", download_timeout_secs=SHORT_TIMEOUT_SECS), spec, print
    )
  assert list((own_places / "cache").iterdir()) == []


def test_without_a_network_one_message_says_everything(own_places, monkeypatch):
  monkeypatch.setattr(registered, "unreachable", lambda url: "cannot reach localhost: refused")
  spec, _, _ = made.make_cifar()
  with pytest.raises(DataError) as caught:
    registered.load_registered(DataConfig(name="cifar10"), spec, print)
  text = str(caught.value)
  for part in (
    "cifar10 is missing",
    str(own_places / "cache"),
    str(own_places / "prepared"),
    "cannot reach localhost: refused",
    "curl -fL",
  ):
    assert part in text
  for part in (
    spec.remotes[0].url,
    spec.remotes[0].sha256,
    "--config.data.path",
    "--config=configs/digits.py",
  ):
    assert part in text
  assert "\n" not in text
  assert list(own_places.iterdir()) == []


def test_download_off_never_asks_the_network(own_places, monkeypatch):
  monkeypatch.setattr(registered, "unreachable", lambda url: pytest.fail("asked the network"))
  with pytest.raises(DataError, match=r"downloading is off \(data\.download=False"):
    registered.load_registered(
      DataConfig(name="cifar10", download=False), made.make_cifar()[0], print
    )
