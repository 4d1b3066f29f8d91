"""An experiment as a classifier of scikit-learn."""

import contextlib
import dataclasses
import hashlib
import numbers
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sdt import experiment
from sdt.api.labelled import as_trained, names_of
from sdt.api.running import AnyConfig, finish, resolved_config
from sdt.config import Config, from_dict, to_dict
from sdt.config.dependent import without_dependent
from sdt.errors import ConfigError, DataError, Interrupted
from sdt.trained.load import Run, Seeds, check_arm, seeds_among
from sdt.trained.networks import Networks

# Of vectors [N, D] where no config is given: images have the defaults of every run.
_FOR_VECTORS: Mapping[str, Any] = {
  "model": {"name": "mlp", "hidden_sizes": [64]},
  "rounds": 40,
  "batch_size": 32,
  "seeds": [0],
  "optim": {"milestones": [20, 30], "learning_rate": 0.05},
}
_LEAST_TEST = 2  # examples that are held out at least


class SdtClassifier(ClassifierMixin, BaseEstimator):
  """A classifier of images [N, H, W, C] or vectors [N, D] that `fit` trains by a whole experiment.

  Its networks are those of one arm, and its probabilities their mean over the seeds.

  Args:
    config: as for `sdt.run`; what it says of the data set is not used. None: the defaults of every
      run, or for vectors a small multilayer perceptron.
    workdir: a folder in which every `fit` has a workdir of its own, named by config and data: the
      same `fit` again trains nothing, and a stopped one goes on. None: nothing is kept on disk.
    arm: whose networks predict; None: the one that the run recommends.
    seeds: of the networks that predict, see `sdt.load(...).networks`.
    test_fraction: share of the examples that are held out to compare the arms.
    verbose: whether `fit` shows its progress on stderr.

  Attributes:
    classes_: the labels, [K], in the order of the probabilities.
    networks_: what predicts, with everything in memory.
    results_: the content of results.json.
    n_features_in_: the first size of an example.
  """

  def __init__(
    self,
    config: AnyConfig | None = None,
    *,
    workdir: str | Path | None = None,
    arm: str | None = None,
    seeds: Seeds = "all",
    test_fraction: float = 0.2,
    verbose: bool = False,
  ):
    """Keeps the arguments as they are, as scikit-learn wants it; `fit` looks at them."""
    self.config = config
    self.workdir = workdir
    self.arm = arm
    self.seeds = seeds
    self.test_fraction = test_fraction
    self.verbose = verbose

  def fit(self, X: ArrayLike, y: ArrayLike) -> "SdtClassifier":
    """Trains on uint8 images [N, H, W, C] or [N, H, W], or numbers [N, D], with labels of any kind.

    Raises:
      ValueError: they cannot be trained on, or an argument is wrong. KeyboardInterrupt: a signal
        stopped it, as Ctrl-C does; with a workdir the same call continues.
    """
    inputs, targets = validate_data(self, X, y, **_checks(X))
    check_classification_targets(targets)
    self.classes_, labels = np.unique(targets, return_inverse=True)
    if len(self.classes_) < 2:
      raise ValueError(f"y has only one class, {self.classes_[0]!r}; at least two are needed")
    arrays = {
      "train_x": as_trained(inputs if inputs.ndim > 2 else inputs.astype(np.float32)),
      "train_y": labels,
      "class_names": names_of(self.classes_),
    }
    try:
      self._train(self._config(inputs), arrays)
    except (ConfigError, DataError) as error:
      raise ValueError(str(error)) from error
    except Interrupted as error:  # a search would take another error for a fit that failed
      raise KeyboardInterrupt(str(error)) from error
    return self

  def _train(self, config: Config, arrays: Mapping[str, Any]) -> None:
    """Trains, in the workdir if there is one, and keeps what predicts in memory."""
    with contextlib.ExitStack() as stack:
      if self.workdir is not None:
        kind, place = experiment.EXPERIMENT, Path(self.workdir) / _digest(config, arrays)
      else:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sdt-"))
        kind, place = experiment.WITHOUT_REPORT, Path(folder) / "run"
      finished = finish(config, place, arrays, kind=kind, is_quiet=not self.verbose)
      self.networks_ = self._networks(finished)
      self.results_ = finished.results

  def _networks(self, finished: Run) -> Networks:
    """Returns what predicts; of an arm without a fit network all, with a warning.

    Labels that do not depend on the examples leave every network at chance.
    """
    arm = self.arm or finished.recommended or finished.arms[0]
    if not isinstance(self.seeds, str) or finished.fit_seeds(arm):
      return finished.networks(arm, self.seeds)
    warnings.warn(
      f"{finished.results['sentence']} No network of {arm} is fit, and all of them predict",
      ConvergenceWarning,
      stacklevel=4,
    )
    return finished.networks(arm, finished.config.seeds)

  def _config(self, inputs: Shaped[np.ndarray, "N ..."]) -> Config:
    """Returns the config of the run.

    Raises:
      ConfigError: it is wrong, or another argument is; before anything is trained.
    """
    share = self.test_fraction
    if not isinstance(share, numbers.Real) or not 0 < share < 1:
      raise ConfigError(f"test_fraction={share!r}: expected a number above 0 and below 1")
    given = self.config
    if given is None:
      given = {} if inputs.ndim > 2 else _FOR_VECTORS
    config = resolved_config(given)
    if self.config is None and inputs.ndim == 2:
      config = dataclasses.replace(config, batch_size=min(config.batch_size, _batch(len(inputs))))
    if self.arm is not None:
      check_arm(self.arm, config.arms, "arm")
    seeds_among(self.seeds, config.seeds, "seeds")
    least = min(0.5, max(_LEAST_TEST, len(self.classes_)) / len(inputs))
    plain = without_dependent(to_dict(config))
    changes = {"name": "arrays", "path": None, "test_fraction": float(max(share, least))}
    plain["data"] = {**plain["data"], **changes}
    return from_dict(plain)

  def predict_proba(self, X: ArrayLike) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], in the order of `classes_`."""
    check_is_fitted(self)
    if getattr(X, "ndim", 2) > 2:  # images may have any size
      inputs = check_array(X, **_checks(X))
    else:
      inputs = validate_data(self, X, reset=False, **_checks(X))
    try:
      # Of [N, H, W] the networks themselves tell what may be one image [H, W, C].
      return self.networks_.predict_proba(inputs if inputs.ndim == 3 else as_trained(inputs))
    except (ConfigError, DataError) as error:
      raise ValueError(str(error)) from error

  def predict(self, X: ArrayLike) -> np.ndarray:
    """Returns the most probable label of every example, [N]."""
    rows = self.predict_proba(X)
    return self.classes_[rows.argmax(axis=1)]


def _checks(X: Any) -> dict[str, Any]:
  """Returns how scikit-learn checks examples: images as they are, all else as numbers."""
  are_images = getattr(X, "ndim", 2) > 2
  return {"allow_nd": are_images, "dtype": None if are_images else "numeric"}


def _batch(number: int) -> int:
  """Returns a batch well below a tenth of so many examples: A then fills several steps."""
  return max(4, number // 16)


def _digest(config: Config, arrays: Mapping[str, Any]) -> str:
  digest = hashlib.sha256(repr(config).encode())
  for name, value in arrays.items():
    array = np.ascontiguousarray(value)
    digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
    digest.update(array.view(np.uint8).data if array.dtype.kind != "U" else str(value).encode())
  return digest.hexdigest()[:16]
