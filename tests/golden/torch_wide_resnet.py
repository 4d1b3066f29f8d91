"""The wide ResNets in torch, as torch users write them, with the names of sdt's parameters."""

from torch import nn
from torch.nn import functional


class Block(nn.Module):
  def __init__(self, in_size, out_size, stride):
    super().__init__()
    self.norm1, self.norm2 = nn.BatchNorm2d(in_size), nn.BatchNorm2d(out_size)
    self.conv1 = nn.Conv2d(in_size, out_size, 3, stride, 1, bias=False)
    self.conv2 = nn.Conv2d(out_size, out_size, 3, 1, 1, bias=False)
    if in_size != out_size:
      self.shortcut_conv = nn.Conv2d(in_size, out_size, 1, stride, bias=False)

  def forward(self, x):
    activated = functional.relu(self.norm1(x))
    y = self.conv2(functional.relu(self.norm2(self.conv1(activated))))
    return y + (self.shortcut_conv(activated) if hasattr(self, "shortcut_conv") else x)


class WideResNet(nn.Module):
  def __init__(self, depth, widen_factor):
    super().__init__()
    self.stem_conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    size, self.names = 16, []
    for stage in (1, 2, 3):
      for block in range(1, (depth - 4) // 6 + 1):
        self.names.append(f"stage{stage}_block{block}")
        out_size = 2 ** (stage + 3) * widen_factor
        self.add_module(self.names[-1], Block(size, out_size, 2 if stage > 1 and block == 1 else 1))
        size = out_size
    self.final_norm = nn.BatchNorm2d(size)
    self.head = nn.Linear(size, 10)

  def forward(self, x):
    x = self.stem_conv(x)
    for name in self.names:
      x = getattr(self, name)(x)
    return self.head(functional.relu(self.final_norm(x)).mean((2, 3)))
