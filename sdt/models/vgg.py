"""VGG for small images: stages of 3x3 convolutions, a max-pool behind each.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", table 1, columns D and E.
Differs from source: BatchNorm behind every convolution, whose bias stays although BatchNorm takes
it away again; the mean over the last pixels and one linear head instead of three linear layers with
dropout; initial values of He, not by stages. All this is how public trainers run it on CIFAR. Where
an image has a single row or column left (fewer than 32 pixels a side), it is not halved any more.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from sdt.models.blocks import combine_stages
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, max_pool

# The standard deviation of the head's initial weights.
HEAD_SCALE = 0.01


class VGG(FamilyModule):
  """Stages of (3x3 conv, BatchNorm, act) with a 2x2 max-pool behind each, the mean over the pixels,
  and a linear head.

  Stage i has `blocks[i]` such layers of `widths[i]` channels. The number of layers is 1 +
  sum(blocks); with the source's two linear layers more, it is the number in the name.
  """

  num_classes: int
  blocks: tuple[int, ...] = (2, 2, 3, 3, 3)
  widths: tuple[int, ...] = (64, 128, 256, 512, 512)

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    x = inputs
    for stage, (num_layers, width) in enumerate(
      zip(self.blocks, self.widths, strict=True), start=1
    ):
      for layer in range(1, num_layers + 1):
        x = self.conv(f"stage{stage}_conv{layer}", x, width, kernel_size=3, use_bias=True)
        x = self.act(self.norm(f"stage{stage}_norm{layer}", x, train=train, mask=mask))
      if min(x.shape[1:3]) > 1:
        x = max_pool(x, 2, 2)
    return self.head(x, self.num_classes, kernel_scale=HEAD_SCALE)


def _vgg(blocks: tuple[int, ...]) -> Network:
  return Network(
    VGG,
    {"blocks": blocks, "widths": (64, 128, 256, 512, 512)},
    ("blocks", "widths", "activation"),
    combine=combine_stages,
  )


NETWORKS = {
  "vgg16": _vgg((2, 2, 3, 3, 3)),
  "vgg19": _vgg((2, 2, 4, 4, 4)),
}
