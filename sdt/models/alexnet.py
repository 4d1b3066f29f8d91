"""AlexNet: five convolutions and three fully connected layers.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks"; in the form of Krizhevsky 2014, "One weird trick for parallelizing convolutional neural
networks", which torchvision has.
Differs from source: as in the second, one tower, without local response normalisation and with 64,
192, 384, 256 and 256 channels. Initial values are those of our other networks. Of images other than
224x224 the last maps are averaged to 6x6, as in torchvision. The stem "small" for images of 32x32
is ours: 5x5 of stride 1 in the first convolution, and 3x3 last maps.
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

# By stem: kernel size, stride and padding of the first convolution, and the sides of the last maps.
STEMS = {"imagenet": (11, 4, 2, 6), "small": (5, 1, 2, 3)}
# The layers behind which the image is made smaller.
POOLED = (1, 2, 5)


class AlexNet(FamilyModule):
  """Five (conv, act), three of them with a 3x3 pool of stride 2, two hidden layers and the head.

  `widths` are the channels of the convolutions, `hidden_sizes` the outputs of the linear layers.
  Dropout stands before each hidden layer.
  """

  conv_bias: ClassVar[bool] = True

  num_classes: int
  widths: tuple[int, ...] = (64, 192, 384, 256, 256)
  hidden_sizes: tuple[int, ...] = (4096, 4096)
  stem: str = "imagenet"
  norm: str = dataclasses.field(default="none", kw_only=True)
  dropout: float = dataclasses.field(default=0.5, kw_only=True)

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B H W C"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    kernel_size, stride, padding, map_size = STEMS[self.stem]
    forms = [(kernel_size, stride, padding), (5, 1, 2), *[(3, 1, 1)] * (len(self.widths) - 2)]
    x = jnp.asarray(inputs)
    for index, (width, form) in enumerate(zip(self.widths, forms, strict=True), start=1):
      size, step, pad = form
      sizes = {"kernel_size": size, "stride": step, "padding": pad}
      x = self.conv(f"conv{index}", x, width * self.pieces, **sizes)
      x = self.normalise(f"norm{index}", x, train=train, mask=mask)
      x = self.act(f"act{index}", x)
      if index in POOLED:
        x = self.shrink(f"pool{index}", x, 3, 2, train=train)
    x = adaptive_average_pool(x, map_size)
    # In torch's order, so that its weights fit.
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    for index, size in enumerate(self.hidden_sizes, start=1):
      x = self.drop(f"dropout{index}", x, train=train, rates=rates)
      x = self.hidden(f"hidden{index}", x, size, train=train, mask=mask)
    return self.logits(x, self.num_classes)


NETWORKS = {
  "alexnet": Network(
    AlexNet,
    {"widths": (64, 192, 384, 256, 256), "stem": "imagenet", "dropout": 0.5},
    ("widths", "hidden_sizes", "stem", "pool"),
    combine=keep_number_of_widths,
    weights_from="alexnet",
    takes_pieces=True,
  ),
}
