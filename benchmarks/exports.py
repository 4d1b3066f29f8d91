"""Compares the logits of exports with sdt's, network by network.

    .venv/bin/python benchmarks/exports.py [--networks NAME ...] [--torch_python=PYTHON]
      [--out=FILE]

The weights are drawn, as are the images: 8 of 32x32 pixels, and of 64x64 for networks with
ImageNet's stem. Each difference is the largest of any logit; `spread` is the standard deviation of
a logit over the images, averaged over the classes. StableHLO and ONNX run here. PYTHON is that of
an environment with torch, torchvision, timm and safetensors, in which the weights are loaded,
strictly, into the networks of both.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.export
import measure
import numpy as np
import onnxruntime

sys.path.insert(0, str(measure.ROOT / "tests/golden"))
import drawn

from sdt.config.schema import Config, ModelConfig
from sdt.models import make_model
from sdt.models.registry import NETWORKS, variable_shapes
from sdt.trained.exports import onnx_file, stablehlo, torch_file
from sdt.trained.model import Model, logits_of, preprocess

NUM_IMAGES, NUM_CLASSES = 8, 10
DEFAULT = (
  *("mlp", "resnet20", "paper_resnet56", "preresnet20", "wrn", "wrn28_10", "vgg16"),
  *("densenet", "densenet_bc100", "resnet18", "resnet34", "resnet50", "densenet121"),
)
# With them the logits of deep networks are as large as those of trained ones, 10 or so.
GAINS = {
  **{"paper_resnet56": 0.7, "preresnet20": 0.7, "vgg16": 1.4, "densenet": 0.85},
  **{"densenet_bc100": 0.7, "resnet34": 0.8, "resnet50": 0.75, "densenet121": 0.7},
}

_TORCH = """
import json, sys
import numpy as np, safetensors.torch, timm, torch, torchvision
file, name, num_classes, inputs, outputs = sys.argv[1:]
images = torch.from_numpy(np.load(inputs))
weights, logits = safetensors.torch.load_file(file), {}
for library, make in (("torchvision", torchvision.models.get_model), ("timm", timm.create_model)):
  network = make(name, num_classes=int(num_classes))
  network.load_state_dict(weights)  # strict: raises if a name is missing or left over
  with torch.no_grad():
    logits[library] = network.eval()(images).numpy()
np.savez(outputs, **logits)
print(json.dumps({module.__name__: module.__version__ for module in (torch, torchvision, timm)}))
"""


def network_of(name):
  """Returns a network of the registry with drawn weights."""
  config = ModelConfig(name=name)
  module = make_model(config, NUM_CLASSES)
  size = 64 if NETWORKS[name].arguments.get("stem") == "imagenet" else 32
  gain = GAINS.get(name, 1.0)

  def draw(path, leaf):
    place = jax.tree_util.keystr(path, simple=True, separator="/")
    return drawn.variable(place, leaf.shape, gain).astype(np.float32)

  shapes = variable_shapes(module, (size, size, 3))
  return Model(
    config=dataclasses.replace(Config(), model=config),
    class_names=tuple(f"class {label}" for label in range(NUM_CLASSES)),
    mean=np.array([0.49, 0.48, 0.45], np.float32),
    std=np.array([0.20, 0.20, 0.20], np.float32),
    input_shape=(size, size, 3),
    module=module,
    variables=jax.tree_util.tree_map_with_path(draw, shapes),
    arm="drawn",
    seed=0,
    digest="",
  )


def by_stablehlo(content, images):
  return np.asarray(jax.export.deserialize(content).call(images))


def by_onnxruntime(content, images):
  session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
  return session.run(None, {onnx_file.INPUT: images})[0]


def by_torch(python, model, images):
  """Returns ({library: logits}, versions) of the torch twins."""
  with tempfile.TemporaryDirectory() as folder:
    paths = [Path(folder, name) for name in ("weights.safetensors", "inputs.npy", "logits.npz")]
    paths[0].write_bytes(torch_file.content(model))
    np.save(paths[1], np.asarray(preprocess(model, images)).transpose(0, 3, 1, 2))
    arguments = [paths[0], model.config.model.name, str(NUM_CLASSES), *paths[1:]]
    command = [python, "-c", _TORCH, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    with np.load(paths[2]) as logits:
      return dict(logits), json.loads(done.stdout)


def figures_of(name, torch_python):
  """Returns the figures of one network, and the versions of torch where it was asked."""
  model, versions = network_of(name), {}
  images = drawn.uniform(f"images/{name}", (NUM_IMAGES, *model.input_shape), 0, 256)
  images = images.astype(np.uint8)
  ours = np.asarray(jax.jit(lambda x: logits_of(model)(preprocess(model, x)))(images))
  figures = {"largest": np.abs(ours).max(), "spread": ours.std(0).mean()}
  for kind, module, run in (
    ("stablehlo", stablehlo, by_stablehlo),
    ("onnx", onnx_file, by_onnxruntime),
  ):
    start = time.perf_counter()
    content = module.content(model)
    secs = time.perf_counter() - start
    found = run(content, images)
    alone = run(content, images[:1])
    figures[kind] = {
      "difference": np.abs(found - ours).max(),
      "difference_alone": np.abs(alone - ours[:1]).max(),
      "bytes": len(content),
      "export_secs": secs,
    }
  if torch_python and NETWORKS[name].weights_from:
    logits, versions = by_torch(torch_python, model, images)
    figures |= {
      library: {"difference": np.abs(found - ours).max()} for library, found in logits.items()
    }
  return figures, versions


def main():
  parser = measure.parser(__doc__)
  parser.add_argument("--networks", nargs="+", default=DEFAULT)
  parser.add_argument("--torch_python")
  arguments = parser.parse_args()
  figures, versions = {}, {"onnxruntime": onnxruntime.__version__}
  for name in arguments.networks:
    figures[name], of_torch = figures_of(name, arguments.torch_python)
    versions |= of_torch
    print(name, json.dumps(figures[name], default=float), flush=True)
  plain = json.loads(json.dumps(figures, default=float))
  measure.write(arguments.out, "exports", {"versions": versions, "networks": plain})


if __name__ == "__main__":
  main()
