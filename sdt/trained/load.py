"""A finished run as an object, from the files of its workdir alone."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from sdt import files, named_files
from sdt.config import Config, from_dict
from sdt.data import table
from sdt.errors import ConfigError, DataError, did_you_mean
from sdt.trained.model import Model, file_of, read_model
from sdt.trained.networks import Images, Networks

_FILES = ("results.json", "config.json", "environment.json")
_ADVICE = "name the workdir of a finished run"
# The seeds of an arm: all that are fit, one, or some.
type Seeds = str | int | Sequence[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """A finished run; made by `load`.

  Attributes:
    workdir: where its files are.
    config: of the run.
    results: the content of results.json.
  """

  workdir: Path
  config: Config
  results: Mapping[str, Any]

  @property
  def class_names(self) -> tuple[str, ...]:
    """The names of the classes, in the order of the probabilities."""
    return tuple(self.results["data"]["class_names"])

  @property
  def arms(self) -> tuple[str, ...]:
    """The trainings of the run."""
    return tuple(self.results["arms"])

  @property
  def recommended(self) -> str | None:
    """The arm that the run recommends, see docs/artifacts.md; None where no network is fit."""
    arm: str | None = self.results["recommended"]["arm"]
    return arm

  @functools.cached_property
  def scores(self) -> dict[str, np.ndarray]:
    """The columns of scores.csv by name, [N] each, such as `example_id`, `label`, `log_odds`.

    Raises:
      DataError: the run has one arm and so no scores, or the file is damaged.
    """
    return self._table("scores.csv")

  @functools.cached_property
  def split(self) -> dict[str, np.ndarray]:
    """The columns of split.csv by name, [N] each; `subset` says which examples are A and B.

    Raises:
      DataError: as `scores`.
    """
    return self._table("split.csv")

  def _table(self, name: str) -> dict[str, np.ndarray]:
    path = self.workdir / name
    if len(self.arms) < 2:
      raise DataError(f"{path}: a run of the arm {self.arms[0]} alone has no scores and no split")
    text = table.decoded(files.read_bytes_verified(path), str(path))
    (_, header), *rows = table.rows(text, str(path))
    columns = zip(*(cells for _, cells in rows), strict=True)
    return {key: _column(list(cells)) for key, cells in zip(header, columns, strict=True)}

  def networks(self, arm: str | None = None, seeds: Seeds = "all") -> Networks:
    """Returns the networks of an arm.

    Args:
      arm: the recommended one by default.
      seeds: "all" for those that neither diverged nor collapsed, or the seeds to take.

    Raises:
      ConfigError: no such arm or seed, or none that is fit.
      DataError: a file of weights is missing or damaged.
    """
    arm = self._arm(arm)
    chosen = self._seeds(arm, seeds)
    precision = files.read_json(self.workdir / "environment.json")["choices"]["precision"]
    models = [read_model(self.workdir / file_of(arm, seed)) for seed in chosen]
    return Networks(tuple(models), precision)

  def _arm(self, arm: str | None) -> str:
    if arm is None:
      if self.recommended is None:
        raise ConfigError(
          f"{self.workdir}: {self.results['recommended']['why']}; name an arm and a seed to see "
          "what they predict all the same"
        )
      return self.recommended
    if arm not in self.arms:
      raise ConfigError(
        f"{self.workdir}: no arm {arm!r}{did_you_mean(arm, self.arms)}; the run has "
        f"{', '.join(self.arms)}"
      )
    return arm

  def _seeds(self, arm: str, seeds: Seeds) -> list[int]:
    entry = self.results["arms"][arm]
    there = [int(seed) for seed in entry["accuracy"]]
    if seeds == "all":
      unfit = {*entry["diverged"], *entry["collapsed"]}
      fit = [seed for seed in there if seed not in unfit]
      if not fit:
        raise ConfigError(
          f"{self.workdir}: all networks of {arm} diverged or collapsed; name a seed to see what "
          f"it predicts all the same: {', '.join(map(str, there))}"
        )
      return fit
    if isinstance(seeds, str):
      raise ConfigError(f"seeds={seeds!r}: expected 'all', a seed, or several, such as (0, 1)")
    given = [seeds] if isinstance(seeds, int) else list(seeds)
    lacking = [seed for seed in given if seed not in there]
    if lacking or not given:
      raise ConfigError(
        f"{self.workdir}: no seed {lacking[0] if lacking else 'given'}; expected all, or some of "
        f"{', '.join(map(str, there))}"
      )
    return list(dict.fromkeys(map(int, given)))

  def network(self, arm: str | None = None, seed: int | None = None) -> Model:
    """Returns one network: the recommended one, or that of an arm, of a seed, or of both.

    Without a seed it is the first of the arm that neither diverged nor collapsed.

    Raises: as `networks`.
    """
    recommended, entry = self.results["recommended"], self.results["arms"].get(arm)
    if seed is None and arm in (None, recommended["arm"]):
      seed = recommended["seed"]
    elif seed is None and entry is not None:
      unfit = {*entry["diverged"], *entry["collapsed"]}
      seed = min(map(int, entry["accuracy"]), key=lambda one: one in unfit)
    return self.networks(arm, () if seed is None else seed).models[0]

  def export(
    self,
    path: str | Path,
    format: str | None = None,  # noqa: A002  # the name of the flag
    *,
    arm: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
  ) -> Path:
    """Writes a network as a file for other programs, and PATH.md, its model card; returns PATH.

    Args:
      path: of the file.
      format: stablehlo, onnx or torch; by default what the suffix of `path` says.
      arm, seed: of the network, see `network`.
      overwrite: whether files that are there are replaced.

    Raises:
      ConfigError: see `sdt.trained.exports.export.export`. WorkdirError: `path` cannot be written.
    """
    from sdt.trained.exports import export as exports

    place = named_files.expanded(path)
    name = exports.format_of(place) if format is None else format
    model = self.network(arm, seed)
    exports.export(
      model, self.results, name, workdir=self.workdir, output=place, overwrite=overwrite
    )
    return place

  def predict_proba(
    self,
    images: Images,
    *,
    arm: str | None = None,
    seeds: Seeds = "all",
    batch_size: int | None = None,
  ) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], in the order of `class_names`.

    It is the mean over the seeds. See `networks` for arm and seeds, `Networks.predict_proba` for
    the images and the errors.
    """
    return self.networks(arm, seeds).predict_proba(images, batch_size=batch_size)

  def predict(
    self,
    images: Images,
    *,
    arm: str | None = None,
    seeds: Seeds = "all",
    batch_size: int | None = None,
  ) -> np.ndarray:
    """Returns the name of the most probable class of each image, [N]; see `predict_proba`."""
    return self.networks(arm, seeds).predict(images, batch_size=batch_size)


def _column(cells: Sequence[str]) -> np.ndarray:
  """Returns whole numbers as int64, numbers as float64 with NaN for an empty cell, else text."""
  for convert, dtype in ((int, np.int64), (lambda cell: float(cell or "nan"), np.float64)):
    try:
      return np.array([convert(cell) for cell in cells], dtype)
    except ValueError:
      continue
  return np.array(cells)


def load(workdir: str | Path) -> Run:
  """Returns the finished run in a workdir. Reads its files alone: neither data nor checkpoints.

  Raises:
    ConfigError: no run there, one that has not finished, one of an earlier version, or a toy.
    DataError: a file of the run is damaged.
  """
  workdir = named_files.expanded(workdir)
  where = named_files.shown(workdir)
  if not named_files.is_folder("workdir", workdir, _ADVICE, error=ConfigError):
    raise ConfigError(f"{where}: no finished run there, it is no folder; {_ADVICE}")
  _refuse_unfinished(workdir, where)
  content = {name: files.read_json(workdir / name) for name in _FILES}
  results, config = content["results.json"], _config_of(content["config.json"], where)
  if config.data.name == "curve":
    raise ConfigError(f"{where}: a run of the toy, whose network has no classes; {_ADVICE}")
  if "recommended" not in results:
    raise ConfigError(
      f"{where}: a run of an earlier version of sdt, which kept no network of each seed; delete "
      "its results.json and run its command again, which trains nothing anew"
    )
  return Run(workdir, config, results)


def _config_of(content: Mapping[str, Any], where: str) -> Config:
  try:
    return from_dict(content["config"])
  except ConfigError as error:
    raise ConfigError(f"{where}: a run of another version of sdt ({error})") from error


def _refuse_unfinished(workdir: Path, where: str) -> None:
  """Raises an error where a file that every finished run has is missing or damaged."""
  for name in _FILES:
    if not (workdir / name).exists():
      is_run = (workdir / "config.json").exists() or (workdir / ".lock").exists()
      hint = "no run; "
      if (workdir / "sweep.json").exists():
        hint = "the folder of a sweep, name that of one of its values; "
      elif is_run:
        hint = "a run that has not finished: give its command again; "
      raise ConfigError(f"{where}: {hint}{name} is missing; {_ADVICE}")
    files.read_bytes_verified(workdir / name)
