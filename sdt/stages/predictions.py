"""The predictions stage: what every network says of every test example, and what that comes to."""

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.engine.prediction_pass import Said
from sdt.errors import DataError
from sdt.run import checkpoint_seals, collapse, metrics
from sdt.run.collapse import Fitness
from sdt.run.context import Context
from sdt.run.stopping import read_judged
from sdt.stages.prediction_files import (
  FILE,
  TABLE,
  Stretch,
  dtype_of,
  write_predictions,
  write_table,
)
from sdt.stages.train import Trainings
from sdt.stages.ways import SINGLE, Way, networks_of
from sdt.stats import classification, paired
from sdt.stats.classification import NUM_BINS, SCALARS, TOP, Figures
from sdt.types import Variables

# Up to so many classes results.json has the whole confusion matrix, else that of so many.
MOST_CONFUSED = 100
# Rounding does not make two programs differ in so many test examples, and this share of them.
_MANY, _MANY_SHARE = 2, 0.005


@dataclasses.dataclass(frozen=True)
class Predicted:
  """What the predictions of an arm come to, as results.json has it.

  Attributes:
    per_seed: seed, as text -> its figures; None for one that diverged.
    ensemble: of the mean of the probabilities of the seeds that are fit (`collapse.fit_seeds`);
      None for fewer than two.
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

  def in_rows(self, rows: Sequence[metrics.Row]) -> Sequence[metrics.Row]:
    """Returns the rows of the arm, those of its end with accuracy and loss of the predictions.

    The training evaluates by another program. On a CPU both agree; on another device the last bits
    of a logit may differ, and decide between two classes.
    """
    last = {row["seed"]: row["round"] for row in rows}
    return [
      {**row, **self._at_the_end(str(row["seed"]))}
      if row["last_phase"] and row["round"] == last[row["seed"]]
      else row
      for row in rows
    ]

  def _at_the_end(self, seed: str) -> dict[str, float | None]:
    one = self.per_seed[seed]
    names = {"test_accuracy": "accuracy", "test_loss": "nll"}
    return {name: one[of] if one else None for name, of in names.items()}

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


# Tells the seeds of an arm that are fit, by what they say of the test set.
type FitOf = Callable[[str, Predicted], Collection[int]]


def predict(
  context: Context, trainings: Trainings, plans: Mapping[str, Plan]
) -> dict[str, Predicted]:
  """Writes predictions.npz, and returns what the predictions of each arm come to.

  A sound file of the same networks stays. `plans` are those of the arms.
  """
  predicted = ask(context, trainings, list(plans), way=SINGLE, fit_of=fit_of(context, plans))
  _tell_other_accuracies(context, predicted)
  return predicted


def fit_of(context: Context, plans: Mapping[str, Plan]) -> FitOf:
  """Returns what tells the seeds of an arm that are fit; `plans` are those of the arms."""
  rows = read_judged(context.workdir, context.config)

  def fit(arm: str, predicted: Predicted) -> Collection[int]:
    return fitness_of(
      rows,
      plans[arm],
      context.data,
      config=context.config,
      predicted=predicted,
      by_training_alone="selected" in context.setup.choices,
    ).fit

  return fit


def ask(
  context: Context,
  trainings: Trainings,
  arms: Sequence[str],
  *,
  way: Way,
  fit_of: FitOf,
  made: Callable[[], Iterator[Stretch]] | None = None,
) -> dict[str, Predicted]:
  """Writes the file of a way to ask, and returns what its answers come to, by arm.

  A sound file of the same networks stays.

  Args:
    context: of the run.
    trainings: of the run.
    arms: whose networks are asked.
    way: to ask.
    fit_of: tells the seeds of the ensembles.
    made: the answers, where they are made of others and no network is asked about the test set.
  """
  path = context.workdir / way.file
  with context.timing.stage("predictions"):
    if _are_there(context, trainings, arms, way=way):
      context.display.log(f"predictions: there already, in {way.file}")
    else:
      stretches = made() if made else _ask(context, trainings, arms, way=way)
      if processes.is_first():
        write_predictions(path, context.data, context.config, stretches=stretches, arms=arms)
      else:  # every process runs the programs
        collections.deque(stretches, maxlen=0)
    found = processes.by_first(lambda: figures_of(path, fit_of))
  return {str(arm): Predicted(**of_arm) for arm, of_arm in found.items()}


def fitness_of(
  rows: Sequence[metrics.Row],
  plan: Plan,
  data: Data,
  *,
  config: Config,
  predicted: Predicted | None,
  by_training_alone: bool,
) -> Fitness:
  """Returns which networks of an arm are of use: the one rule for all that asks.

  Args:
    rows: of metrics.jsonl, of this arm and others.
    plan: of the arm.
    data, config: of the run.
    predicted: of the arm; None where its networks were not asked.
    by_training_alone: see `collapse.fit_seeds`.
  """
  own: Sequence[metrics.Row] = [row for row in rows if row["arm"] == plan.arm]
  recalls = None
  if predicted is not None:
    own, recalls = predicted.in_rows(own), predicted.recalls(len(data.class_names))
  diverged = metrics.diverged_seeds(own, plan.arm)
  found = collapse.collapsed_seeds(own, plan, data, seeds=config.seeds, recalls=recalls)
  fit = collapse.fit_seeds(config.seeds, diverged, found, by_training_alone=by_training_alone)
  return Fitness(frozenset(diverged), found, fit)


def _are_there(context: Context, trainings: Trainings, arms: Sequence[str], *, way: Way) -> bool:
  """Returns whether the file of a way is sound and of the networks that this run has."""
  path = context.workdir / way.file
  if not all(trainings.was_done(arm) for arm in arms):
    return False
  weights = {arm: digest_of(networks_of(context, trainings, arm, way=way)) for arm in arms}

  def is_of_them() -> bool:
    try:
      stored = files.map_npz(path)
    except DataError:
      return False
    names, digests = (stored.get(name, np.array([])).tolist() for name in ("arms", "weights"))
    return len(names) == len(digests) and dict(zip(names, digests, strict=True)) == weights

  return bool(processes.by_first(is_of_them))


def digest_of(variables: Variables) -> str:
  """Returns a digest of the weights and statistics of networks, leaves [R, ...]."""
  leaves = checkpoint_seals.named_leaves(variables)
  lines = [f"{name} {checkpoint_seals.digest(np.asarray(leaf))}" for name, leaf in leaves.items()]
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _tell_other_accuracies(context: Context, predicted: Mapping[str, Predicted]) -> None:
  """Says where the evaluation at the end of a training came to another accuracy.

  By the last bits of logits the two may differ in few examples.
  """
  num = len(context.data.test)
  rows = read_judged(context.workdir, context.config)
  evaluated = {(row["arm"], row["seed"]): row["test_accuracy"] for row in rows if row["last_phase"]}
  for (arm, seed), before in evaluated.items():
    now = predicted[arm].accuracies[str(seed)] if arm in predicted else None
    if now is None or before is None or now == before:
      continue
    differ = round(abs(now - before) * num)
    is_many = differ >= _MANY and differ > _MANY_SHARE * num
    context.display.log(
      f"{'WARNING' if is_many else 'note'}: {arm}, seed {seed}: test accuracy {100 * now:.3f} % by "
      f"the predictions, which count, and {100 * before:.3f} % by the evaluation at the end of the "
      + (
        f"training. {differ} of {num} test examples are too many for rounding: files of two runs "
        f"may be mixed in this workdir; move {FILE} and results.json aside and give the same "
        "command again, and if this line comes again, trust neither"
        if is_many
        else "training: the last bits of the two programs differ"
      )
    )


def _ask(
  context: Context, trainings: Trainings, arms: Sequence[str], *, way: Way
) -> Iterator[Stretch]:
  """Yields what the networks say of the test set, arm by arm; nothing of diverged ones.

  Raises:
    Interrupted: a signal came.
  """
  config = context.config
  predictor = context.setup.predictor(dtype_of(config, context.data).name, way.average)
  rows, num = read_judged(context.workdir, context.config), predictor.num_batches
  name = "predictions" if way is SINGLE else f"predictions, {way.name}"
  with context.display.task(name, len(arms) * num, "batch") as task:
    for index, arm in enumerate(arms):
      diverged = metrics.diverged_seeds(rows, arm)
      lost = np.array([seed in diverged for seed in config.seeds])
      variables = networks_of(context, trainings, arm, way=way)
      weights = digest_of(variables)
      for start, done, said in predictor.predictions(variables):
        yield Stretch(arm, start, without(said, lost), weights=weights)
        task.advance(index * num + done)
        context.raise_if_stopped("while predicting the test set")


def without(said: Said, lost: Bool[np.ndarray, "R"]) -> Said:
  """Returns the answers, with NaN, or -1 for integers, for the networks that are lost."""
  nothing = Said(np.nan, -1, -1, label_log_probability=np.nan)
  kept = [np.array(leaf) for leaf in said]
  for leaf, none in zip(kept, nothing, strict=True):
    leaf[lost] = none
  return Said(*kept)


def figures_of(path: Path, fit_of: FitOf | None = None) -> dict[str, dict[str, Any]]:
  """Returns the fields of `Predicted` by arm, in JSON's types, from predictions.npz.

  `fit_of` tells the seeds of the ensemble; without it they are those that did not diverge.
  """
  stored = files.map_npz(path)
  return {
    arm: _figures_of_arm(stored, index, fit_of) for index, arm in enumerate(stored["arms"].tolist())
  }


def _figures_of_arm(stored: files.Arrays, arm: int, fit_of: FitOf | None) -> dict[str, Any]:
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
  shown = None
  if num_classes > MOST_CONFUSED and found:
    total = np.sum([one.confusion for one in found.values()], axis=0)
    shown = classification.most_confused_classes(total, MOST_CONFUSED).tolist()
  per_seed = {str(seed): _plain(found.get(str(seed)), shown) for seed in seeds}
  if fit_of is not None:
    fit = fit_of(str(stored["arms"][arm]), Predicted(per_seed, None))
    sound = [place for place in sound if seeds[place] in fit]
  ensemble = None
  if len(sound) > 1:
    together = classification.ensemble_of(probabilities, labels, others[-1], networks=sound)
    ensemble = figures(together)
  return {"per_seed": per_seed, "ensemble": _plain(ensemble, shown), "confusion_classes": shown}


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
      first that did not diverge.
  """
  config, data, path = context.config, context.data, context.workdir / TABLE
  arm, seed = recommended["arm"], recommended["seed"]
  if arm is None:
    all_of = [(arm, seed) for arm in found for seed in config.seeds]
    sound = (one for one in all_of if found[one[0]].per_seed[str(one[1])] is not None)
    arm, seed = next(sound, all_of[0])
  if processes.is_first():
    write_table(path, files.map_npz(context.workdir / FILE), data, arm=arm, seed=seed)
  return {
    "file": FILE,
    "dtype": dtype_of(config, data).name,
    "table": {"file": TABLE, "arm": arm, "seed": seed},
    "bins": NUM_BINS,
    "class_counts": np.bincount(data.test.labels, minlength=len(data.class_names)),
    "arms": {name: vars(of_arm) for name, of_arm in found.items()},
  }
