"""Normalisation, by name: `sdt.config.toolbox.network_blocks.NORMS`."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from sdt.arrays import AnyArray
from sdt.devices.layout import sum_over
from sdt.errors import ConfigError
from sdt.losses import accumulator_dtype
from sdt.models import init

# The valid examples of a batch; None for all.
type Mask = Bool[AnyArray, "B"] | None

EPSILON = 1e-5


class BatchNorm(nn.Module):
  """Returns (x - mean) / sqrt(var + epsilon) * scale + bias for each channel (the last axis).

  Training mode uses the mean and the biased variance of the valid examples of the batch, over all
  shards of `axis_name`. Sums and counts are summed, so a shard weighs by its valid examples. It
  moves the running statistics: running = momentum * running + (1 - momentum) * batch. A batch
  without a valid example does not move them. Evaluation mode uses the running statistics.
  Statistics are float32 at least.

  With `num_groups` above 1, the batch of all shards is divided into so many groups of neighbouring
  examples of one size (excluded examples count). Each group is normalised by its own valid
  examples. The running statistics move by the mean of the groups' statistics, weighted by their
  valid examples. This mean is the batch's; this variance lacks the spread between the groups'
  means. A group without a valid example weighs nothing. Under `axis_name` there must be as many
  groups as shards.

  Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
  Differs from source: the running variance is the mean of biased variances; the source, and torch,
  multiply each by n / (n - 1). The variance is the mean of squares less the square of the mean, in
  one pass. In float32 its relative error grows with (mean / sd)^2: about 1e-5 if the mean is ten
  times the sd. Outputs of convolutions stay far below that.
  """

  momentum: float = 0.9
  epsilon: float = EPSILON
  axis_name: str | None = None
  num_groups: int = 1
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[AnyArray, "B *N C"], *, train: bool, mask: Mask = None
  ) -> Float[Array, "B *N C"]:
    shape = (x.shape[-1],)
    scale = self.param("scale", init.ONES, shape, self.param_dtype)
    bias = self.param("bias", init.ZEROS, shape, self.param_dtype)
    running_mean, running_var = (
      self.variable("batch_stats", name, start, jax.random.key(0), shape, self.param_dtype)
      for name, start in (("mean", init.ZEROS), ("var", init.ONES))
    )
    statistics_type = accumulator_dtype(self.dtype)
    groups = (self.num_groups,) if train and self.num_groups > 1 and self.axis_name is None else ()
    values = jnp.asarray(x).astype(statistics_type).reshape(*groups, -1, *x.shape[1:])
    mean = running_mean.value.astype(statistics_type)
    var = running_var.value.astype(statistics_type)
    if train:
      examples = values.shape[: len(groups) + 1]
      valid = jnp.ones(examples, bool) if mask is None else jnp.asarray(mask).reshape(examples)
      if self.num_groups == 1:
        count, mean, var = self._statistics(values, valid)
        moves_by = [mean, var]
      else:
        # A group of padding alone is normalised too: else it would grow from layer to layer, until
        # its gradient is NaN instead of zero.
        _, mean, var = self._statistics(values, valid | ~valid.any(-1, keepdims=True))
        count, *moves_by = self._mean_over_groups(valid.sum(-1, dtype=statistics_type), mean, var)
      for running, batch in zip((running_mean, running_var), moves_by, strict=True):
        kept = self.momentum * running.value
        moved = kept + (1.0 - self.momentum) * batch.astype(self.param_dtype)
        running.value = jnp.where(count > 0, moved, running.value)
    # One multiplication and one addition for each value: half the passes over the activations that
    # the formula above would need.
    per_channel = (*(1,) * len(groups), *shape)
    factor = scale.astype(statistics_type).reshape(per_channel) * jax.lax.rsqrt(var + self.epsilon)
    shift = bias.astype(statistics_type).reshape(per_channel) - mean * factor
    broadcast = (*groups, *(1,) * (x.ndim - 1), *shape)
    normalised = values * factor.reshape(broadcast) + shift.reshape(broadcast)
    return normalised.reshape(x.shape).astype(self.dtype)

  def _statistics(
    self, values: jax.Array, valid: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the number of valid values, their mean and their biased variance for each channel.

    Mean and variance are 0 if there is no valid value.

    Args:
      values: [B, ..., C]; with groups [G, B / G, ..., C], and then all results lead with [G].
      valid: [B], or [G, B / G].
    """
    axes = tuple(range(valid.ndim - 1, values.ndim - 1))
    count = valid.sum(-1, dtype=values.dtype) * math.prod(values.shape[valid.ndim : -1])
    is_valid = valid.reshape(*valid.shape, *(1,) * (values.ndim - valid.ndim))
    values = jnp.where(is_valid, values, jnp.zeros((), values.dtype))
    sums = (values.sum(axes), jnp.square(values).sum(axes), count)
    total, squares, count = sum_over(self.axis_name if self.num_groups == 1 else None, sums)
    divisor = jnp.maximum(count, 1.0).reshape(*count.shape, *(1,) * count.ndim)  # [] or [G, 1]
    mean = total / divisor
    # If a channel is constant, rounding can make the difference negative.
    return count, mean, jnp.maximum(squares / divisor - jnp.square(mean), 0.0)

  def _mean_over_groups(
    self, count: jax.Array, mean: jax.Array, var: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the valid examples of all groups, and the weighted means of their statistics.

    The weights are the groups' numbers of valid examples.
    """
    weight = count[..., None]
    sums = (count, *(jnp.where(weight > 0, weight * leaf, 0.0) for leaf in (mean, var)))
    if self.axis_name is None:
      sums = jax.tree.map(lambda leaf: leaf.sum(0), sums)
    count, mean, var = sum_over(self.axis_name, sums)
    divisor = jnp.maximum(count, 1.0)
    return count, mean / divisor, var / divisor


class Bias(nn.Module):
  """Returns x + bias, with a bias for each channel (the last axis), or one for all."""

  is_scalar: bool = False
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[AnyArray, "B *N C"]) -> Float[Array, "B *N C"]:
    shape = (1 if self.is_scalar else x.shape[-1],)
    bias = self.param("bias", init.ZEROS, shape, self.param_dtype)
    return jnp.asarray(x).astype(self.dtype) + bias.astype(self.dtype).reshape(
      (1,) * (x.ndim - 1) + (-1,)
    )


class Place(NamedTuple):
  """Where a layer of normalisation stands, and what the network tells it.

  Attributes:
    name: of the layer.
    types: `dtype` and `param_dtype`.
    groups: the most groups of channels.
    axis_name, batch_groups: see `BatchNorm`.
    has_bias: whether the layer before it has a bias.
    is_scalar: whether a bias that takes the place of a norm is one for all channels.
    epsilon: is added to the variance.
    of_tokens: whether a norm of one example is one of each of its tokens, and not of all places.
  """

  name: str
  types: Mapping[str, DTypeLike]
  groups: int
  axis_name: str | None = None
  batch_groups: int = 1
  has_bias: bool = False
  is_scalar: bool = False
  epsilon: float = EPSILON
  of_tokens: bool = False


# From (x, place, train, mask).
type Norm = Callable[..., jax.Array]


def _batch(x: AnyArray, place: Place, *, train: bool, mask: Mask) -> jax.Array:
  groups: dict[str, Any] = {"axis_name": place.axis_name, "num_groups": place.batch_groups}
  groups["epsilon"] = place.epsilon
  return BatchNorm(**groups, name=place.name, **place.types)(x, train=train, mask=mask)


def _in_groups(num_groups: Callable[[int, int], int]) -> Norm:
  """Returns the norm of each example by groups of its channels.

  Examples do not mix, so no mask and no device matters.

  Args:
    num_groups: from the channels and the most groups.
  """

  def norm(x: AnyArray, place: Place, *, train: bool, mask: Mask) -> jax.Array:
    del train, mask
    groups = num_groups(x.shape[-1], place.groups)
    axes = tuple(range(x.ndim - 1 if place.of_tokens else 1, x.ndim))
    if math.prod(x.shape[axis] for axis in axes) == groups:
      raise ConfigError(
        f"model.norm: at {place.name!r} a group is a single number ({groups} groups of "
        f"{' x '.join(map(str, x.shape[1:]))}), which its own mean makes 0; choose "
        "model.norm=layer, or fewer model.groups with model.norm=group"
      )
    types: dict[str, Any] = {**place.types, "dtype": accumulator_dtype(place.types["dtype"])}
    types |= {"scale_init": init.ONES, "bias_init": init.ZEROS, "force_float32_reductions": False}
    types["reduction_axes"] = axes
    layer = nn.GroupNorm(groups, epsilon=place.epsilon, name=place.name, **types)
    return layer(jnp.asarray(x).astype(types["dtype"])).astype(place.types["dtype"])

  return norm


def _largest_divisor(channels: int, most: int) -> int:
  return next(num for num in range(min(channels, most), 0, -1) if channels % num == 0)


def _bias_alone(x: AnyArray, place: Place, *, train: bool, mask: Mask) -> jax.Array:
  del train, mask
  if place.has_bias:
    return jnp.asarray(x)
  return Bias(place.is_scalar, name=place.name, **place.types)(x)


NORMS: Mapping[str, Norm] = {
  "batch": _batch,
  "layer": _in_groups(lambda channels, most: 1),
  "instance": _in_groups(lambda channels, most: channels),
  "group": _in_groups(_largest_divisor),
  "weight": _bias_alone,  # the kernels themselves are normalised
  "none": _bias_alone,
}
