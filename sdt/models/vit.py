"""The vision transformer: an image as a sequence of patches, and a class token that reads them.

Sources: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", section 3.1 and table 1; the
sizes `vit_tiny` and `vit_small`: Touvron et al. 2021, "Training data-efficient image transformers",
table 1.
Differs from source, as timm does: weights, class token and positions start as N(0, 0.02^2), biases
at 0, the patches' layer as torch's convolutions, uniform on +-1/sqrt(fan_in). Dropout stands where
the source has it: after the positions, and after every linear layer but that of queries, keys and
values. `vit` is ours, for small images.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.attention import START_SCALE, Block, Tokens, sizes_that_fit
from sdt.models.family import Network
from sdt.models.layers import Rates
from sdt.models.norms import Mask


class VisionTransformer(Tokens):
  """Patches, a class token, positions, `depth` blocks, a norm, and the class token's linear head.

  With stochastic depth block l of L drops at l / L of the rate.
  """

  num_classes: int
  patch_size: int
  depth: int
  width: int
  heads: int
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
    x = self.patches(inputs, self.patch_size, self.width)
    token = self.embedding("class_token", 1, self.width)
    x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, self.width)), x], axis=1)
    x = x + self.embedding("positions", x.shape[1], self.width)
    x = self.drop("stem_dropout", x, train=train, rates=rates)
    form = (self.heads, int(self.width * self.mlp_ratio))
    for number in range(1, self.depth + 1):
      block = Block(*form, number / self.depth, name=f"block{number}", **self.in_common)
      x = block(x, train=train, mask=mask, rates=rates)
    # The head reads the class token alone.
    x = jax.lax.slice_in_dim(x, 0, 1, axis=1)
    x = self.normalise("final_norm", x, train=train, mask=mask)
    return self.logits(x.reshape(-1, self.width), self.num_classes, kernel_scale=START_SCALE)


def _of_sizes(patch_size: int, depth: int, width: int, heads: int) -> Network:
  sizes = {"patch_size": patch_size, "depth": depth, "width": width, "heads": heads}
  keys = (*sizes, "mlp_ratio")
  return Network(
    VisionTransformer,
    {**sizes, "mlp_ratio": 4.0},
    keys,
    combine=sizes_that_fit,
    weights_from="vit",
    public_keys=keys,
    has_branches=True,
    takes_pieces=True,
  )


NETWORKS = {
  "vit": _of_sizes(4, 6, 192, heads=3),
  "vit_tiny": _of_sizes(16, 12, 192, heads=3),
  "vit_small": _of_sizes(16, 12, 384, heads=6),
  "vit_base": _of_sizes(16, 12, 768, heads=12),
  "vit_large": _of_sizes(16, 24, 1024, heads=16),
}
