"""Safetensors files: arrays by name, with a header of text."""

import json
from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped


def safetensors_bytes(
  arrays: Mapping[str, Shaped[np.ndarray, "..."]], header: Mapping[str, str]
) -> bytes:
  """Returns the file of these arrays; equal content gives equal bytes."""
  from safetensors.numpy import save

  written = save({name: np.asarray(array, order="C") for name, array in arrays.items()}, {**header})
  # The library's order of the header changes by call.
  end = 8 + int.from_bytes(written[:8], "little")
  content = json.loads(written[8:end])
  metadata = dict(sorted(content.pop("__metadata__").items()))
  text = json.dumps({"__metadata__": metadata, **content}, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
  return len(text).to_bytes(8, "little") + text + written[end:]
