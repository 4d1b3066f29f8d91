"""The command `compare`: did what was changed between two finished runs help?"""

import argparse
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sdt import named_files
from sdt.commands import output_file
from sdt.config.command_line import program
from sdt.devices.start import load_jax
from sdt.errors import ConfigError
from sdt.files.formats import json_text
from sdt.report.tables import MAX_WIDTH, block
from sdt.report.wording import percent

FLAGS = ("--arms=", "--output=", "--overwrite", "--help")
_MEASURES = {"accuracy": "test accuracy, %", "balanced_accuracy": "balanced accuracy, %"}
_NUM_CLASSES, _NUM_PAIRS = 3, 4


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise ConfigError(f"compare: {message}; {' '.join(self.format_usage().split())}")


def _parser() -> _Parser:
  parser = _Parser(
    prog=f"{program()} compare",
    description="Says whether what was changed between two finished runs helped, such as labels\n"
    "that were mended: both on the same test images, paired by seed. Nothing is trained.\n"
    "docs/review.md has the rest.",
    allow_abbrev=False,
    formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
  )
  parser.add_argument("before", metavar="RUN_BEFORE", help="workdir of the run before the change")
  parser.add_argument("after", metavar="RUN_AFTER", help="workdir of the run after it")
  parser.add_argument(
    "--arms",
    help="such as baseline,method: by default all that both have. They are one family of tests: "
    "fewer have narrower intervals, if you choose them before you look",
  )
  parser.add_argument("--output", metavar="FILE.json", help="all figures as a file too")
  parser.add_argument("--overwrite", action="store_true", help="replace FILE.json where it exists")
  return parser


def main(arguments: Sequence[str]) -> int:
  """Compares two runs and prints what it comes to; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py.
  """
  try:
    given = _parser().parse_args(list(arguments))
  except SystemExit as asked:  # --help, which argparse has printed
    return int(asked.code or 0)
  before, after = _named("RUN_BEFORE", given.before), _named("RUN_AFTER", given.after)
  output = None if given.output is None else _named("--output", given.output)
  if output is not None:
    output_file.refuse(output, overwrite=given.overwrite)
  load_jax()
  from sdt.trained.comparing import compare

  arms = None if given.arms is None else [arm.strip() for arm in given.arms.split(",") if arm]
  if arms == []:
    raise ConfigError("compare: --arms= names no arm; leave it out, or name some")
  content = compare(before, after, arms)
  print(text_of(content))
  if output is not None:
    output_file.write(output, f"{json_text(content)}\n".encode(), overwrite=given.overwrite)
  return 0


def _named(what: str, text: str) -> Path:
  if not text:
    raise ConfigError(f"compare: {what} is an empty text; name a path")
  return named_files.expanded(text)


def text_of(content: Mapping[str, Any]) -> str:
  """Returns what `sdt.trained.comparing.compare` found, as text of at most 100 columns."""
  blocks = [_filled(f"before: {content['before']}; after: {content['after']}")]
  for by, graded in content["graded"].items():
    title = "" if by == "both" else f"By the test labels of the run {by}:\n"
    blocks.append(title + table(graded, content["measure"]))
    blocks.append("\n".join(map(_filled, _details(*next(iter(graded.items()))))))
    blocks.extend(_filled(line) for line in _next_step(graded))
  seeds, points = ", ".join(map(str, content["seeds"])), 100 / max(content["num_test"], 1)
  about = [
    _training(content["training_labels"]),
    _config(content["config"]),
    f"Paired by seed ({seeds}), intervals joint over the arms. {content['num_test']:,} test images "
    f"of {content['data']}: one is {points:.2f} points. A verdict is about other seeds on these "
    "test images, not about other images.",
    *(f"! {note}" for note in content["notes"]),
  ]
  return "\n\n".join([*blocks, "\n".join(map(_filled, about))])


def _filled(text: str) -> str:
  return textwrap.fill(text, MAX_WIDTH, break_on_hyphens=False, break_long_words=False)


def table(graded: Mapping[str, Any], measure: str) -> str:
  """Returns the table of the arms: before, after, the difference, its interval, the verdict."""
  rows = [(_MEASURES[measure], "before", "after", "after-before", "interval", "n", "verdict")]
  for arm, entry in graded.items():
    found = entry["difference"]
    interval = found["interval"] or (None, None)
    low, high = (percent(end, signed=True) for end in interval)
    rows.append(
      (
        *(arm, percent(entry["before"]["mean"]), percent(entry["after"]["mean"])),
        percent(found["mean"], signed=True),
        f"{low} to {high}" if found["interval"] else "-",
        str(found["n"]),
        found["verdict"] + ("" if found["planned"] else ", exploratory"),
      )
    )
  return block(list(zip(*rows, strict=True)))


def _details(arm: str, entry: Mapping[str, Any]) -> Iterator[str]:
  """Yields which images and classes changed, of the first arm."""
  images, classes = entry["images"], entry["classes"]
  if not classes:
    return
  counts = [images[name]["mean"] for name in ("to_right", "to_wrong")]
  always = [len(images[f"{name}_in_every_seed"]) for name in ("to_right", "to_wrong")]
  yield (
    f"Test images, {arm}: {counts[0]:.1f} from wrong to right and {counts[1]:.1f} from right to "
    f"wrong, a mean over the seeds. In every seed the same {always[0]} became right, and "
    f"{always[1]} wrong."
  )
  gained = [row for row in classes if row["difference"] > 0][:_NUM_CLASSES]
  lost = [row for row in reversed(classes) if row["difference"] < 0][:_NUM_CLASSES]
  for words, some in (("gained most", gained), ("lost most", lost)):
    if some:
      yield f"Classes that {words}, {arm}, points (no test): {', '.join(map(_class, some))}."


def _next_step(graded: Mapping[str, Any]) -> Iterator[str]:
  """Yields what to do where differences are not resolved: how large they would have to be."""
  least = [
    f"{arm} {percent(one['smallest_detectable'])} (n = {one['n']})"
    for arm, one in ((arm, entry["difference"]) for arm, entry in graded.items())
    if one["verdict"] == "not resolved" and one["smallest_detectable"] is not None
  ]
  if least:
    yield (
      "Not resolved. A true difference of so many points would be found four times out of five: "
      f"{', '.join(least)}. More seeds in both runs find smaller ones; so does a recipe whose "
      "seeds differ less."
    )


def _class(row: Mapping[str, Any]) -> str:
  seeds = f"better in {row['seeds_up']} seed(s), worse in {row['seeds_down']}"
  return (
    f"{row['class']} {percent(row['difference'], signed=True)} ({row['num_test']} images, {seeds})"
  )


def _training(labels: Mapping[str, Any]) -> str:
  """Returns how the training labels differ."""
  if "why" in labels:
    return f"Training labels are not compared: {labels['why']}."
  pairs = [f"{one['before']} to {one['after']}: {one['num']}" for one in labels["pairs"]]
  more = ", ..." if len(pairs) > _NUM_PAIRS else ""
  which = f" ({', '.join(pairs[:_NUM_PAIRS])}{more})" if pairs else ""
  text = (
    f"Training labels: of {labels['num'][0]:,}, {labels['relabelled']} are relabelled{which}, "
    f"{labels['only_before']} dropped, {labels['only_after']} only in the second run."
  )
  before, after = labels["known_wrong"]
  if before is not None and after is not None:
    text += f" Known to be wrong: {100 * before:.1f} % before, {100 * after:.1f} % after."
  return text


def _config(keys: Sequence[Mapping[str, Any]]) -> str:
  if not keys:
    return "Configs: nothing differs that may matter."
  return f"Configs differ in {'; '.join(one['text'] for one in keys)}."
