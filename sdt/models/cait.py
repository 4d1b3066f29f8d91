"""CaiT: a deep transformer of patches, at whose end a class token reads them in two more blocks.

Source: Touvron et al. 2021, "Going deeper with Image Transformers", sections 2 and 3, tables 1 and
3; talking heads as in its section 5.
Differs from source: as in its code, the layer of the patches starts as torch's convolutions, other
weights as N(0, 0.02^2), and `cait_xxs36` has LayerScale 1e-5. With stochastic depth all blocks of
patches drop at one rate and those of the class token not at all, as in the source. `cait` is ours,
for small images.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.attention import START_SCALE, Block, Tokens, sizes_that_fit
from sdt.models.family import Network
from sdt.models.layers import Rates
from sdt.models.norms import Mask

# Blocks in which the class token reads.
NUM_CLASS_BLOCKS = 2


class CaiT(Tokens):
  """Patches, positions, `depth` blocks, a class token with two blocks, a norm, a linear head."""

  num_classes: int
  patch_size: int
  depth: int
  width: int
  heads: int
  layer_scale: float
  mlp_ratio: float = 4.0

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    now: dict[str, Any] = {"train": train, "mask": mask, "rates": rates}
    x = self.patches(inputs, self.patch_size, self.width)
    x = x + self.embedding("positions", x.shape[1], self.width)
    x = self.drop("stem_dropout", x, train=train, rates=rates)
    form = (self.heads, int(self.width * self.mlp_ratio))
    for number in range(1, self.depth + 1):
      name, more = f"block{number}", {"layer_scale": self.layer_scale, "talks": True}
      x = Block(*form, 1.0, **more, name=name, **self.in_common)(x, **now)
    token = self.embedding("class_token", 1, self.width)
    token = jnp.broadcast_to(token, (x.shape[0], 1, self.width))
    for number in range(1, NUM_CLASS_BLOCKS + 1):
      name, more = f"class_block{number}", {"layer_scale": self.layer_scale, "of_class": True}
      token = Block(*form, 0.0, **more, name=name, **self.in_common)(token, x, **now)
    token = self.normalise("final_norm", token, train=train, mask=mask)
    return self.logits(token.reshape(-1, self.width), self.num_classes, kernel_scale=START_SCALE)


def _layer_scale(depth: int) -> float:
  """Returns where the factors of the branches start.

  Source: Touvron et al. 2021, section 2. Differs from source: none.
  """
  if depth <= 18:
    return 0.1
  return 1e-5 if depth <= 24 else 1e-6


def _by_depth(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Returns the arguments with the changes, and the LayerScale of another depth."""
  changed = sizes_that_fit(arguments, changes, name)
  if changed["depth"] != arguments["depth"]:
    changed["layer_scale"] = _layer_scale(changed["depth"])
  return changed


def _of_sizes(
  depth: int, width: int, *, patch_size: int = 16, layer_scale: float | None = None
) -> Network:
  sizes = {"patch_size": patch_size, "depth": depth, "width": width, "heads": width // 48}
  keys = (*sizes, "mlp_ratio")
  start = _layer_scale(depth) if layer_scale is None else layer_scale
  return Network(
    CaiT,
    {**sizes, "mlp_ratio": 4.0, "layer_scale": start},
    keys,
    combine=_by_depth,
    weights_from="cait",
    public_keys=keys,
    has_branches=True,
    takes_pieces=True,
  )


NETWORKS = {
  "cait": _of_sizes(6, 192, patch_size=4),
  "cait_xxs24": _of_sizes(24, 192),
  "cait_xxs36": _of_sizes(36, 192, layer_scale=1e-5),
  "cait_xs24": _of_sizes(24, 288),
  "cait_s24": _of_sizes(24, 384),
  "cait_s36": _of_sizes(36, 384),
  "cait_m36": _of_sizes(36, 768),
  "cait_m48": _of_sizes(48, 768),
}
