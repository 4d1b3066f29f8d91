"""Writes vgg.npz: what torch computes with VGGs, in float64 on the CPU; VGG16 and VGG19 in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_vgg.py
"""

from pathlib import Path

import drawn
import torch_network
from torch import nn
from torch.nn import functional


class VGG(nn.Module):
  def __init__(self, blocks, widths):
    super().__init__()
    self.blocks, size = blocks, 3
    for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), start=1):
      for layer in range(1, num + 1):
        self.add_module(f"stage{stage}_conv{layer}", nn.Conv2d(size, width, 3, 1, 1))
        self.add_module(f"stage{stage}_norm{layer}", nn.BatchNorm2d(width))
        size = width
    self.head = nn.Linear(size, 10)

  def forward(self, x):
    for stage, num in enumerate(self.blocks, start=1):
      for layer in range(1, num + 1):
        x = functional.relu(getattr(self, f"stage{stage}_norm{layer}")(getattr(self, f"stage{stage}_conv{layer}")(x)))
      if x.shape[2] > 1:
        x = functional.max_pool2d(x, 2)
    return self.head(x.mean((2, 3)))


arrays = {}
for name, shape in drawn.VGGS.items():
  arrays |= torch_network.agreement(torch_network.with_drawn_variables(VGG(**shape)), name)
for name, num in (("vgg16", 3), ("vgg19", 4)):
  network = torch_network.with_drawn_variables(VGG((2, 2, num, num, num), (64, 128, 256, 512, 512)), gain=drawn.FULL_GAINS[name])
  arrays[f"{name}:eval"] = torch_network.evaluate(network, name, 2, drawn.FULL_SHAPE)
torch_network.save(Path(__file__).with_name("vgg.npz"), arrays)
