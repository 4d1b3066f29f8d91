"""Writes files of weights: one network each, with all that is needed to use it."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import files
from sdt.config import Config, to_dict
from sdt.data.dataset import Data, Step
from sdt.engine.state import TrainState
from sdt.inputs.augment import input_shape
from sdt.trained.model import FORMAT, RECOMMENDED, file_of, step_tensors
from sdt.types import PyTree

__all__ = ["RECOMMENDED", "file_of", "header", "write_model"]

# Where the data lay and how they were handled says nothing about a network.
_NOT_OF_THE_NETWORK = (
  *("path", "verify", "download", "download_timeout_secs", "on_bad_image"),
  *("on_duplicate_test", "near_duplicates", "cache", "placement"),
  *("corrections", "corrections_test", "labels_file", "labels_key"),
)


def header(
  data: Data,
  config: Config,
  *,
  arm: str,
  seed: int,
  flaws: Collection[str] = (),
  pretrained_checksum: str | None = None,
) -> dict[str, str]:
  """Returns what a file of weights says of itself; neither paths nor times.

  Args:
    data: for the class names and the normalisation.
    config: of the run.
    arm, seed: whose network it is.
    flaws: "diverged", "collapsed", or both.
    pretrained_checksum: of the weights that the training began with. It stands in the header
      where the config has their path.
  """
  plain = to_dict(config)
  for key in _NOT_OF_THE_NETWORK:
    plain["data"].pop(key, None)
  plain.pop("log", None)  # who was shown the figures says nothing of the network
  plain["model"]["pretrained"] = pretrained_checksum
  normalisation: dict[str, Any] = {"mean": data.mean, "std": data.std}
  if data.steps:
    normalisation["steps"] = [step.kind for step in data.steps]
  return {
    "format": FORMAT,
    "arm": arm,
    "seed": str(seed),
    "diverged": str("diverged" in flaws).lower(),
    "collapsed": str("collapsed" in flaws).lower(),
    "config": files.json_text(plain, indent=None),
    "class_names": files.json_text(data.class_names, indent=None),
    "normalisation": files.json_text(normalisation, indent=None),
    "input_shape": files.json_text(input_shape(config, data), indent=None),
  }


def write_model(
  path: Path,
  state: TrainState,
  replica: int,
  *,
  about: Mapping[str, str],
  steps: Iterable[Step] = (),
) -> None:
  """Writes the weights and running statistics of a replica; names are joined by "/".

  Nothing is written where the same file stands already.

  Args:
    path: of the file.
    state: of an arm at its end, leaves [R, ...].
    replica: which of them.
    about: what `header` returned.
    steps: of the preprocessing.
  """
  params, batch_stats = jax.tree.map(lambda leaf: leaf[replica], (state.params, state.batch_stats))
  leaves = [*_leaves(params, ("params",)), *_leaves(batch_stats, ("batch_stats",))]
  tensors = {"/".join(names): leaf for names, leaf in leaves} | step_tensors(steps)
  content = files.safetensors_bytes(tensors, about)
  if not (files.is_intact(path) and path.read_bytes() == content):
    files.write_bytes(path, content)


def _leaves(tree: PyTree, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], np.ndarray]]:
  if not isinstance(tree, Mapping):
    return [(path, np.ascontiguousarray(tree))]
  return [leaf for key in sorted(tree) for leaf in _leaves(tree[key], (*path, key))]
