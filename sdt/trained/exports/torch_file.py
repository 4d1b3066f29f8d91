"""The export to torch: the weights in the names that torchvision and timm give them."""

import numpy as np

from sdt import files
from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import make_model
from sdt.models.pretrained import public_tensors
from sdt.models.registry import NETWORKS
from sdt.trained.model import Model


def check(model: Model) -> None:
  """Raises a ConfigError unless torchvision and timm have this very network."""
  name = model.config.model.name
  public = [other for other, network in NETWORKS.items() if network.weights_from]
  if name in public and model.module == make_model(ModelConfig(name=name), len(model.class_names)):
    return
  what = (
    f"model.name={name!r} with other model keys than its own (stem, widths, activation, ...)"
    if name in public
    else f"model.name={name!r}"
  )
  raise ConfigError(
    f"--format=torch: torchvision and timm have no {what}; they have {', '.join(public)}. Use "
    "--format=onnx or --format=stablehlo, which take any network"
  )


def content(model: Model) -> bytes:
  """Returns a safetensors file for `load_state_dict` of torchvision's or timm's network.

  Raises:
    ConfigError: see `check`.
  """
  check(model)
  name = model.config.model.name
  tensors = public_tensors(NETWORKS[name].weights_from or "", model.variables)
  # torch counts the batches that a running mean has seen, for a momentum of None only.
  counters = {
    key.replace("running_mean", "num_batches_tracked"): np.zeros((), np.int64)
    for key in tensors
    if key.endswith("running_mean")
  }
  names = files.json_text(model.class_names, indent=None)
  header = {"format": "pt", "architecture": name, "class_names": names}
  return files.safetensors_bytes(tensors | counters, header)
