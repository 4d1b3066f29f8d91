"""Learned positions of a file for images of another size than those of the data."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from sdt.models.family import EMBEDDING

type Shape = tuple[int, ...]

# The path of the positions of every network that has them: [1, tokens, channels].
PATH = f"params/positions/{EMBEDDING}"


def grid(shape: Shape) -> tuple[int, int] | None:
  """Returns the tokens before a square grid (1 or none) and its side; None if it is not square."""
  for before in (0, 1):
    side = math.isqrt(max(0, shape[1] - before))
    if side > 0 and side**2 == shape[1] - before:
      return before, side
  return None


def interpolated(stored: Shape, wanted: Mapping[str, Shape]) -> dict[str, Shape]:
  """Returns {PATH: stored} where positions of this shape become the wanted ones, else {}."""
  if PATH not in wanted or stored == wanted[PATH] or len(stored) != 3:
    return {}
  old, new = grid(stored), grid(wanted[PATH])
  is_grid = old is not None and new is not None and old[0] == new[0]
  return {PATH: stored} if is_grid and stored[2] == wanted[PATH][2] else {}


def told(before: Shape, after: Shape) -> str:
  """Returns what a user should know of interpolated positions."""
  (_, old), (_, new) = (grid(shape) or (0, 0) for shape in (before, after))
  return f"; its positions are interpolated, from {old}x{old} patches to {new}x{new}"


def resized(values: Float32[np.ndarray, "1 n D"], shape: Shape) -> Float32[np.ndarray, "1 N D"]:
  """Returns the positions of another square grid, interpolated bicubically; tokens before it stay.

  Source: Dosovitskiy et al. 2021, section 3.2. Differs from source: cubic and antialiased, as timm
  does it.
  """
  old, new = grid(values.shape), grid(shape)
  if old is None or new is None:
    raise ValueError(f"no square grids: {values.shape}, {shape}")
  (before, side), (_, new_side) = old, new
  places = values[:, before:].reshape(1, side, side, -1)
  places = jax.image.resize(jnp.asarray(places), (1, new_side, new_side, shape[2]), "cubic")
  return np.concatenate([values[:, :before], np.asarray(places).reshape(1, -1, shape[2])], axis=1)
