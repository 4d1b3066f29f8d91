"""The model card beside an export: what the network is, what it takes, how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import sdt
from sdt import files
from sdt.config.schema import DataConfig
from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.data.published.catalogue import LICENCES
from sdt.trained.exports.formats import Format
from sdt.trained.model import Model

# What becomes of colours, by the channels of the inputs.
_COLOURS = {
  1: "it must be grey",
  3: "a grey one becomes RGB by giving its values to all three, and what is transparent lies on "
  "white",
}
_OWN_DATA = "not known to sdt: the data are the user's own"


def card(
  model: Model, results: Mapping[str, Any], kind: Format, *, file: str, precision: str = "float32"
) -> str:
  """Returns the model card, Markdown.

  Args:
    model: the network.
    results: results.json of its run.
    kind: of the export.
    file: its name.
    precision: in which the run computed: training and figures.
  """
  of_data = results["data"]
  title = f"{model.config.model.name}, trained on {of_data['name']}"
  sections = [
    f"# {title}\n\nMade by sdt {sdt.__version__}: arm `{model.arm}`, seed {model.seed}, "
    f"{results['model']['num_params']:,} parameters, {results['rounds']} rounds.",
    f"## Use\n\n```python\n{kind.example_of(model, file)}\n```",
    "## Input\n\n" + "\n".join(f"- {line}" for line in _input(model, kind)),
    f"## Output\n\nlogits, float32 [batch, {len(model.class_names)}]; their softmax is the "
    f"probability of each class, as `predict --arm={model.arm} --seeds={model.seed}` of sdt says. "
    f"The classes in order:\n\n```json\n{_json(model.class_names)}\n```",
    f"## Accuracy\n\n{_accuracy(model, results, precision)}",
    "## Data\n\n" + "\n".join(f"- {line}" for line in _data(of_data)),
    f"## Origin\n\n- SHA-256 of the weights' file in the run: `{model.digest}`",
  ]
  return "\n\n".join(sections) + "\n"


def _json(value: object) -> str:
  return files.json_text(value, indent=None)


def _input(model: Model, kind: Format) -> list[str]:
  """Returns what the network takes: type and shape, the formula, and how images get that size."""
  if len(model.input_shape) != 3:
    shape = ", ".join(map(str, model.input_shape))
    return [
      f"`inputs`, float32 [batch, {shape}]: vectors as they are in the data; one or more",
      f"inside, the file computes {_formula(model, 'x')}",
    ]
  height, width, channels = model.input_shape
  colours = "red, green, blue" if channels == 3 else f"{channels} channel(s) as in the data"
  formula = _formula(model, "pixel / 255")
  if kind.takes_pixels:
    first = [
      f"`inputs`, uint8 [batch, {height}, {width}, {channels}]: rows from the top, {colours}, 0 to "
      "255; one image or more",
      f"inside, the file computes {formula}",
    ]
  else:
    first = [
      f"`inputs`, float32 [batch, {channels}, {height}, {width}]: rows from the top, {colours}",
      f"each value is {formula}: the file does not do it",
    ]
  return [*first, *_reading(model.config.data, model.input_shape)]


def _formula(model: Model, x: str) -> str:
  """Returns what becomes of the inputs, of which `x` is the first form."""
  if model.is_plainly_normalised:
    mean, std = (_numbers(values) for values in (model.mean, model.std))
    which = " of each channel" if len(model.input_shape) == 3 else ""
    return f"({x} - mean) / std with mean = {mean}, std = {std}{which}"
  calls = parse_calls(model.config.data.normalise, NORMALISERS)
  blocks = "; then ".join(f"`{call}`: {NORMALISERS[call.name].meaning}" for call in calls)
  return f"of x = {x}, with numbers of the training set that are in the file, {blocks}"


def _reading(config: DataConfig, shape: Sequence[int]) -> list[str]:
  """Returns how an image file becomes an input [H, W, C], as `predict` reads it.

  Nothing where no image file has so many channels.
  """
  height, width, channels = shape
  if channels not in _COLOURS:
    return []
  lines = [
    f"an image file is made upright; {_COLOURS[channels]}",
    "palettes and CMYK become RGB as Pillow's `Image.convert` does it",
    _deep_grey(config),
  ]
  if config.image_size is not None:
    what = (
      f"height and width become {config.image_size} pixels"
      if config.resize == "stretch"
      else f"the shorter side becomes {config.image_size} pixels, and the proportions stay"
    )
    lines.append(f"it is resized (bilinear, antialiased): {what}")
  factor = config.downsample
  if factor > 1 and config.image_size is not None:
    lines.append(f"then squares of {factor} x {factor} pixels are averaged")
  if config.crop_size is not None:
    lines.append(f"then the middle {config.crop_size} x {config.crop_size} pixels are taken")
  elif config.image_size is None:
    averaged = (
      f", averages of {factor} x {factor} in the images of the set ({factor * width} x "
      f"{factor * height})"
      if factor > 1
      else ""
    )
    lines.append(
      f"the run resized nothing: its images have {width} x {height} pixels{averaged}. One of "
      "another size is scaled to that (bilinear, antialiased), whatever its proportions"
    )
  return lines


def _deep_grey(config: DataConfig) -> str:
  if config.value_range is None:
    return (
      "of grey images of 12 and 16 bits the upper 8 bits count; floats in [0, 1] are multiplied by "
      "255"
    )
  black, white = config.value_range
  return (
    f"of grey images of over 8 bits, or of floats, {black:g} becomes 0, {white:g} becomes 255, and "
    "what is beyond is clipped (data.value_range)"
  )


def _numbers(values: Sequence[float] | np.ndarray) -> str:
  """Returns float32 numbers in the fewest digits that are exact, and few of many."""
  texts = [str(np.float32(value)) for value in values]
  return f"[{', '.join(texts)}]" if len(texts) <= 16 else f"{len(texts)} numbers, in the file"


def _accuracy(model: Model, results: Mapping[str, Any], precision: str) -> str:
  """Returns the figures of the network and of the arms of its run, with n and spread."""
  num_test, arms = results["data"]["num_test"], results["arms"]
  own = arms[model.arm]["accuracy"].get(str(model.seed))
  same = (
    ", as this file computes"
    if precision == "float32"
    else "; this file computes in float32, where a few answers may differ"
  )
  lines = [
    f"This network: {_percent(own)} of {num_test:,} test examples, after the last round. The "
    f"figures were measured in {precision}{same}.",
    "",
    "| arm | test accuracy, % | standard deviation | n seeds |",
    "|---|---|---|---|",
  ]
  for arm, entry in arms.items():
    spread = "-" if entry["sd"] is None else f"{100 * entry['sd']:.2f}"
    mean = "-" if entry["mean"] is None else f"{100 * entry['mean']:.2f}"
    lines.append(f"| `{arm}` | {mean} | {spread} | {entry['n']} |")
  if flaw := _flaw(arms[model.arm], model.seed):
    lines += ["", f"**{flaw}**"]
  return "\n".join(lines)


def _flaw(entry: Mapping[str, Any], seed: int) -> str:
  """Returns what was wrong with the training of a seed; "" for nothing."""
  how = (entry["collapse"] or {"seeds": {}})["seeds"].get(str(seed))
  is_fit = seed in entry["fit"]
  told = []
  if seed in entry["diverged"]:
    told.append("This network diverged in training: its answers are of no use.")
  elif how is not None and how["ended_at_chance"]:
    told.append("This network ended at chance: it is no better than chance on the test set.")
  elif how is not None and how["stuck_in_rounds"] is not None:
    first, last = how["stuck_in_rounds"]
    told.append(
      f"This network was at chance in rounds {first} to {last} of its training, and is not at its "
      "end."
    )
  if not is_fit:
    told.append("The run does not recommend it.")
  return " ".join(told)


def _percent(share: float | None) -> str:
  return "not known" if share is None else f"{100 * share:.2f} %"


def _data(of_data: Mapping[str, Any]) -> list[str]:
  return [
    f"`{of_data['name']}`, variant {of_data['variant']}: {of_data['num_train']:,} training and "
    f"{of_data['num_test']:,} test examples of {of_data['num_classes']} classes",
    f"SHA-256 of the data: `{of_data['checksum']}`",
    f"licence: {LICENCES.get(of_data['name'], _OWN_DATA)}",
  ]
