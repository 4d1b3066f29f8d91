"""What active learning cannot stand beside, with the reason and the way out."""

from collections.abc import Mapping
from typing import Any

from sdt.config.conflict import Conflict

_STRATEGIES = "acquire.strategies"


def _beside(key: str, reason: str, off: object = None) -> Conflict:
  """Returns the conflict of active learning with any value of a key but `off` and empty ones."""

  def when(values: Mapping[str, Any]) -> bool:
    return bool(values[_STRATEGIES]) and values[key] not in (None, False, "", (), 0, off)

  return Conflict((_STRATEGIES, key), when, reason, way_out=f"leave {key} out")


_ONE_LAYER = "every acquisition is a whole run, and the other key makes many of each"
_OWN_BASELINE = "every acquisition trains on labels of its own, so no baseline of another run fits"
_TOO_FEW = "a validation split would be cut out of the few labels"
_ONE_SEED = "every acquisition is a run of one seed, and one network is no ensemble"
_MANY_RUNS = "active learning is many short runs, and each would be shown as one of its own"

ACQUIRE: tuple[Conflict, ...] = (
  _beside("data.labelled", "it hides labels by itself, and acquire.start says how many stay"),
  _beside("data.pretext", "the labels of a pretext task cost nothing, so none is asked for"),
  _beside("sweep.key", _ONE_LAYER),
  *(
    _beside(f"select.{name}", _ONE_LAYER)
    for name in ("space", "lambda_A", "fraction", "weight_decay")
  ),
  _beside("stop.patience", _TOO_FEW),
  _beside("evaluate.prior_shift", _TOO_FEW),
  _beside("evaluate.ensemble", _ONE_SEED),
  _beside("baseline_from", _OWN_BASELINE),
  _beside("stats.looks", "the seeds of active learning are looked at once"),
  *(_beside(f"log.{name}", _MANY_RUNS) for name in ("tensorboard", "wandb", "mlflow")),
  Conflict(
    (_STRATEGIES, "data.name"),
    lambda values: values[_STRATEGIES] and values["data.name"] == "curve",
    "the curve has no classes to be unsure of",
    way_out="choose another data.name",
  ),
  Conflict(
    ("acquire.arm", "arms"),
    lambda values: values[_STRATEGIES] and values["acquire.arm"] not in values["arms"],
    "the arm that asks for labels is not trained",
    way_out="add it to arms, or leave acquire.arm out",
  ),
  Conflict(
    ("acquire.arm", "arms"),
    lambda values: (
      values[_STRATEGIES] and set(values["arms"]) - {"baseline", values["acquire.arm"]}
    ),
    "every acquisition would train arms that nobody reads",
    way_out="give arms=baseline, or with another acquire.arm arms=baseline,ARM",
  ),
)
