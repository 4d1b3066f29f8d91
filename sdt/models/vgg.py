"""VGG for small images: stages of 3x3 convolutions, each with a max-pool at its end.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", table 1, columns D and E.
Differs from source, as public trainers run it on CIFAR:
- BatchNorm after every convolution, which keeps its bias although BatchNorm removes it again.
- The mean over the last pixels and one linear head instead of three linear layers with dropout.
- He's initial values, not training by stages.
- Dropout, where there is any, stands before the head.
- An image with a single row or column left (fewer than 32 pixels a side) is not halved further.
"""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import combine_stages
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask

# The standard deviation of the head's initial weights.
HEAD_SCALE = 0.01


class VGG(FamilyModule):
  """Stages of (3x3 conv, BatchNorm, act) and a 2x2 max-pool, the mean over the pixels, and a head.

  Stage i has `blocks[i]` such layers of `widths[i]` channels. The number of layers is
  1 + sum(blocks). The number in the name counts the source's two further linear layers.
  """

  conv_bias: ClassVar[bool] = True

  num_classes: int
  blocks: tuple[int, ...] = (2, 2, 3, 3, 3)
  widths: tuple[int, ...] = (64, 128, 256, 512, 512)

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    x = inputs
    stages = zip(self.blocks, self.widths, strict=True)
    for stage, (num_layers, width) in enumerate(stages, start=1):
      for layer in range(1, num_layers + 1):
        name, features = f"stage{stage}_", width * self.pieces
        x = self.conv(f"{name}conv{layer}", x, features, kernel_size=3)
        x = self.normalise(f"{name}norm{layer}", x, train=train, mask=mask)
        x = self.act(f"{name}act{layer}", x)
      x = self.shrink(f"stage{stage}_pool", x, 2, 2, train=train)
    x = self.drop("dropout", x, train=train, rates=rates)
    return self.head(x, self.num_classes, kernel_scale=HEAD_SCALE)


def _vgg(blocks: tuple[int, ...]) -> Network:
  arguments = {"blocks": blocks, "widths": (64, 128, 256, 512, 512)}
  keys = ("blocks", "widths", "pool")
  return Network(VGG, arguments, keys, combine=combine_stages, takes_pieces=True)


NETWORKS = {
  "vgg16": _vgg((2, 2, 3, 3, 3)),
  "vgg19": _vgg((2, 2, 4, 4, 4)),
}
