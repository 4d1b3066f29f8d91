"""Residual networks with pre-activation, for small images.

BatchNorm and activation come before each convolution, and nothing comes after the sum.

Source: He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks", section 4 and
figure 4e; CIFAR networks in section 5.
Differs from source: where shapes change, the shortcut is a 1x1 convolution of the block's input; in
the first block of the network He's code gives it the activated input. The stem is the convolution
alone, as in public trainers.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import block_convolutions, combine_stages, residual_blocks
from sdt.models.conv import barrier
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask


class PreActivationBlock(FamilyModule):
  """Returns F(x) + shortcut(x): equation 2 with an identity after the sum.

  F of a basic block: BatchNorm, act, 3x3 conv (stride), BatchNorm, act, 3x3 conv.
  F of a bottleneck: BatchNorm, act, 1x1 conv, BatchNorm, act, 3x3 conv (stride), BatchNorm, act,
  1x1 conv to 4 * width. Dropout stands before the last conv.
  The shortcut is x itself if shapes agree, otherwise a 1x1 conv of x.
  """

  width: int
  stride: int
  bottleneck: bool
  depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool, mask: Mask, rates: Rates | None = None
  ) -> Float[Array, "B h w O"]:
    y = x
    convolutions = block_convolutions(self.width, self.stride, bottleneck=self.bottleneck)
    for index, (features, kernel_size, stride) in enumerate(convolutions, start=1):
      y = self.act(f"act{index}", self.normalise(f"norm{index}", y, train=train, mask=mask))
      if index == len(convolutions):
        y = self.drop("dropout", y, train=train, rates=rates)
      y = self.conv(f"conv{index}", y, features, kernel_size=kernel_size, stride=stride)
    y = self.branch(y, self.depth, train=train, rates=rates)
    if x.shape != y.shape:
      x = self.conv("shortcut_conv", x, y.shape[-1], kernel_size=1, stride=self.stride)
    return barrier(y + x)


class PreResNet(FamilyModule):
  """A 3x3 stem, stages of blocks, BatchNorm, act, the mean over the pixels, and a linear head.

  Stage i has `blocks[i]` blocks of `widths[i]` channels (times 4 in bottlenecks). Every stage but
  the first begins with stride 2. The number of layers is 2 + 2 * sum(blocks), or
  2 + 3 * sum(blocks) with bottlenecks.
  """

  num_classes: int
  blocks: tuple[int, ...] = (3, 3, 3)
  widths: tuple[int, ...] = (16, 32, 64)
  bottleneck: bool = False

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    x = barrier(self.conv("stem_conv", inputs, self.widths[0], kernel_size=3))
    for name, depth, width, stride in residual_blocks(self.blocks, self.widths):
      block = PreActivationBlock(
        width, stride, self.bottleneck, depth=depth, name=name, **self.in_common
      )
      x = block(x, train=train, mask=mask, rates=rates)
    x = self.act("final_act", self.normalise("final_norm", x, train=train, mask=mask))
    return self.head(x, self.num_classes)


def _cifar(num_blocks: int | None, *, bottleneck: bool = False) -> Network:
  blocks = None if num_blocks is None else (num_blocks,) * 3
  arguments = {"blocks": blocks, "widths": (16, 32, 64), "bottleneck": bottleneck}
  keys = ("blocks", "widths")
  return Network(
    PreResNet, arguments, keys, combine=combine_stages, has_branches=True, takes_fixup=True
  )


NETWORKS = {
  # Any basic PreResNet, by `blocks` and `widths`; by default one block for each stage.
  "preresnet": _cifar(None),
  # Basic blocks: the number is the depth, 6 n + 2.
  "preresnet20": _cifar(3),
  "preresnet56": _cifar(9),
  "preresnet110": _cifar(18),
  # The paper's trainer calls these PreResNet56 and PreResNet110: bottlenecks, 83 and 164 layers.
  "paper_preresnet56": _cifar(9, bottleneck=True),
  "paper_preresnet110": _cifar(18, bottleneck=True),
}
