"""The predictions stage: what every network says of every test example, and what that comes to."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from sdt import files
from sdt.devices import processes
from sdt.engine.prediction_pass import Said
from sdt.run import metrics
from sdt.run.context import Context
from sdt.stages.prediction_files import (
  FILE,
  TABLE,
  Stretch,
  dtype_of,
  write_predictions,
  write_table,
)
from sdt.stages.train import Trainings
from sdt.stats import classification, paired
from sdt.stats.classification import NUM_BINS, SCALARS, TOP, Figures

# Up to so many classes results.json has the whole confusion matrix, else that of so many.
MOST_CONFUSED = 100


@dataclasses.dataclass(frozen=True)
class Predicted:
  """What the predictions of an arm come to, as results.json has it.

  Attributes:
    per_seed: seed, as text -> its figures; None for one that diverged.
    ensemble: of the mean of the probabilities of the seeds that did not diverge; None for fewer
      than two.
    confusion_classes: the classes of the confusion matrices; None for all.
  """

  per_seed: Mapping[str, Mapping[str, Any] | None]
  ensemble: Mapping[str, Any] | None
  confusion_classes: Sequence[int] | None = None

  @property
  def accuracies(self) -> dict[str, float | None]:
    """The accuracy of every seed; None for one that diverged."""
    return {seed: one["accuracy"] if one else None for seed, one in self.per_seed.items()}

  def recalls(self, num_classes: int) -> Float64[np.ndarray, "R K"]:
    """Returns the share of each class that is right, NaN where there is none."""
    nothing = [None] * num_classes
    return np.array([one["recall"] if one else nothing for one in self.per_seed.values()], float)

  def entries(self, seeds: Sequence[int], num_classes: int) -> dict[str, Any]:
    """Returns the entries of the arm in results.json, over seeds that did not diverge."""
    of_seeds = {seed: self.per_seed[str(seed)] for seed in seeds}
    recalls = {seed: None if one is None else one["recall"] for seed, one in of_seeds.items()}
    known = [row for row in self.recalls(num_classes) if not np.isnan(row).all()]
    mean = classification.or_none(np.mean(known, axis=0)) if known else None
    scalars = {
      name: paired.per_seed({seed: one[name] if one else None for seed, one in of_seeds.items()})
      for name in SCALARS
      if name != "top5_accuracy" or num_classes > TOP
    }
    return {"class_accuracy": {"per_seed": recalls, "mean": mean}, **scalars}


def predict(context: Context, trainings: Trainings, arms: Sequence[str]) -> dict[str, Predicted]:
  """Writes predictions.npz, and returns what the predictions of each arm come to.

  A sound file stays if no network was trained in this start of the run.
  """
  config, data, path = context.config, context.data, context.workdir / FILE
  may_stay = all(trainings.was_done(arm) for arm in arms)
  with context.timing.stage("predictions"):
    if processes.by_first(lambda: may_stay and files.is_intact(path)):
      context.display.log(f"predictions: there already, in {FILE}")
    else:
      stretches = _ask(context, trainings, arms)
      if processes.is_first():
        write_predictions(path, data, config, stretches=stretches, arms=arms)
      else:  # every process runs the programs
        collections.deque(stretches, maxlen=0)
    found = processes.by_first(lambda: figures_of(path))
  predicted = {str(arm): Predicted(**of_arm) for arm, of_arm in found.items()}
  _tell_other_accuracies(context, predicted)
  return predicted


def _tell_other_accuracies(context: Context, predicted: Mapping[str, Predicted]) -> None:
  """Says where the evaluation at the end of a training came to another accuracy."""
  rows = files.read_rows(context.workdir / metrics.FILE)
  evaluated = {(row["arm"], row["seed"]): row["test_accuracy"] for row in rows if row["last_phase"]}
  for (arm, seed), before in evaluated.items():
    now = predicted[arm].accuracies[str(seed)] if arm in predicted else None
    if now is not None and before is not None and now != before:
      context.display.log(
        f"note: {arm}, seed {seed}: test accuracy {100 * now:.3f} % by the predictions, which "
        f"count, and {100 * before:.3f} % by the evaluation at the end of the training: the last "
        "bits of the two programs differ"
      )


def _ask(context: Context, trainings: Trainings, arms: Sequence[str]) -> Iterator[Stretch]:
  """Yields what the final networks say of the test set, arm by arm; nothing of diverged ones.

  Raises:
    Interrupted: a signal came.
  """
  config = context.config
  predictor = context.setup.predictor(dtype_of(config, context.data).name)
  rows, num = files.read_rows(context.workdir / metrics.FILE), predictor.num_batches
  with context.display.task("predictions", len(arms) * num, "batch") as task:
    for index, arm in enumerate(arms):
      diverged = metrics.diverged_seeds(rows, arm)
      lost = np.array([seed in diverged for seed in config.seeds])
      variables = trainings.final_state(arm).variables
      for start, done, said in predictor.predictions(variables):
        yield Stretch(arm, start, without(said, lost))
        task.advance(index * num + done)
        context.raise_if_stopped("while predicting the test set")


def without(said: Said, lost: Bool[np.ndarray, "R"]) -> Said:
  """Returns the answers, with NaN, or -1 for integers, for the networks that are lost."""
  nothing = Said(np.nan, -1, -1, label_log_probability=np.nan)
  kept = [np.array(leaf) for leaf in said]
  for leaf, none in zip(kept, nothing, strict=True):
    leaf[lost] = none
  return Said(*kept)


def figures_of(path: Path) -> dict[str, dict[str, Any]]:
  """Returns the fields of `Predicted` by arm, in JSON's types, from predictions.npz alone."""
  stored = files.map_npz(path)
  return {str(arm): _figures_of_arm(stored, index) for index, arm in enumerate(stored["arms"])}


def _figures_of_arm(stored: files.Arrays, arm: int) -> dict[str, Any]:
  labels, num_classes, seeds = stored["label"], len(stored["class_names"]), stored["seeds"].tolist()
  probabilities, *others = (stored[name][arm] for name in Said._fields)
  sound = [place for place in range(len(seeds)) if (stored["predicted"][arm, place] >= 0).all()]

  def figures(answers: classification.Answers) -> Figures:
    return classification.figures(labels, answers, num_classes)

  found = {
    str(seeds[place]): figures(
      classification.answers_of(probabilities[place], labels, *(one[place] for one in others))
    )
    for place in sound
  }
  ensemble = None
  if len(sound) > 1:
    together = classification.ensemble_of(probabilities, labels, others[-1], networks=sound)
    ensemble = figures(together)
  shown = None
  if num_classes > MOST_CONFUSED and found:
    total = np.sum([one.confusion for one in found.values()], axis=0)
    shown = classification.most_confused_classes(total, MOST_CONFUSED).tolist()
  return {
    "per_seed": {str(seed): _plain(found.get(str(seed)), shown) for seed in seeds},
    "ensemble": _plain(ensemble, shown),
    "confusion_classes": shown,
  }


def _plain(figures: Figures | None, classes: Sequence[int] | None) -> dict[str, Any] | None:
  """Returns the figures in JSON's types, the confusions of these classes alone; None for all."""
  if figures is None:
    return None
  confusion = figures.confusion
  chosen = confusion if classes is None else confusion[np.ix_(classes, classes)]
  return {**classification.to_plain(figures), "confusion": chosen.tolist()}


def finish(
  context: Context, found: Mapping[str, Predicted], recommended: Mapping[str, Any]
) -> dict[str, Any]:
  """Writes predictions.csv, and returns the entry `predictions` of results.json.

  Args:
    context: of the run.
    found: by arm.
    recommended: the entry of results.json. If no network is recommended, the table is that of the
      first arm and seed.
  """
  config, data, path = context.config, context.data, context.workdir / TABLE
  arm, seed = recommended["arm"], recommended["seed"]
  if arm is None:
    arm, seed = next(iter(found)), config.seeds[0]
  if processes.is_first():
    write_table(path, files.map_npz(context.workdir / FILE), data, arm=arm, seed=seed)
  return {
    "file": FILE,
    "dtype": dtype_of(config, data).name,
    "table": {"file": TABLE, "arm": arm, "seed": seed},
    "bins": NUM_BINS,
    "class_counts": np.bincount(data.test.labels, minlength=len(data.class_names)),
    "arms": {name: dataclasses.asdict(of_arm) for name, of_arm in found.items()},
  }
