"""A finished run as an object, from the files of its workdir alone."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from sdt import files, named_files
from sdt.config import Config, from_dict, search_space
from sdt.errors import ConfigError, DataError, did_you_mean
from sdt.files.sealed import read_seal
from sdt.trained import run_tables
from sdt.trained.model import Model, file_of, read_model
from sdt.trained.networks import Images, Networks
from sdt.trained.views import views_for

_FILES = ("results.json", "config.json", "environment.json")
_ADVICE = "name the workdir of a finished run"
# The seeds of an arm: all that are fit, one, or some.
type Seeds = str | int | Sequence[int]
_WHOLE = int | np.integer


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """A finished run; made by `load`.

  Attributes:
    workdir: where its files are.
    config: of the run; after a search with the values that it chose.
    results: the content of results.json.
  """

  workdir: Path
  config: Config
  results: Mapping[str, Any]

  def __repr__(self) -> str:
    seeds = ", ".join(map(str, self.config.seeds))
    return (
      f"<sdt run {self.workdir}: {self.config.model.name} on {self.config.data.name}, arms "
      f"{', '.join(self.arms)}, seeds {seeds}, recommended {self.recommended}>"
    )

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
    return run_tables.columns(_verified(path), str(path))

  def networks(
    self, arm: str | None = None, seeds: Seeds = "all", *, views: str = "centre"
  ) -> Networks:
    """Returns the networks of an arm.

    Args:
      arm: the recommended one by default.
      seeds: "all" for those that neither diverged nor collapsed, or the seeds to take.
      views: of every image, such as "flip shifts(1)", see docs/predicting.md.

    Raises:
      ConfigError: no such arm, seed or views, or no network that is fit.
      DataError: a file of weights is missing or damaged.
    """
    arm = self._arm(arm)
    chosen = self._seeds(arm, seeds)
    models = tuple(self._model(arm, seed) for seed in chosen)
    return Networks(models, self._precision(), views_for(models[0], views))

  def _model(self, arm: str, seed: int) -> Model:
    path = self.workdir / file_of(arm, seed)
    model = read_model(path)
    if (model.arm, model.seed) != (arm, seed):
      raise DataError(
        f"{path}: holds the network of {model.arm}, seed {model.seed}; restore it from a copy of "
        "the run"
      )
    return model

  def _precision(self) -> str:
    path = self.workdir / "environment.json"
    content = files.read_json(path)
    choices = content.get("choices") if isinstance(content, Mapping) else None
    precision = choices.get("precision") if isinstance(choices, Mapping) else None
    if not isinstance(precision, str):
      raise DataError(
        f"{path}: does not say the precision of the run (choices.precision); restore it from a "
        "copy of the run"
      )
    return precision

  def _arm(self, arm: str | None) -> str:
    if arm is None:
      if self.recommended is None:
        raise ConfigError(
          f"{self.workdir}: {self.results['recommended']['why']}; name an arm and a seed to see "
          "what they predict all the same"
        )
      return self.recommended
    check_arm(arm, self.arms, str(self.workdir))
    return arm

  def fit_seeds(self, arm: str) -> list[int]:
    """Returns the seeds of an arm whose networks neither diverged nor collapsed, in order."""
    return [int(seed) for seed in self.results["arms"][arm]["fit"]]

  def _seeds(self, arm: str, seeds: Seeds) -> list[int]:
    there = [int(seed) for seed in self.results["arms"][arm]["accuracy"]]
    chosen = seeds_among(seeds, there, str(self.workdir))
    if chosen is not None:
      return chosen
    fit = self.fit_seeds(arm)
    if not fit:
      raise ConfigError(
        f"{self.workdir}: all networks of {arm} diverged or collapsed; name a seed to see what "
        f"it predicts all the same: {', '.join(map(str, there))}"
      )
    return fit

  def network(self, arm: str | None = None, seed: int | None = None) -> Model:
    """Returns one network: the recommended one, or that of an arm, of a seed, or of both.

    Without a seed it is the first of the arm that neither diverged nor collapsed.

    Raises: as `networks`.
    """
    arm, recommended = self._arm(arm), self.results["recommended"]
    if seed is None and arm == recommended["arm"]:
      seed = recommended["seed"]
    return self._model(arm, self._seeds(arm, "all" if seed is None else seed)[0])

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
    views: str = "centre",
  ) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], in the order of `class_names`.

    It is the mean over the seeds and views. See `networks` for arm, seeds and views,
    `Networks.predict_proba` for the images and the errors.
    """
    return self.networks(arm, seeds, views=views).predict_proba(images, batch_size=batch_size)

  def predict(
    self,
    images: Images,
    *,
    arm: str | None = None,
    seeds: Seeds = "all",
    batch_size: int | None = None,
    views: str = "centre",
  ) -> np.ndarray:
    """Returns the name of the most probable class of each image, [N]; see `predict_proba`."""
    return self.networks(arm, seeds, views=views).predict(images, batch_size=batch_size)


def check_arm(arm: str, arms: Iterable[str], where: str) -> None:
  """Raises a ConfigError where `arm` is none of the trainings of a run, `arms`."""
  arms = tuple(arms)
  if arm not in arms:
    near = did_you_mean(arm, arms) if isinstance(arm, str) else ""
    raise ConfigError(f"{where}: no arm {arm!r}{near}; the run has {', '.join(arms)}")


def seeds_among(seeds: Seeds, there: Sequence[int], where: str) -> list[int] | None:
  """Returns the seeds that are asked for, each once; None for "all".

  Raises:
    ConfigError: no seeds, or one that is not `there`.
  """
  if isinstance(seeds, str) and seeds == "all":
    return None
  given = [seeds] if isinstance(seeds, _WHOLE) else seeds
  is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes)
  chosen: list[Any] = list(given) if is_list else [None]
  if not all(isinstance(seed, _WHOLE) and not isinstance(seed, bool) for seed in chosen):
    raise ConfigError(f"seeds={seeds!r}: expected 'all', a seed, or several, such as (0, 1)")
  lacking = [seed for seed in chosen if seed not in there]
  if lacking or not chosen:
    raise ConfigError(
      f"{where}: no seed {lacking[0] if lacking else 'given'}; expected all, or some of "
      f"{', '.join(map(str, there))}"
    )
  return list(dict.fromkeys(map(int, chosen)))


def load(workdir: str | Path) -> Run:
  """Returns the finished run in a workdir. Reads its files alone: neither data nor checkpoints.

  Raises:
    ConfigError: no run there, one that has not finished, one of an earlier version, or a toy.
    DataError: a file of the run is damaged.
  """
  if not isinstance(workdir, str | Path):
    raise ConfigError(f"workdir={workdir!r}: expected a path; {_ADVICE}")
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
      f"{where}: a run of an earlier version of sdt, which kept no network of each seed; "
      "give its command again, with --config.split.class_balanced=False if the run had no such "
      "key: it makes what is missing from the checkpoints and trains nothing"
    )
  if config.select.space:
    chosen = results["selection"]["chosen"]
    config = search_space.with_values(search_space.without_selection(config), chosen)
  return Run(workdir, config, results)


def _config_of(content: Mapping[str, Any], where: str) -> Config:
  try:
    return from_dict(content["config"])
  except ConfigError as error:
    raise ConfigError(f"{where}: a run of another version of sdt ({error})") from error


def _refuse_unfinished(workdir: Path, where: str) -> None:
  """Raises an error where a file that every finished run has is missing or damaged."""
  missing = [name for name in _FILES if not (workdir / name).exists()]
  if not missing and not _is_ours(workdir):
    raise ConfigError(f"{where}: no run; its config.json is of another program; {_ADVICE}")
  if missing:
    hint = "no run; "
    if (workdir / "sweep.json").exists():
      hint = "the folder of a sweep, name that of one of its values; "
    elif (workdir / "acquire.json").exists():
      hint = "the folder of active learning, name that of one of its runs; "
    elif (workdir / ".lock").exists() or _is_ours(workdir):
      hint = "a run that has not finished: give its command again; "
    raise ConfigError(f"{where}: {hint}{missing[0]} is missing; {_ADVICE}")
  for name in _FILES:
    _verified(workdir / name)


def _is_ours(workdir: Path) -> bool:
  """Returns whether config.json is that of a run, or is sealed as one, whatever it holds now."""
  path = workdir / "config.json"
  if read_seal(path) is not None:
    return True
  try:
    content = files.read_json(path)
  except DataError:
    return False
  return isinstance(content, Mapping) and isinstance(content.get("config"), Mapping)


def _verified(path: Path) -> bytes:
  """Returns the content of a file of the run; raises a DataError where it is not as it was."""
  if path.exists() and read_seal(path) is None:
    raise DataError(
      f"{path}: its digest is missing in the hidden folder .sha256, which a copy must have too; "
      "copy the run again with it, as cp -a does"
    )
  return files.read_bytes_verified(path)
