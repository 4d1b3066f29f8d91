"""What the section `evaluate` cannot stand beside: views, dropout's samples, snapshots, shifts."""

import functools
from collections.abc import Mapping
from typing import Any

from sdt.config.conflict import Conflict
from sdt.config.keys.evaluate import SHIFT_STEP
from sdt.config.toolbox.block import Call
from sdt.config.toolbox.parse import parse_call, parse_calls
from sdt.config.toolbox.training_blocks import SCHEDULES
from sdt.config.toolbox.view_blocks import CENTRE, CROP_COUNTS, VIEWS, View, views_of
from sdt.errors import ConfigError

_MOST_VIEWS = 256


def _crops(text: str) -> list[Call]:
  return [call for call in parse_calls(text, VIEWS) if call.name == "crops"]


def view_conflicts(key: str) -> tuple[Conflict, ...]:
  """Returns what a text of views may not say, by the key that holds it."""

  def repeats(values: Mapping[str, Any]) -> bool:
    views = views_of(values[key])
    return len(set(views)) < len(views)

  return (
    Conflict(  # the first: of other counts there are no views
      (key,),
      lambda of: any(call.numbers[0] not in CROP_COUNTS for call in _crops(of[key])),
      "there are five crops, or nine",
      way_out="write crops(5) or crops(9)",
    ),
    Conflict(
      (key,),
      repeats,
      "a view stands in it twice, and would count twice in the mean",
      way_out="name every block once, with different numbers",
    ),
    Conflict(
      (key,),
      lambda of: views_of(of[key]) == (CENTRE,) and of[key].strip() not in ("", "centre"),
      "these blocks leave the centre as it is, so nothing would be averaged",
      way_out="write centre, or other numbers",
    ),
    Conflict(
      (key,),
      lambda of: len(views_of(of[key])) > _MOST_VIEWS,
      f"these are more than {_MOST_VIEWS} views of every image",
      way_out="name fewer blocks",
    ),
  )


def _cycles(values: Mapping[str, Any]) -> tuple[int, int]:
  """Returns how many whole cycles follow the warm-up, and the rounds that are left over."""
  return divmod(values["rounds"] - values["optim.warmup_rounds"], values["optim.cycle_rounds"])


def _has_cycles(values: Mapping[str, Any]) -> bool:
  schedule = parse_call(values["optim.schedule"], SCHEDULES).name
  return "optim.cycle_rounds" in SCHEDULES[schedule].keys and bool(values["optim.cycle_rounds"])


def _both(key: str, other: str, values: Mapping[str, Any]) -> bool:
  return bool(values[key] and values[other])


def _is_swept(key: str, values: Mapping[str, Any]) -> bool:
  return bool(values["evaluate.prior_shift"]) and values[key] == "data.validation_fraction"


ANSWERS: tuple[Conflict, ...] = (
  *view_conflicts("evaluate.views"),
  Conflict(
    ("evaluate.views", "data.crop_size"),
    lambda of: _crops(of["evaluate.views"]) and of["data.crop_size"] is None,
    "the network sees whole images, which have no other part",
    way_out="give data.crop_size too, or choose shifts(1)",
  ),
  Conflict(
    ("evaluate.dropout_samples", "model.dropout"),
    lambda of: of["evaluate.dropout_samples"] and not of["model.dropout"],
    "the samples need a rate of dropout: without one all would be the same",
    way_out="give model.dropout, such as 0.1 (alexnet's own is 0.5), or leave "
    "evaluate.dropout_samples out",
  ),
  Conflict(
    ("evaluate.ensemble", "seeds"),
    lambda of: of["evaluate.ensemble"] and len(of["seeds"]) < 2,
    "one network is no ensemble",
    way_out="give more seeds, or leave evaluate.ensemble out",
  ),
  Conflict(
    ("evaluate.snapshots",),
    lambda of: of["evaluate.snapshots"] == 1,
    "one snapshot is the final network",
    way_out="give 2 or more, or leave it out",
  ),
  Conflict(
    ("evaluate.snapshots", "optim.schedule"),
    lambda of: of["evaluate.snapshots"] and not _has_cycles(of),
    "a snapshot is taken at the end of a cycle, and this schedule has none",
    way_out="choose warm_restarts with optim.cycle_rounds",
  ),
  Conflict(
    ("evaluate.snapshots", "rounds", "optim.cycle_rounds"),
    lambda of: of["evaluate.snapshots"] and _cycles(of)[1],
    "the training would end within a cycle",
    way_out="make rounds, without the warm-up, a multiple of optim.cycle_rounds",
  ),
  Conflict(
    ("evaluate.snapshots", "rounds", "optim.cycle_rounds"),
    lambda of: of["evaluate.snapshots"] > _cycles(of)[0] if of["evaluate.snapshots"] else False,
    "there are fewer cycles than that",
    way_out="lower evaluate.snapshots or optim.cycle_rounds",
  ),
  Conflict(
    ("evaluate.snapshots", "stop.patience"),
    lambda of: of["evaluate.snapshots"] and of["stop.patience"],
    "with early stopping the network of the best round counts, and cycles may be cut off",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("evaluate.prior_shift",),
    lambda of: 0 < of["evaluate.prior_shift"] < SHIFT_STEP,
    f"strengths are tried in steps of {SHIFT_STEP}, and 0 is the answer as it is",
    way_out="give the largest strength that is tried, such as 2, or leave it out",
  ),
  *(
    Conflict(
      ("evaluate.prior_shift", key),
      functools.partial(_both, "evaluate.prior_shift", key),
      "the validation split would choose twice, the values and the strengths",
      way_out="select without evaluate.prior_shift first, then give the chosen values",
    )
    for key in ("select.lambda_A", "select.fraction", "select.weight_decay", "select.space")
  ),
  Conflict(
    ("evaluate.prior_shift", "baseline_from"),
    functools.partial(_both, "evaluate.prior_shift", "baseline_from"),
    "the other run may have held out other examples",
    way_out="leave baseline_from out",
  ),
  *(
    Conflict(
      ("evaluate.prior_shift", key),
      functools.partial(_is_swept, key),
      "the runs of a sweep share a baseline, which this key changes beside held-out examples",
      way_out="make a run for each value",
    )
    for key in ("sweep.key", "sweep.also_key")
  ),
)


def read_views(text: str, where: str) -> tuple[View, ...]:
  """Returns the views of a text that stands in no config, such as that of a flag.

  Args:
    text: such as `flip shifts(1)`.
    where: what the message calls it.

  Raises:
    ConfigError: it cannot be read, or says what no text of views may say.
  """
  try:
    parse_calls(text, VIEWS)
  except ValueError as error:
    raise ConfigError(f"{where}={text!r}: {error}; the views are {', '.join(VIEWS)}") from error
  for conflict in view_conflicts(where):
    if conflict.when({where: text}):
      raise ConfigError(f"{where}={text!r}: {conflict.reason}; {conflict.way_out}")
  return views_of(text)
