"""Further answers of the trained networks, side by side: views, dropout, snapshots, thresholds,
ensembles.
"""

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.run.context import Context
from sdt.stages.predictions import Predicted, ask, fit_of
from sdt.stages.prior_shift import shifted_answers
from sdt.stages.train import Trainings
from sdt.stages.ways import SHIFTED, SINGLE, Way, further_ways
from sdt.stats import answers, classification, paired

# What the rows have of every answer.
FIGURES = ("accuracy", "balanced_accuracy", "nll", "brier", "ece")

# What the networks of every arm say, by way to ask and by arm.
type Found = Mapping[str, Mapping[str, Predicted]]


def further_answers(
  context: Context,
  trainings: Trainings,
  plans: Mapping[str, Plan],
  *,
  predicted: Mapping[str, Predicted],
) -> dict[str, Any]:
  """Asks the networks in all ways that the config adds, and returns what `predictions` gets.

  {} where the config adds none. The ensembles are of the seeds that are fit by the centre alone.
  """
  config = context.config
  ways = further_ways(config)
  if not ways and not config.evaluate.ensemble:
    return {}
  is_fit = fit_of(context, plans)
  fit = {arm: is_fit(arm, of_arm) for arm, of_arm in predicted.items()}
  found = {SINGLE.name: predicted}
  for way in ways:
    made = None
    if way.name == SHIFTED:
      made = functools.partial(shifted_answers, context, trainings, plans)
    found[way.name] = ask(
      context, trainings, list(plans), way=way, fit_of=lambda arm, _: fit[arm], made=made
    )
  all_ways = (SINGLE, *ways)
  together = fit if config.evaluate.ensemble else {}
  rows = processes.by_first(
    lambda: [
      *_of_seeds(found, strengths_of(context.workdir, ways)),
      *_of_ensembles(context.workdir, all_ways, found, fit=together),
    ]
  )
  order = [(arm, way.name) for arm in plans for way in all_ways]
  return {
    "ways": {way.name: {"file": way.file, "in_words": way.in_words} for way in all_ways},
    "answers": sorted(rows, key=lambda row: order.index((row["arm"], row["way"]))),
  }


def strengths_of(workdir: Path, ways: Sequence[Way]) -> dict[str, dict[int, float | None]]:
  """Returns the strengths of shifted answers by arm and seed; None of a network that diverged."""
  found = {}
  for way in ways:
    if way.name == SHIFTED:
      stored = files.map_npz(workdir / way.file)
      for arm, values in zip(stored["arms"].tolist(), stored["strengths"], strict=True):
        by_seed = zip(stored["seeds"].tolist(), classification.or_none(values), strict=True)
        found[arm] = dict(by_seed)
  return found


def _of_seeds(
  found: Found, strengths: Mapping[str, Mapping[int, float | None]]
) -> Iterator[dict[str, Any]]:
  """Yields a row for every way and arm: figures by seed, and how far they are from the centre's.

  `strengths` are those of shifted answers, by arm.
  """
  for way, of_way in found.items():
    for arm, of_arm in of_way.items():
      base = found[SINGLE.name][arm].per_seed
      values = {
        name: {int(seed): one[name] if one else None for seed, one in of_arm.per_seed.items()}
        for name in FIGURES
      }
      difference = {
        name: answers.over_seeds(
          {
            seed: None if value is None or (one := base[str(seed)]) is None else value - one[name]
            for seed, value in of_figure.items()
          }
        )
        for name, of_figure in values.items()
      }
      yield {
        "arm": arm,
        "way": way,
        "ensemble": None,
        **{name: answers.over_seeds(of_figure) for name, of_figure in values.items()},
        "difference": None if way == SINGLE.name else difference,
        **({"strength": paired.per_seed(strengths[arm])} if way == SHIFTED else {}),
      }


def _of_ensembles(
  workdir: Path, ways: Sequence[Way], found: Found, *, fit: Mapping[str, Collection[int]]
) -> Iterator[dict[str, Any]]:
  """Yields a row for every way and arm of two or more seeds that are fit: their ensemble."""
  centre = files.map_npz(workdir / SINGLE.file)
  seeds = centre["seeds"].tolist()
  for way in ways:
    stored = files.map_npz(workdir / way.file)
    for index, arm in enumerate(stored["arms"].tolist()):
      chosen = [place for place, seed in enumerate(seeds) if seed in fit.get(arm, ())]
      figures = found[way.name][arm].ensemble
      if figures is None or len(chosen) < 2:
        continue
      yield {
        "arm": arm,
        "way": way.name,
        "ensemble": [seeds[place] for place in chosen],
        **_of_one(stored, centre, index, chosen=chosen),
        "balanced_accuracy": answers.OverExamples(mean=figures["balanced_accuracy"], interval=None),
        "ece": answers.OverExamples(mean=figures["ece"], interval=None),
      }


def _of_one(
  stored: files.Arrays, centre: files.Arrays, arm: int, *, chosen: Sequence[int]
) -> dict[str, Any]:
  """Returns the figures of an ensemble over the test examples, and minus those of its networks.

  The difference is to the mean of the same networks, each alone and asked about the centre.
  """
  labels = stored["label"]
  one = classification.ensemble_of(
    stored["probabilities"][arm], labels, stored["label_log_probability"][arm], networks=chosen
  )
  is_right, loss = one.predicted == labels, -one.label_log_probability
  own_right = np.mean(centre["label_rank"][arm][chosen] == 0, axis=0)
  own_loss = -np.mean(centre["label_log_probability"][arm][chosen].astype(np.float64), axis=0)
  return {
    "accuracy": answers.share(int(is_right.sum()), len(labels)),
    "nll": answers.over_examples(loss),
    "brier": answers.over_examples(one.squared_error),
    "difference": {
      "accuracy": answers.over_examples(is_right - own_right),
      "nll": answers.over_examples(loss - own_loss),
    },
  }
