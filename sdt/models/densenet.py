"""Densely connected networks: every layer of a block reads the outputs of all layers before it.

Source: Huang, Liu, van der Maaten, Weinberger 2017, "Densely Connected Convolutional Networks",
section 3 and table 1; for small images section 4.2.
Differs from source: without bottlenecks and compression the stem has 2 * growth_rate channels, as
in public trainers, not 16. The "small" stem of the ImageNet networks is that of the paper's
networks for small images. An image with a single row or column left is not halved further.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import blocks_of_depth
from sdt.models.conv import barrier
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask
from sdt.models.pools import max_pool

# A bottleneck gives the 3x3 convolution after it so many times the growth rate of channels.
BOTTLENECK_FACTOR = 4
# The networks for small images have so many dense blocks, all of one length.
NUM_BLOCKS = 3
_KEYS = ("growth_rate", "stem", "pool")


class DenseLayer(FamilyModule):
  """Returns H(x), [B, H, W, growth_rate]: BatchNorm, act, 3x3 conv.

  A bottleneck puts BatchNorm, act, 1x1 conv before them. Dropout stands after each conv.
  """

  growth_rate: int
  bottleneck: bool

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool, mask: Mask, rates: Rates | None = None
  ) -> Float[Array, "B h w O"]:
    bottleneck = ((BOTTLENECK_FACTOR * self.growth_rate, 1),) if self.bottleneck else ()
    layers = (*bottleneck, (self.growth_rate, 3))
    for index, (features, kernel_size) in enumerate(layers, start=1):
      x = self.act(f"act{index}", self.normalise(f"norm{index}", x, train=train, mask=mask))
      x = self.conv(f"conv{index}", x, features, kernel_size=kernel_size)
      x = self.drop(f"dropout{index}", x, train=train, rates=rates)
    return x


class Transition(FamilyModule):
  """Returns x with `features` channels and half the pixels a side, if there are more than one.

  BatchNorm, act, 1x1 conv, dropout, mean of 2x2 pixels.
  """

  features: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool, mask: Mask, rates: Rates | None = None
  ) -> Float[Array, "B h w O"]:
    x = self.act("act", self.normalise("norm", x, train=train, mask=mask))
    x = self.conv("conv", x, self.features, kernel_size=1)
    x = self.drop("dropout", x, train=train, rates=rates)
    return self.shrink("pool", x, 2, 2, train=train)


class DenseNet(FamilyModule):
  """A stem, dense blocks with transitions between them, BatchNorm, act, pixel mean, a linear head.

  Block i has `layers[i]` layers, each of which adds `growth_rate` channels. A transition keeps
  floor(compression * channels) of them. Stem "small": a 3x3 convolution to 2 * growth_rate
  channels. Stem "imagenet": a 7x7 convolution of stride 2 to as many, BatchNorm, act, a 3x3
  max-pool of stride 2. The number of layers is 1 + sum(layers) (with bottlenecks twice the sum) +
  the number of blocks.
  """

  num_classes: int
  layers: tuple[int, ...] = (16, 16, 16)
  growth_rate: int = 12
  bottleneck: bool = True
  compression: float = 0.5
  stem: str = "small"
  pool: str = dataclasses.field(default="average", kw_only=True)

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    now: dict[str, Any] = {"train": train, "mask": mask}
    if self.stem == "imagenet":
      x = self.conv("stem_conv", inputs, 2 * self.growth_rate, kernel_size=7, stride=2)
      x = max_pool(self.act("stem_act", self.normalise("stem_norm", x, **now)), 3, 2, padding=1)
    else:
      x = self.conv("stem_conv", inputs, 2 * self.growth_rate, kernel_size=3)
    for block, num_layers in enumerate(self.layers, start=1):
      names = [f"block{block}_layer{layer}" for layer in range(1, num_layers + 1)]
      form = (self.growth_rate, self.bottleneck)
      layers = [DenseLayer(*form, name=name, **self.in_common) for name in names]
      x = _dense_block(x, layers, now | {"rates": rates})
      if block < len(self.layers):
        features = int(x.shape[-1] * self.compression)
        transition = Transition(features, name=f"transition{block}", **self.in_common)
        x = transition(x, **now, rates=rates)
    x = self.act("final_act", self.normalise("final_norm", x, **now))
    return self.head(x, self.num_classes)


def _dense_block(x: jax.Array, layers: list[DenseLayer], now: Mapping[str, Any]) -> jax.Array:
  """Returns x_l = [x_0, H_1(x_0), H_2(x_0, x_1), ...] along the channels (equation 2)."""
  # Without the barrier, a training step of DenseNet-BC-100 takes 1.5 times as long on a CPU, and so
  # does its compilation.
  for layer in layers:
    x = barrier(jnp.concatenate([x, layer(x, **now)], axis=-1))
  return x


def _by_depth(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Returns the arguments with `layers`, equal for all blocks, in the place of `depth`."""
  arguments = {**arguments, **changes}
  depth = arguments.pop("depth")
  # One layer each: the stem, a transition after every block but the last, and the head.
  others, unit = NUM_BLOCKS + 1, NUM_BLOCKS * (2 if arguments["bottleneck"] else 1)
  return {**arguments, "layers": (blocks_of_depth(depth, unit, others, name=name),) * NUM_BLOCKS}


def _for_small_images(depth: int, *, bottleneck: bool = True, compression: float = 0.5) -> Network:
  form = {"growth_rate": 12, "bottleneck": bottleneck, "compression": compression}
  arguments, keys = {"depth": depth, **form, "stem": "small"}, ("depth", *_KEYS)
  return Network(DenseNet, arguments, keys, combine=_by_depth)


NETWORKS = {
  # Any DenseNet-BC (bottlenecks, and transitions that halve the channels), by `depth` and
  # `growth_rate`.
  "densenet": _for_small_images(40),
  "densenet_bc100": _for_small_images(100),
  # Neither bottlenecks nor compression; `depth` makes the others of this form.
  "densenet100": _for_small_images(100, bottleneck=False, compression=1.0),
  # DenseNet-BC for ImageNet, table 1.
  "densenet121": Network(
    DenseNet,
    {"layers": (6, 12, 24, 16), "growth_rate": 32, "stem": "imagenet"},
    _KEYS,
    weights_from="densenet",
  ),
}
