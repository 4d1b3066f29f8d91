"""The DenseNets in torch, as torch users write them, with the names of sdt's parameters."""

import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
  def __init__(self, in_size, growth_rate, bottleneck):
    super().__init__()
    sizes = [(4 * growth_rate, 1), (growth_rate, 3)] if bottleneck else [(growth_rate, 3)]
    self.num = len(sizes)
    for index, (out_size, kernel_size) in enumerate(sizes, start=1):
      self.add_module(f"norm{index}", nn.BatchNorm2d(in_size))
      self.add_module(
        f"conv{index}",
        nn.Conv2d(in_size, out_size, kernel_size, padding=kernel_size // 2, bias=False),
      )
      in_size = out_size

  def forward(self, x):
    for index in range(1, self.num + 1):
      x = getattr(self, f"conv{index}")(functional.relu(getattr(self, f"norm{index}")(x)))
    return x


class Transition(nn.Module):
  def __init__(self, in_size, out_size):
    super().__init__()
    self.norm, self.conv = nn.BatchNorm2d(in_size), nn.Conv2d(in_size, out_size, 1, bias=False)

  def forward(self, x):
    return functional.avg_pool2d(self.conv(functional.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
  def __init__(self, layers, growth_rate, bottleneck=True, compression=0.5, stem="small"):
    super().__init__()
    size, self.layers = 2 * growth_rate, layers
    if stem == "imagenet":
      self.stem_conv, self.stem_norm = nn.Conv2d(3, size, 7, 2, 3, bias=False), nn.BatchNorm2d(size)
    else:
      self.stem_conv = nn.Conv2d(3, size, 3, padding=1, bias=False)
    for block, num in enumerate(layers, start=1):
      for layer in range(1, num + 1):
        self.add_module(f"block{block}_layer{layer}", Layer(size, growth_rate, bottleneck))
        size += growth_rate
      if block < len(layers):
        self.add_module(f"transition{block}", Transition(size, int(size * compression)))
        size = int(size * compression)
    self.final_norm, self.head = nn.BatchNorm2d(size), nn.Linear(size, 10)

  def forward(self, x):
    x = self.stem_conv(x)
    if hasattr(self, "stem_norm"):
      x = functional.max_pool2d(functional.relu(self.stem_norm(x)), 3, 2, 1)
    for block, num in enumerate(self.layers, start=1):
      features = [x]
      for layer in range(1, num + 1):
        features.append(getattr(self, f"block{block}_layer{layer}")(torch.cat(features, 1)))
      x = torch.cat(features, 1)
      if block < len(self.layers):
        x = getattr(self, f"transition{block}")(x)
    return self.head(functional.relu(self.final_norm(x)).mean((2, 3)))
