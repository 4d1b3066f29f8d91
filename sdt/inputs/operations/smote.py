"""SMOTE: an example of a rare class becomes a point between it and a near one of its class.

It acts on inputs as they are stored, before any other operation, and needs no example of the batch:
the neighbours of every example are known beforehand.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from sdt.arrays import AnyArray
from sdt.inputs.operations.frame import Drawn
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighbours:
  """What SMOTE must know of the training set.

  Attributes:
    ids: [N, k] int32, positions of the nearest examples of the same class, -1 where there are
      fewer.
    chance: [N] float32, with which a drawn example is replaced at strength 1: 1 - n / m, of the
      size n of its class and that of the largest, m.
  """

  ids: Leaf
  chance: Leaf


def draw(key: Key[Array, ""], num: int, strength: float | Float[AnyArray, ""]) -> Drawn:
  """Returns the numbers of a batch: the strength [B], and three uniform ones of each example."""
  amount = jnp.broadcast_to(jnp.asarray(strength, jnp.float32), (num,))
  return {"amount": amount, "uniform": jax.random.uniform(key, (num, 3), jnp.float32)}


def between(
  inputs: Shaped[AnyArray, "N *rest"],
  rows: Int[AnyArray, "b"],
  neighbours: Neighbours,
  drawn: Drawn,
) -> Shaped[Array, "b *rest"]:
  """Returns the inputs of these rows, some of them as x + u (x' - x), x' a neighbour, u in [0, 1).

  An example is replaced with the chance of its class times the strength, so that a set whose
  classes are repeated until they are equally frequent has about as many real examples as before,
  and synthetic ones for the rest. Pixels are rounded to whole ones. The label stays.

  Source: Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique", section 4.2.
  Differs from source: points are drawn anew in every step, not once.

  Args:
    inputs: of the whole training set, resident.
    rows: of the batch.
    neighbours: of the whole training set.
    drawn: from `draw`, the rows of these examples.
  """
  own, ids, uniform = jnp.asarray(inputs)[rows], neighbours.ids[rows], drawn["uniform"]
  count = jnp.sum(ids >= 0, axis=1, dtype=jnp.int32)
  place = jnp.floor(uniform[:, 1] * count.astype(jnp.float32)).astype(jnp.int32)
  place = jnp.clip(place, 0, jnp.maximum(count - 1, 0))
  other = jnp.maximum(jnp.take_along_axis(ids, place[:, None], axis=1)[:, 0], 0)
  acts = (uniform[:, 0] < drawn["amount"] * neighbours.chance[rows]) & (count > 0)
  start, end = (one.astype(jnp.float32) for one in (own, jnp.asarray(inputs)[other]))
  share = uniform[:, 2].reshape(-1, *[1] * (own.ndim - 1))
  mixed = start + share * (end - start)
  mixed = jnp.rint(mixed) if jnp.issubdtype(own.dtype, jnp.integer) else mixed
  return jnp.where(acts.reshape(share.shape), mixed.astype(own.dtype), own)
