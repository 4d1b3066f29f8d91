"""Wide residual networks: few pre-activation blocks with many channels, instead of many with few.

Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks", section 2 and table 1.
Differs from source: dropout between the convolutions of a block is off by default, as in most of
the source's tables; the head's bias starts as its weights do, uniform, and not at 0. Where the
number of channels changes, the shortcut is a 1x1 convolution of the activated input, the same that
F reads. The paper does not say so; the authors' code and the public implementations do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from sdt.models.blocks import blocks_of_depth, residual_blocks
from sdt.models.conv import barrier
from sdt.models.family import Network
from sdt.models.layers import Dropout, FamilyModule, Rates

# The channels of the stem, and of the three stages before they are widened.
STEM_WIDTH = 16
STAGE_WIDTHS = (16, 32, 64)


class WideBlock(FamilyModule):
  """Returns F(x) + shortcut(x), F: BatchNorm, act, 3x3 conv (stride), BatchNorm, act, dropout, 3x3
  conv.

  The shortcut is x itself where shapes agree, otherwise a 1x1 conv of act(BatchNorm(x)).
  """

  width: int
  stride: int
  dropout: float
  depth: float

  @nn.compact
  def __call__(
    self, x: jax.Array, *, train: bool, mask: jax.Array | None, rates: Rates | None = None
  ) -> jax.Array:
    activated = self.act(self.norm("norm1", x, train=train, mask=mask))
    y = self.conv("conv1", activated, self.width, kernel_size=3, stride=self.stride)
    y = self.act(self.norm("norm2", y, train=train, mask=mask))
    y = Dropout(self.dropout, self.axis_name, name="dropout")(
      y, train=train, rate=(rates or {}).get("dropout")
    )
    y = self.conv("conv2", y, self.width, kernel_size=3)
    y = self.drop_branch(y, self.depth, train=train, rates=rates)
    if x.shape != y.shape:
      x = self.conv("shortcut_conv", activated, self.width, kernel_size=1, stride=self.stride)
    return barrier(y + x)


class WideResNet(FamilyModule):
  """A 3x3 stem to 16 channels, three stages of wide blocks, BatchNorm, act, the mean over the
  pixels, and a linear head.

  Stage i has `num_blocks` blocks of 16 * 2^(i-1) * `widen_factor` channels; the second and third
  begin with stride 2. The number of layers is 6 * num_blocks + 4, in which the source counts the
  shortcuts' convolutions.
  """

  num_classes: int
  num_blocks: int = 4
  widen_factor: int = 10
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    inputs: jax.Array,
    *,
    train: bool,
    mask: jax.Array | None = None,
    rates: Rates | None = None,
  ) -> jax.Array:
    widths = tuple(width * self.widen_factor for width in STAGE_WIDTHS)
    x = barrier(self.conv("stem_conv", inputs, STEM_WIDTH, kernel_size=3))
    for name, depth, width, stride in residual_blocks((self.num_blocks,) * len(widths), widths):
      block = WideBlock(width, stride, self.dropout, depth, name=name, **self.in_common)
      x = block(x, train=train, mask=mask, rates=rates)
    x = self.act(self.norm("final_norm", x, train=train, mask=mask))
    return self.head(x, self.num_classes)


def _by_depth(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Returns the arguments with `depth` turned into blocks a stage."""
  arguments = {**arguments, **changes}
  depth = arguments.pop("depth")
  return {**arguments, "num_blocks": blocks_of_depth(depth, 6, 4, name=name)}


def _wide(depth: int, widen_factor: int) -> Network:
  arguments, keys = (
    {"depth": depth, "widen_factor": widen_factor},
    ("depth", "widen_factor", "dropout", "activation"),
  )
  return Network(
    WideResNet, arguments, keys, combine=_by_depth, rates=("dropout", "stochastic_depth")
  )


NETWORKS = {
  # Any wide ResNet, by `depth` and `widen_factor`; WRN-16-4 unless they say otherwise.
  "wrn": _wide(16, 4),
  "wrn28_10": _wide(28, 10),
}
