"""Deterministic numbers that the scripts here (torch) and the tests (JAX) draw alike.

So no weights need to be stored.

Every array is a function of its name and shape. Only raw uniform numbers of a counter-based
generator are used: they do not change between versions of NumPy, other distributions may.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

# The largest int32; arrays are stored as integers of this share of their largest absolute value, a
# resolution of 2.3e-10 of it.
FULL_SCALE = 2**31 - 2
NUM_PRODUCTS = 4

FORWARD_NETWORKS = {
  "basic8_projection": {
    "blocks": (1, 1, 1),
    "widths": (16, 32, 64),
    "bottleneck": False,
    "shortcut": "projection",
  },
  "basic8_zero_pad": {
    "blocks": (1, 1, 1),
    "widths": (16, 32, 64),
    "bottleneck": False,
    "shortcut": "zero_pad",
  },
  "basic20_projection": {
    "blocks": (3, 3, 3),
    "widths": (16, 32, 64),
    "bottleneck": False,
    "shortcut": "projection",
  },
  "bottleneck_projection": {
    "blocks": (1, 2, 1),
    "widths": (8, 16, 32),
    "bottleneck": True,
    "shortcut": "projection",
  },
  "bottleneck_zero_pad": {
    "blocks": (2, 1, 1),
    "widths": (8, 16, 32),
    "bottleneck": True,
    "shortcut": "zero_pad",
  },
}
PRERESNETS = {
  "basic": {"blocks": (1, 2, 1), "widths": (8, 16, 32), "bottleneck": False},
  "bottleneck": {"blocks": (1, 2, 1), "widths": (8, 16, 32), "bottleneck": True},
}
# The first stage of widen_factor 1 has the channels of the stem.
WIDE_RESNETS = {
  "wrn10_2": {"depth": 10, "widen_factor": 2},
  "wrn16_1": {"depth": 16, "widen_factor": 1},
}
# The second is down to one pixel before its last stage.
VGGS = {
  "three_stages": {"blocks": (1, 2, 1), "widths": (8, 16, 32)},
  "five_stages": {"blocks": (1,) * 5, "widths": (4, 8, 8, 12, 12)},
}
# Images for the stem of a network: with ImageNet's, 48 pixels become 12, and an odd number of them
# is halved on the way.
STEM_SHAPES = {"small": (16, 16, 3), "imagenet": (48, 48, 3)}
IMAGENET_RESNETS = {
  "basic": {
    "blocks": (1, 1),
    "widths": (8, 12),
    "bottleneck": False,
    "shortcut": "zero_pad",
    "stem": "imagenet",
  },
  "bottleneck": {
    "blocks": (2, 1),
    "widths": (4, 8),
    "bottleneck": True,
    "shortcut": "projection",
    "stem": "imagenet",
  },
}
DENSENETS = {
  "bc": {
    "layers": (2, 1, 1),
    "growth_rate": 6,
    "bottleneck": True,
    "compression": 0.5,
    "stem": "small",
  },
  "plain": {
    "layers": (2, 2),
    "growth_rate": 6,
    "bottleneck": False,
    "compression": 1.0,
    "stem": "small",
  },
  # 3 layers of 5 channels after 10 make 25, an odd number to halve.
  "imagenet_stem": {
    "layers": (3, 1),
    "growth_rate": 5,
    "bottleneck": True,
    "compression": 0.5,
    "stem": "imagenet",
  },
}
# Small forms of LeNet and AlexNet: widths, sizes of the hidden layers, the stem.
LENETS = {"lenet": {"widths": (3, 5), "hidden_sizes": (9, 7)}}
ALEXNETS = {
  "alexnet_imagenet": {"widths": (4, 6, 8, 5, 3), "hidden_sizes": (9, 7), "stem": "imagenet"},
  "alexnet_small": {"widths": (4, 6, 8, 5, 3), "hidden_sizes": (9, 7), "stem": "small"},
}
# Images of the first are averaged from 3x3 to 6x6 maps; those of the others are their own size.
CLASSIC_SHAPES = {
  "lenet": (32, 32, 3),
  "alexnet_imagenet": (127, 127, 3),
  "alexnet_small": (32, 32, 3),
}
# Small forms of ViT and CaiT: timm's module and its arguments, and the images, of which the second
# have more columns than rows.
TRANSFORMERS = {
  "vit": (
    "vit",
    {"patch_size": 4, "depth": 2, "embed_dim": 12, "num_heads": 3, "mlp_ratio": 2.5},
    (8, 12, 3),
  ),
  "cait": (
    "cait",
    {"patch_size": 2, "depth": 1, "embed_dim": 12, "num_heads": 2, "mlp_ratio": 3.0},
    (6, 4, 1),
  ),
}
# Positions of another image size: tokens before the grid, its sides before and after.
GRIDS = ((1, 3, 5), (1, 4, 2), (0, 3, 4))
# Arrays of single blocks, in torch's order of axes, and the places of fractional pooling: rows,
# columns.
BLOCK_SHAPES = {
  "x": (2, 12, 7, 6),
  "slope": (12,),
  "scale": (12,),
  "bias": (12,),
  "kernel": (5, 12, 3, 3),
  "lengths": (5,),
}
PLACES = (0.3, 0.8)
# Networks at their full size: the images, and a gain of the convolutions with which logits are
# moderate and differ between images.
FULL_SHAPE = (32, 32, 3)
FULL_GAINS = {
  "preresnet110": 0.7,
  "paper_preresnet110": 0.7,
  "wrn28_10": 1.0,
  "vgg16": 1.4,
  "vgg19": 1.4,
}

# Ten steps of ResNet-20: two rounds of two steps on A and three on B, the last B step of a round
# with 7 of 16 examples.
BATCH_SIZE = 16
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAYS = (1e-3, 1e-4)
STEP_PHASES = (0, 0, 1, 1, 1) * 2
STEP_SIZES = (16, 16, 16, 16, 7) * 2
IMAGE_SHAPE = (16, 16, 3)


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
  """Returns float64 uniform on [low, high), a function of name and shape."""
  seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
  raw = np.random.Philox(key=seed).random_raw(math.prod(shape))
  return low + (high - low) * (raw >> np.uint64(11)).astype(np.float64).reshape(shape) / 2.0**53


def variable(path: str, shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray:
  """Returns the value of the variable at `path`, such as params/stage1_block1/conv1/kernel.

  Kernels are [kh, kw, C, O] or [D, K].

  Convolutions are `gain` times He's size: with less than 1 the values of a deep network do not grow
  from block to block.
  """
  collection, *_, layer, leaf = path.split("/")
  if collection == "batch_stats":
    return uniform(path, shape, -0.5, 0.5) if leaf == "mean" else uniform(path, shape, 0.5, 2.0)
  if "norm" in layer:
    return uniform(path, shape, 0.5, 1.5) if leaf == "scale" else uniform(path, shape, -0.1, 0.1)
  if len(shape) == 4:
    bound = gain * math.sqrt(6.0 / (shape[0] * shape[1] * shape[3]))
    return uniform(path, shape, -bound, bound)
  return uniform(path, shape, -0.125, 0.125)


def public_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Returns the tensor `name` of a checkpoint in torchvision's names and torch's layout.

  Such as layer1.0.conv1.weight.
  """
  leaf = name.rpartition(".")[2]
  if leaf == "running_var":
    return uniform(name, shape, 0.5, 2.0)
  if leaf == "running_mean":
    return uniform(name, shape, -0.5, 0.5)
  if len(shape) == 4:
    bound = math.sqrt(6.0 / math.prod(shape[1:]))
    return uniform(name, shape, -bound, bound)
  if len(shape) == 2 or name in ("fc.bias", "classifier.bias"):
    return uniform(name, shape, -0.125, 0.125)
  return uniform(name, shape, 0.5, 1.5) if leaf == "weight" else uniform(name, shape, -0.1, 0.1)


def transformer_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Returns the tensor `name` of a transformer of timm, large enough that attention matters."""
  is_factor = "norm" in name and name.endswith("weight")
  return uniform(name, shape, 0.5, 1.5) if is_factor else uniform(name, shape, -0.7, 0.7)


def positions(prefix: int, side: int) -> np.ndarray:
  """Returns drawn positions [1, prefix + side^2, 3]."""
  return uniform(f"positions/{prefix}/{side}", (1, prefix + side**2, 3), -1.0, 1.0)


def images(name: str, num: int, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> np.ndarray:
  """Returns inputs [num, H, W, C] of variance 1."""
  return uniform(f"images/{name}", (num, *image_shape), -math.sqrt(3.0), math.sqrt(3.0))


def labels(name: str, num: int) -> np.ndarray:
  """Returns int32 [num] in [0, 10)."""
  return np.floor(uniform(f"labels/{name}", (num,), 0.0, 10.0)).astype(np.int32)


def digests(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns what is stored of arrays: "paths" [P], sorted, and "digests" [P, 1 + NUM_PRODUCTS].

  Digests are float64.

  A digest is the largest absolute value and the products with drawn vectors: where two arrays
  differ by e in one place or more, some product differs by about e or more, but for a chance that
  four products all miss.
  """
  paths = sorted(arrays)
  rows = []
  for path in paths:
    array = arrays[path].astype(np.float64).ravel()
    products = [
      array @ uniform(f"digest{index}/{path}", array.shape, -1.0, 1.0)
      for index in range(NUM_PRODUCTS)
    ]
    rows.append([np.max(np.abs(array)), *products])
  return {"paths": np.array(paths), "digests": np.array(rows)}


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes arrays as int32 of their largest absolute value, beside that value."""
  stored: dict[str, Any] = {}
  for name, array in arrays.items():
    array = array.astype(np.float64)
    largest = float(np.max(np.abs(array))) or 1.0
    stored[name] = np.rint(array / largest * FULL_SCALE).astype(np.int32)
    stored[f"{name}@scale"] = np.float64(largest)
  np.savez_compressed(path, **stored)
  print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes")


def load(path: Path) -> dict[str, np.ndarray]:
  """Returns what `save` wrote, float64."""
  with np.load(path) as stored:
    names = [name for name in stored.files if not name.endswith("@scale")]
    return {name: stored[name] * (float(stored[f"{name}@scale"]) / FULL_SCALE) for name in names}
