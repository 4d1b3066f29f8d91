"""What vision transformers are made of: patches as tokens, attention, blocks.

Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3.2; Dosovitskiy et al. 2021, "An
Image is Worth 16x16 Words", section 3.1; Touvron et al. 2021, "Going deeper with Image
Transformers", sections 2 and 3.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.errors import ConfigError
from sdt.losses import accumulator_dtype
from sdt.models import init
from sdt.models.conv import precision_of
from sdt.models.family import EMBEDDING
from sdt.models.layers import Conv, FamilyModule, Linear, Rates
from sdt.models.norms import Mask

# Standard deviation of the initial weights, of the class token and of the positions.
START_SCALE = 0.02


class Embedding(nn.Module):
  """Returns a learned array [1, num, features], N(0, 0.02^2) at the start."""

  num: int
  features: int
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self) -> Float[Array, "1 N D"]:
    start = init.Initializer("normal", scale=START_SCALE)
    values = self.param(EMBEDDING, start, (1, self.num, self.features), self.param_dtype)
    return jnp.asarray(values, self.dtype)


class LayerScale(nn.Module):
  """Returns x times a learned factor of each channel, which starts at `start`.

  Source: Touvron et al. 2021, equation 4. Differs from source: none.
  """

  start: float
  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    start = init.Initializer("constant", offset=self.start)
    factor = self.param("gamma", start, (x.shape[-1],), self.param_dtype)
    return x * factor.astype(x.dtype)[None, None]


class Tokens(FamilyModule):
  """What a network of tokens [B, N, D] and its parts share.

  A norm sees every token as an example of its own, so `layer` is the LayerNorm of the sources;
  `batch` takes its statistics over all tokens of the valid examples.
  """

  conv_bias: ClassVar[bool] = True
  norm_epsilon: ClassVar[float] = 1e-6
  of_tokens: ClassVar[bool] = True

  activation: str = dataclasses.field(default="gelu", kw_only=True)
  norm: str = dataclasses.field(default="layer", kw_only=True)

  @nn.nowrap
  def dense(self, name: str, x: Float[Array, "*N D"], features: int) -> Float[Array, "*N K"]:
    """Returns the product of every token with a matrix, and a bias."""
    form = {"kernel_scale": START_SCALE, "weight_norm": self.norm == "weight"}
    return Linear(features, **form, name=name, **self._types)(x)

  @nn.nowrap
  def embedding(self, name: str, num: int, features: int) -> Float[Array, "1 N D"]:
    """Returns a learned array of so many tokens."""
    return Embedding(num, features, name=name, **self._types)()

  @nn.nowrap
  def patches(
    self, inputs: Float[AnyArray, "B H W C"], patch_size: int, features: int
  ) -> Float[Array, "B N D"]:
    """Returns a token for each patch, row by row: a product of its pixels with a matrix.

    An image whose sides are no multiples of the patch gets zeros below and at the right.
    """
    missing = [-size % patch_size for size in inputs.shape[1:3]]
    x = jnp.asarray(inputs)
    if any(missing):
      x = jnp.pad(x, [(0, 0), *((0, pixels) for pixels in missing), (0, 0)])
    form = {"use_bias": True, "weight_norm": self.norm == "weight", "starts_uniform": True}
    conv = Conv(features, patch_size, patch_size, **form, name="patch_embedding", **self._types)
    x = conv(x)
    # Kept only if the caller asks: where the patches lie.
    self.sow("intermediates", "patches", x)
    return x.reshape(x.shape[0], -1, features)


class Attention(Tokens):
  """Returns what every token reads of all tokens: softmax(q k / sqrt(d)) v in each head.

  With `talks` the heads are mixed by a matrix before the softmax and after it. With `of_class` only
  the first token reads, and one token is returned.

  Source: Vaswani et al. 2017, section 3.2.2; Shazeer et al. 2020, "Talking-Heads Attention",
  section 3; Touvron et al. 2021, equations 5 to 7. Differs from source: none.
  """

  heads: int
  talks: bool = False
  of_class: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], *, train: bool, rates: Rates | None
  ) -> Float[Array, "B n D"]:
    queries, keys, values = self._projected(x)
    queries, exact = queries / math.sqrt(queries.shape[-1]), precision_of(x.dtype)
    scores = jnp.einsum("bqhd,bkhd->bqkh", queries, keys, precision=exact)
    if self.talks:
      scores = self.dense("talk1", scores, self.heads)
    shares = nn.softmax(scores.astype(accumulator_dtype(scores.dtype)), axis=2)
    # Kept only if the caller asks: attention rollout is made of it.
    self.sow("intermediates", "attention", shares)
    shares = shares.astype(x.dtype)
    if self.talks:
      shares = self.dense("talk2", shares, self.heads)
    read = jnp.einsum("bqkh,bkhd->bqhd", shares, values, precision=exact)
    read = self.dense("projection", read.reshape(*queries.shape[:2], -1), x.shape[-1])
    return self.drop("dropout", read, train=train, rates=rates)

  @nn.nowrap
  def _projected(self, x: Float[Array, "B N D"]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns queries, keys and values, [B, n, heads, d] each."""
    num, width = x.shape[1:]
    size = (self.heads, width // self.heads)
    if not self.of_class:
      of_all = self.dense("qkv", x, 3 * width).reshape(-1, num, 3, *size)
      queries, keys, values = (jax.lax.index_in_dim(of_all, at, 2, False) for at in range(3))
      return queries, keys, values
    queries = self.dense("query", jax.lax.slice_in_dim(x, 0, 1, axis=1), width)
    keys, values = self.dense("key", x, width), self.dense("value", x, width)
    return queries.reshape(-1, 1, *size), *(one.reshape(-1, num, *size) for one in (keys, values))


class Block(Tokens):
  """Returns x + attention(norm(x)), to which a two-layer network of each token is added alike.

  Both branches drop together with others by `depth`, see `FamilyModule.branch`. With `layer_scale`
  they are multiplied by learned factors. With `of_class` x [B, 1, D] is the class token, which
  reads itself and `patches`.

  Source: Dosovitskiy et al. 2021, equations 2 and 3; Touvron et al. 2021, equations 4 to 8. Differs
  from source: none.
  """

  heads: int
  mlp_size: int
  depth: float
  layer_scale: float | None = None
  talks: bool = False
  of_class: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B N D"],
    patches: Float[Array, "B n D"] | None = None,
    *,
    train: bool,
    mask: Mask,
    rates: Rates | None,
  ) -> Float[Array, "B N D"]:
    now: dict[str, Any] = {"train": train, "rates": rates}
    seen = x if patches is None else jnp.concatenate([x, patches], axis=1)
    form = (self.heads, self.talks, self.of_class)
    attention = Attention(*form, name="attention", **self.in_common)
    read = attention(self.normalise("norm1", seen, train=train, mask=mask), **now)
    x = x + self._branch(1, read, now)
    y = self.dense("fc1", self.normalise("norm2", x, train=train, mask=mask), self._hidden)
    y = self.drop("dropout1", self.act("act", y), **now)
    y = self.drop("dropout2", self.dense("fc2", y, x.shape[-1]), **now)
    return x + self._branch(2, y, now)

  @property
  def _hidden(self) -> int:
    return self.mlp_size * self.pieces

  @nn.nowrap
  def _branch(self, number: int, x: jax.Array, now: Mapping[str, Any]) -> jax.Array:
    if self.layer_scale is not None:
      x = LayerScale(self.layer_scale, self.param_dtype, name=f"scale{number}")(x)
    return self.branch(x, self.depth, name=f"branch{number}", **now)


def sizes_that_fit(
  arguments: dict[str, Any], changes: Mapping[str, Any], name: str
) -> dict[str, Any]:
  """Returns the arguments with the changes; a `combine` of `Network`.

  Raises:
    ConfigError: the heads do not divide the width.
  """
  arguments = {**arguments, **changes}
  width, heads = arguments["width"], arguments["heads"]
  if width % heads:
    raise ConfigError(
      f"model.width={width} of model.name={name!r}: expected a multiple of model.heads={heads}, as "
      f"every head has as many channels, such as {heads * math.ceil(width / heads)}; or change "
      "model.heads too"
    )
  return arguments
