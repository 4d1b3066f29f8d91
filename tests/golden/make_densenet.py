"""Writes densenet.npz: what torch computes with DenseNets, in float64 on the CPU.

The published ones in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_densenet.py
"""

from pathlib import Path

import drawn
import torch_network
from torch_densenet import DenseNet

PUBLISHED = {
  "densenet_bc100-small": (32, DenseNet((16, 16, 16), 12)),
  "densenet121-small": (64, DenseNet((6, 12, 24, 16), 32)),
  "densenet121-imagenet": (224, DenseNet((6, 12, 24, 16), 32, stem="imagenet")),
}

arrays = {}
for name, shape in drawn.DENSENETS.items():
  network = torch_network.with_drawn_variables(DenseNet(**shape))
  arrays |= torch_network.agreement(network, name, image_shape=drawn.STEM_SHAPES[shape["stem"]])
for name, (size, network) in PUBLISHED.items():
  arrays[f"{name}:eval"] = torch_network.evaluate(
    torch_network.with_drawn_variables(network), name, 2, (size, size, 3)
  )
torch_network.save(Path(__file__).with_name("densenet.npz"), arrays)
