"""The export to torch: the weights in the names that torchvision and timm give them."""

import numpy as np

from sdt import files
from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import make_model
from sdt.models.namings import public_tensors
from sdt.models.registry import NETWORKS
from sdt.trained.model import Model

# Of the images that torchvision's and timm's networks are made for: red, green, blue.
_CHANNELS = 3


def check(model: Model) -> None:
  """Raises a ConfigError unless torchvision and timm have this very network.

  Also where the inputs need more than a mean and a spread of each channel, which the file, that is
  of weights alone, cannot say.
  """
  if not model.is_plainly_normalised:
    raise ConfigError(
      "--format=torch: the file holds weights alone, and with data.normalise="
      f"{model.config.data.normalise!r} the inputs need more numbers than a mean and a spread of "
      "each channel. Use --format=onnx or --format=stablehlo, which hold them"
    )
  name = model.config.model.name
  public = [other for other, network in NETWORKS.items() if network.weights_from]
  free = NETWORKS[name].public_keys
  keys = {key: getattr(model.config.model, key) for key in free}
  if name not in public:
    what = f"model.name={name!r}"
  elif model.module != make_model(ModelConfig(name=name, **keys), len(model.class_names)):
    what = f"model.name={name!r} with other model keys than its own (stem, widths, activation, ...)"
  elif not free and model.input_shape[-1] != _CHANNELS:
    what = f"model.name={name!r} for images of {model.input_shape[-1]} channel(s)"
  elif any(size % getattr(model.module, "patch_size", 1) for size in model.input_shape[:2]):
    what = f"model.name={name!r} for images whose last patches are not filled"
  else:
    return
  raise ConfigError(
    f"--format=torch: torchvision and timm have no {what}; they have {', '.join(public)}, of which "
    f"those with convolutions are for images of {_CHANNELS} channels. Use --format=onnx or "
    "--format=stablehlo, which take any network"
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
