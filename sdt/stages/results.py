"""The results stage: results.json from the rows of metrics.jsonl, and the files of each arm."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from sdt import files
from sdt.arms.catalogue import arm_specs, fold_arms
from sdt.arms.design import check_equal_work
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.models import count_params
from sdt.run import metrics, selection, stopping
from sdt.run.collapse import Collapse, collapse_in_words, effective_classes_of, likely_cause
from sdt.run.context import Context, write_environment
from sdt.stages import designs, imbalance, outline
from sdt.stages.final_networks import finish_arms, write_activation_maps, write_recommended
from sdt.stages.further_answers import further_answers
from sdt.stages.predictions import Predicted, finish, fitness_of, predict
from sdt.stages.recommended import recommend
from sdt.stages.suspects_of_test import write_test_suspects
from sdt.stages.train import Trainings
from sdt.stats import paired
from sdt.stats.comparison import against_baseline, compare
from sdt.stats.look_record import Made, Standing

_UNEQUAL = 1.1  # optimiser steps of arms that differ by more than this factor are worth a warning


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a run knows at its end beside the rows of metrics.jsonl.

  Attributes:
    plans: of every arm.
    num_easy: size of A.
    network: `num_params`, and `layers`, the names of the kernels in the order of `weight_norms` in
      metrics.jsonl.
    predicted: by arm, what its final networks say of the test set; empty where they were not asked.
    recalibrated: by arm, accuracies with BatchNorm's statistics of the whole training set; without
      those of networks that have none.
    selected: what a selection chose, by key.
    validation: by arm, the mean accuracy on the validation split of a selection.
    looks: at the results of this run, before it was extended.
  """

  plans: Mapping[str, Plan]
  num_easy: int
  network: Mapping[str, Any]
  predicted: Mapping[str, Predicted] = types.MappingProxyType({})
  recalibrated: Mapping[str, Float[np.ndarray, "R"]] = types.MappingProxyType({})
  selected: Mapping[str, float] | None = None
  validation: Mapping[str, float] = types.MappingProxyType({})
  looks: Sequence[Made] = ()


def write_arms(context: Context, plans: Mapping[str, Plan]) -> None:
  """Writes every arm's example ids, and says how many optimiser steps a round of each has.

  Raises:
    ConfigError: two arms differ by more than one step a round: the comparison would be unfair.
  """
  config, log = context.config, context.display.log
  compared = {arm: plan for arm, plan in plans.items() if arm not in fold_arms(config)}
  check_equal_work(compared.values(), config)
  for arm, plan in plans.items():
    if arm != "baseline":
      write_arm_ids(context.workdir, context.data, config, plan=plan)
  counts = {
    arm: " + ".join(f"{phase.num_steps}{phase.note}" for phase in plan.phases)
    for arm, plan in compared.items()
  }
  log(f"optimiser steps a round: {', '.join(f'{arm} {count}' for arm, count in counts.items())}")
  totals = {arm: plan.steps_per_round for arm, plan in compared.items()}
  most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
  if totals[most] > _UNEQUAL * totals[least]:
    log(
      f"note: a round of {most} has {totals[most]} optimiser steps and one of {least} "
      f"{totals[least]}: not an equal comparison; a smaller batch_size brings them together"
    )
  write_environment(context)


def write_results(
  context: Context, trainings: Trainings, plans: Mapping[str, Plan], *, num_easy: int
) -> None:
  """Writes predictions, activation maps, weights and results.json; `plans` are those of the arms.

  `num_easy` is the size of A.
  """
  setup = context.setup
  predicted = predict(context, trainings, plans)
  further = further_answers(context, trainings, plans, predicted=predicted)
  with context.timing.stage("class activation maps"):
    write_activation_maps(context, trainings)
  with context.timing.stage("results"):
    network = {
      "num_params": count_params(setup.model, setup.input_shape),
      "layers": setup.layer_names,
    }
    outcome = Outcome(
      plans,
      num_easy,
      network,
      predicted=predicted,
      recalibrated=finish_arms(context, trainings, plans, predicted=predicted),
      selected=setup.choices.get("selected"),
      validation=selection.validation_means(context.workdir),
      looks=setup.choices.get("looks", ()),
    )
    content = results_of(context.workdir, context.data, context.config, outcome=outcome)
    if imbalance.is_imbalanced(context.config, context.data):
      content |= _of_imbalance(context, plans, content)
    write_recommended(context, content["recommended"]["file"])
    content["design"] = designs.described(context, plans)
    content["predictions"] = finish(context, predicted, content["recommended"]) | further
    write_test_suspects(context, content)
    if outline.has_split(context.config):
      content["suspects"] = files.read_json(context.workdir / "scores.json")["suspects"]
    context.loggers.finish(content)
    files.write_json(context.workdir / "results.json", content)


def _of_imbalance(
  context: Context, plans: Mapping[str, Plan], content: Mapping[str, Any]
) -> dict[str, Any]:
  config, data, workdir = context.config, context.data, context.workdir
  moved = processes.by_first(lambda: imbalance.moved_of(workdir, plans, data))
  looks = context.setup.choices.get("looks", ())
  return imbalance.added(content, config, data, moved=moved, looks=looks)


def results_of(workdir: Path, data: Data, config: Config, outcome: Outcome) -> dict[str, Any]:
  """Returns the content of results.json, from metrics.jsonl in `workdir` and the run's outcome."""
  all_rows, specs = files.read_rows(workdir / metrics.FILE), arm_specs(config)
  rows = stopping.judged(all_rows, config)
  arms = {
    arm: _entry_of(rows, arm, data, config=config, outcome=outcome)
    | {"asks": specs[arm].asks, "equal_work": specs[arm].equal_work}
    for arm in config.arms
  }
  accuracy = {arm: entry["accuracy"] for arm, entry in arms.items()}
  unequal = {arm for arm in arms if not specs[arm].equal_work}
  controls = {arm: control for arm in arms if (control := specs[arm].control)}
  standing = Standing(config.stats.looks, config.seeds, config.arms, earlier=outcome.looks)
  comparison = compare(accuracy, config.stats.margin, unequal, controls=controls, standing=standing)
  looks = standing.described(comparison)
  collapse = collapse_in_words(arms)
  stopped = stopping.described(all_rows, config.arms, config)
  remarks = [stopped["early_stopping"]["sentence"]] if stopped else []
  remarks += [one["sentence"] for one in looks.values() if one["sentence"]]
  recommended = recommend(arms, against_baseline(comparison, controls), outcome.validation)
  warnings = [f"{text[0].upper()}{text[1:]}." for text in data.test_label_texts]
  warnings += [collapse] if collapse else []
  if recommended["file"] is None:
    warnings.append(f"There is no model.safetensors: {recommended['why']}.")
  return {
    "data": describe_data(data),
    "model": {"name": config.model.name, **outcome.network},
    "seeds": config.seeds,
    "rounds": config.rounds,
    "num_easy": outcome.num_easy,
    "steps_per_round": {
      arm: {phase.name: phase.num_steps for phase in plan.phases}
      for arm, plan in outcome.plans.items()
    },
    **(
      {"selection": {"chosen": dict(outcome.selected), "file": "selection.json"}}
      if outcome.selected
      else {}
    ),
    "arms": arms,
    "recommended": recommended,
    **({"collapse": collapse} if collapse else {}),
    **stopped,
    **comparison,
    **looks,
    "sentence": " ".join((*warnings, comparison["sentence"], *remarks)),
  }


def _entry_of(
  rows: Sequence[metrics.Row], arm: str, data: Data, *, config: Config, outcome: Outcome
) -> dict[str, Any]:
  """Returns the entry of an arm, without what its name alone says; `rows` are of all arms."""
  plan, predicted = outcome.plans[arm], outcome.predicted.get(arm)
  sizes = {phase.name: phase.num_seen(config.batch_size) for phase in plan.phases}
  own: Sequence[metrics.Row] = [row for row in rows if row["arm"] == arm]
  own = own if predicted is None else predicted.in_rows(own)
  entry = _arm_result(own, config.seeds, sizes)
  if predicted is not None:
    entry |= predicted.entries(config.seeds, len(data.class_names))
  if arm in outcome.recalibrated:
    accuracies = outcome.recalibrated[arm]
    entry["recalibrated"] = _recalibrated(accuracies, config.seeds, entry["diverged"])
  fitness = fitness_of(
    rows,
    plan,
    data,
    config=config,
    predicted=predicted,
    by_training_alone=outcome.selected is not None,
  )
  return entry | _collapse_of(fitness.collapsed, plan, data, config=config) | {"fit": fitness.fit}


def _recalibrated(
  accuracies: Float[np.ndarray, "R"], seeds: Sequence[int], diverged: Sequence[int]
) -> paired.PerSeed:
  values = zip(seeds, accuracies, strict=True)
  return paired.per_seed(
    {seed: None if seed in diverged else float(value) for seed, value in values}
  )


def _collapse_of(
  found: Mapping[int, Collapse], plan: Plan, data: Data, *, config: Config
) -> dict[str, Any]:
  """Returns the entries of an arm on its collapsed seeds; `collapse` is None without any."""
  fits = all(one.fits_training_set and one.stuck is None for one in found.values())
  cause = likely_cause(plan, data.train.labels, config, fits_training_set=fits)
  about = {
    "seeds": {seed: one.to_dict() for seed, one in found.items()},
    "likely_cause": cause.text,
    "cures": cause.cures,
  }
  return {
    "effective_classes": effective_classes_of(plan, data.train.labels),
    "collapsed": list(found),
    "collapse": about if found else None,
  }


def write_arm_ids(workdir: Path, data: Data, config: Config, plan: Plan) -> None:
  """Writes arms/<arm>.npz: the example ids [R, n] of each phase of its plan, and their parts, where
  it is mixed.
  """
  ids = {phase.name: data.train.example_ids[phase.example_ids] for phase in plan.phases}
  ids |= {f"{one.name}_part": one.parts for one in plan.phases if one.parts is not None}
  files.write_npz(
    workdir / "arms" / f"{plan.arm}.npz", seeds=np.asarray(config.seeds, np.int64), **ids
  )


def describe_data(data: Data) -> dict[str, Any]:
  """Returns the `data` entry of results.json.

  Vectors may have thousands of columns, as the statistics of every pixel have: they are in
  model.safetensors alone.
  """
  has_few = data.train.inputs.ndim == 4 and data.mean.ndim == 1
  return {
    "name": data.name,
    "variant": data.variant,
    "checksum": data.checksum,
    "num_train": len(data.train),
    "num_test": len(data.test),
    **({} if data.validation is None else {"num_validation": len(data.validation)}),
    "num_classes": len(data.class_names),
    "class_names": data.class_names,
    "normalisation": {"mean": data.mean, "std": data.std} if has_few else None,
    "notes": data.notes,
    "duplicates": {**data.duplicates.counts, "warning": data.duplicates.warning},
    **({"label_changes": described_changes(data)} if data.label_changes else {}),
  }


def described_changes(data: Data) -> list[dict[str, Any]]:
  """Returns what files did to the labels, an entry for each."""
  return [
    {key: getattr(change, key) for key in ("key", "file", "checksum", "text")} | dict(change.counts)
    for change in data.label_changes
  ]


def _train_accuracy(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> float:
  """Returns the share of right answers over all phases of a round; every example counts once."""
  if len(rows) == 1:
    return rows[0]["train_accuracy"]
  return sum(round(row["train_accuracy"] * sizes[row["phase"]]) for row in rows) / sum(
    sizes[row["phase"]] for row in rows
  )


def _arm_result(
  all_rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], sizes: Mapping[str, int]
) -> dict[str, Any]:
  """Returns the entry of one arm from its rows; `sizes` is what each phase sees in a round.

  A diverged seed has None everywhere.
  """
  accuracy, loss, train_accuracy, gap, fluctuation, best_round, best = (
    dict[int, Any].fromkeys(seeds) for _ in range(7)
  )
  rows = [row for row in all_rows if row["last_phase"]]
  diverged = metrics.diverged_seeds(all_rows, all_rows[0]["arm"])
  for seed in (seed for seed in seeds if seed not in diverged):
    own = [row for row in rows if row["seed"] == seed]
    last = own[-1]
    accuracy[seed], loss[seed] = last["test_accuracy"], last["test_loss"]
    train_accuracy[seed] = _train_accuracy(
      [row for row in all_rows if (row["seed"], row["round"]) == (seed, last["round"])], sizes
    )
    gap[seed], fluctuation[seed] = (
      train_accuracy[seed] - last["test_accuracy"],
      paired.fluctuation(own),
    )
    top = max(
      (row for row in own if row["test_accuracy"] is not None), key=lambda row: row["test_accuracy"]
    )
    best_round[seed], best[seed] = top["round"], top["test_accuracy"]
  return {
    "accuracy": accuracy,
    **paired.summary(accuracy.values()),
    "last_round": rows[-1]["round"],
    "best_round": best_round,
    "paper_protocol": best,
    "loss": loss,
    "train_accuracy": train_accuracy,
    "gap": paired.per_seed(gap),
    "fluctuation": paired.per_seed(fluctuation),
    "diverged": [seed for seed in seeds if seed in diverged],
    **_average_accuracy(rows, seeds, diverged),
  }


def _average_accuracy(
  rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], diverged: Sequence[int]
) -> dict[str, paired.PerSeed]:
  """Returns what the averages of the weights reach at the end; nothing where none are kept.

  `rows` are those that end a round.
  """
  if "average_test_accuracy" not in rows[-1]:
    return {}
  last = {row["seed"]: row["average_test_accuracy"] for row in rows}  # later rows replace earlier
  values = {seed: None if seed in diverged else last[seed] for seed in seeds}
  return {"average_accuracy": paired.per_seed(values)}
