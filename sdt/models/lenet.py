"""LeNet-5: two convolutions and three fully connected layers, for images of 32x32.

Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document
Recognition", section II.B and figure 2.
Differs from source, as public implementations do: every map of the second convolution reads all
maps of the first (table I leaves some out); the pooling has no trained factor and bias; tanh
without factors; a linear head and softmax instead of radial basis functions. Smaller images get a
frame of zeros, as the source's 28x28 digits do; of larger ones the last maps are averaged to 5x5.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.blocks import keep_number_of_widths
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask
from sdt.models.pools import adaptive_average_pool

# Pixels a side of the images that it is made for, and of the maps before the linear layers.
IMAGE_SIZE, MAP_SIZE = 32, 5


class LeNet(FamilyModule):
  """(5x5 conv, act, 2x2 pool) twice, two hidden linear layers, and the head.

  `widths` are the channels of the convolutions, `hidden_sizes` the outputs of the linear layers.
  Dropout stands before each linear layer but the first.
  """

  conv_bias: ClassVar[bool] = True

  num_classes: int
  widths: tuple[int, ...] = (6, 16)
  hidden_sizes: tuple[int, ...] = (120, 84)
  activation: str = dataclasses.field(default="tanh", kw_only=True)
  norm: str = dataclasses.field(default="none", kw_only=True)
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
    missing = [max(0, IMAGE_SIZE - size) for size in inputs.shape[1:3]]
    frame = [(0, 0), *((total // 2, total - total // 2) for total in missing), (0, 0)]
    x = jnp.pad(jnp.asarray(inputs), frame) if any(missing) else jnp.asarray(inputs)
    for index, width in enumerate(self.widths, start=1):
      x = self.conv(f"conv{index}", x, width * self.pieces, kernel_size=5, padding=0)
      x = self.normalise(f"norm{index}", x, train=train, mask=mask)
      x = self.shrink(f"pool{index}", self.act(f"act{index}", x), 2, 2, train=train)
    x = adaptive_average_pool(x, MAP_SIZE)
    # In torch's order, so that its weights fit.
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    for index, size in enumerate(self.hidden_sizes, start=1):
      x = self.hidden(f"hidden{index}", x, size, train=train, mask=mask)
      x = self.drop(f"dropout{index}", x, train=train, rates=rates)
    return self.logits(x, self.num_classes)


NETWORKS = {
  "lenet": Network(
    LeNet,
    {"widths": (6, 16)},
    ("widths", "hidden_sizes", "pool"),
    combine=keep_number_of_widths,
    takes_pieces=True,
  ),
}
