"""The formats that a network can be exported to: a table."""

import dataclasses
import textwrap
from collections.abc import Callable, Mapping

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


@dataclasses.dataclass(frozen=True)
class Format:
  """A format of exports.

  Attributes:
    suffix: of its files.
    check: raises a ConfigError where a network cannot be exported to it, before work is done.
    content: the bytes of the file of a network.
    example: Python that gets logits from `file`.
    takes_pixels: whether inputs are pixels as they are read, and the file normalises them.
  """

  suffix: str
  check: Callable[[Model], None]
  content: Callable[[Model], bytes]
  example: str
  takes_pixels: bool = True

  def example_of(self, model: Model, file: str) -> str:
    """Returns the Python that gets logits from the file, without an indent."""
    names = {"network": model.config.model.name, "num_classes": len(model.class_names)}
    return textwrap.dedent(self.example).format(file=file, **names)


FORMATS: Mapping[str, Format] = {
  "stablehlo": Format(".stablehlo", stablehlo.check, content=stablehlo.content, example=_STABLEHLO),
  "onnx": Format(".onnx", onnx_file.check, content=onnx_file.content, example=_ONNX),
  "torch": Format(
    ".safetensors",
    torch_file.check,
    content=torch_file.content,
    example=_TORCH,
    takes_pixels=False,
  ),
}
