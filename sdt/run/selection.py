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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.arms.catalogue import scoring_arms
from sdt.config import Config, search_space, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, entry, leaves
from sdt.config.schema import (
  DistilConfig,
  EvaluateConfig,
  LogConfig,
  RegulariseConfig,
  SemiConfig,
)
from sdt.data.dataset import Data
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError
from sdt.run import reused_baseline
from sdt.run.search import feasibility
from sdt.run.search.deciding import decide
from sdt.run.search.trials import (
  Ask,
  Run,
  Search,
  chosen_of,
  identity,
  parts_of,
  total_rounds,
)
from sdt.scores.split import sizes

FILE, FOLDER = "selection.json", "selection"
_OF_ARM = ("accuracy", "mean", "sd", "n", "loss", "diverged")


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
  rule = config.select
  return bool(rule.space or rule.lambda_A or rule.fraction or rule.weight_decay)


def frozen(config: Config, chosen: Mapping[str, Any]) -> Config:
  """Returns the config with the chosen values, by dotted name, and nothing left to choose."""
  own = search_space.without_selection(config)
  return search_space.with_values(own, chosen) if chosen else own


def provisional(config: Config) -> Config:
  """Returns the config with the first candidates, before anything is chosen.

  Of a search these are values in the middle of its space. Without a selection that is `config`
  itself.
  """
  rule = config.select
  if rule.space:
    return frozen(config, search_space.middle(search_space.space_of(rule.space)))
  lists = {
    "method.lambda_A": rule.lambda_A,
    "method.fraction": rule.fraction,
    "method.lambda_tuned": rule.weight_decay,
  }
  return frozen(config, {key: candidates[0] for key, candidates in lists.items() if candidates})


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
      search_space.without_selection(config),
      seeds=config.seeds[: rule.num_seeds],
      method=method,
      # No trial has a phase that would read these.
      regularise=RegulariseConfig(),
      semi=SemiConfig(),
      distil=DistilConfig(),
      augment=dataclasses.replace(config.augment, strong=""),
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
  """Returns the training set cut in two and the runs of the selection; of a search no runs.

  What a search tries next depends on what it has found. Here the corners of its space are checked.

  Raises:
    ConfigError: the validation split, or A or B of a trial, would be empty, or a trial of a search
      is impossible.
  """
  cut = hold_out(data, config.data)
  if config.select.space:
    feasibility.check(config, cut, len(data.train))
    return cut, []
  return cut, trial_runs(config, len(data.train), len(cut.train))


def cost(config: Config, runs: Sequence[TrialRun]) -> str:
  """Returns how much a selection trains for each seed, in words; `runs` are those of `prepare`.

  What scores, the baseline and the folds, is trained once for all runs.
  """
  if not config.select.space:
    num = len(scoring_arms(runs[0].config)) + sum(len(own.trials) for own in runs)
    return f"{num} trainings"
  parts = parts_of(config)
  counts = ", ".join(f"{part.num_trials} trials for {part.arm}" for part in parts)
  whole = sum(part.num_trials for part in parts) * config.rounds
  rounds, less = total_rounds(config), ""
  if config.select.method == "halving":
    less = f" of the {whole} that all trials would have"
  return f"a {config.select.method} search with {counts}, {rounds} rounds{less},"


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
  path, folder = workdir / FILE, workdir / FOLDER
  cut, runs = prepare(config, data)
  identity_hash = _hash_of([to_dict(own.config) for own in runs] or identity(config))
  if not files.is_intact(path):
    log(
      f"selection: {cost(config, runs)} on {len(cut.train)} examples, {len(cut.test)} held out to "
      "choose on"
    )
    if config.score.path is not None:
      log(
        "note: the scores come from a file, and whether their network was trained on the held-out "
        "examples is not known"
      )
    if runs:
      _run_trials(runs, cut, folder, run=run)
      found = _compared(runs, cut, folder)
    else:
      share = len(cut.train) / len(data.train)
      found = Search(config, cut, share=share, folder=folder, run=run, log=log).content()
    files.write_json(path, _about(config, cut, identity_hash, choices=found["choices"]) | found)
    for line in told(files.read_json(path)):
      log(f"selection: {line}")
  content: dict[str, Any] = files.read_json(path)
  is_same = content.get("config_hash") == identity_hash
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
    means[of] = chosen_of(choice)["mean"]
  return means


def _run_trials(runs: Sequence[TrialRun], cut: Data, folder: Path, run: Run) -> None:
  """Runs the trials that are left; those after the first take its baseline over."""
  first = folder / runs[0].folder
  for number, trial in enumerate(runs, start=1):
    origin = str(first) if number > 1 and reused_baseline.is_there(first) else None
    name = f"selection, run {number} of {len(runs)}, {trial.folder}"
    own = dataclasses.replace(trial.config, baseline_from=origin)
    run(Ask(own, folder / trial.folder, name, data=cut))


def _hash_of(configs: Sequence[Mapping[str, Any]]) -> str:
  """Returns the SHA-256, in hex, of plain configs: of all keys that may change a result."""
  plain = [
    {name: value for name, value in leaves(own) if entry(SAFE_TO_CHANGE, name) is None}
    for own in configs
  ]
  return hashlib.sha256(
    json.dumps(plain, sort_keys=True, allow_nan=False).encode("ascii")
  ).hexdigest()


def _compared(runs: Sequence[TrialRun], cut: Data, folder: Path) -> dict[str, Any]:
  """Returns what the candidates of all runs came to, and which is chosen."""
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
  return {"choices": choices, "baseline": baseline}


def _about(
  config: Config, cut: Data, identity_hash: str, *, choices: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the first entries of selection.json: what was held out, and what is chosen."""
  return {
    "config_hash": identity_hash,
    "validation": {
      "num_train": len(cut.train),
      "num_validation": len(cut.test),
      "checksum": cut.checksum,
    },
    "seeds": config.seeds[: config.select.num_seeds],
    "rounds": config.rounds,
    "chosen": {
      key: value for choice in choices.values() for key, value in choice["chosen"].items()
    },
  }


def told(content: Mapping[str, Any]) -> list[str]:
  """Returns the lines about the choices; a choice at an edge of its candidates has one more."""
  lines = []
  for of, choice in content["choices"].items():
    best = chosen_of(choice)
    values = ", ".join(
      f"{key}={search_space.value_text(value)}" for key, value in choice["chosen"].items()
    )
    spread = "" if best["sd"] is None else f" +- {100 * best['sd']:.2f}"
    accuracy = f"validation accuracy {100 * best['mean']:.2f}{spread} %, n = {best['n']}"
    lines.append(f"{of}: {values} ({accuracy}), the best of {choice['num_trials']}")
    lines += [f"note: {edge_note(key)}" for key in choice["at_edge"]]
    name = "folder" if "search" in content else "arm"
    lost = [candidate[name] for candidate in choice["candidates"] if candidate["diverged"]]
    lines += (
      [f"note: {', '.join(lost)} diverged in some seed and could not be chosen"] if lost else []
    )
  return lines


def edge_note(key: str) -> str:
  return f"the chosen {key} is at an edge of its candidates; a better one may lie beyond"
