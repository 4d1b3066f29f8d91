"""Writes pretrained.npz: what torch networks compute in evaluation mode with drawn weights.

The weights have torchvision's names.

For each network "<network>:names" and "<network>:shapes" (as text) of its state_dict, and
"<network>:logits" float64 [2, 10].

The twins of torchvision_names.py have been compared with torchvision 0.29.2 (names, shapes and, in
float32, logits) and with timm 1.0.31 (names and shapes): all equal for the four published networks.
Command (in this folder, Python with torch; last run with torch 2.13.0): python make_pretrained.py
"""

from pathlib import Path

import drawn
import numpy as np
import torch
import torch_network
from torchvision_names import DenseNet, ResNet

NETWORKS = {
  "small_basic": ResNet((1, 1, 1, 1), (8, 16, 24, 32), num_classes=10),
  "small_bottleneck": ResNet((1, 2, 1, 1), (8, 8, 12, 16), bottleneck=True, num_classes=10),
  "small_dense": DenseNet((2, 1, 2, 1), growth_rate=8, num_classes=10),
  "resnet18": ResNet((2, 2, 2, 2), num_classes=10),
  "resnet34": ResNet((3, 4, 6, 3), num_classes=10),
  "resnet50": ResNet((3, 4, 6, 3), bottleneck=True, num_classes=10),
  "densenet121": DenseNet((6, 12, 24, 16), num_classes=10),
}

arrays = {}
for name, network in NETWORKS.items():
  state = network.double().state_dict()
  for key, tensor in state.items():
    if not key.endswith("num_batches_tracked"):
      tensor.copy_(torch.from_numpy(drawn.public_tensor(key, tuple(tensor.shape))))
  arrays[f"{name}:names"] = np.array(list(state))
  arrays[f"{name}:shapes"] = np.array(
    ["x".join(map(str, tensor.shape)) for tensor in state.values()]
  )
  arrays[f"{name}:logits"] = torch_network.evaluate(network, name, 2, (64, 64, 3))
  print(f"{name}: {len(state)} names, logits within {np.abs(arrays[f'{name}:logits']).max():.3g}")
torch_network.save(Path(__file__).with_name("pretrained.npz"), arrays)
