"""Residual networks: for small images, as He et al. trained them on CIFAR, and for ImageNet.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", section 4.2
(CIFAR), table 1 (ImageNet) and figure 5.
Differs from source:
- On CIFAR the shortcut can be a 1x1 convolution with BatchNorm ("projection"), as in public
  trainers; He's is "zero_pad".
- Bottlenecks on CIFAR are not He's: public trainers build them for depths of 44 and more.
- A bottleneck that halves the pixels does so in its 3x3 convolution, He's in the 1x1 before it.
  This is torchvision's form, known as ResNet v1.5.
- The ImageNet networks with the "small" stem are not He's: public trainers use them for images of
  64x64 and less.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import block_convolutions, combine_stages, residual_blocks
from sdt.models.conv import barrier
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask
from sdt.models.pools import max_pool


class ResidualBlock(FamilyModule):
  """Returns act(F(x) + shortcut(x)).

  F of a basic block: 3x3 conv (stride), BatchNorm, act, 3x3 conv, BatchNorm.
  F of a bottleneck: 1x1 conv, BatchNorm, act, 3x3 conv (stride), BatchNorm, act, 1x1 conv to
  4 * width, BatchNorm. Dropout stands before the last conv.
  The shortcut is x itself if shapes agree. "projection" is a 1x1 conv and BatchNorm; "zero_pad"
  strides and adds channels of zeros.
  """

  width: int
  stride: int
  bottleneck: bool
  shortcut: str
  depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool, mask: Mask, rates: Rates | None = None
  ) -> Float[Array, "B h w O"]:
    y = x
    convolutions = block_convolutions(self.width, self.stride, bottleneck=self.bottleneck)
    for index, (features, kernel_size, stride) in enumerate(convolutions, start=1):
      if index == len(convolutions):
        y = self.drop("dropout", y, train=train, rates=rates)
      y = self.conv(f"conv{index}", y, features, kernel_size=kernel_size, stride=stride)
      y = self.normalise(f"norm{index}", y, train=train, mask=mask)
      if index < len(convolutions):
        y = self.act(f"act{index}", y)
    y = self.branch(y, self.depth, train=train, rates=rates)
    if x.shape != y.shape:
      if self.shortcut == "projection":
        x = self.conv("shortcut_conv", x, y.shape[-1], kernel_size=1, stride=self.stride)
        x = self.normalise("shortcut_norm", x, train=train, mask=mask)
      else:
        added = (0, y.shape[-1] - x.shape[-1])
        # Not by an index, which is a gather where the number of images is a symbol (exports).
        x = lax.slice(x, (0,) * 4, x.shape, (1, self.stride, self.stride, 1))
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), added))
    return barrier(self.act("act_out", y + x))


class ResNet(FamilyModule):
  """A stem, stages of residual blocks, the mean over the pixels, and a linear head.

  Stem "small": a 3x3 convolution to `widths[0]` channels, BatchNorm, act.
  Stem "imagenet": a 7x7 convolution of stride 2 to as many, BatchNorm, act, a 3x3 max-pool of
  stride 2.
  Stage i has `blocks[i]` blocks of `widths[i]` channels (times 4 in bottlenecks). Every stage but
  the first begins with stride 2. The number of layers is 2 + 2 * sum(blocks), or
  2 + 3 * sum(blocks) with bottlenecks.
  """

  num_classes: int
  blocks: tuple[int, ...] = (3, 3, 3)
  widths: tuple[int, ...] = (16, 32, 64)
  bottleneck: bool = False
  shortcut: str = "projection"
  stem: str = "small"

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    kernel_size, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
    x = self.conv("stem_conv", inputs, self.widths[0], kernel_size=kernel_size, stride=stride)
    x = self.normalise("stem_norm", x, train=train, mask=mask)
    x = barrier(self.act("stem_act", x))
    if self.stem == "imagenet":
      x = max_pool(x, 3, 2, padding=1)
    for name, depth, width, stride in residual_blocks(self.blocks, self.widths):
      form = (width, stride, self.bottleneck, self.shortcut, depth)
      block = ResidualBlock(*form, name=name, **self.in_common)
      x = block(x, train=train, mask=mask, rates=rates)
    return self.head(x, self.num_classes)


_KEYS = ("blocks", "widths", "shortcut", "stem")


def _cifar(num_blocks: int | None, *, bottleneck: bool = False) -> Network:
  blocks = None if num_blocks is None else (num_blocks,) * 3
  arguments = {"blocks": blocks, "widths": (16, 32, 64), "bottleneck": bottleneck, "stem": "small"}
  return Network(
    ResNet, arguments, _KEYS, combine=combine_stages, has_branches=True, takes_fixup=True
  )


def _imagenet(blocks: tuple[int, ...], *, bottleneck: bool = False) -> Network:
  widths = (64, 128, 256, 512)
  arguments = {"blocks": blocks, "widths": widths, "bottleneck": bottleneck, "stem": "imagenet"}
  network = Network(
    ResNet, arguments, _KEYS, combine=combine_stages, has_branches=True, takes_fixup=True
  )
  return dataclasses.replace(network, weights_from="resnet")


NETWORKS = {
  # Any basic ResNet, by `blocks` and `widths`; by default one block for each stage.
  "resnet": _cifar(None),
  # He's basic-block networks: the number is the depth, 6 n + 2.
  "resnet8": _cifar(1),
  "resnet20": _cifar(3),
  "resnet56": _cifar(9),
  "resnet110": _cifar(18),
  # The paper's trainer calls these ResNet56 and ResNet110: bottlenecks, 83 and 164 layers.
  "paper_resnet56": _cifar(9, bottleneck=True),
  "paper_resnet110": _cifar(18, bottleneck=True),
  # He's networks for ImageNet.
  "resnet18": _imagenet((2, 2, 2, 2)),
  "resnet34": _imagenet((3, 4, 6, 3)),
  "resnet50": _imagenet((3, 4, 6, 3), bottleneck=True),
}
