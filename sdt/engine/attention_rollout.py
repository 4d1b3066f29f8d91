"""Attention rollout: how much of every patch reaches the class token of a transformer."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

# What a network keeps if it is asked: the patches [B, h, w, D], and by block the attention.
type Kept = Mapping[str, Any]


def attention_rollout(kept: Kept) -> Float[Array, "B h w"]:
  """Returns the first row of the product of all blocks' (A + I) / 2, at the places of the patches.

  A [tokens, tokens] is the attention of a block after the softmax, a mean over the heads. Numbers
  are in [0, 1]; their sum over the patches is what the class token has not kept of itself. It is
  not of a class: it says where the network reads, not what speaks for an answer.

  Args:
    kept: the intermediates of a forward pass of `sdt.models.vit` or `cait`.

  Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", equation 1. Differs
  from source: none; of CaiT, whose class token comes late, tokens that a block has not stay as they
  are, and what heads mix after the softmax and LayerScale do not count.
  """
  (patches,) = kept["patches"]
  batch, height, width = patches.shape[:3]
  size = 1 + height * width
  total = jnp.broadcast_to(jnp.eye(size, dtype=jnp.float32), (batch, size, size))
  for name in sorted((name for name in kept if re.search(r"block\d+$", name)), key=_place):
    (shares,) = kept[name]["attention"]["attention"]
    total = _of_block(shares.mean(-1).astype(jnp.float32), size) @ total
  return total[:, 0, 1:].reshape(batch, height, width)


def _place(name: str) -> tuple[bool, int]:
  """Returns what orders the names: block1, block2, ..., class_block1, ..."""
  return name.startswith("class"), int(name.rpartition("block")[2])


def _of_block(shares: Float[Array, "B q k"], size: int) -> Float[Array, "B n n"]:
  """Returns (A + I) / 2 of the tokens that read, I of the others, [B, size, size].

  Keys are the last tokens of all; queries are the same, or the first of them alone.
  """
  _, queries, keys = shares.shape
  missing = size - keys
  rows, columns = slice(missing, missing + queries), slice(missing, None)
  alone = jnp.broadcast_to(jnp.eye(size, dtype=shares.dtype), (shares.shape[0], size, size))
  return alone.at[:, rows, columns].set((shares + alone[:, rows, columns]) / 2)
