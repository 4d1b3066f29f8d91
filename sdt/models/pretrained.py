"""Pretrained weights from a safetensors file: a public checkpoint, or one that sdt wrote.

Public checkpoints name their tensors as timm and torchvision do (`namings`). Nothing is ever
unpickled.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from sdt import named_files
from sdt.errors import ConfigError, DataError
from sdt.models import head_classes, positions
from sdt.models.family import HEAD
from sdt.models.namings import NAMINGS, TO_TORCH, path_of
from sdt.models.registry import NETWORKS
from sdt.types import Variables

MAX_BYTES = 4 * 2**30
_KEY, _ADVICE = "model.pretrained", "expected a safetensors file of weights"
_NUM_SHOWN = 3
# What to do where the file is of images with so many channels, and the data have so many.
_TO_CHANNELS = {
  (1, 3): "give yours as grey arrays [N, height, width] (data.name=npz), or train those weights "
  "anew on image files (data.name=folder or csv), which are always read as RGB",
  (3, 1): "give yours as image files (data.name=folder or csv), which are always read as RGB, or "
  "grey arrays [N, height, width] as numpy.stack([x] * 3, axis=-1)",
}

_TYPES = {
  name: np.dtype(kind)
  for name, kind in (("F64", "f8"), ("F32", "f4"), ("F16", "f2"), ("BF16", jnp.bfloat16))
}
# The first bytes of torch's archives, and of a pickle of any protocol that torch has written.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """The weights of a file, in sdt's names and layout.

  Attributes:
    leaves: float32 arrays by their path, such as params/stem_conv/kernel.
    checksum: the file's SHA-256, in hex.
    is_public: whether the file has public names; else an earlier run of sdt wrote it.
    head: what a user should know of the head.
    positions: what a user should know of the positions of the tokens.
  """

  leaves: Mapping[str, Float32[np.ndarray, "..."]]
  checksum: str
  is_public: bool
  head: str = "the head starts afresh"
  positions: str = ""

  def put_into(self, variables: Variables) -> Variables:
    """Returns {"params": ..., "batch_stats": ...} with the file's values where it has them."""
    return jax.tree_util.tree_map_with_path(
      lambda path, leaf: self.leaves.get(path_of(path), leaf), variables
    )


def load(
  path: str | Path,
  naming: str | None,
  variables: Variables,
  *,
  with_head: bool,
  class_names: Sequence[str] = (),
) -> Pretrained:
  """Returns the weights of a safetensors file for every variable of a network.

  Without `with_head` the variables of the head are left out, and so is the file's head. A name in
  the file may begin with "module."; "num_batches_tracked" is passed over. Numbers of 16 and 64 bits
  become float32. Positions of tokens in a square grid are interpolated for images of another size.

  Args:
    path: of the file.
    naming: one of `NAMINGS`, or None if no public checkpoint fits the network. A model.safetensors
      that sdt wrote fits any network of the same names and shapes.
    variables: the network's {"params": ..., "batch_stats": ...}, for its names and shapes.
    with_head: whether the head is to be the file's, its classes in the order of `class_names` [K].

  Raises:
    DataError: no such file; not safetensors; tensors are missing, left over or of another shape;
      values that no network can have; a head of other classes.
    ConfigError: the file has public names, and `naming` is None.
  """
  path = named_files.expanded(path)
  data = named_files.read(_KEY, path, _ADVICE, max_bytes=MAX_BYTES)
  tensors = _tensors(path, data)
  is_public = not any(name.startswith(("params/", "batch_stats/")) for name in tensors)
  if is_public and naming is None:
    raise _no_naming(path)
  wanted = {
    path_of(key): leaf.shape for key, leaf in jax.tree_util.tree_leaves_with_path(variables)
  }
  names = {key: key for key in wanted}
  if is_public:
    names = {key: _public_name(path, naming or "", key) for key in wanted}
    tensors = {NAMINGS[naming or ""].modern(name): tensor for name, tensor in tensors.items()}
  if not with_head:
    heads = {names.pop(key) for key in wanted if key.startswith(f"params/{HEAD}/")}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in heads}
  both = {key: (name, wanted[key]) for key, name in names.items()}
  network = _network_of(data)
  leaves, told = _leaves(path, tensors, both, is_public=is_public, network=network)
  checksum = hashlib.sha256(data).hexdigest()
  loaded = Pretrained(leaves, checksum, is_public, positions=told)
  return _with_head(path, loaded, data, class_names=class_names) if with_head else loaded


def _leaves(
  path: Path,
  tensors: Mapping[str, Mapping[str, Any]],
  wanted: Mapping[str, tuple[str, tuple[int, ...]]],
  *,
  is_public: bool,
  network: str,
) -> tuple[dict[str, np.ndarray], str]:
  """Returns the arrays of a file by path, in sdt's layout, and what to say of their positions.

  Args:
    path: of the file.
    tensors: of the file, by name.
    wanted: by path, the file's name and the shape that the network has.
    is_public: whether the file has the public layout.
    network: see `_network_of`.
  """
  axes = {key: _axes(len(shape), is_public) for key, (_, shape) in wanted.items()}
  shapes = {key: tuple(shape[axis] for axis in axes[key]) for key, (_, shape) in wanted.items()}
  names = {key: name for key, (name, _) in wanted.items()}
  of_others = _of_other_images(tensors, names, shapes)
  _check_names(path, tensors, names, shapes=shapes | of_others, network=network)
  values = {key: _values(path, name, tensors[name]) for key, name in names.items()}
  values |= {key: positions.resized(values[key], shapes[key]) for key in of_others}
  leaves = {
    key: np.ascontiguousarray(value.transpose(np.argsort(axes[key])))
    for key, value in values.items()
  }
  told = (positions.told(stored, shapes[key]) for key, stored in of_others.items())
  return leaves, "".join(told)


def _of_other_images(
  tensors: Mapping[str, Mapping[str, Any]],
  names: Mapping[str, str],
  shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, ...]]:
  """Returns the file's shape of positions that are to be interpolated, by path; else nothing."""
  tensor = tensors.get(names.get(positions.PATH, ""))
  return {} if tensor is None else positions.interpolated(tuple(tensor["shape"]), shapes)


def _with_head(
  path: Path, loaded: Pretrained, data: bytes, *, class_names: Sequence[str]
) -> Pretrained:
  """Returns the weights with the file's head, its classes in the order of the data's."""
  named = head_classes.named_in(data)
  leaves, head = _in_order(path, loaded.leaves, named, class_names=class_names)
  return dataclasses.replace(loaded, leaves=leaves, head=head)


def _in_order(
  path: Path,
  leaves: Mapping[str, np.ndarray],
  named: Sequence[str] | None,
  *,
  class_names: Sequence[str],
) -> tuple[dict[str, np.ndarray], str]:
  """Returns the leaves with the head's classes in the order of the data, and what to say of it."""
  if not class_names:
    return dict(leaves), "the head too"
  if named is None:
    return dict(leaves), (
      "the head too; the file does not name its classes: they must be in the order of the data"
    )
  order = head_classes.positions(path, named, class_names)
  if (order == np.arange(len(order))).all():
    return dict(leaves), "the head too, whose classes are those of the data"
  moved = {
    key: np.ascontiguousarray(leaf[..., order]) if key.startswith(f"params/{HEAD}/") else leaf
    for key, leaf in leaves.items()
  }
  return moved, (
    "the head too; its classes stood in another order in the file and were put in the data's"
  )


def _axes(rank: int, is_public: bool) -> tuple[int, ...]:
  """Returns the axes of sdt's array in the order of the file's."""
  return TO_TORCH[rank] if is_public else tuple(range(rank))


def _public_name(path: Path, naming: str, key: str) -> str:
  """Returns the public name of a variable; raises a ConfigError where public networks have none."""
  try:
    return NAMINGS[naming].public_name(key)
  except ValueError as error:
    raise ConfigError(
      f"model.pretrained={path}: public checkpoints have no {key}, which this network has by "
      "model.activation, model.norm or another key; leave that key at its default, or take the "
      "model.safetensors of an earlier run of this network"
    ) from error


def _no_naming(path: Path) -> ConfigError:
  fitting = ", ".join(name for name, network in NETWORKS.items() if network.weights_from)
  return ConfigError(
    f"model.pretrained={path}: the file is not one of sdt's, and public checkpoints fit none but "
    f"these networks, those that have a stem with model.stem=imagenet: {fitting}; choose "
    "one of them, or the model.safetensors of an earlier run of this network"
  )


def find(path: str | Path) -> Path:
  """Returns the path of the file of weights.

  Raises:
    DataError: there is no such file.
  """
  return named_files.find(_KEY, path, _ADVICE)


def _tensors(path: Path, data: bytes) -> dict[str, Mapping[str, Any]]:
  """Returns {name: {"dtype", "shape", "data"}} of the file, without BatchNorm's batch counters."""
  from safetensors import SafetensorError, deserialize

  try:
    tensors = dict(deserialize(data))
  except SafetensorError as error:
    if data.startswith(_PICKLE_STARTS) or path.suffix in _PICKLE_SUFFIXES:
      raise DataError(
        f"model.pretrained={path}: not safetensors but, it seems, a pickle, which may run any code "
        "and which sdt does not load; take the model.safetensors of the network (timm's models on "
        "the Hugging Face hub have one, such as timm/resnet50.tv_in1k), or convert it in torch: "
        "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
      ) from error
    reason = " ".join(str(error).split())[:200]
    raise DataError(
      f"model.pretrained={path}: not a sound safetensors file ({reason}); get an intact copy"
    ) from error
  prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
  names = {
    name: name.removeprefix(prefix) for name in tensors if not name.endswith("num_batches_tracked")
  }
  return {inner: tensors[name] for name, inner in names.items()}


def _network_of(data: bytes) -> str:
  """Returns which network the header of a file of sdt's names, as a part of a message, or ""."""
  config = head_classes.stated(data, "config")
  model = config.get("model") if isinstance(config, Mapping) else None
  name = model.get("name") if isinstance(model, Mapping) else None
  return f"; the file is of model.name={name}" if name in tuple(NETWORKS) else ""


def _check_names(
  path: Path,
  tensors: Mapping[str, Mapping[str, Any]],
  names: Mapping[str, str],
  *,
  shapes: Mapping[str, tuple[int, ...]],
  network: str,
) -> None:
  """Raises a DataError unless the file has exactly the tensors that the network needs.

  Args:
    path: of the file.
    tensors: of the file, by name.
    names: the file's name of each path of sdt.
    shapes: the expected shape of each path of sdt, in the file's layout.
    network: see `_network_of`.
  """
  missing = [
    name if name == key else f"{name} for {key}"
    for key, name in names.items()
    if name not in tensors
  ]
  left_over = sorted(tensors.keys() - set(names.values()))
  other_shape = [
    f"{name} is {list(tensors[name]['shape'])}, {'the network' if name == key else key} wants "
    f"{list(shapes[key])}"
    for key, name in names.items()
    if name in tensors and tuple(tensors[name]["shape"]) != shapes[key]
  ]
  kinds = ((missing, "missing"), (left_over, "left over"), (other_shape, "of another shape"))
  problems = [f"{len(lines)} {what} ({_few(lines)})" for lines, what in kinds if lines]
  if not problems:
    return
  advice = "choose the model.name (and its keys) that the weights are of, or another file"
  if not missing and not left_over and len(other_shape) == 1:
    advice = _of_channels(tensors, names, shapes) or advice
  if not missing and not left_over and all(f"params/{HEAD}/" in line for line in other_shape):
    advice = (
      "it was trained on another number of classes: leave model.pretrained_head off, and the head "
      "starts afresh"
    )
  raise DataError(
    f"model.pretrained={path}: of the {len(names)} tensors that this network needs: "
    f"{', '.join(problems)}{network}; {advice}"
  )


def _of_channels(
  tensors: Mapping[str, Mapping[str, Any]],
  names: Mapping[str, str],
  shapes: Mapping[str, tuple[int, ...]],
) -> str:
  """Returns what to do where the one kernel that differs does so in its input channels; else ""."""
  for key, name in names.items():
    stored, wanted = tuple(tensors[name]["shape"]), shapes[key]
    axis = 2 if name == key else TO_TORCH[4].index(2)
    if stored != wanted and len(stored) == len(wanted) == 4:
      channels, own = stored[axis], wanted[axis]
      if stored == (*wanted[:axis], channels, *wanted[axis + 1 :]):
        return (
          f"the weights are of images with {channels} channel{'s' * (channels > 1)}, yours have "
          f"{own}: "
          f"{_TO_CHANNELS.get((channels, own), 'both must be arrays of the same channels')}"
        )
  return ""


def _few(lines: Iterable[str]) -> str:
  lines = list(lines)
  return ", ".join(lines[:_NUM_SHOWN]) + (", ..." if len(lines) > _NUM_SHOWN else "")


def _values(path: Path, name: str, tensor: Mapping[str, Any]) -> np.ndarray:
  """Returns the tensor as float32, in the file's layout.

  Raises:
    DataError: its type is not one of weights, a value is not finite, or a variance is negative.
  """
  if tensor["dtype"] not in _TYPES:
    raise DataError(
      f"model.pretrained={path}: {name} is of type {tensor['dtype']}, expected one of "
      f"{', '.join(_TYPES)}; use another file"
    )
  shape = tuple(tensor["shape"])
  stored = np.frombuffer(tensor["data"], _TYPES[tensor["dtype"]], math.prod(shape)).reshape(shape)
  with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite: refused below
    values = stored.astype(np.float32)
  is_wrong = ~np.isfinite(values)
  if name.endswith("var"):
    is_wrong |= values < 0
  if is_wrong.any():
    at = tuple(int(index) for index in np.argwhere(is_wrong)[0])
    raise DataError(
      f"model.pretrained={path}: {name} holds {int(is_wrong.sum())} numbers that no network can "
      f"have (the first: {values[at]} at {list(at)}); get an intact copy"
    )
  return values
