"""The command `predict`: classes for new images from a finished run, as a CSV table."""

import contextlib
import dataclasses
import functools
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sdt import named_files
from sdt.commands import output_file
from sdt.config.answer_conflicts import read_views
from sdt.config.command_line import program
from sdt.devices.start import find_devices, load_jax
from sdt.errors import ConfigError, DataError, WorkdirError, nearest
from sdt.files.csv_lines import CsvWriter
from sdt.files.sealed import replacing
from sdt.files.workdir import describe_disk_error

if TYPE_CHECKING:
  from sdt.trained.predicting import Guesses
  from sdt.trained.preparing import PreparedPart

USAGE = (
  "predict WORKDIR PATH... [--arm=ARM] [--seeds=all|0,1] [--views=VIEWS] [--output=FILE.csv] "
  "[--batch_size=N] [--overwrite]"
)
HELP = """\
Predicts the class of every image by the networks of the finished run in WORKDIR.

  PATH                  an image, a folder of images (with those below it), a CSV file with a
                        column path, or an npz
  --arm=ARM             whose networks: by default those of the arm that the run recommends
  --seeds=all|0,1       which of its networks; the probabilities are their mean. By default all
                        that neither diverged nor collapsed
  --views=VIEWS         views of every image, such as 'flip shifts(1)'; the probabilities are their
                        mean. By default the centre alone
  --output=FILE.csv     where the table goes; by default to stdout
  --batch_size=N        images a batch: less needs less memory
  --overwrite           replaces FILE.csv where it exists

An image that cannot be read has a row with the reason, and so has a PATH that is not there beside
others that are; the exit code is then 3."""
_VALUES = ("--arm=", "--seeds=", "--views=", "--output=", "--batch_size=")
FLAGS = (*_VALUES, "--overwrite", "--help")
_NUM_BEST = 5
_TELL_SECS = 30.0
_CHUNK = 2**20


@dataclasses.dataclass(frozen=True)
class Request:
  """What the command line asks for; see `HELP`."""

  workdir: Path
  paths: tuple[str, ...]
  arm: str | None = None
  seeds: str | tuple[int, ...] = "all"
  views: str = "centre"
  output: Path | None = None
  batch_size: int | None = None
  overwrite: bool = False


def parse(arguments: Sequence[str]) -> Request:
  """Returns what the arguments ask for.

  Raises:
    ConfigError: an unknown or repeated flag, a value of another kind, no workdir, no path.
  """
  values: dict[str, str] = {}
  places = []
  rest = iter(arguments)
  for argument in rest:
    flag, has_value, text = argument.partition("=")
    if not argument.startswith("--"):
      places.append(argument)
      continue
    known = {name.rstrip("="): name.endswith("=") for name in FLAGS}
    if flag not in known:
      meant = nearest(flag, known, cutoff=0.5)
      raise _usage(f"unknown flag {flag}" + (f"; did you mean {meant}?" if meant else ""))
    if flag in values:
      raise _usage(f"{flag} is given twice")
    if not known[flag] and has_value:
      raise _usage(f"{flag} takes no value")
    if known[flag] and not (text := text if has_value else next(rest, "")):
      raise _usage(f"{flag} needs a value: {flag}=VALUE")
    values[flag] = text
  if len(places) < 2:
    raise _usage("expected a workdir and at least one path of images")
  views = values.get("--views", "centre")
  read_views(views, "--views")
  return Request(
    workdir=named_files.expanded(places[0]),
    paths=tuple(places[1:]),
    arm=values.get("--arm"),
    seeds=_seeds(values.get("--seeds", "all")),
    views=views,
    output=named_files.expanded(values["--output"]) if "--output" in values else None,
    batch_size=_batch_size(values.get("--batch_size")),
    overwrite="--overwrite" in values,
  )


def _usage(problem: str) -> ConfigError:
  return ConfigError(f"{problem}; usage: {program()} {USAGE}")


def _seeds(text: str) -> str | tuple[int, ...]:
  if text == "all":
    return text
  words = text.strip(",").split(",")
  if not all(word.strip().isdecimal() for word in words):
    raise _usage(f"--seeds={text}: expected all, or seeds such as 0,1")
  return tuple(map(int, words))


def _batch_size(text: str | None) -> int | None:
  if text is None:
    return None
  if not text.isdecimal() or not 1 <= int(text) <= 2**17:
    raise _usage(f"--batch_size={text}: expected a whole number from 1 to {2**17}")
  return int(text)


def main(arguments: Sequence[str]) -> int:
  """Runs the command and returns 0.

  Raises:
    ConfigError: usage, or no finished run in the workdir. DataError: a path or a file of the run is
      damaged or missing, or at least one image could not be read; then the table is complete.
      WorkdirError: the table cannot be written.
  """
  if "--help" in arguments or "-h" in arguments:
    print(f"usage: {program()} {USAGE}\n\n{HELP}")
    return 0
  request = parse(arguments)
  _refuse_output(request)
  load_jax()
  return _predict(request)


def _refuse_output(request: Request) -> None:
  """Raises a WorkdirError, or a ConfigError, where the table could not be written at the end."""
  if request.output is not None:
    output_file.refuse(request.output, overwrite=request.overwrite)


def _predict(request: Request) -> int:
  from sdt.run.environment import use_compilation_cache
  from sdt.run.progress import Display, duration
  from sdt.trained import pictures
  from sdt.trained.load import load
  from sdt.trained.networks import without_warnings

  run, display = load(request.workdir), Display()
  networks = run.networks(request.arm, request.seeds, views=request.views)
  found = pictures.find(request.paths, networks.preparing)
  find_devices()
  if run.config.compilation_cache:
    use_compilation_cache()
  models, total = networks.models, sum(one.total for one in found)
  seeds = ", ".join(str(model.seed) for model in models)
  views = "" if len(networks.views) == 1 else f", {len(networks.views)} views of each"
  display.log(f"predict: {total:,} images, arm {models[0].arm}, seed(s) {seeds}{views}")
  for note in filter(None, (one.note for one in found)):
    display.log(f"note: {note}")
  start, bad, first, scaled = time.perf_counter(), 0, "", 0
  named, task_of = networks.class_names, display.task("predict", total, "image")
  with without_warnings(), _table(request) as file, task_of as task:
    writer = CsvWriter(file)
    writer.writerow(header(len(named)))
    progress = _Progress(total)
    for part, guesses in networks.answers(found, request.batch_size):
      writer.writerows(rows(part, guesses, named))
      if part.reasons and not bad:
        first = next(f"{part.names[place]}: {why}" for place, why in part.reasons.items())
      bad += len(part.reasons)
      scaled += part.num_scaled
      task.advance(progress.done + len(part.names))
      if line := progress.add(len(part.names)):
        display.log(line)
  secs = time.perf_counter() - start
  if note := networks.scaled_note(scaled):
    display.log(f"note: {note}")
  display.log(
    f"predicted {total:,} images in {duration(secs)}, {total / secs:,.0f} a second with what it "
    f"took to compile{f': {request.output}' if request.output else ''}"
  )
  if bad:
    raise DataError(
      f"{bad} of {total} images could not be predicted, as their rows say; the first is {first}"
    )
  return 0


class _Progress:
  """Says how far the work is where no bar shows it: off a terminal, every half minute."""

  def __init__(self, total: int):
    self.done, self._total = 0, total
    self._start = self._last = time.perf_counter()

  def add(self, number: int) -> str:
    """Takes note of images that are done; returns a line, or "" where none is due."""
    from sdt.run.progress import duration

    self.done += number
    now = time.perf_counter()
    if now - self._last < _TELL_SECS or self.done == self._total or sys.stderr.isatty():
      return ""
    self._last, rate = now, self.done / (now - self._start)
    left = duration((self._total - self.done) / rate)
    return f"predict  {self.done:,} of {self._total:,} images, {rate:,.0f} a second  left {left}"


def header(num_classes: int) -> list[str]:
  """Returns the columns of the table."""
  best = range(1, min(_NUM_BEST, num_classes) + 1)
  return [
    *("path", "class", "probability", "spread"),
    *(f"{name}_{place}" for place in best for name in ("class", "probability")),
    "error",
  ]


def rows(part: "PreparedPart", guesses: "Guesses", names: Sequence[str]) -> Iterator[list[object]]:
  """Yields the rows of some pictures; one without a guess has its reason and nothing else."""
  best = guesses.best(_NUM_BEST)
  done = 0
  for place, path in enumerate(part.names):
    if place in part.reasons:
      yield [path, *[""] * (3 + 2 * min(_NUM_BEST, len(names))), part.reasons[place]]
      continue
    spread = "" if guesses.spread is None else _short(guesses.spread[done])
    pairs = [(names[label], _short(guesses.probabilities[done, label])) for label in best[done]]
    yield [path, *pairs[0], spread, *(cell for pair in pairs for cell in pair), ""]
    done += 1


def _short(number: float) -> str:
  return f"{number:.6g}"


@contextlib.contextmanager
def _table(request: Request) -> Iterator[TextIO]:
  """Gives the file that the rows go to; a table on disk appears whole at the end, or not at all.

  Until then it is in a file without a name, which no kill leaves behind.
  """
  path = request.output
  if path is None:
    yield sys.stdout
    return
  try:
    with tempfile.TemporaryFile(dir=path.parent) as hidden:
      text = io.TextIOWrapper(hidden, "utf-8", "backslashreplace", newline="")
      yield text
      text.flush()
      _refuse_output(request)  # somebody else's file may have come in between
      hidden.seek(0)
      with replacing(path, then=iter(functools.partial(hidden.read, _CHUNK), b"")):
        pass
      text.detach()
  except OSError as error:
    raise WorkdirError(describe_disk_error(named_files.shown(path), error)) from error
