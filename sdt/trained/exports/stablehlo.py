"""The export to StableHLO: one program for CPU, NVIDIA GPU and TPU, for `jax.export`."""

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
  return bytes(jax.export.export(program, platforms=PLATFORMS)(batch_of(model)).serialize())
