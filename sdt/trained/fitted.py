"""What `sdt.fit` returns: the mean of a few networks as one classifier, with how it came about."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from sdt import files, named_files
from sdt.errors import ConfigError, DataError
from sdt.files.sealed import read_seal
from sdt.trained.given import Images
from sdt.trained.model import Model, model_of
from sdt.trained.networks import Networks, warn

FILE = "fit.json"
_FORMAT = "sdt fit 1"
_ADVICE = "name the workdir of a finished sdt.fit, or what Fitted.save wrote"


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
  """A classifier: the mean probability of a few networks. Made by `sdt.fit`; it pickles.

  Attributes:
    record: the content of fit.json.
    weights: the files of the networks, as bytes.
  """

  record: Mapping[str, Any]
  weights: tuple[bytes, ...]

  def __repr__(self) -> str:
    return f"<sdt fit: {'; '.join(self.record['text'])}>"

  @functools.cached_property
  def classes_(self) -> np.ndarray:
    """The labels, [K], in the order of the probabilities."""
    return np.array(self.record["classes"], np.dtype(self.record["classes_dtype"]))

  @property
  def plan(self) -> dict[str, Any]:
    """What was trained. `sdt.fit` with this plan and the same data comes to the same bytes."""
    plan: dict[str, Any] = self.record["plan"]
    return plan

  @property
  def trials(self) -> list[dict[str, Any]]:
    """What was tried, the best first: number, values by key, round, accuracy on the validation."""
    trials: list[dict[str, Any]] = self.record["trials"]
    return trials

  @property
  def validation_accuracy(self) -> float:
    """The accuracy of the mean on the held-out examples, by which the networks were chosen."""
    accuracy: float = self.record["accuracy"]
    return accuracy

  @functools.cached_property
  def models(self) -> tuple[Model, ...]:
    """The networks, the best first."""
    names = (one["file"] for one in self.record["members"])
    return tuple(
      model_of(content, Path(name)) for content, name in zip(self.weights, names, strict=True)
    )

  def predict_proba(self, images: Images) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], the mean over the networks.

    Args:
      images: see `sdt.load(...).predict_proba`. Of vectors: floats [N, D].

    Raises:
      DataError: an image cannot be read, or these networks cannot take it.
    """
    if isinstance(images, Iterator):
      images = list(images)  # each network goes through them
    answers = [
      Networks((model,), self.record["precision"]).answered(images) for model in self.models
    ]
    warn(answers[0][1])
    return np.mean([rows for rows, _ in answers], axis=0)

  def predict(self, images: Images) -> np.ndarray:
    """Returns the most probable label of every example, [N]."""
    return self.classes_[self.predict_proba(images).argmax(axis=1)]

  def score(self, images: Images, labels: ArrayLike) -> float:
    """Returns the share of the examples that are predicted right; `labels` [N] as in `classes_`."""
    predicted, given = self.predict(images), np.asarray(labels)
    if given.shape != predicted.shape:
      raise DataError(
        f"labels have shape {list(given.shape)} beside {len(predicted)} images; expected one each"
      )
    return float(np.mean(predicted == given))

  def save(self, folder: str | os.PathLike[str]) -> Path:
    """Writes the networks and fit.json into a new or empty folder, for `load`; returns it.

    Raises:
      ConfigError: something is in the folder. WorkdirError: it cannot be written.
    """
    place = named_files.expanded(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
      raise ConfigError(f"{named_files.shown(place)}: not an empty folder; name a new one")
    members = [
      {**one, "file": f"network_{number}.safetensors"}
      for number, one in enumerate(self.record["members"], start=1)
    ]
    place.mkdir(parents=True, exist_ok=True)
    for one, content in zip(members, self.weights, strict=True):
      files.write_bytes(place / one["file"], content)
    files.write_json(place / FILE, {**self.record, "members": members})
    return place

  @classmethod
  def load(cls, folder: str | os.PathLike[str]) -> Self:
    """Returns what `save` wrote, or what an `sdt.fit` left in its workdir.

    Raises:
      ConfigError: there is none. DataError: a file is damaged.
    """
    place = named_files.expanded(folder)
    path = place / FILE
    if not path.exists():
      raise ConfigError(f"{named_files.shown(path)}: no such file; {_ADVICE}")
    content = files.read_json(path) if read_seal(path) is not None else None
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
      raise DataError(
        f"{path}: of another program or version, or its digest in the hidden folder .sha256 is "
        f"missing; {_ADVICE}"
      )
    paths = [place / one["file"] for one in content["members"]]
    return cls(content, tuple(map(files.read_bytes_verified, paths)))


def record_of(
  classes: np.ndarray, members: Sequence[Mapping[str, Any]], **others: Any
) -> dict[str, Any]:
  """Returns the content of fit.json, see docs/artifacts.md.

  Args:
    classes: the labels, [K].
    members: the trials whose networks predict, with the `file` of each.
    others: what else is told: plan, trials, accuracy, precision, text, ...
  """
  return {
    "format": _FORMAT,
    "classes": classes.tolist(),
    "classes_dtype": classes.dtype.str,
    "members": [dict(one) for one in members],
    **others,
  }
