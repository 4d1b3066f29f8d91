"""doctor.html: the page of an examination, from the content of doctor.json alone."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdt import files
from sdt.report import page
from sdt.report.picture import Picture
from sdt.report.wording import sentences

FILE = "doctor.html"
_WORDS = {"ok": "ok", "note": "Note", "fault": "Fault"}


def write(workdir: Path, content: Mapping[str, Any]) -> Path:
  """Writes doctor.html, one file with its figures inside; returns its path."""
  path = workdir / FILE
  files.write_text(path, html(content, pictures(content)))
  return path


def html(content: Mapping[str, Any], drawn: Mapping[str, Picture]) -> str:
  """Returns the HTML; every value is escaped."""
  steps = content["steps"]
  levels = [one["level"] for step in steps.values() for one in step["findings"]]
  return page.render(
    "doctor.html",
    title=f"{content['data']['name']}, {content['model']['name']}",
    page_kind="doctor",
    content=content,
    verdict=_verdict(levels),
    has_fault="fault" in levels,
    words=_WORDS,
    steps=list(steps.items()),
    tables=tables(content),
    pictures=drawn,
    config=page.pairs(content["config"]),
  )


def _verdict(levels: list[str]) -> str:
  faults, notes = levels.count("fault"), levels.count("note")
  found = f"{faults} fault{'s' * (faults != 1)} and {notes} note{'s' * (notes != 1)}"
  return f"{found} in {len(levels)} findings." if faults or notes else "No fault was found."


def tables(content: Mapping[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
  """Returns step -> (heads, rows) of the numbers behind its findings."""
  measured = {name: step["measured"] for name, step in content["steps"].items()}
  found: dict[str, tuple[list[str], list[list[str]]]] = {}
  if "slopes" in measured.get("gradient", {}):
    pairs = zip(measured["gradient"]["slopes"], measured["gradient"]["errors"], strict=True)
    found["gradient"] = (
      ["direction", "by the gradient", "by differences", "relative error"],
      [
        [str(number), *(_number(one, ".8g") for one in slope), _number(error, ".1e")]
        for number, (slope, error) in enumerate(pairs, start=1)
      ],
    )
  if layers := measured.get("before", {}).get("layers"):
    found["before"] = (
      ["layer", "dead, %", "saturated, %", "mean", "sd"],
      [
        [one["layer"], _share(one["dead"]), _share(one["saturated"]), *_digits(one)]
        for one in layers
      ],
    )
  for name in ("overfit", "rates"):
    if courses := measured.get(name, {}).get("courses"):
      found[name] = (
        ["learning rate", "steps", "loss at the end", "training right, %", "test right, %"],
        [_course(one) for one in courses],
      )
  return found


def _digits(layer: Mapping[str, Any]) -> list[str]:
  return [_number(layer[key], ".3g") for key in ("mean", "sd")]


def _number(value: float | None, form: str) -> str:
  """Returns a number of doctor.json, which has None for one that is not finite."""
  return "not finite" if value is None else format(value, form)


def _share(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.1f}"


def _course(course: Mapping[str, Any]) -> list[str]:
  made = [loss for loss in course["losses"] if loss is not None]
  last = made[-max(1, len(made) // 10) :]
  end = "not finite" if course["diverged"] else f"{sum(last) / len(last):.3g}" if last else "-"
  shares = (_share(course[key]) for key in ("accuracy", "test_accuracy"))
  return [f"{course['rate']:g}", str(len(made)), end, *shares]


def pictures(content: Mapping[str, Any]) -> dict[str, Picture]:
  """Returns the figures of the steps that have one, by the name of the step."""
  return dict(_pictures(content))


def _pictures(content: Mapping[str, Any]) -> Iterator[tuple[str, Picture]]:
  from sdt.report import doctor_figures, figures  # matplotlib takes most of a second

  measured = {name: step["measured"] for name, step in content["steps"].items()}
  own = content["config"]["optim"]["learning_rate"]
  chance = math.log(content["data"]["num_classes"])
  if layers := _layers(measured):
    svg = figures.render(doctor_figures.layers, layers)
    yield "before", Picture(svg, "activations by layer", _LAYERS, kind="wide")
  for name, caption in (("overfit", _OVERFIT), ("rates", _RATES)):
    if courses := measured.get(name, {}).get("courses"):
      svg = figures.render(doctor_figures.losses, courses, chance, own)
      yield name, Picture(svg, f"losses, {name}", caption, kind="wide")
  if any(name in measured for name in ("coarse", "fine")):
    yield from _grids(measured)
  if "train_loss" in measured.get("curves", {}):
    svg = figures.render(doctor_figures.curves, measured["curves"])
    caption = f"Of {measured['curves']['what']}, seed {content['seed']}."
    yield "curves", Picture(svg, "accuracy and loss over the rounds", caption, kind="wide")


def _grids(measured: Mapping[str, Any]) -> Iterator[tuple[str, Picture]]:
  from sdt.report import figures, search_figures

  for name in ("coarse", "fine"):
    if one := measured.get(name):
      svg = figures.render(search_figures.search, one["candidates"], one["space"], one["chosen"])
      yield name, Picture(svg, f"trials of the {name} grid", _GRID, kind="wide")


def _layers(measured: Mapping[str, Any]) -> dict[str, Any]:
  """Returns when -> layers: before the first step, and after a hundred."""
  times = {"before training": "before", "after 100 steps": "rates"}
  found = {when: measured.get(step, {}).get("layers") for when, step in times.items()}
  return {when: layers for when, layers in found.items() if layers}


_LAYERS = sentences(
  "Of up to 256 training examples, without augmentation, in training mode with the statistics of "
  "the batch; after 100 steps at the best rate of step 4.",
  "A spread that falls from layer to layer vanishes, one that rises explodes. A dead unit gives "
  "the same for every example; a saturated one is within 1 % of a limit of its function.",
)
_OVERFIT = sentences(
  "Loss of each step on the eight batches, moving average, without decay, augmentation and "
  "dropout.",
  "Rates other than the config's are tried only where it fails.",
)
_RATES = (
  "Loss of each step on new batches, moving average, with the decay and augmentation of the "
  "config, at a constant rate, from the same weights."
)
_GRID = (
  "Accuracy of each trial on the validation split, at a constant rate. The chosen one is orange. "
  "In the other panels the same trials stand by their value of each key."
)
