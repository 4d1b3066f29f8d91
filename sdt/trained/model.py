"""One trained network as an object, read from a file of weights alone.

The file says what the network is, what its classes are called, and how its inputs are prepared.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Shaped

from sdt.arrays import AnyArray
from sdt.config import Config, from_dict
from sdt.data.dataset import Step
from sdt.errors import ConfigError, DataError
from sdt.files.sealed import read_bytes
from sdt.inputs.preprocess import Preparation, prepare
from sdt.models import make_model
from sdt.models.registry import variable_shapes
from sdt.types import Model as Network
from sdt.types import Variables

# What a file of weights says of its own form. Files of another form are of another version of sdt.
FORMAT = "sdt 1"
# The recommended network of a run.
RECOMMENDED = "model.safetensors"
_MAX_BYTES = 4 * 2**30
_ADVICE = "name model.safetensors or a file of models/ in the workdir of a finished run"


def file_of(arm: str, seed: int) -> str:
  """Returns where the weights of a training stand in the workdir."""
  return f"models/{arm}-seed{seed}.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """One trained network, with all that is needed to use it.

  Attributes:
    config: of its run; of `data` only the keys that say how an image is read.
    class_names: one name per class, [K], in the order of the logits.
    mean: float32 [C] or [H, W, C] in units of pixel / 255, or float32 [D] in the units of vectors:
      what is subtracted from the inputs.
    std: float32 like `mean`: what the inputs are divided by.
    input_shape: of what the network sees, after resizing and cropping: (H, W, C), or (D,).
    module: the Linen module; it computes in float32.
    variables: {"params": ..., "batch_stats": ...} of NumPy arrays.
    arm, seed: of the training.
    digest: SHA-256 of the file, in hex.
    steps: of the preprocessing, after the division.
  """

  config: Config
  class_names: tuple[str, ...]
  mean: Float32[np.ndarray, "*s"]
  std: Float32[np.ndarray, "*s"]
  input_shape: tuple[int, ...]
  module: Network
  variables: Variables
  arm: str
  seed: int
  digest: str
  steps: tuple[Step, ...] = ()

  @property
  def is_plainly_normalised(self) -> bool:
    """Whether (x - mean) / std of each channel or column is all that is done to the inputs."""
    return self.mean.ndim == 1 and not self.steps

  def preparation(self, dtype: DTypeLike | None = None) -> Preparation:
    """Returns what is done to the inputs of this dtype; by default uint8 images, else float32."""
    dtype = dtype or (np.uint8 if len(self.input_shape) == 3 else np.float32)
    return Preparation.of(self.mean, self.std, self.steps, dtype=dtype)


def preprocess(model: Model, inputs: Shaped[AnyArray, "N ..."]) -> Float32[Array, "N ..."]:
  """Returns what the network is given: (pixel / 255 - mean) / std of uint8 images [N, H, W, C].

  Of float32 vectors [N, D] it is (x - mean) / std. Where `data.normalise` names more, the other
  steps follow. It may be called within a compiled program.
  """
  return prepare(inputs, model.preparation(np.dtype(inputs.dtype)))


def logits_of(
  model: Model, *, dtype: DTypeLike = np.float32
) -> Callable[[Float[AnyArray, "N ..."]], Float[Array, "N K"]]:
  """Returns the function from preprocessed inputs [N, ...] to logits [N, K].

  It may be called within a compiled program; the weights are constants of it.

  Args:
    dtype: in which the layers compute; logits are float32 at least.
  """
  module = model.module.clone(dtype=np.dtype(dtype))
  return lambda inputs: module.apply(model.variables, inputs, train=False)


def read_model(path: Path) -> Model:
  """Returns the network in a file of weights that sdt wrote.

  Raises:
    DataError: no such file, a damaged one, one of another version or another program.
  """
  return model_of(read_bytes(path, _MAX_BYTES), path)


def model_of(content: bytes, path: Path) -> Model:
  """Returns the network in the bytes of such a file; see `read_model`. Messages name `path`."""
  header, tensors = _opened(content, path)
  try:
    stated = {key: json.loads(header[key]) for key in ("config", "class_names", "normalisation")}
    shape = tuple(int(size) for size in json.loads(header["input_shape"]))
    arm, seed, config = header["arm"], int(header["seed"]), from_dict(stated["config"])
    mean, std = (np.asarray(stated["normalisation"][key], np.float32) for key in ("mean", "std"))
    steps, tensors = _steps(stated["normalisation"].get("steps", ()), tensors, math.prod(shape))
  except (KeyError, TypeError, ValueError, ConfigError) as error:
    raise DataError(
      f"{path}: its header is damaged or of another version of sdt ({error}); {_ADVICE}"
    ) from error
  names = tuple(map(str, stated["class_names"]))
  module = make_model(config.model, len(names))
  return Model(
    config=config,
    class_names=names,
    mean=mean,
    std=std,
    input_shape=shape,
    module=module,
    variables=_variables(tensors, variable_shapes(module, shape), path),
    arm=arm,
    seed=seed,
    digest=hashlib.sha256(content).hexdigest(),
    steps=steps,
  )


def _opened(
  content: bytes, path: Path
) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, Any]]]:
  """Returns (the header, the tensors by name) of a file of weights."""
  from safetensors import SafetensorError, deserialize

  try:
    tensors = dict(deserialize(content))
    end = 8 + int.from_bytes(content[:8], "little")
    header: Mapping[str, str] = json.loads(content[8:end]).get("__metadata__") or {}
  except (SafetensorError, ValueError, RecursionError) as error:
    reason = " ".join(str(error).split())[:200]
    raise DataError(f"{path}: not a sound safetensors file ({reason}); {_ADVICE}") from error
  if header.get("format") != FORMAT:
    said = header.get("format", "nothing")
    raise DataError(
      f"{path}: of another program or another version of sdt: its header says {said[:40]!r} of its "
      f"form, expected {FORMAT!r}; train again in a new --workdir, or use the sdt that wrote it"
    )
  return header, tensors


def step_tensors(steps: Iterable[Step]) -> dict[str, np.ndarray]:
  """Returns the arrays of the preprocessing's steps by their names in a file of weights."""
  return {
    f"preprocessing/{number}/{index}": array
    for number, step in enumerate(steps)
    for index, array in enumerate(step.arrays)
  }


def _steps(
  kinds: Iterable[str], tensors: Mapping[str, Mapping[str, Any]], size: int
) -> tuple[tuple[Step, ...], Mapping[str, Mapping[str, Any]]]:
  """Returns the steps of the preprocessing in a file, and the tensors that are left.

  Raises:
    ValueError: they cannot be applied to inputs of `size` numbers.
  """
  of_steps = [name for name in tensors if name.startswith("preprocessing/")]

  def arrays(number: int) -> tuple[np.ndarray, ...]:
    names = sorted(name for name in of_steps if name.startswith(f"preprocessing/{number}/"))
    parts = (tensors[name] for name in names)
    return tuple(np.frombuffer(one["data"], "<f4").reshape(one["shape"]) for one in parts)

  steps = tuple(Step(kind, arrays(number)) for number, kind in enumerate(kinds))
  for step in steps:
    shapes = [array.shape for array in step.arrays]
    is_sound = {
      "whiten": shapes == [(size,), (size, size)],
      "affine": len(shapes) == 2 and all(size % math.prod(shape) == 0 for shape in shapes),
      **dict.fromkeys(("image", "dc"), not shapes),
    }
    if not is_sound.get(step.kind, False):
      raise ValueError(f"no step of the preprocessing: {str(step.kind)[:40]!r} of {shapes}")
  return steps, {name: one for name, one in tensors.items() if name not in of_steps}


def _variables(
  tensors: Mapping[str, Mapping[str, Any]], shapes: Variables, path: Path
) -> Variables:
  """Returns the tensors in the tree of the network's variables, [..] float32 each."""
  wanted = {
    jax.tree_util.keystr(key, simple=True, separator="/"): leaf.shape
    for key, leaf in jax.tree_util.tree_leaves_with_path(shapes)
  }
  stored = {name: tuple(one["shape"]) for name, one in tensors.items() if one["dtype"] == "F32"}
  if stored != wanted:
    other = sorted(name for name in wanted.keys() | tensors if wanted.get(name) != stored.get(name))
    raise DataError(
      f"{path}: {len(other)} tensors are not those of the network that its header names, the first "
      f"is {other[0]}; get an intact copy"
    )

  def array(key: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    data = tensors[jax.tree_util.keystr(key, simple=True, separator="/")]["data"]
    return np.frombuffer(data, "<f4", math.prod(leaf.shape)).reshape(leaf.shape)

  variables: Variables = jax.tree_util.tree_map_with_path(array, shapes)
  return variables
