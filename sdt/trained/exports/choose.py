"""Which network of a run is exported, and what the run says of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdt import files, named_files
from sdt.errors import ConfigError, DataError, did_you_mean
from sdt.trained.model import Model, file_of, read_model


@dataclasses.dataclass(frozen=True)
class Chosen:
  """A network of a run: the network, and the run's results.json."""

  model: Model
  results: Mapping[str, Any]


def choose(workdir: Path, arm: str | None, seed: int | None) -> Chosen:
  """Returns a network of a finished run, by default the recommended one.

  Args:
    workdir: of the run.
    arm: its first seed that neither diverged nor collapsed, unless `seed` says another.
    seed: of the recommended arm, unless `arm` says another.

  Raises:
    ConfigError: the run has no such arm or seed, or recommends no network.
    DataError: it is no workdir of a finished run, or a file of it is damaged.
  """
  results = _results(workdir)
  arms, recommended = results["arms"], results["recommended"]
  arm = recommended["arm"] if arm is None else arm
  if arm is None:
    raise ConfigError(f"{workdir}: {recommended['why']}; name a network with --arm and --seed")
  if arm not in arms:
    raise ConfigError(
      f"--arm={arm}: the run in {workdir} has no such arm{did_you_mean(arm, arms)} "
      f"(arms: {', '.join(arms)})"
    )
  seeds = [int(one) for one in arms[arm]["accuracy"]]
  if seed is None:
    unfit = {*arms[arm]["diverged"], *arms[arm]["collapsed"]}
    is_recommended = arm == recommended["arm"]
    seed = recommended["seed"] if is_recommended else min(seeds, key=lambda one: one in unfit)
  if seed not in seeds:
    raise ConfigError(
      f"--seed={seed}: the run in {workdir} has no such seed (seeds: {', '.join(map(str, seeds))})"
    )
  return Chosen(read_model(workdir / file_of(arm, seed)), results)


def _results(workdir: Path) -> Mapping[str, Any]:
  advice = "expected the workdir of a finished run"
  if not named_files.is_folder("WORKDIR", workdir, advice):
    raise DataError(f"{workdir}: no such folder; {advice}")
  path = workdir / "results.json"
  if not path.exists():
    is_run = (workdir / "config.json").exists()
    what = "the run is not finished: run its command again" if is_run else advice
    raise DataError(f"{workdir}: no results.json; {what}")
  results: Mapping[str, Any] = files.read_json(path)
  if not isinstance(results, Mapping) or not {"arms", "recommended", "data"} <= results.keys():
    raise DataError(
      f"{path}: of a toy, a sweep or another version of sdt, without networks to export; {advice}"
    )
  return results
