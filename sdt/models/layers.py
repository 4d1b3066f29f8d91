"""Layers shared by the families: convolution, masked BatchNorm, linear head, activations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdt.devices.layout import sum_over
from sdt.losses import accumulator_dtype
from sdt.models import init
from sdt.models.conv import barrier, conv2d, precision_of

# torch's forms: the exact gelu, slope 0.01 of leaky_relu, alpha 1 of elu.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": jax.nn.relu,
  "tanh": jnp.tanh,
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "silu": jax.nn.silu,
  "leaky_relu": jax.nn.leaky_relu,
  "elu": jax.nn.elu,
}


class Conv(nn.Module):
  """A convolution, zeros around the image: `padding` of them on every side. Without bias unless
  `use_bias`: BatchNorm has one.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  use_bias: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", init.normal_fan_out(shape), shape, self.param_dtype)
    y = conv2d(
      barrier(x.astype(self.dtype)), kernel.astype(self.dtype), self.stride, padding=self.padding
    )
    if not self.use_bias:
      return y
    bias = self.param("bias", init.ZEROS, (self.features,), self.param_dtype)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def max_pool(x: jax.Array, window: int, stride: int, padding: int = 0) -> jax.Array:
  """Returns the maximum over windows of `window` x `window` pixels, [B, H', W', C]; what lies
  outside the image never wins.
  """
  return nn.max_pool(
    x, (window, window), (stride, stride), ((padding, padding), (padding, padding))
  )


def average_pool(x: jax.Array, window: int) -> jax.Array:
  """Returns the mean over adjoining windows of `window` x `window` pixels, [B, H // window, W //
  window, C]; rows left over drop out.
  """
  num, height, width, channels = x.shape[0], x.shape[1] // window, x.shape[2] // window, x.shape[3]
  x = x[:, : height * window, : width * window]
  return x.reshape(num, height, window, width, window, channels).mean((2, 4))


def mean_over_pixels(x: jax.Array) -> jax.Array:
  """Returns the mean over all pixels, [B, C]. It and the head decide between close logits: float32
  even after layers in bfloat16.
  """
  return x.astype(accumulator_dtype(x.dtype)).mean((1, 2))


class BatchNorm(nn.Module):
  """Returns (x - mean) / sqrt(var + epsilon) * scale + bias over the valid examples of the batch,
  per channel (the last axis).

  Training mode takes the batch's mean and biased variance, over all shards of `axis_name` (sums and
  counts are summed, so that shards with few or no valid examples weigh what they hold), and moves
  the running statistics: running = momentum * running + (1 - momentum) * batch. A batch without a
  valid example leaves them alone. Evaluation mode takes the running statistics. Statistics are
  float32 at least.

  With `num_groups` above 1 the batch of all shards is so many groups of neighbouring examples, all
  of one size with the excluded ones, and each is normalised by its own valid examples. The running
  statistics move by the groups' means and variances, each weighted by its valid examples: the mean
  is the batch's, the variance lacks what the groups' means differ by. A group without a valid
  example weighs nothing. Under `axis_name` the groups must be as many as the shards.

  Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
  Differs from source: the running variance is the mean of biased variances; the source, and torch,
  multiply each by n / (n - 1). The variance is the mean of squares less the square of the mean, in
  one pass: in float32 its relative error grows with (mean / sd)^2, and is about 1e-5 where the mean
  is ten times the spread (outputs of convolutions stay far below).
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  axis_name: str | None = None
  num_groups: int = 1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    shape = (x.shape[-1],)
    scale = self.param("scale", init.ONES, shape, self.param_dtype)
    bias = self.param("bias", init.ZEROS, shape, self.param_dtype)
    running_mean = self.variable(
      "batch_stats", "mean", init.ZEROS, jax.random.key(0), shape, self.param_dtype
    )
    running_var = self.variable(
      "batch_stats", "var", init.ONES, jax.random.key(0), shape, self.param_dtype
    )
    statistics_type = accumulator_dtype(self.dtype)
    groups = (self.num_groups,) if train and self.num_groups > 1 and self.axis_name is None else ()
    values = x.astype(statistics_type).reshape(*groups, -1, *x.shape[1:])
    mean, var = (
      running_mean.value.astype(statistics_type),
      running_var.value.astype(statistics_type),
    )
    if train:
      examples = values.shape[: len(groups) + 1]
      valid = jnp.ones(examples, bool) if mask is None else mask.reshape(examples)
      if self.num_groups == 1:
        count, mean, var = self._statistics(values, valid)
        moves_by = [mean, var]
      else:
        # Padding alone is normalised too: left as it is, it would grow from layer to layer until
        # its gradient is no longer zero but NaN.
        _, mean, var = self._statistics(values, valid | ~valid.any(-1, keepdims=True))
        count, *moves_by = self._mean_over_groups(valid.sum(-1, dtype=statistics_type), mean, var)
      for running, batch in zip((running_mean, running_var), moves_by, strict=True):
        moved = self.momentum * running.value + (1.0 - self.momentum) * batch.astype(
          self.param_dtype
        )
        running.value = jnp.where(count > 0, moved, running.value)
    # One multiplication and one addition per value: half the passes over the activations of the
    # formula as it stands above.
    per_channel = (*(1,) * len(groups), *shape)
    factor = scale.astype(statistics_type).reshape(per_channel) * jax.lax.rsqrt(var + self.epsilon)
    shift = bias.astype(statistics_type).reshape(per_channel) - mean * factor
    broadcast = (*groups, *(1,) * (x.ndim - 1), *shape)
    return (
      (values * factor.reshape(broadcast) + shift.reshape(broadcast))
      .reshape(x.shape)
      .astype(self.dtype)
    )

  def _statistics(
    self, values: jax.Array, valid: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the number of valid values per channel, their mean and their biased variance (0 and 0
    where the number is 0).

    Args:
      values: [B, ..., C]; of several groups [G, B / G, ..., C], and then all results lead with [G].
      valid: [B], or [G, B / G].
    """
    axes = tuple(range(valid.ndim - 1, values.ndim - 1))
    count = valid.sum(-1, dtype=values.dtype) * math.prod(values.shape[valid.ndim : -1])
    values = jnp.where(
      valid.reshape(*valid.shape, *(1,) * (values.ndim - valid.ndim)),
      values,
      jnp.zeros((), values.dtype),
    )
    sums = (values.sum(axes), jnp.square(values).sum(axes), count)
    total, squares, count = sum_over(self.axis_name if self.num_groups == 1 else None, sums)
    divisor = jnp.maximum(count, 1.0).reshape(*count.shape, *(1,) * count.ndim)  # [] or [G, 1]
    mean = total / divisor
    # Rounding can push the difference below zero where a channel is constant.
    return count, mean, jnp.maximum(squares / divisor - jnp.square(mean), 0.0)

  def _mean_over_groups(
    self, count: jax.Array, mean: jax.Array, var: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the number of valid examples of all groups, and the means of their statistics,
    weighted by these numbers.
    """
    weight = count[..., None]
    sums = (count, *(jnp.where(weight > 0, weight * leaf, 0.0) for leaf in (mean, var)))
    if self.axis_name is None:
      sums = jax.tree.map(lambda leaf: leaf.sum(0), sums)
    count, mean, var = sum_over(self.axis_name, sums)
    divisor = jnp.maximum(count, 1.0)
    return count, mean / divisor, var / divisor


# By name, the rates of a step that take the place of the network's own, each [] float in [0, 1).
Rates = Mapping[str, jax.Array]


class Dropout(nn.Module):
  """Returns x with every value zero with probability `rate` and the others times 1 / (1 - rate), in
  training; x itself in evaluation.

  A rate in the call takes the place of the module's; it may be traced. With `per_example` all
  values of an example drop together. The key is `rngs={"dropout": key}` of `apply`, folded with the
  layer's path. Under `axis_name` every device draws for the whole batch and takes its own part, so
  that the number of devices changes nothing.

  Source: Srivastava et al. 2014, "Dropout", section 4. Differs from source: scaled in training, not
  in evaluation.
  """

  rate: float
  axis_name: str | None = None
  per_example: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, rate: jax.Array | None = None) -> jax.Array:
    if not train or (rate is None and self.rate == 0.0):
      return x
    keep_rate = 1.0 - (self.rate if rate is None else rate)
    shape = (1,) * (x.ndim - 1) if self.per_example else x.shape[1:]
    key, num_devices = (
      self.make_rng("dropout"),
      1 if self.axis_name is None else jax.lax.axis_size(self.axis_name),
    )
    keep = jax.random.bernoulli(key, keep_rate, (num_devices * x.shape[0], *shape))
    if self.axis_name is not None:
      keep = jax.lax.dynamic_slice_in_dim(
        keep, jax.lax.axis_index(self.axis_name) * x.shape[0], x.shape[0]
      )
    return jnp.where(keep, x / jnp.asarray(keep_rate, x.dtype), jnp.zeros_like(x))


class Linear(nn.Module):
  """Returns inputs @ kernel + bias, inputs [B, D].

  Both parameters start uniform on +-1/sqrt(D); with `kernel_scale` the kernel starts N(0,
  kernel_scale^2) and the bias at 0.
  """

  features: int
  kernel_scale: float | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    self.sow(
      "intermediates", "inputs", inputs
    )  # kept only where the caller asks for it: the head's are the features of an example
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
  """A network, or a block of one: what they all have beside their own fields, and the layers made
  of it.

  A network is called as (inputs, *, train, mask=None) and returns logits [B, num_classes], float32
  at least. inputs: [B, H, W, C], normalised. train: BatchNorm of the batch (and moved running
  statistics), or of the running statistics. mask: [B] bool, the valid examples; all of them by
  default. Only training mode looks at it. A block is called as (x, *, train, mask). Networks that
  have rates (`Network.rates`) take them as a further argument, rates=None, and hand them to their
  blocks.

  Attributes:
    activation: a name of `ACTIVATIONS`.
    dtype: the type in which the layers compute.
    param_dtype: the type of parameters and running statistics.
    axis_name: the mapped axis over which BatchNorm sums its statistics.
    norm_groups: BatchNorm's `num_groups`.
  """

  activation: str = "relu"
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  axis_name: str | None = None
  norm_groups: int = 1

  @property
  def in_common(self) -> dict[str, Any]:
    """The fields of this class, for the blocks of a network."""
    return {
      "activation": self.activation,
      "axis_name": self.axis_name,
      "norm_groups": self.norm_groups,
      **self._types,
    }

  @property
  def _types(self) -> dict[str, Any]:
    return {"dtype": self.dtype, "param_dtype": self.param_dtype}

  @nn.nowrap
  def act(self, x: jax.Array) -> jax.Array:
    return ACTIVATIONS[self.activation](x)

  @nn.nowrap
  def conv(
    self,
    name: str,
    x: jax.Array,
    features: int,
    kernel_size: int,
    stride: int = 1,
    *,
    use_bias: bool = False,
  ) -> jax.Array:
    """Returns the convolution of x, padded so that with stride 1 an odd kernel keeps the image's
    size.
    """
    return Conv(
      features,
      kernel_size,
      stride,
      padding=kernel_size // 2,
      use_bias=use_bias,
      name=name,
      **self._types,
    )(x)

  @nn.nowrap
  def norm(self, name: str, x: jax.Array, *, train: bool, mask: jax.Array | None) -> jax.Array:
    norm = BatchNorm(
      axis_name=self.axis_name, num_groups=self.norm_groups, name=name, **self._types
    )
    return norm(x, train=train, mask=mask)

  @nn.nowrap
  def drop_branch(
    self, x: jax.Array, depth: float, *, train: bool, rates: Rates | None
  ) -> jax.Array:
    """Returns the residual branch x, of whole examples 0 at random in training, where a rate of
    `stochastic_depth` is given.

    Args:
      x: [B, H, W, C], what is added to the shortcut.
      depth: of the block, l / L of the L residual blocks; its rate is so many times the last
        block's.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", equations 2 and 4. Differs
    from source: drawn for each example, not for the batch, and scaled in training, not in
    evaluation.
    """
    if rates is None or "stochastic_depth" not in rates:
      return x
    return Dropout(0.0, self.axis_name, per_example=True, name="branch")(
      x, train=train, rate=depth * rates["stochastic_depth"]
    )

  @nn.nowrap
  def head(self, x: jax.Array, num_classes: int, *, kernel_scale: float | None = None) -> jax.Array:
    """Returns the logits of the mean over the pixels of x [B, H, W, D]."""
    self.sow(
      "intermediates", "feature_map", x
    )  # kept only where the caller asks for it: class activation maps are made of it
    x = mean_over_pixels(x)
    return Linear(
      num_classes,
      kernel_scale=kernel_scale,
      dtype=x.dtype,
      param_dtype=self.param_dtype,
      name="head",
    )(x)
