"""Opens pages in Debian's Chromium, as people do: from their files, without a server."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def options() -> dict[str, Any]:
  """Returns how Chromium is started; skips the test where it or Playwright is not installed."""
  pytest.importorskip("playwright", reason="needs Playwright: pip install 'sdt[browser]'")
  found = [path for name in _PROGRAMS if (path := shutil.which(name))]
  if not found:
    pytest.skip("needs Chromium: apt-get install chromium")
  # Chromium refuses its sandbox to root.
  args = ["--no-sandbox"] if os.geteuid() == 0 else []
  return {"executable_path": found[0], "args": args}


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
  """Gives a browser; each of its contexts is a fresh profile."""
  how = options()
  from playwright.sync_api import sync_playwright

  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(**how)
    yield browser
    browser.close()


class Watched:
  """A page with what it asked of the network, and what went wrong in it."""

  def __init__(self, context: Any, path: Path) -> None:
    self.requests: list[str] = []
    self.problems: list[str] = []
    context.on("request", lambda request: self.requests.append(request.url))
    self.page = context.pages[0] if context.pages else context.new_page()
    self.page.on("console", lambda said: self.problems.append(f"{said.type}: {said.text}"))
    self.page.on("pageerror", lambda error: self.problems.append(str(error)))
    self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
    self.path = path
    self.open()

  def open(self) -> None:
    """Opens the page, anew if it is open."""
    self.page.goto(self.path.as_uri())
    self.page.wait_for_selector("[data-ready]")

  def downloaded(self, act: Any, name: str = "corrections.csv") -> bytes:
    """Returns the content of the file that `act()` downloads."""
    with self.page.expect_download() as download:
      act()
    assert download.value.suggested_filename == name
    return Path(download.value.path()).read_bytes()

  def text(self, selector: str) -> str:
    """Returns the text of an element as it is, blanks and all."""
    return self.page.eval_on_selector(selector, "one => one.textContent")

  def assert_quiet(self) -> None:
    """Asserts that nothing went wrong and that nothing but the file itself was asked for."""
    assert self.problems == []
    kinds = ("data:", "blob:", self.path.as_uri())
    assert [url for url in self.requests if not url.startswith(kinds)] == []


def pid_of_profile(folder: Path) -> int:
  """Returns the process of the browser that uses a profile."""
  for entry in Path("/proc").iterdir():
    with contextlib.suppress(OSError):
      words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
      if f"--user-data-dir={folder}" in words and not any(w.startswith("--type=") for w in words):
        return int(entry.name)
  raise LookupError(f"no browser uses {folder}")
