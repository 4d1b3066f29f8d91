"""Writes imagenet.npz: what torch computes with ImageNet's ResNets, in float64 on the CPU.

The published ones in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_imagenet.py
"""

from pathlib import Path

import drawn
import torch_network
from torch_resnet import ResNet

WIDTHS = (64, 128, 256, 512)
PUBLISHED = {
  "resnet50-small": (64, ResNet((3, 4, 6, 3), WIDTHS, True, "projection")),
  "resnet18-imagenet": (224, ResNet((2, 2, 2, 2), WIDTHS, False, "projection", "imagenet")),
  "resnet34-imagenet": (224, ResNet((3, 4, 6, 3), WIDTHS, False, "projection", "imagenet")),
  "resnet50-imagenet": (224, ResNet((3, 4, 6, 3), WIDTHS, True, "projection", "imagenet")),
}

arrays = {}
for name, shape in drawn.IMAGENET_RESNETS.items():
  network = torch_network.with_drawn_variables(ResNet(**shape))
  arrays |= torch_network.agreement(network, name, image_shape=drawn.STEM_SHAPES["imagenet"])
for name, (size, network) in PUBLISHED.items():
  arrays[f"{name}:eval"] = torch_network.evaluate(
    torch_network.with_drawn_variables(network), name, 2, (size, size, 3)
  )
torch_network.save(Path(__file__).with_name("imagenet.npz"), arrays)
