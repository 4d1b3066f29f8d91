"""The names that public checkpoints give to weights, as timm and torchvision have them.

A naming is data: it maps every module of sdt's network to the public module with its weights.
"""

import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32

from sdt.models.family import EMBEDDING, HEAD
from sdt.types import Variables

_PUBLIC_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
  # Arrays that public networks keep without a module of their own.
  EMBEDDING: None,
  "gamma": None,
}
# From sdt's layout of an array of so many axes to torch's: HWIO -> OIHW, [D, K] -> [K, D].
TO_TORCH = {4: (3, 2, 0, 1), 3: (0, 1, 2), 2: (1, 0), 1: (0,)}


_BY_IMAGENET: Mapping[str, str] = types.MappingProxyType({"imagenet": "public weights"})


@dataclasses.dataclass(frozen=True)
class Naming:
  """How the public checkpoints of a family name the modules of sdt.

  Attributes:
    modules: (pattern of sdt's module, the public module). The public name may hold the number of a
      group of the pattern: `{name}` counts from 1, `{name_from_0}` from 0.
    old_spellings: (pattern, replacement) of public names in older files.
    statistics: by values of data.statistics, whose weights expect images that are normalised so.
  """

  modules: tuple[tuple[str, str], ...]
  old_spellings: tuple[tuple[str, str], ...] = ()
  statistics: Mapping[str, str] = _BY_IMAGENET

  def public_name(self, path: str) -> str:
    """Returns the public name of the variable at `path`, such as params/stem_conv/kernel.

    Raises:
      ValueError: no module of the naming fits, or public modules have no such array.
    """
    _, _, inner = path.partition("/")
    module, _, leaf = inner.rpartition("/")
    for pattern, public in self.modules:
      if match := re.fullmatch(pattern, module):
        numbers = {name: int(text) for name, text in match.groupdict().items()}
        from_0 = {f"{name}_from_0": number - 1 for name, number in numbers.items()}
        if leaf not in _PUBLIC_LEAVES:
          break
        end = _PUBLIC_LEAVES[leaf]
        return public.format(**numbers, **from_0) + ("" if end is None else f".{end}")
    raise ValueError(f"the naming has no place for {path}")

  def modern(self, name: str) -> str:
    """Returns the public name for one in an older spelling."""
    for pattern, replacement in self.old_spellings:
      name = re.sub(pattern, replacement, name)
    return name


def _of_blocks(block: str, public: str) -> tuple[tuple[str, str], ...]:
  """Returns the rows of a transformer's blocks."""
  parts = (
    (r"norm(?P<part>\d)", "norm{part}"),
    (r"scale(?P<part>\d)", "gamma_{part}"),
    (r"fc(?P<part>\d)", "mlp.fc{part}"),
    ("attention/qkv", "attn.qkv"),
    ("attention/query", "attn.q"),
    ("attention/key", "attn.k"),
    ("attention/value", "attn.v"),
    ("attention/talk1", "attn.proj_l"),
    ("attention/talk2", "attn.proj_w"),
    ("attention/projection", "attn.proj"),
  )
  number = r"(?P<block>\d+)/"
  return tuple((block + number + ours, f"{public}.{{block_from_0}}.{of}") for ours, of in parts)


_BLOCK = r"stage(?P<stage>\d+)_block(?P<block>\d+)"
_LAYER = r"block(?P<block>\d+)_layer(?P<layer>\d+)"
_AROUND_BLOCKS = (
  ("patch_embedding", "patch_embed.proj"),
  ("class_token", "cls_token"),
  ("positions", "pos_embed"),
  ("final_norm", "norm"),
  (HEAD, "head"),
)
NAMINGS = {
  "alexnet": Naming(
    (
      ("conv1", "features.0"),
      ("conv2", "features.3"),
      ("conv3", "features.6"),
      ("conv4", "features.8"),
      ("conv5", "features.10"),
      ("hidden1", "classifier.1"),
      ("hidden2", "classifier.4"),
      (HEAD, "classifier.6"),
    )
  ),
  "resnet": Naming(
    (
      ("stem_conv", "conv1"),
      ("stem_norm", "bn1"),
      (_BLOCK + r"/conv(?P<part>\d)", "layer{stage}.{block_from_0}.conv{part}"),
      (_BLOCK + r"/norm(?P<part>\d)", "layer{stage}.{block_from_0}.bn{part}"),
      (_BLOCK + "/shortcut_conv", "layer{stage}.{block_from_0}.downsample.0"),
      (_BLOCK + "/shortcut_norm", "layer{stage}.{block_from_0}.downsample.1"),
      (HEAD, "fc"),
    )
  ),
  "densenet": Naming(
    (
      ("stem_conv", "features.conv0"),
      ("stem_norm", "features.norm0"),
      (_LAYER + r"/conv(?P<part>\d)", "features.denseblock{block}.denselayer{layer}.conv{part}"),
      (_LAYER + r"/norm(?P<part>\d)", "features.denseblock{block}.denselayer{layer}.norm{part}"),
      (r"transition(?P<block>\d+)/norm", "features.transition{block}.norm"),
      (r"transition(?P<block>\d+)/conv", "features.transition{block}.conv"),
      ("final_norm", "features.norm5"),
      (HEAD, "classifier"),
    ),
    old_spellings=((r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
  ),
  "vit": Naming(
    (*_AROUND_BLOCKS, *_of_blocks("block", "blocks")),
    statistics=types.MappingProxyType(
      {"inception": "timm's vit_*.augreg* weights", "imagenet": "DeiT's and most others"}
    ),
  ),
  "cait": Naming(
    (
      *_AROUND_BLOCKS,
      *_of_blocks("block", "blocks"),
      *_of_blocks("class_block", "blocks_token_only"),
    )
  ),
}


def path_of(path: tuple[Any, ...]) -> str:
  """Returns "params/stem_conv/kernel" of a path of JAX keys."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def public_tensors(naming: str, variables: Variables) -> dict[str, Float32[np.ndarray, "..."]]:
  """Returns the variables of a network as a public checkpoint has them.

  `sdt.models.pretrained.load` reads them back.

  Args:
    naming: one of `NAMINGS`.
    variables: {"params": ..., "batch_stats": ...}.
  """
  return {
    NAMINGS[naming].public_name(path_of(path)): np.asarray(leaf).transpose(TO_TORCH[leaf.ndim])
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
  }
