"""Writes vgg.npz: what torch computes with VGGs, in float64 on the CPU.

VGG16 and VGG19 in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_vgg.py
"""

from pathlib import Path

import drawn
import torch_network
from torch_vgg import VGG

arrays = {}
for name, shape in drawn.VGGS.items():
  arrays |= torch_network.agreement(torch_network.with_drawn_variables(VGG(**shape)), name)
for name, num in (("vgg16", 3), ("vgg19", 4)):
  network = torch_network.with_drawn_variables(
    VGG((2, 2, num, num, num), (64, 128, 256, 512, 512)), gain=drawn.FULL_GAINS[name]
  )
  arrays[f"{name}:eval"] = torch_network.evaluate(network, name, 2, drawn.FULL_SHAPE)
torch_network.save(Path(__file__).with_name("vgg.npz"), arrays)
