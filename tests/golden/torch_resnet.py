"""The ResNets in torch, layer by layer, with the names of sdt's parameters."""

import torch
import torch_network
from torch import nn
from torch.nn import functional


class Block(nn.Module):
  def __init__(self, in_size, width, stride, bottleneck, shortcut):
    super().__init__()
    out_size = width * 4 if bottleneck else width
    self.bottleneck, self.stride, self.extra = bottleneck, stride, out_size - in_size
    self.pads = shortcut == "zero_pad" and (stride != 1 or in_size != out_size)
    if bottleneck:
      self.conv1 = nn.Conv2d(in_size, width, 1, bias=False)
      self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
      self.conv3 = nn.Conv2d(width, out_size, 1, bias=False)
      self.norm3 = nn.BatchNorm2d(out_size)
    else:
      self.conv1 = nn.Conv2d(in_size, width, 3, stride, 1, bias=False)
      self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
    self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
    if shortcut == "projection" and (stride != 1 or in_size != out_size):
      self.shortcut_conv = nn.Conv2d(in_size, out_size, 1, stride, bias=False)
      self.shortcut_norm = nn.BatchNorm2d(out_size)

  def forward(self, x):
    y = functional.relu(self.norm1(self.conv1(x)))
    y = self.norm2(self.conv2(y))
    if self.bottleneck:
      y = self.norm3(self.conv3(functional.relu(y)))
    if self.pads:
      x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
    elif hasattr(self, "shortcut_conv"):
      x = self.shortcut_norm(self.shortcut_conv(x))
    return functional.relu(y + x)


class ResNet(nn.Module):
  def __init__(self, blocks, widths, bottleneck, shortcut, stem="small"):
    super().__init__()
    self.pools = stem == "imagenet"
    self.stem_conv = (
      nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
      if self.pools
      else nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
    )
    self.stem_norm = nn.BatchNorm2d(widths[0])
    size, self.names = widths[0], []
    for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), start=1):
      for block in range(1, num + 1):
        name = f"stage{stage}_block{block}"
        self.add_module(
          name, Block(size, width, 2 if stage > 1 and block == 1 else 1, bottleneck, shortcut)
        )
        self.names.append(name)
        size = width * 4 if bottleneck else width
    self.head = nn.Linear(size, 10)

  def forward(self, x):
    x = functional.relu(self.stem_norm(self.stem_conv(x)))
    if self.pools:
      x = functional.max_pool2d(x, 3, 2, 1)
    for name in self.names:
      x = getattr(self, name)(x)
    return self.head(x.mean((2, 3)))


def make_network(blocks, widths, bottleneck, shortcut, dtype=torch.float64):
  """Returns the network with the drawn variables."""
  return torch_network.with_drawn_variables(
    ResNet(blocks, widths, bottleneck, shortcut), dtype=dtype
  )
