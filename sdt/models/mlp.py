"""Fully connected networks."""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.models.family import Network
from sdt.models.layers import FamilyModule, Rates
from sdt.models.norms import Mask


class MLP(FamilyModule):
  """D -> hidden_sizes -> num_classes with an activation after each hidden layer; flattens images.

  Dropout stands after each activation. Without a norm, as by default, it has the sum over layers of
  (inputs + 1) * outputs parameters.
  """

  num_classes: int
  hidden_sizes: tuple[int, ...] = (64, 64)
  norm: str = dataclasses.field(default="none", kw_only=True)

  @nn.compact
  def __call__(
    self,
    inputs: Float[AnyArray, "B *D"],
    *,
    train: bool,
    mask: Mask = None,
    rates: Rates | None = None,
  ) -> Float[Array, "B K"]:
    x = inputs.reshape(inputs.shape[0], -1)
    for index, size in enumerate(self.hidden_sizes, start=1):
      x = self.hidden(f"hidden{index}", x, size, train=train, mask=mask)
      x = self.drop(f"dropout{index}", x, train=train, rates=rates)
    return self.logits(x, self.num_classes)


NETWORKS = {
  "mlp": Network(MLP, {"hidden_sizes": (64, 64)}, ("hidden_sizes",), takes_pieces=True),
}
