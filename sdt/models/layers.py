"""Layers shared by the families, and `FamilyModule`, in which every network finds them."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from sdt.arrays import AnyArray
from sdt.losses import accumulator_dtype
from sdt.models import init
from sdt.models.activations import activation, num_pieces
from sdt.models.conv import barrier, conv2d, precision_of
from sdt.models.family import HEAD
from sdt.models.norms import EPSILON, NORMS, Bias, Mask, Place
from sdt.models.pools import pool
from sdt.models.recording import record

# The name of the multiplier of a residual branch, with Fixup.
MULTIPLIER = "multiplier"

# By name, the rates of a step that replace the network's own, each [] float in [0, 1), or [B] where
# examples differ.
type Rates = Mapping[str, jax.Array]


class Conv(nn.Module):
  """A convolution with `padding` zeros on every side. No bias by default: BatchNorm has one.

  With `weight_norm` the kernel of each output is a direction, and its length a parameter. With
  `starts_uniform` kernel and bias start uniform on +-1/sqrt(fan_in), as torch's do.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  use_bias: bool = False
  weight_norm: bool = False
  starts_uniform: bool = False
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[AnyArray, "B H W C"]) -> Float[Array, "B h w O"]:
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    start, bias_start = init.normal_fan_out(shape), init.ZEROS
    if self.starts_uniform:
      start = bias_start = init.uniform_fan_in(math.prod(shape[:-1]))
    kernel = self.param("kernel", start, shape, self.param_dtype)
    if self.weight_norm:
      kernel = _with_length(self, kernel)
    x, kernel = barrier(jnp.asarray(x).astype(self.dtype)), kernel.astype(self.dtype)
    y = conv2d(x, kernel, self.stride, padding=self.padding)
    if not self.use_bias:
      return y
    bias = self.param("bias", bias_start, (self.features,), self.param_dtype)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def mean_over_pixels(x: Float[Array, "B H W C"]) -> Float[Array, "B C"]:
  """Returns the mean over all pixels, [B, C], in float32 at least.

  The mean and the head decide between close logits, so they are float32 even after bfloat16 layers.
  """
  return x.astype(accumulator_dtype(x.dtype)).mean((1, 2))


class Dropout(nn.Module):
  """Returns x with values set to zero with probability `rate`, the others times 1 / (1 - rate).

  Only in training; in evaluation it returns x. A rate in the call replaces the module's and may be
  traced, or [B], one for each example. With `per_example` all values of an example drop together.
  The key is `rngs={"dropout": key}` of `apply`, folded with the layer's path. Under `axis_name`
  every device draws for the whole batch and takes its part, so that their number changes nothing.

  Source: Srivastava et al. 2014, "Dropout", section 4. Differs from source: scaled in training, not
  in evaluation.
  """

  rate: float
  axis_name: str | None = None
  per_example: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "B *N"], *, train: bool, rate: Float[AnyArray, "*B"] | None = None
  ) -> Float[Array, "B *N"]:
    if not train or (rate is None and self.rate == 0.0):
      return x
    keep_rate = 1.0 - (self.rate if rate is None else rate)
    shape = (1,) * (x.ndim - 1) if self.per_example else x.shape[1:]
    num_devices = 1 if self.axis_name is None else jax.lax.axis_size(self.axis_name)
    key, whole = self.make_rng("dropout"), (num_devices * x.shape[0], *shape)
    if jnp.ndim(keep_rate) == 0:
      keep = self._own(jax.random.bernoulli(key, keep_rate, whole), x.shape[0])
    else:  # the uniform numbers by which `bernoulli` decides, beside a rate for each example
      keep_rate = jnp.asarray(keep_rate).reshape(-1, *[1] * (x.ndim - 1))
      keep = self._own(jax.random.uniform(key, whole, keep_rate.dtype), x.shape[0]) < keep_rate
    return jnp.where(keep, x / jnp.asarray(keep_rate, x.dtype), jnp.zeros_like(x))

  @nn.nowrap
  def _own(self, drawn: Shaped[Array, "N *rest"], num: int) -> Shaped[Array, "B *rest"]:
    """Returns this device's part of what is drawn for the whole batch."""
    if self.axis_name is None:
      return drawn
    first = jax.lax.axis_index(self.axis_name) * num
    return jax.lax.dynamic_slice_in_dim(drawn, first, num)


class Linear(nn.Module):
  """Returns inputs @ kernel + bias, [..., features], of inputs [..., D].

  Both parameters start uniform on +-1/sqrt(D). With `kernel_scale` the kernel starts
  N(0, kernel_scale^2) and the bias at 0. `weight_norm` as in `Conv`.
  """

  features: int
  kernel_scale: float | None = None
  weight_norm: bool = False
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, inputs: Float[AnyArray, "*N D"]) -> Float[Array, "*N K"]:
    # Kept only if the caller asks: the inputs of the head are the features of an example.
    self.sow("intermediates", "inputs", inputs)
    in_size = inputs.shape[-1]
    kernel_start = bias_start = init.uniform_fan_in(in_size)
    if self.kernel_scale is not None:
      kernel_start, bias_start = init.Initializer("normal", scale=self.kernel_scale), init.ZEROS
    kernel = self.param("kernel", kernel_start, (in_size, self.features), self.param_dtype)
    bias = self.param("bias", bias_start, (self.features,), self.param_dtype)
    if self.weight_norm:
      kernel = _with_length(self, kernel)
    products = jnp.matmul(
      inputs.astype(self.dtype), kernel.astype(self.dtype), precision=precision_of(self.dtype)
    )
    return products + jnp.expand_dims(bias.astype(self.dtype), range(inputs.ndim - 1))


def _with_length(layer: nn.Module, kernel: jax.Array) -> jax.Array:
  """Returns scale * kernel / ||kernel|| for each output; at the start that is the kernel.

  Source: Salimans and Kingma 2016, "Weight Normalization", equation 2. Differs from source: none.
  """
  types = layer.param_dtype
  scale = layer.param("scale", init.KERNEL_LENGTH, (kernel.shape[-1],), types)
  length = jnp.sqrt(jnp.sum(jnp.square(kernel), range(kernel.ndim - 1)))
  return kernel * (scale / length).reshape((1,) * (kernel.ndim - 1) + (-1,))


class FamilyModule(nn.Module, kw_only=True):  # type: ignore[call-arg]
  """Base of all networks and blocks: their common fields, and the layers that these determine.

  A network is called as (inputs, *, train, mask=None, rates=None) and returns logits [B,
  num_classes], float32 at least. A block is called as (x, *, train, mask, rates).

    inputs: [B, H, W, C], normalised.
    train: whether values drop out, and whether BatchNorm uses the batch (and moves the running
      statistics) or the running statistics.
    mask: [B] bool, the valid examples, by default all. Only training uses it.
    rates: of the step, by name (`Network.rates`); they replace the network's own.

  Attributes:
    conv_bias: whether the convolutions of this class have biases.
    activation: a block of `ACTIVATIONS`.
    norm: a name of `NORMS`.
    groups: the most groups of channels of the norm `group`.
    pool: a block of `POOLS`.
    dropout: share of values dropped in training.
    fixup: whether scalar biases and multipliers take the place of norms.
    dtype: the type in which the layers compute.
    param_dtype: the type of parameters and running statistics.
    axis_name: the mapped axis over which BatchNorm sums its statistics.
    norm_groups: BatchNorm's `num_groups`.
  """

  conv_bias: ClassVar[bool] = False
  norm_epsilon: ClassVar[float] = EPSILON
  of_tokens: ClassVar[bool] = False

  activation: str = "relu"
  norm: str = "batch"
  groups: int = 32
  pool: str = "max"
  dropout: float = 0.0
  fixup: bool = False
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  norm_groups: int = 1

  @property
  def in_common(self) -> dict[str, Any]:
    """The fields of this class, for the blocks of a network."""
    names = ("activation", "norm", "groups", "pool", "dropout", "fixup", "axis_name", "norm_groups")
    return {name: getattr(self, name) for name in names} | self._types

  @property
  def pieces(self) -> int:
    """How many outputs of a layer the activation takes for one of its own."""
    return num_pieces(self.activation)

  @property
  def _types(self) -> dict[str, Any]:
    return {"dtype": self.dtype, "param_dtype": self.param_dtype}

  @nn.nowrap
  def act(self, name: str, x: Float[Array, "*shape D"]) -> Float[Array, "*shape C"]:
    """Returns the activation of x; `name` is that of its parameters, where it has any."""
    return record(self, activation(self.activation, name, self.param_dtype)(x))

  @nn.nowrap
  def conv(
    self,
    name: str,
    x: Float[AnyArray, "B H W C"],
    features: int,
    kernel_size: int,
    stride: int = 1,
    *,
    padding: int | None = None,
  ) -> Float[Array, "B h w O"]:
    """Returns the convolution of x; with stride 1 an odd kernel keeps the size of the image."""
    padding = kernel_size // 2 if padding is None else padding
    form = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    form |= {"use_bias": self.conv_bias, "weight_norm": self.norm == "weight"}
    return Conv(features, **form, name=name, **self._types)(self._shifted(f"{name}_shift", x))

  @nn.nowrap
  def _shifted(self, name: str, x: Float[AnyArray, "B *N C"]) -> Float[AnyArray, "B *N C"]:
    """Returns x; with Fixup a learned number is added, the same everywhere."""
    return Bias(is_scalar=True, name=name, **self._types)(x) if self.fixup else x

  @nn.nowrap
  def normalise(
    self,
    name: str,
    x: Float[AnyArray, "B *N C"],
    *,
    train: bool,
    mask: Mask,
    has_bias: bool | None = None,
  ) -> Float[Array, "B *N C"]:
    """Returns x normalised by the network's norm.

    `has_bias` says whether the layer before it has a bias; by default, whether convolutions have.
    """
    has_bias = self.conv_bias if has_bias is None else has_bias
    place = Place(
      name,
      self._types,
      self.groups,
      axis_name=self.axis_name,
      batch_groups=self.norm_groups,
      has_bias=has_bias,
      is_scalar=self.fixup,
      epsilon=self.norm_epsilon,
      of_tokens=self.of_tokens,
    )
    return NORMS[self.norm](x, place, train=train, mask=mask)

  @nn.nowrap
  def drop(
    self, name: str, x: Float[Array, "B *N"], *, train: bool, rates: Rates | None
  ) -> Float[Array, "B *N"]:
    """Returns x; in training values are dropped at the rate of the step, or the network's own."""
    rate = (rates or {}).get("dropout")
    if rate is None and self.dropout == 0.0:
      return x
    return Dropout(self.dropout, self.axis_name, name=name)(x, train=train, rate=rate)

  @nn.nowrap
  def branch(
    self,
    x: Float[Array, "B *N C"],
    depth: float,
    *,
    train: bool,
    rates: Rates | None,
    name: str = "branch",
  ) -> Float[Array, "B *N C"]:
    """Returns the residual branch x; in training it is 0 for random examples (stochastic depth).

    Without a rate of `stochastic_depth` nothing drops. With Fixup it is multiplied by a learned
    number.

    Args:
      x: [B, ..., C], what is added to the shortcut.
      depth: of the block, l / L of the L residual blocks. Its rate is depth times the rate of the
        last block.
      train: whether this is training.
      rates: of the step; `stochastic_depth` is the rate of the last block.
      name: of the layer that drops; each draws for itself.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", equations 2 and 4. Differs
    from source: drawn for each example, not for the batch; scaled in training, not in evaluation.
    """
    if self.fixup:
      multiplier = self.param(MULTIPLIER, init.ONES, (1,), self.param_dtype)
      x = x * multiplier.astype(x.dtype).reshape((1,) * x.ndim)
    if rates is None or "stochastic_depth" not in rates:
      return x
    drop = Dropout(0.0, self.axis_name, per_example=True, name=name)
    return drop(x, train=train, rate=depth * rates["stochastic_depth"])

  @nn.nowrap
  def shrink(
    self, name: str, x: Float[Array, "B H W C"], window: int, stride: int, *, train: bool
  ) -> Float[Array, "B h w C"]:
    """Returns the network's pooling of x; an image smaller than the window stays as it is."""
    if min(x.shape[1:3]) < window:
      return x
    return pool(self.pool)(x, window, stride, name=name, train=train)

  @nn.nowrap
  def hidden(
    self, name: str, x: Float[AnyArray, "B D"], features: int, *, train: bool, mask: Mask
  ) -> Float[Array, "B features"]:
    """Returns a hidden layer: the product with a matrix, the norm and the activation."""
    form = {"weight_norm": self.norm == "weight", "name": name}
    x = Linear(features * self.pieces, **form, **self._types)(x)
    x = self.normalise(f"{name}_norm", x, train=train, mask=mask, has_bias=True)
    return self.act(f"{name}_act", x)

  @nn.nowrap
  def head(
    self, x: Float[Array, "B H W D"], num_classes: int, *, kernel_scale: float | None = None
  ) -> Float[Array, "B K"]:
    """Returns the logits of the mean over the pixels of x [B, H, W, D]."""
    # Kept only if the caller asks: class activation maps are made of it.
    self.sow("intermediates", "feature_map", x)
    return self.logits(mean_over_pixels(x), num_classes, kernel_scale=kernel_scale)

  @nn.nowrap
  def logits(
    self, x: Float[Array, "B D"], num_classes: int, *, kernel_scale: float | None = None
  ) -> Float[Array, "B K"]:
    """Returns the logits of x, in float32 at least."""
    types = {"dtype": accumulator_dtype(x.dtype), "param_dtype": self.param_dtype}
    x = self._shifted(f"{HEAD}_shift", x)
    return Linear(num_classes, kernel_scale=kernel_scale, name=HEAD, **types)(x)
