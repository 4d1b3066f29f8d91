"""Examples and labels as a program in Python has them, as a run takes them."""

import numpy as np
from jaxtyping import Shaped

from sdt.data import class_names
from sdt.errors import DataError


def as_trained(inputs: Shaped[np.ndarray, "N ..."]) -> Shaped[np.ndarray, "N ..."]:
  """Returns grey images [N, H, W] as [N, H, W, 1], and bools as numbers."""
  if inputs.ndim == 3:
    return inputs[..., None]
  return inputs.astype(np.float32) if inputs.dtype == np.bool_ and inputs.ndim == 2 else inputs


def names_of(labels: Shaped[np.ndarray, "K"]) -> list[str]:
  """Returns the names of classes: the labels, or their numbers where one can be no name."""
  names = [str(label) for label in labels]
  try:
    class_names.refuse_unwritable(names, "y")
  except DataError:
    return [str(number) for number in range(len(names))]
  return names if len(set(names)) == len(names) else [str(number) for number in range(len(names))]
