"""Runs the same commands in two checkouts of sdt and says which artifacts are not byte-equal.

    python benchmarks/compare_checkouts.py OLD NEW [--cases=digits,toy,...] [--workdir=DIR]
      [--python=PATH] [--ignore=report.html,*.png] [--differing]

OLD and NEW are folders. A case is a few runs of run.py, each a process of its own, one after the
other, in the same folder DIR/now/CASE for both checkouts, so that paths are no difference. Then it
lies in DIR/old-COMMIT/CASE or DIR/new/CASE. OLD's cases are kept, and not run again while recipe,
versions and machine are the same; its working tree must be that of its commit. `run/` is a run's
workdir, `*.out` its exit code and what it printed, `*.err` what it said.

May differ: everything in checkpoints/ and profile/, `seconds` in metrics.jsonl, the report's timing
block, the numbers in timing.json, commit and host in environment.json, times and sizes in what was
printed. --ignore names files, or paths that begin with the case, by pattern: those that differ are
listed, but not counted. --differing lists only what is not equal. The exit code is 1 where anything
differs.

Both checkouts share a cache of compiled programs in DIR, which JAX finds by the program itself.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import fnmatch
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from checkout_cases import CASES
from checkout_places import INPUTS, Place, clean_environment, draw_inputs


def commit_of(root: Path) -> str:
  """Returns the commit, with "+" where tracked files differ from it."""
  asked = [("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")]
  head, changed = (
    subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout
    for words in asked
  )
  return head.strip()[:10] + ("+" if changed.strip() else "")


def facts_of(place: Place) -> dict[str, str]:
  """Returns what results depend on beside the checkout; refuses one whose sdt is not imported."""
  program = (
    "import sys, json, run, jax, jaxlib, numpy, flax, optax, matplotlib, PIL\n"
    "own = sorted({m.__file__ or '' for n, m in sys.modules.items() if n.split('.')[0] == 'sdt'})\n"
    "libraries = (jax, jaxlib, numpy, flax, optax, matplotlib, PIL)\n"
    "versions = {m.__name__: m.__version__ for m in libraries}\n"
    "print(json.dumps([own, versions | {'python': sys.version}]))"
  )
  asked = [place.python, "-c", program]  # the current folder comes first on the path, as run.py's
  environment = clean_environment(place)
  answer = subprocess.run(
    asked, cwd=place.root, env=environment, stdout=subprocess.PIPE, text=True, check=True
  )
  own: list[str]
  versions: dict[str, str]
  own, versions = json.loads(answer.stdout)
  own = [name for name in own if name]  # a folder without __init__.py has no file
  foreign = [name for name in own if not Path(name).is_relative_to(place.root / "sdt")]
  if foreign or not own:
    raise SystemExit(f"{place.root}: another checkout's sdt is imported: {foreign}")
  cpu = re.search(r"model name.*", Path("/proc/cpuinfo").read_text())
  versions["machine"] = f"{len(os.sched_getaffinity(0))} cpus, {cpu and cpu[0]}"
  print(f"{'old' if place.is_old else 'new'}: {place.root} imports {own[0]}", file=sys.stderr)
  return versions


def run_case(place: Place, name: str, seal: Mapping[str, object], target: Path) -> None:
  """Runs a case and puts it into `target`; not again where OLD's is there, with the same seal."""
  path = target / "complete.json"
  side = "old" if place.is_old else "new"
  if place.is_old and path.exists():
    before = json.loads(path.read_text())
    if {key: before[key] for key in seal} == seal:
      return
  for folder in (target, place.work):
    shutil.rmtree(folder, ignore_errors=True)
  place.work.mkdir(parents=True)
  start = clocks()
  CASES[name].do(place, CASES[name])
  seconds, cpu_seconds = (round(now - then, 1) for now, then in zip(clocks(), start, strict=True))
  target.parent.mkdir(parents=True, exist_ok=True)
  shutil.move(place.work, target)
  path.write_text(json.dumps({**seal, "seconds": seconds, "cpu_seconds": cpu_seconds}, indent=1))
  print(f"{side} {name}: {seconds} s, {cpu_seconds} s of CPU time", file=sys.stderr, flush=True)


def clocks() -> tuple[float, float]:
  """Returns seconds by the clock, and those that ended child processes computed."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return time.monotonic(), usage.ru_utime + usage.ru_stime


def run_cases(place: Place, names: Sequence[str], folder: Path) -> None:
  """Runs cases of one checkout, each into its folder in `folder`."""
  facts = facts_of(place)
  # All recipes at once: they are read from this file, which somebody may change meanwhile.
  seals = {name: {"recipe": CASES[name].recipe(), "facts": facts} for name in names}
  for name, seal in seals.items():
    own = dataclasses.replace(place, work=place.base / "now" / name)
    run_case(own, name, seal, folder / name)


# ---- comparing

TIMED = ("environment.json", "timing.json", "metrics.jsonl", "report.html")
LEFT_OUT = {"checkpoints", "profile", "begun"}
# Progress within a round, libraries' own lines, the first use of a font.
OF_PACE = re.compile(
  r"of it done|images/s|font cache|^WARNING: All log|^\d{4}-\d\d-\d\d \d|^[EWIF]\d{4} "
)
MASKS = (
  (re.compile(r"  left:? .*$"), ""),
  (re.compile(r"^done in .*$"), "done in *"),
  (re.compile(r"\b\d[\d.,]* (?:s|min|minutes|h|hours|days|MB|GB)\b"), "* of time or memory"),
  (re.compile(r"\b\d+ free on this disk"), "* free on this disk"),
  (re.compile(r"\bpid \d+ on host [^\s;]+"), "pid * on host *"),
)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
  """Yields the name and the comparable content of every file of a case."""
  for path in sorted(folder.rglob("*")):
    inner = path.relative_to(folder)
    is_timed_seal = path.parent.name == ".sha256" and path.name in TIMED
    is_other = path.name == ".lock" or is_timed_seal or inner == Path("complete.json")
    if path.is_file() and not is_other and not LEFT_OUT & set(inner.parts[:-1]):
      yield str(inner), comparable(path)


def comparable(path: Path) -> bytes:
  """Returns a file's bytes without what may differ."""
  content = path.read_bytes()
  if path.suffix in (".out", ".err"):
    return masked(content.decode()).encode()
  if path.name == "metrics.jsonl":
    return re.sub(rb'"seconds": ?[^,}]+', b'"seconds": *', content)
  if path.name == "report.html":
    return re.sub(rb'<section id="timing".*?</section>', b"", content, flags=re.DOTALL)
  if path.name == "timing.json":
    return re.sub(rb": ?-?[\d.]+(?:e-?\d+)?", b": *", content)
  if path.name == "environment.json":
    return re.sub(rb'"(commit|host|system)": ?"[^"]*"', rb'"\1": *', content)
  return content


def masked(text: str) -> str:
  """Returns what a process said without times and sizes, and lines that depend on the pace."""
  lines = [line for line in text.splitlines() if not OF_PACE.search(line)]
  for pattern, stand_in in MASKS:
    lines = [pattern.sub(stand_in, line) for line in lines]
  return "".join(f"{line}\n" for line in lines)


def first_difference(old: bytes, new: bytes) -> str:
  """Returns the first line that differs between two texts, "" where they are none."""
  try:
    texts = [side.decode().splitlines() for side in (old, new)]
  except UnicodeDecodeError:
    return ""
  lines = itertools.zip_longest(*texts, fillvalue="(no line)")
  for number, (left, right) in enumerate(lines, start=1):
    if left != right:
      same = sum(1 for _ in itertools.takewhile(bool, map(str.__eq__, left, right)))
      part = slice(max(0, same - 20), same + 70)
      return f"line {number}: {left[part]!r} -> {right[part]!r}"
  return ""


def compare(name: str, old: Path, new: Path, ignored: Sequence[str]) -> Iterator[tuple[str, str]]:
  """Yields (file, verdict) for every file that either side of a case has."""
  left, right = dict(contents(old)), dict(contents(new))
  for file in sorted(left.keys() | right.keys()):
    verdict = "equal"
    if file not in left or file not in right:
      verdict = f"differs: only in {'new' if file in right else 'old'}"
    elif left[file] != right[file]:
      verdict = f"differs: {first_difference(left[file], right[file])}".removesuffix(": ")
    whole = f"{name}/{file}".replace("/.sha256/", "/")  # a seal goes with its file
    names = (whole, whole.partition("/")[2], Path(whole).name)
    if verdict != "equal" and any(fnmatch.fnmatch(one, p) for one in names for p in ignored):
      verdict = verdict.replace("differs", "differs (ignored)", 1)
    yield file, verdict


def show(names: Sequence[str], old: Path, new: Path, options: argparse.Namespace) -> int:
  """Prints the table of all files; returns how many differ."""
  ignored = [part for part in options.ignore.split(",") if part]
  count = differ = 0
  print(f"{'case':14} {'file':44} verdict")
  for name in names:
    for file, verdict in compare(name, old / name, new / name, ignored):
      count += 1
      differ += verdict.startswith("differs") and not verdict.startswith("differs (ignored)")
      if verdict != "equal" or not options.differing:
        print(f"{name:14} {file:44} {verdict}")
  print(f"{count} files compared, {differ} differ")
  return differ


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the command line's options; `cases` is a list of names."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("old", type=Path)
  parser.add_argument("new", type=Path, nargs="?", help="without it only OLD's cases are run")
  parser.add_argument("--cases", default="", help=f"of {', '.join(CASES)}; all but toy_full")
  parser.add_argument("--workdir", type=Path, default=Path("/tmp/compare"))
  parser.add_argument("--python", default=sys.executable)
  parser.add_argument("--ignore", default="", help="patterns, with commas between")
  parser.add_argument("--differing", action="store_true", help="list only what is not equal")
  options = parser.parse_args(arguments)
  default = [name for name, case in CASES.items() if case.is_default]
  options.cases = options.cases.split(",") if options.cases else default
  if unknown := set(options.cases) - CASES.keys():
    parser.error(f"--cases: {', '.join(sorted(unknown))} is none of {', '.join(CASES)}")
  return options


@contextlib.contextmanager
def alone(base: Path) -> Iterator[None]:
  """Holds DIR: two comparisons at once would mix their files."""
  base.mkdir(parents=True, exist_ok=True)
  with open(base / ".lock", "w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print(f"{base} is in use by another comparison; waiting for its end", file=sys.stderr)
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def main() -> int:
  options = parse()
  base, old_root = options.workdir.absolute(), options.old.resolve()
  commit = commit_of(old_root)
  if commit.endswith("+"):
    raise SystemExit(f"{old_root}: tracked files differ from its commit; give a clean checkout")
  shelf = base / f"old-{commit}"
  place = Place(old_root, options.python, base, base / "now", shelf, is_old=True)
  needed = {need for name in options.cases for need in CASES[name].needs}
  with alone(base):
    draw_inputs(base / INPUTS)
    run_cases(place, [name for name in CASES if name in {*options.cases, *needed}], shelf)
    if options.new is None:
      return 0
    new_root = options.new.resolve()
    print(f"old {commit}, new {commit_of(new_root)}", file=sys.stderr)
    new = dataclasses.replace(place, root=new_root, is_old=False)
    names = [name for name in CASES if name in options.cases]
    run_cases(new, names, base / "new")
    return int(show(names, shelf, base / "new", options) > 0)


if __name__ == "__main__":
  sys.exit(main())
