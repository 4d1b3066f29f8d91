"""The formats that a network can be exported to: a table."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sdt.models.registry import NETWORKS
from sdt.trained.exports import onnx_file, stablehlo, torch_file
from sdt.trained.model import Model

_STABLEHLO = """\
import pathlib, jax.export
network = jax.export.deserialize(pathlib.Path({file!r}).read_bytes())
logits = network.call(inputs)  # on a CPU, an NVIDIA GPU or a TPU"""
_ONNX = """\
import onnxruntime
network = onnxruntime.InferenceSession({file!r})
(logits,) = network.run(None, {{"inputs": inputs}})"""
_TORCH = """\
import safetensors.torch, torchvision
network = torchvision.models.{network}(num_classes={num_classes})
network.load_state_dict(safetensors.torch.load_file({file!r}))
network.eval()
logits = network(inputs)  # timm.create_model("{network}", num_classes=...) takes the file too"""
# By `weights_from` of networks that timm has in any size.
_TIMM = """\
import safetensors.torch, timm.models
network = timm.models.{class_name}(
  img_size={image_size}, in_chans={channels}, num_classes={num_classes}, patch_size={patch_size},
  embed_dim={width}, depth={depth}, num_heads={heads}, mlp_ratio={mlp_ratio}{more}
)
network.load_state_dict(safetensors.torch.load_file({file!r}))
network.eval()
logits = network(inputs)"""
_OF_TIMM = {
  "vit": {"class_name": "VisionTransformer", "more": ""},
  "cait": {"class_name": "Cait", "more": ", mlp_ratio_token_only={mlp_ratio}"},
}


@dataclasses.dataclass(frozen=True)
class Format:
  """A format of exports.

  Attributes:
    suffix: of its files.
    check: raises a ConfigError where a network cannot be exported to it, before work is done.
    content: the bytes of the file of a network.
    example: Python that gets logits from `file`.
    example_of_sizes: the same for networks that timm has in any size.
    takes_pixels: whether inputs are pixels as they are read, and the file normalises them.
  """

  suffix: str
  check: Callable[[Model], None]
  content: Callable[[Model], bytes]
  example: str
  example_of_sizes: str = ""
  takes_pixels: bool = True

  def example_of(self, model: Model, file: str) -> str:
    """Returns the Python that gets logits from the file, without an indent."""
    name = model.config.model.name
    names: dict[str, Any] = {"network": name, "num_classes": len(model.class_names), "file": file}
    network, example = NETWORKS[name], self.example
    if network.public_keys and self.example_of_sizes:
      *size, channels = model.input_shape
      names |= {key: getattr(model.module, key) for key in network.public_keys}
      names |= {"image_size": tuple(size), "channels": channels}
      names |= {
        key: text.format(**names) for key, text in _OF_TIMM[network.weights_from or ""].items()
      }
      example = self.example_of_sizes
    return example.format(**names)


FORMATS: Mapping[str, Format] = {
  "stablehlo": Format(".stablehlo", stablehlo.check, content=stablehlo.content, example=_STABLEHLO),
  "onnx": Format(".onnx", onnx_file.check, content=onnx_file.content, example=_ONNX),
  "torch": Format(
    ".safetensors",
    torch_file.check,
    content=torch_file.content,
    example=_TORCH,
    example_of_sizes=_TIMM,
    takes_pixels=False,
  ),
}
