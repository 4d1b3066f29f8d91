"""Layers shared by the families: convolution, masked BatchNorm, linear head, activations."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from sdt.arrays import AnyArray
from sdt.devices.layout import sum_over
from sdt.losses import accumulator_dtype
from sdt.models import init
from sdt.models.conv import barrier, conv2d, precision_of
from sdt.models.family import HEAD
from sdt.models.recording import record

# By name, the rates of a step that replace the network's own, each [] float in [0, 1).
type Rates = Mapping[str, jax.Array]

# The valid examples of a batch; None for all.
type Mask = Bool[AnyArray, "B"] | None

# As in torch: the exact gelu, slope 0.01 of leaky_relu, alpha 1 of elu.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": jax.nn.relu,
  "tanh": jnp.tanh,
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "silu": jax.nn.silu,
  "leaky_relu": jax.nn.leaky_relu,
  "elu": jax.nn.elu,
}


class Conv(nn.Module):
  """A convolution with `padding` zeros on every side. No bias by default: BatchNorm has one."""

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  use_bias: bool = False
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[AnyArray, "B H W C"]) -> Float[Array, "B h w O"]:
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", init.normal_fan_out(shape), shape, self.param_dtype)
    x, kernel = barrier(jnp.asarray(x).astype(self.dtype)), kernel.astype(self.dtype)
    y = conv2d(x, kernel, self.stride, padding=self.padding)
    if not self.use_bias:
      return y
    bias = self.param("bias", init.ZEROS, (self.features,), self.param_dtype)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def max_pool(
  x: Float[AnyArray, "B H W C"], window: int, stride: int, padding: int = 0
) -> Float[Array, "B h w C"]:
  """Returns the maximum over windows of `window` x `window` pixels; padding never wins.

  Args:
    x: [B, H, W, C].
    window: pixels a side.
    stride: pixels from window to window.
    padding: pixels on every side.
  """
  pads = (padding, padding)
  return nn.max_pool(x, (window, window), (stride, stride), (pads, pads))


def average_pool(x: Float[Array, "B H W C"], window: int) -> Float[Array, "B h w C"]:
  """Returns the mean over adjoining windows, [B, H // window, W // window, C].

  Rows and columns that are left over drop out.
  """
  num, height, width, channels = x.shape[0], x.shape[1] // window, x.shape[2] // window, x.shape[3]
  # Not by an index, which is a gather where the number of images is a symbol (exports).
  x = jax.lax.slice(x, (0,) * 4, (num, height * window, width * window, channels))
  return x.reshape(num, height, window, width, window, channels).mean((2, 4))


def mean_over_pixels(x: Float[Array, "B H W C"]) -> Float[Array, "B C"]:
  """Returns the mean over all pixels, [B, C], in float32 at least.

  The mean and the head decide between close logits, so they are float32 even after bfloat16 layers.
  """
  return x.astype(accumulator_dtype(x.dtype)).mean((1, 2))


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
  epsilon: float = 1e-5
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


class Dropout(nn.Module):
  """Returns x with values set to zero with probability `rate`, the others times 1 / (1 - rate).

  Only in training; in evaluation it returns x. A rate in the call replaces the module's and may be
  traced. With `per_example` all values of an example drop together. The key is
  `rngs={"dropout": key}` of `apply`, folded with the layer's path. Under `axis_name` every device
  draws for the whole batch and takes its part, so the number of devices changes nothing.

  Source: Srivastava et al. 2014, "Dropout", section 4. Differs from source: scaled in training, not
  in evaluation.
  """

  rate: float
  axis_name: str | None = None
  per_example: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "B *N"], *, train: bool, rate: Float[AnyArray, ""] | None = None
  ) -> Float[Array, "B *N"]:
    if not train or (rate is None and self.rate == 0.0):
      return x
    keep_rate = 1.0 - (self.rate if rate is None else rate)
    shape = (1,) * (x.ndim - 1) if self.per_example else x.shape[1:]
    num_devices = 1 if self.axis_name is None else jax.lax.axis_size(self.axis_name)
    key = self.make_rng("dropout")
    keep = jax.random.bernoulli(key, keep_rate, (num_devices * x.shape[0], *shape))
    if self.axis_name is not None:
      first = jax.lax.axis_index(self.axis_name) * x.shape[0]
      keep = jax.lax.dynamic_slice_in_dim(keep, first, x.shape[0])
    return jnp.where(keep, x / jnp.asarray(keep_rate, x.dtype), jnp.zeros_like(x))


class Linear(nn.Module):
  """Returns inputs @ kernel + bias, [B, features], of inputs [B, D].

  Both parameters start uniform on +-1/sqrt(D). With `kernel_scale` the kernel starts
  N(0, kernel_scale^2) and the bias at 0.
  """

  features: int
  kernel_scale: float | None = None
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, inputs: Float[AnyArray, "B D"]) -> Float[Array, "B K"]:
    # Kept only if the caller asks: the inputs of the head are the features of an example.
    self.sow("intermediates", "inputs", inputs)
    in_size = inputs.shape[-1]
    kernel_start = bias_start = init.uniform_fan_in(in_size)
    if self.kernel_scale is not None:
      kernel_start, bias_start = init.Initializer("normal", scale=self.kernel_scale), init.ZEROS
    kernel = self.param("kernel", kernel_start, (in_size, self.features), self.param_dtype)
    bias = self.param("bias", bias_start, (self.features,), self.param_dtype)
    products = jnp.matmul(
      inputs.astype(self.dtype), kernel.astype(self.dtype), precision=precision_of(self.dtype)
    )
    return products + bias.astype(self.dtype)[None]


class FamilyModule(nn.Module, kw_only=True):  # type: ignore[call-arg]
  """Base of all networks and blocks: their common fields, and the layers that these determine.

  A network is called as (inputs, *, train, mask=None) and returns logits [B, num_classes], float32
  at least. A block is called as (x, *, train, mask). Networks with rates (`Network.rates`) take
  them as a further argument, rates=None, and pass them to their blocks.

    inputs: [B, H, W, C], normalised.
    train: whether BatchNorm uses the batch (and moves the running statistics), or the running
      statistics.
    mask: [B] bool, the valid examples, by default all. Only training uses it.

  Attributes:
    activation: a name of `ACTIVATIONS`.
    dtype: the type in which the layers compute.
    param_dtype: the type of parameters and running statistics.
    axis_name: the mapped axis over which BatchNorm sums its statistics.
    norm_groups: BatchNorm's `num_groups`.
  """

  activation: str = "relu"
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  norm_groups: int = 1

  @property
  def in_common(self) -> dict[str, Any]:
    """The fields of this class, for the blocks of a network."""
    names = ("activation", "axis_name", "norm_groups")
    return {name: getattr(self, name) for name in names} | self._types

  @property
  def _types(self) -> dict[str, Any]:
    return {"dtype": self.dtype, "param_dtype": self.param_dtype}

  @nn.nowrap
  def act(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return record(self, ACTIVATIONS[self.activation](x))

  @nn.nowrap
  def conv(
    self,
    name: str,
    x: Float[AnyArray, "B H W C"],
    features: int,
    kernel_size: int,
    stride: int = 1,
    *,
    use_bias: bool = False,
  ) -> Float[Array, "B h w O"]:
    """Returns the convolution of x; with stride 1 an odd kernel keeps the size of the image."""
    sizes = {"kernel_size": kernel_size, "stride": stride, "padding": kernel_size // 2}
    return Conv(features, **sizes, use_bias=use_bias, name=name, **self._types)(x)

  @nn.nowrap
  def norm(
    self,
    name: str,
    x: Float[AnyArray, "B *N C"],
    *,
    train: bool,
    mask: Mask,
  ) -> Float[Array, "B *N C"]:
    norm = BatchNorm(
      axis_name=self.axis_name, num_groups=self.norm_groups, name=name, **self._types
    )
    return norm(x, train=train, mask=mask)

  @nn.nowrap
  def drop_branch(
    self, x: Float[Array, "B H W C"], depth: float, *, train: bool, rates: Rates | None
  ) -> Float[Array, "B H W C"]:
    """Returns the residual branch x; in training it is 0 for random examples (stochastic depth).

    Without a rate of `stochastic_depth` nothing drops.

    Args:
      x: [B, H, W, C], what is added to the shortcut.
      depth: of the block, l / L of the L residual blocks. Its rate is depth times the rate of the
        last block.
      train: whether this is training.
      rates: of the step; `stochastic_depth` is the rate of the last block.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", equations 2 and 4. Differs
    from source: drawn for each example, not for the batch; scaled in training, not in evaluation.
    """
    if rates is None or "stochastic_depth" not in rates:
      return x
    drop = Dropout(0.0, self.axis_name, per_example=True, name="branch")
    return drop(x, train=train, rate=depth * rates["stochastic_depth"])

  @nn.nowrap
  def head(
    self, x: Float[Array, "B H W D"], num_classes: int, *, kernel_scale: float | None = None
  ) -> Float[Array, "B K"]:
    """Returns the logits of the mean over the pixels of x [B, H, W, D]."""
    # Kept only if the caller asks: class activation maps are made of it.
    self.sow("intermediates", "feature_map", x)
    x = mean_over_pixels(x)
    types = {"dtype": x.dtype, "param_dtype": self.param_dtype}
    return Linear(num_classes, kernel_scale=kernel_scale, name=HEAD, **types)(x)
