"""Records the outputs of activation functions while a network is traced."""

import contextlib
import contextvars
from collections.abc import Iterator

import flax.linen as nn
import jax

# Place of the module in the network -> outputs, in the order of the calls.
type Seen = list[tuple[str, jax.Array]]

_SEEN: contextvars.ContextVar[Seen | None] = contextvars.ContextVar("seen", default=None)


@contextlib.contextmanager
def recorded_activations() -> Iterator[Seen]:
  """Gives a list; every activation function that is called within the block adds its outputs."""
  seen: Seen = []
  token = _SEEN.set(seen)
  try:
    yield seen
  finally:
    _SEEN.reset(token)


def record(module: nn.Module, outputs: jax.Array) -> jax.Array:
  """Returns the outputs of an activation function in a module; adds them where one records."""
  seen = _SEEN.get()
  if seen is not None:
    seen.append(("/".join(module.path), outputs))
  return outputs
