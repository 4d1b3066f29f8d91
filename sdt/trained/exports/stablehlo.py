"""The export to StableHLO: one program for CPU, NVIDIA GPU and TPU, for `jax.export`."""

import contextlib
from collections.abc import Iterator

import jax
import jax.export

from sdt.trained.exports.forward import batch_of, constants_of, forward
from sdt.trained.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def check(model: Model) -> None:
  """Every network can be exported."""
  del model


def content(model: Model) -> bytes:
  """Returns the file: `jax.export.deserialize(content).call(inputs)` gives logits [batch, K]."""
  constants = constants_of(model)
  program = jax.jit(lambda inputs: forward(model, constants, inputs))
  with _without_places():
    return bytes(jax.export.export(program, platforms=PLATFORMS)(batch_of(model)).serialize())


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
  """Within it JAX does not note where in the source an operation comes from.

  Otherwise the file has paths of this machine, and other bytes for every caller.
  """
  key = "jax_traceback_in_locations_limit"
  before = getattr(jax.config, key)
  jax.config.update(key, 0)
  try:
    yield
  finally:
    jax.config.update(key, before)
