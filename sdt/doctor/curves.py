"""Step 7: what the curves of a training say, of the fine grid's best trial or of a finished run."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.config import Config, from_dict
from sdt.doctor.grids import COARSE, FINE, RATE
from sdt.doctor.visit import Outcome, Visit
from sdt.run import metrics, selection
from sdt.run.search.trials import BASELINE
from sdt.stats import curve_diagnosis
from sdt.stats.curve_diagnosis import Curves
from sdt.stats.finding import note

_KEYS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclasses.dataclass(frozen=True)
class _Training:
  """A training whose curves are there: rows, what they are of, its rate and its rounds."""

  workdir: Path
  what: str
  held_out: str
  num_held_out: int
  rate: float
  rounds: int


def read_curves(visit: Visit) -> Outcome:
  """Diagnoses the curves of the run in the workdir, else of the best trial of the grids.

  Source: the slides on training networks, step 6.
  """
  training = _training(visit)
  curves = None if training is None else curves_of(training.workdir)
  if training is None or curves is None:
    text = "there are no curves yet: neither a run nor a grid has trained here"
    return Outcome((note("no_curves", text, "give the steps 5 and 6 too, or train first"),))
  loss, accuracy, _, held_out = curves
  found = curve_diagnosis.of_curves(
    Curves(
      loss, accuracy, held_out, num_held_out=training.num_held_out, held_out=training.held_out
    ),
    rounds=training.rounds,
    planned=visit.config.rounds,
    rate=training.rate,
  )
  measured = {
    "what": training.what,
    "held_out": training.held_out,
    **{key: _plain(values) for key, values in zip(_KEYS, curves, strict=True)},
  }
  return Outcome(tuple(found), measured)


def _plain(values: np.ndarray) -> list[float | None]:
  return [float(value) if np.isfinite(value) else None for value in values]


def _training(visit: Visit) -> _Training | None:
  """Returns the training to look at; None where there is none."""
  workdir = visit.folder.parent
  if (workdir / metrics.FILE).exists():
    own = config_of_run(workdir)  # may be another config
    return _Training(
      workdir,
      "the run in the workdir",
      "test examples",
      num_held_out=len(visit.data.test),
      rate=own.optim.learning_rate,
      rounds=own.rounds,
    )
  for name in (FINE, COARSE):
    if (folder := visit.measured(name, "folder")) is not None:
      return _Training(
        visit.folder / folder,
        f"the best trial of the {name} grid",
        "held-out examples",
        num_held_out=visit.measured(name, "num_validation"),
        rate=visit.measured(name, "chosen")[RATE],
        rounds=visit.measured(name, "rounds"),
      )
  return None


def config_of_run(workdir: Path) -> Config:
  """Returns the config of a run, with the values that a selection chose."""
  own = from_dict(files.read_json(workdir / "config.json")["config"])
  environment = workdir / "environment.json"
  choices = files.read_json(environment)["choices"] if environment.exists() else {}
  return selection.frozen(own, choices.get("selected") or {})


def curves_of(workdir: Path) -> tuple[np.ndarray, ...] | None:
  """Returns the curves of the baseline's first seed, by `_KEYS`; None where it has no rounds.

  Only files are read.
  """
  rows: list[Any] = [
    row for row in files.read_rows(workdir / metrics.FILE) if row["arm"] == BASELINE
  ]
  rows = [
    row for row in rows if row["seed"] == rows[0]["seed"] and row["test_accuracy"] is not None
  ]
  if not rows:
    return None
  return tuple(
    np.array([np.nan if row[key] is None else row[key] for row in rows], np.float64)
    for key in _KEYS
  )
