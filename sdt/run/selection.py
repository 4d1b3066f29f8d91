"""Selection: chooses lambda_A, the size of A and the tuned uniform decay on a validation split.

It comes before the run, and does not look at the test set.

The trials are arms of ordinary runs, in workdirs of their own, on the training set cut in two: they
train on the larger part, and the validation split stands where the test set would. So the network
that scores there has not seen the validation split either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.arms.catalogue import scoring_arms
from sdt.config import Config, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, entry, leaves
from sdt.config.schema import (
  DataConfig,
  EvaluateConfig,
  LogConfig,
  RegulariseConfig,
  SelectConfig,
)
from sdt.data.dataset import Data
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError, DivergedError
from sdt.run import reused_baseline
from sdt.scores.split import sizes
from sdt.stats import paired

FILE, FOLDER = "selection.json", "selection"
_OF_ARM = ("accuracy", "mean", "sd", "n", "loss", "diverged")
# Runs a config in a workdir, under a name, on data.
Run = Callable[[Config, Path, str, Data], object]


@dataclasses.dataclass(frozen=True)
class Trial:
  """One candidate.

  Attributes:
    of: the arm of the run that it is a candidate for, "method" or "uniform_tuned".
    values: of the keys that are chosen, by dotted name.
    arm: its name in the run that tries it.
    phases: that arm in the language of sdt/arms/language.py.
  """

  of: str
  values: Mapping[str, float]
  arm: str
  phases: str


@dataclasses.dataclass(frozen=True)
class TrialRun:
  """An ordinary run that tries one size of A.

  It has a folder below `selection/`, a config, and the trials that are its arms.
  """

  folder: str
  config: Config
  trials: tuple[Trial, ...]


def is_on(config: Config) -> bool:
  """Returns whether anything is to be chosen."""
  return bool(config.select.lambda_A or config.select.fraction or config.select.weight_decay)


def frozen(config: Config, chosen: Mapping[str, float]) -> Config:
  """Returns the config with the chosen values, by dotted name, and nothing left to choose."""
  values: dict[str, Any] = {key.removeprefix("method."): value for key, value in chosen.items()}
  method = dataclasses.replace(config.method, **values)
  return dataclasses.replace(
    config, method=method, select=SelectConfig(), data=_without_validation(config.data)
  )


def provisional(config: Config) -> Config:
  """Returns the config with the first candidates, before anything is chosen.

  Without a selection that is `config` itself.
  """
  rule = config.select
  lists = {
    "method.lambda_A": rule.lambda_A,
    "method.fraction": rule.fraction,
    "method.lambda_tuned": rule.weight_decay,
  }
  return frozen(config, {key: candidates[0] for key, candidates in lists.items() if candidates})


def _without_validation(data: DataConfig) -> DataConfig:
  return dataclasses.replace(data, validation_fraction=DataConfig().validation_fraction)


def trial_runs(config: Config, num_train: int, num_rest: int) -> list[TrialRun]:
  """Returns the runs of a selection: one for each size of A.

  The candidates of uniform_tuned, which has no A, are in the first.

  Args:
    config: of the run that the selection is for.
    num_train: examples of the whole training set.
    num_rest: examples that are left of it beside the validation split. A `method.num_easy` shrinks
      with them.

  Raises:
    ConfigError: A or B would be empty, there or in the run.
  """
  rule, runs = config.select, []
  for index, fraction in enumerate(rule.fraction or (None,)):
    method = dataclasses.replace(config.method, lambda_tuned=None)
    if fraction is not None:
      method = dataclasses.replace(method, fraction=fraction)
    sizes(method, config.split, num_train)
    if method.num_easy is not None:
      method = dataclasses.replace(
        method, num_easy=max(1, round(method.num_easy * num_rest / num_train))
      )
    sizes(method, config.split, num_rest)
    trials = _of_method(config, fraction) if rule.lambda_A or rule.fraction else []
    trials += _of_uniform(rule.weight_decay) if index == 0 else []
    own = dataclasses.replace(
      config,
      data=_without_validation(config.data),
      seeds=config.seeds[: rule.num_seeds],
      method=method,
      select=SelectConfig(),
      regularise=RegulariseConfig(),  # no trial has a phase that would read it
      arms=("baseline", *(trial.arm for trial in trials)),
      own_arms=tuple(f"{trial.arm} = {trial.phases}" for trial in trials),
      baseline_from=None,
      evaluate=EvaluateConfig(),
      log=LogConfig(),
    )
    folder = (
      f"fraction={method.fraction!r}" if method.num_easy is None else f"num_easy={method.num_easy}"
    )
    runs.append(TrialRun(folder, own, tuple(trials)))
  return runs


def _of_method(config: Config, fraction: float | None) -> list[Trial]:
  chosen_too = {} if fraction is None else {"method.fraction": fraction}
  trials = []
  for decay in config.select.lambda_A or (config.method.lambda_A,):
    values = ({"method.lambda_A": decay} if config.select.lambda_A else {}) | chosen_too
    trials.append(
      Trial("method", values, f"lambda_A_{decay!r}", phases=f"A@{decay!r} + B@lambda_B")
    )
  return trials


def _of_uniform(decays: Sequence[float]) -> list[Trial]:
  return [
    Trial(
      "uniform_tuned",
      {"method.lambda_tuned": decay},
      f"weight_decay_{decay!r}",
      phases=f"all@{decay!r}",
    )
    for decay in decays
  ]


def prepare(config: Config, data: Data) -> tuple[Data, list[TrialRun]]:
  """Returns the training set cut in two and the runs of the selection.

  Raises:
    ConfigError: the validation split, or A or B of a trial, would be empty.
  """
  cut = hold_out(data, config.data)
  return cut, trial_runs(config, len(data.train), len(cut.train))


def num_trainings(runs: Sequence[TrialRun]) -> int:
  """Returns how many trainings the runs are, for each seed.

  What scores, the baseline and the folds, is trained once for all runs.
  """
  return len(scoring_arms(runs[0].config)) + sum(len(own.trials) for own in runs)


def choose(
  config: Config, data: Data, workdir: Path, *, run: Run, log: Callable[[str], None]
) -> dict[str, Any]:
  """Returns the content of selection.json (docs/artifacts.md); runs what is left of the selection.

  Args:
    config: of the run that the selection is for.
    data: its data, of which only the training set is read.
    workdir: of the run.
    run: trains and evaluates an ordinary run, or what is left of it.
    log: gets a line at a time.

  Raises:
    ConfigError: the selection.json there was made by another selection.
    DivergedError: of every candidate for an arm a seed diverged. And what `run` raises.
  """
  path = workdir / FILE
  cut, runs = prepare(config, data)
  if not files.is_intact(path):
    log(
      f"selection: {num_trainings(runs)} trainings on {len(cut.train)} examples, {len(cut.test)} "
      "held out to choose on"
    )
    if config.score.path is not None:
      log(
        "note: the scores come from a file, and whether their network was trained on the held-out "
        "examples is not known"
      )
    _run_trials(runs, cut, workdir / FOLDER, run=run)
    files.write_json(path, _content(runs, cut, workdir / FOLDER))
    for line in told(files.read_json(path)):
      log(f"selection: {line}")
  content: dict[str, Any] = files.read_json(path)
  is_same = content.get("config_hash") == _hash_of(runs)
  if not is_same or content["validation"]["checksum"] != cut.checksum:
    raise ConfigError(
      f"{path} tells of another selection: its candidates, config or data are not those of this "
      f"run; restore the file from a copy, delete it and the folder {FOLDER}/ beside it to choose "
      "again, or choose another --workdir"
    )
  return content


def validation_means(workdir: Path) -> dict[str, float]:
  """Returns the mean validation accuracy of the baseline and of every arm that was chosen for.

  {} for a run without a selection, or with one of an earlier version, which did not keep the
  baseline's.
  """
  path = workdir / FILE
  content = files.read_json(path) if files.is_intact(path) else {}
  if "baseline" not in content or content["baseline"]["diverged"]:
    return {}
  means = {"baseline": content["baseline"]["mean"]}
  for of, choice in content["choices"].items():
    of_values = {tuple(one["values"].items()): one["mean"] for one in choice["candidates"]}
    means[of] = of_values[tuple(choice["chosen"].items())]
  return means


def _run_trials(runs: Sequence[TrialRun], cut: Data, folder: Path, run: Run) -> None:
  """Runs the trials that are left; those after the first take its baseline over."""
  first = folder / runs[0].folder
  for number, trial in enumerate(runs, start=1):
    origin = str(first) if number > 1 and reused_baseline.is_there(first) else None
    name = f"selection, run {number} of {len(runs)}, {trial.folder}"
    run(dataclasses.replace(trial.config, baseline_from=origin), folder / trial.folder, name, cut)


def _hash_of(runs: Sequence[TrialRun]) -> str:
  """Returns the SHA-256, in hex, of the runs: of all keys that may change a result."""
  plain = [
    {
      name: value
      for name, value in leaves(to_dict(own.config))
      if entry(SAFE_TO_CHANGE, name) is None
    }
    for own in runs
  ]
  return hashlib.sha256(
    json.dumps(plain, sort_keys=True, allow_nan=False).encode("ascii")
  ).hexdigest()


def _content(runs: Sequence[TrialRun], cut: Data, folder: Path) -> dict[str, Any]:
  tried: dict[str, list[dict[str, Any]]] = {}
  baseline: dict[str, Any] = {}
  for own in runs:
    arms = files.read_json(folder / own.folder / "results.json")["arms"]
    of_arms = {arm: {name: one[name] for name in _OF_ARM} for arm, one in arms.items()}
    baseline = baseline or of_arms["baseline"]
    for trial in own.trials:
      entry = {"values": dict(trial.values), "folder": own.folder, "arm": trial.arm}
      tried.setdefault(trial.of, []).append(entry | of_arms[trial.arm])
  choices = {of: decide(of, candidates, len(cut.test)) for of, candidates in tried.items()}
  first = runs[0].config
  return {
    "config_hash": _hash_of(runs),
    "validation": {
      "num_train": len(cut.train),
      "num_validation": len(cut.test),
      "checksum": cut.checksum,
    },
    "seeds": first.seeds,
    "rounds": first.rounds,
    "chosen": {
      key: value for choice in choices.values() for key, value in choice["chosen"].items()
    },
    "choices": choices,
    "baseline": baseline,
  }


def decide(of: str, candidates: Sequence[Mapping[str, Any]], num_validation: int) -> dict[str, Any]:
  """Returns one entry of `choices` in selection.json: the candidates and which is chosen.

  The highest mean validation accuracy of the last round wins; of equal ones the lower mean loss,
  then the smaller values. A candidate of which a seed diverged is not chosen.

  Args:
    of: the arm that they are candidates for.
    candidates: "values", "accuracy" and "loss" by seed, "mean", "sd", "n", "diverged" each.
    num_validation: examples of the validation split.

  Raises:
    DivergedError: there is none to choose.
  """

  def rank(candidate: Mapping[str, Any]) -> tuple[Any, ...]:
    # Counts of right answers, because means of equal counts may differ in the last bit.
    right = sum(round(accuracy * num_validation) for accuracy in candidate["accuracy"].values())
    return (-right, math.fsum(candidate["loss"].values()), *candidate["values"].values())

  sound = [candidate for candidate in candidates if not candidate["diverged"]]
  if not sound:
    raise DivergedError(
      f"selection: nothing to choose for {of}, every one of {len(candidates)} candidates has a "
      "seed that diverged; try a lower "
      "optim.learning_rate in a new --workdir"
    )
  best = min(sound, key=rank)
  lists = {
    key: sorted({candidate["values"][key] for candidate in candidates}) for key in best["values"]
  }
  return {
    "num_trials": len(candidates),
    "chosen": best["values"],
    "at_edge": [
      key
      for key, values in lists.items()
      if len(values) > 1 and best["values"][key] in (values[0], values[-1])
    ],
    "best_of": _best_of(sound, best),
    "candidates": candidates,
  }


def _best_of(sound: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> dict[str, Any]:
  """Returns how much better the best looks than the mean, and how much of it luck explains.

  The latter is `stats.expected_best_of` standard errors of one candidate's mean. The candidates are
  paired by seed, and what a seed does to all of them alike favours none: the error is that of the
  residuals from the means of seed and candidate, with (k - 1) (n - 1) degrees of freedom. What the
  shared validation images do to the candidates alike in every seed is not removed.
  """
  sds, error = paired.expected_best_of(len(sound)), None
  if best["n"] > 1 and len(sound) > 1:
    table = np.array([list(candidate["accuracy"].values()) for candidate in sound])
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    num_free = (table.shape[0] - 1) * (table.shape[1] - 1)
    error = math.sqrt(float((residuals**2).sum()) / num_free / table.shape[1])
  return {
    "num_values": len(sound),
    "expected_gain_sds": sds,
    "expected_gain": None if error is None else sds * error,
    "gain": best["mean"] - math.fsum(candidate["mean"] for candidate in sound) / len(sound),
  }


def told(content: Mapping[str, Any]) -> list[str]:
  """Returns the lines about the choices; a choice at an edge of its candidates has one more."""
  lines = []
  for of, choice in content["choices"].items():
    best = next(
      candidate for candidate in choice["candidates"] if candidate["values"] == choice["chosen"]
    )
    values = ", ".join(f"{key}={value:g}" for key, value in choice["chosen"].items())
    spread = "" if best["sd"] is None else f" +- {100 * best['sd']:.2f}"
    accuracy = f"validation accuracy {100 * best['mean']:.2f}{spread} %, n = {best['n']}"
    lines.append(f"{of}: {values} ({accuracy}), the best of {choice['num_trials']}")
    lines += [f"note: {edge_note(key)}" for key in choice["at_edge"]]
    lost = [candidate["arm"] for candidate in choice["candidates"] if candidate["diverged"]]
    lines += (
      [f"note: {', '.join(lost)} diverged in some seed and could not be chosen"] if lost else []
    )
  return lines


def edge_note(key: str) -> str:
  return f"the chosen {key} is at an edge of its candidates; a better one may lie beyond"
