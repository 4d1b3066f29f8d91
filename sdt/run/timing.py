"""The account of time of a run: the content of timing.json."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdt import files


@dataclasses.dataclass
class Timing:
  """Seconds over all starts of the run: the content of timing.json.

  Training, evaluating, compiling and saving are parts of stages.

  A selection is a stage too, "select"; what it trained stands in the accounts of its own runs.

  `images` counts the training examples of finished rounds, each seed's; `train_secs` and
  `evaluation_secs` are the seconds in which programs trained and evaluated (see
  `Progress` of the trainer), steps that were lost and made again among them; `idle_secs` those that
  the host kept the devices waiting for between two dispatches, for streamed inputs too, but not for
  saves. `steps_redone` counts the optimiser steps that a start had to make again, as far as rows
  tell of them; what a kill took after the last row nobody knows.
  """

  stages: dict[str, float] = dataclasses.field(default_factory=dict)
  images: dict[str, int] = dataclasses.field(default_factory=dict)
  train_secs: dict[str, float] = dataclasses.field(default_factory=dict)
  evaluation_secs: dict[str, float] = dataclasses.field(default_factory=dict)
  idle_secs: float = 0.0
  compile_secs: float = 0.0
  save_secs: float = 0.0
  num_saves: int = 0
  num_starts: int = 0
  steps_redone: int = 0
  wall_secs: float = 0.0  # of the earlier starts
  since: float = dataclasses.field(
    default_factory=time.perf_counter
  )  # when this start began, on the process's own clock

  @contextmanager
  def stage(self, name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
      yield
    finally:
      self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start

  def add_dispatch(self, arm: str, secs: float, evaluation_secs: float) -> None:
    """Adds a dispatch of an arm: its seconds, of which some were for the evaluation."""
    self.train_secs[arm] = self.train_secs.get(arm, 0.0) + secs - evaluation_secs
    self.evaluation_secs[arm] = self.evaluation_secs.get(arm, 0.0) + evaluation_secs

  def add(self, content: Mapping[str, Any]) -> None:
    """Adds the account of another run, the content of its timing.json."""
    for field in dataclasses.fields(self):
      value, own = content.get(field.name), getattr(self, field.name)
      if isinstance(value, Mapping):
        for name, number in value.items():
          own[name] = own.get(name, 0) + number
      elif value is not None:
        setattr(self, field.name, own + value)

  def to_dict(self) -> dict[str, Any]:
    """Returns the content of timing.json, with what follows from the account.

    images_per_sec: of training, by arm. goodput: the share of the wall time, a selection's apart,
    in which programs trained or evaluated.
    """
    rates = {
      arm: self.images.get(arm, 0) / secs for arm, secs in self.train_secs.items() if secs > 0
    }
    wall_secs = self.wall_secs + time.perf_counter() - self.since
    own_secs = wall_secs - self.stages.get("select", 0.0)
    content = {**dataclasses.asdict(self), "wall_secs": wall_secs}
    del content["since"]
    running = sum(self.train_secs.values()) + sum(self.evaluation_secs.values())
    return {**content, "images_per_sec": rates, "goodput": running / own_secs}

  @classmethod
  def read(cls, path: Path, since: float) -> Timing:
    """Returns the account of the earlier starts, if there are any, with one start more."""
    content = files.read_json(path) if files.is_intact(path) else {}
    known = {
      field.name: content[field.name] for field in dataclasses.fields(cls) if field.name in content
    }
    return cls(**(known | {"num_starts": known.get("num_starts", 0) + 1, "since": since}))
