"""Writes model.safetensors: the weights of one network, with all that is needed to use them."""

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from sdt import files
from sdt.config import Config, to_dict
from sdt.data.dataset import Data
from sdt.engine.state import TrainState
from sdt.run import metrics
from sdt.types import PyTree


def write_model(
  workdir: Path,
  data: Data,
  config: Config,
  *,
  arm: str,
  state: TrainState,
  pretrained_checksum: str | None = None,
) -> None:
  """Writes the weights of the arm's first seed that did not diverge; of the first, if all did.

  Names are joined by "/". The header holds arm, seed, config, class names and normalisation, and
  neither paths nor times.

  Args:
    workdir: of the run; its metrics.jsonl tells which seeds diverged.
    data: for the class names and the normalisation.
    config: of the run.
    arm: whose network it is.
    state: of the arm at its end, leaves [R, ...].
    pretrained_checksum: of the weights that the training began with. It stands in the header
      where the config has their path.
  """
  from safetensors.numpy import save

  lost = metrics.diverged_seeds(files.read_rows(workdir / metrics.FILE), arm)
  index = next((index for index, seed in enumerate(config.seeds) if seed not in lost), 0)
  params, batch_stats = jax.tree.map(lambda leaf: leaf[index], (state.params, state.batch_stats))
  leaves = [*_leaves(params, ("params",)), *_leaves(batch_stats, ("batch_stats",))]
  # Where the data lay says nothing about a network; which sizes its images had does.
  plain = to_dict(config)
  plain["data"] = {key: plain["data"][key] for key in ("name", "image_size", "resize", "crop_size")}
  plain["model"]["pretrained"] = pretrained_checksum
  normalisation = {"mean": data.mean, "std": data.std}
  header = {
    "arm": arm,
    "seed": str(config.seeds[index]),
    "diverged": str(config.seeds[index] in lost).lower(),
    "config": files.json_text(plain, indent=None),
    "class_names": files.json_text(data.class_names, indent=None),
    "normalisation": files.json_text(normalisation, indent=None),
  }
  content = save({"/".join(path): leaf for path, leaf in leaves}, header)
  files.write_bytes(workdir / "model.safetensors", _canonical(content))


def _canonical(safetensors: bytes) -> bytes:
  """Returns the file with its metadata in sorted order; the library's order changes by call."""
  end = 8 + int.from_bytes(safetensors[:8], "little")
  header = json.loads(safetensors[8:end])
  metadata = dict(sorted(header.pop("__metadata__").items()))
  text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
  return len(text).to_bytes(8, "little") + text + safetensors[end:]


def _leaves(tree: PyTree, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], np.ndarray]]:
  if not isinstance(tree, Mapping):
    return [(path, np.ascontiguousarray(tree))]
  return [leaf for key in sorted(tree) for leaf in _leaves(tree[key], (*path, key))]
