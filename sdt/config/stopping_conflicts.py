"""What early stopping cannot stand beside: a part of the table of conflicts."""

from sdt.config.conflict import Conflict


def _stops_beside(key: str, reason: str, way_out: str) -> Conflict:
  """Returns the conflict of early stopping with any value of a key."""
  return Conflict(
    ("stop.patience", key), lambda of: of["stop.patience"] and of[key], reason, way_out=way_out
  )


def _stops_in_sweep(key: str) -> Conflict:
  return Conflict(
    ("stop.patience", key),
    lambda values: values["stop.patience"] and values[key] == "data.validation_fraction",
    "the runs of a sweep share a baseline, which this key changes with early stopping",
    way_out="make a run for each value",
  )


_TWICE = "the validation split would choose twice, which of the values and which of the rounds"
_FIRST = "select without stop.patience first, then give the chosen values"

STOPPING: tuple[Conflict, ...] = (
  *(
    _stops_beside(key, _TWICE, _FIRST)
    for key in ("select.lambda_A", "select.fraction", "select.weight_decay", "select.space")
  ),
  _stops_beside(
    "score.at_round",
    "the network that scores is that of the best round",
    "leave score.at_round out",
  ),
  _stops_beside(
    "baseline_from", "the other run may have held out other examples", "leave baseline_from out"
  ),
  Conflict(
    ("stop.patience", "rounds"),
    lambda values: values["stop.patience"] >= values["rounds"],
    "no training would stop before its last round",
    way_out="choose a patience below rounds, or more rounds",
  ),
  *(_stops_in_sweep(key) for key in ("sweep.key", "sweep.also_key")),
)
