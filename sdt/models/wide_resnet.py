"""Wide residual networks: few pre-activation blocks with many channels, instead of many with few.

Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks", section 2 and table 1.
Differs from source: dropout between the convolutions of a block is off by default, as in most of
the source's tables. The bias of the head starts uniform, as its weights do, not at 0. Where the
number of channels changes, the shortcut is a 1x1 convolution of the activated input, which F reads
too: the paper does not say so, the authors' code and the public implementations do.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import blocks_of_depth, residual_blocks
from sdt.models.conv import barrier
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask

# The channels of the stem, and of the three stages before they are widened.
STEM_WIDTH = 16
STAGE_WIDTHS = (16, 32, 64)


class WideBlock(FamilyModule):
  """Returns F(x) + shortcut(x).

  F: BatchNorm, act, 3x3 conv (stride), BatchNorm, act, dropout, 3x3 conv. The shortcut is x itself
  if shapes agree, otherwise a 1x1 conv of act(BatchNorm(x)).
  """

  width: int
  stride: int
  depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool, mask: Mask, rates: Rates | None = None
  ) -> Float[Array, "B h w O"]:
    activated = self.act("act1", self.normalise("norm1", x, train=train, mask=mask))
    y = self.conv("conv1", activated, self.width, kernel_size=3, stride=self.stride)
    y = self.act("act2", self.normalise("norm2", y, train=train, mask=mask))
    y = self.drop("dropout", y, train=train, rates=rates)
    y = self.conv("conv2", y, self.width, kernel_size=3)
    y = self.branch(y, self.depth, train=train, rates=rates)
    if x.shape != y.shape:
      x = self.conv("shortcut_conv", activated, self.width, kernel_size=1, stride=self.stride)
    return barrier(y + x)


class WideResNet(FamilyModule):
  """A 3x3 stem, three stages of blocks, BatchNorm, act, pixel mean, and a linear head.

  The stem has 16 channels. Stage i has `num_blocks` blocks of 16 * 2^(i-1) * `widen_factor`
  channels; the second and the third begin with stride 2. The number of layers is
  6 * num_blocks + 4: the source counts the convolutions of the shortcuts.
  """

  num_classes: int
  num_blocks: int = 4
  widen_factor: int = 10

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    widths = tuple(width * self.widen_factor for width in STAGE_WIDTHS)
    x = barrier(self.conv("stem_conv", inputs, STEM_WIDTH, kernel_size=3))
    for name, depth, width, stride in residual_blocks((self.num_blocks,) * len(widths), widths):
      block = WideBlock(width, stride, depth, name=name, **self.in_common)
      x = block(x, train=train, mask=mask, rates=rates)
    x = self.act("final_act", self.normalise("final_norm", x, train=train, mask=mask))
    return self.head(x, self.num_classes)


def _by_depth(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Returns the arguments with `num_blocks` of each stage in the place of `depth`."""
  arguments = {**arguments, **changes}
  depth = arguments.pop("depth")
  return {**arguments, "num_blocks": blocks_of_depth(depth, 6, 4, name=name)}


def _wide(depth: int, widen_factor: int) -> Network:
  arguments = {"depth": depth, "widen_factor": widen_factor}
  keys = ("depth", "widen_factor")
  return Network(
    WideResNet, arguments, keys, combine=_by_depth, has_branches=True, takes_fixup=True
  )


NETWORKS = {
  # Any wide ResNet, by `depth` and `widen_factor`; by default WRN-16-4.
  "wrn": _wide(16, 4),
  "wrn28_10": _wide(28, 10),
}
