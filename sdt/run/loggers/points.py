"""From the rows of metrics.jsonl, and from results.json, to the points that loggers take."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sdt.run.loggers.protocol import Curve, Final, Point

# Figures of the whole round stand under their own name; those of a phase have it behind them.
_OF_THE_ROUND = ("test_", "average_test_", "validation_")
_NOT_SHOWN = {"seed", "round", "seconds"}
# Of results.json, a value for each seed; other figures have theirs under "per_seed".
_BY_SEED = ("accuracy", "loss", "train_accuracy")


def points_of(rows: Iterable[Mapping[str, Any]]) -> list[Point]:
  """Returns the points of rows, in their order; rows of the phases of a round are one point.

  Their figures are the numbers of a row, "train_loss/A" or "test_accuracy", without what is null.
  Lists, such as `weight_norms`, stand in metrics.jsonl alone.
  """
  points: dict[tuple[Curve, int], dict[str, float]] = {}
  for row in rows:
    place = (Curve(row["arm"], row["seed"]), row["round"])
    points.setdefault(place, {}).update(_figures(row))
  return [Point(*place, figures) for place, figures in points.items()]


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  for name, value in row.items():
    if name not in _NOT_SHOWN and _is_number(value):
      yield (name if name.startswith(_OF_THE_ROUND) else f"{name}/{row['phase']}"), float(value)


def final_of(results: Mapping[str, Any]) -> Final:
  """Returns what the content of results.json says in the end, of an experiment or of the toy."""
  points, means = list[Point](), dict[str, float]()
  for arm, entry in results["arms"].items():
    by_seed: dict[int, dict[str, float]] = {}
    for name, (values, mean) in _measured(entry):
      means |= {f"{name}/{arm}": float(mean)} if _is_number(mean) else {}
      for seed, value in values.items():
        own = by_seed.setdefault(int(seed), {})
        own |= {name: float(value)} if _is_number(value) else {}
    last = entry.get("last_round", results["rounds"])
    points += [Point(Curve(arm, seed), last, figures) for seed, figures in by_seed.items()]
  return Final(results.get("sentence", ""), tuple(points), means)


def _measured(entry: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Mapping[Any, Any], Any]]]:
  """Yields (name, (value by seed, mean)) of the figures of an arm."""
  for name, value in entry.items():
    if name in _BY_SEED:
      yield name, (value, entry["mean"] if name == "accuracy" else None)
    elif isinstance(value, Mapping) and "per_seed" in value:
      yield name, (value["per_seed"], value["mean"])


def _is_number(value: object) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
