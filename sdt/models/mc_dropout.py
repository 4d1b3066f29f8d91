"""Dropout at test time: all else of the network is in evaluation mode."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float, Key, Shaped

from sdt.arrays import AnyArray
from sdt.models.layers import Dropout
from sdt.types import Model, Variables


def predict_dropping(
  model: Model, variables: Variables, inputs: Shaped[AnyArray, "B ..."], *, key: Key[Array, ""]
) -> Float[Array, "B K"]:
  """Returns logits [B, K] in evaluation mode with dropout on: one sample of MC dropout.

  Norms use their running statistics. Values drop at the network's own rate.

  Source: Gal and Ghahramani 2016, "Dropout as a Bayesian Approximation", section 4. Differs from
  source: no weight decay is tied to the rate.
  """
  with nn.intercept_methods(_with_dropout):
    return model.apply(variables, inputs, train=False, rngs={"dropout": key})


def _with_dropout(
  call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
  if isinstance(context.module, Dropout) and context.method_name == "__call__":
    kwargs = {**kwargs, "train": True}
  return call(*args, **kwargs)
