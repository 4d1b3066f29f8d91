"""The VGGs in torch, as torch users write them, with the names of sdt's parameters."""

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
        x = functional.relu(
          getattr(self, f"stage{stage}_norm{layer}")(getattr(self, f"stage{stage}_conv{layer}")(x))
        )
      if x.shape[2] > 1:
        x = functional.max_pool2d(x, 2)
    return self.head(x.mean((2, 3)))
