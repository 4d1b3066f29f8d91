"""Writes preresnet.npz: what torch computes with PreResNets, in float64 on the CPU.

The large ones in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_preresnet.py
"""

from pathlib import Path

import drawn
import torch_network
from torch import nn
from torch.nn import functional


class Block(nn.Module):
  def __init__(self, in_size, width, stride, bottleneck):
    super().__init__()
    self.bottleneck = bottleneck
    out_size = width * 4 if bottleneck else width
    self.norm1, self.norm2 = nn.BatchNorm2d(in_size), nn.BatchNorm2d(width)
    if bottleneck:
      self.conv1 = nn.Conv2d(in_size, width, 1, bias=False)
      self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
      self.norm3 = nn.BatchNorm2d(width)
      self.conv3 = nn.Conv2d(width, out_size, 1, bias=False)
    else:
      self.conv1 = nn.Conv2d(in_size, width, 3, stride, 1, bias=False)
      self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
    if stride != 1 or in_size != out_size:
      self.shortcut_conv = nn.Conv2d(in_size, out_size, 1, stride, bias=False)

  def forward(self, x):
    y = self.conv1(functional.relu(self.norm1(x)))
    y = self.conv2(functional.relu(self.norm2(y)))
    if self.bottleneck:
      y = self.conv3(functional.relu(self.norm3(y)))
    return y + (self.shortcut_conv(x) if hasattr(self, "shortcut_conv") else x)


class PreResNet(nn.Module):
  def __init__(self, blocks, widths, bottleneck):
    super().__init__()
    self.stem_conv = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
    size, self.names = widths[0], []
    for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), start=1):
      for block in range(1, num + 1):
        self.names.append(f"stage{stage}_block{block}")
        self.add_module(
          self.names[-1], Block(size, width, 2 if stage > 1 and block == 1 else 1, bottleneck)
        )
        size = width * 4 if bottleneck else width
    self.final_norm = nn.BatchNorm2d(size)
    self.head = nn.Linear(size, 10)

  def forward(self, x):
    x = self.stem_conv(x)
    for name in self.names:
      x = getattr(self, name)(x)
    return self.head(functional.relu(self.final_norm(x)).mean((2, 3)))


arrays = {}
for name, shape in drawn.PRERESNETS.items():
  arrays |= torch_network.agreement(torch_network.with_drawn_variables(PreResNet(**shape)), name)
for name, num_blocks, bottleneck in (("preresnet110", 18, False), ("paper_preresnet110", 18, True)):
  network = torch_network.with_drawn_variables(
    PreResNet((num_blocks,) * 3, (16, 32, 64), bottleneck), gain=drawn.FULL_GAINS[name]
  )
  arrays[f"{name}:eval"] = torch_network.evaluate(network, name, 2, drawn.FULL_SHAPE)
torch_network.save(Path(__file__).with_name("preresnet.npz"), arrays)
