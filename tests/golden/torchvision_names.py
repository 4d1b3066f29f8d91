"""AlexNet, ResNets and DenseNets in torch with torchvision's names, which timm shares.

Written from the papers' figures.
"""

import torch
from torch import nn
from torch.nn import functional


def conv(in_size, out_size, kernel_size, stride=1):
  return nn.Conv2d(in_size, out_size, kernel_size, stride, kernel_size // 2, bias=False)


class Residual(nn.Module):
  """A basic block, or a bottleneck that strides in its 3x3 convolution."""

  def __init__(self, in_size, width, stride, bottleneck):
    super().__init__()
    sizes = (
      [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
      if bottleneck
      else [(width, 3, stride), (width, 3, 1)]
    )
    self.num, size = len(sizes), in_size
    for index, (out_size, kernel_size, step) in enumerate(sizes, start=1):
      self.add_module(f"conv{index}", conv(size, out_size, kernel_size, step))
      self.add_module(f"bn{index}", nn.BatchNorm2d(out_size))
      size = out_size
    self.downsample = None
    if stride != 1 or in_size != size:
      self.downsample = nn.Sequential(conv(in_size, size, 1, stride), nn.BatchNorm2d(size))

  def forward(self, x):
    y = x
    for index in range(1, self.num + 1):
      y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
      y = functional.relu(y) if index < self.num else y
    return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
  def __init__(self, blocks, widths=(64, 128, 256, 512), bottleneck=False, num_classes=1000):
    super().__init__()
    self.conv1, self.bn1 = conv(3, widths[0], 7, 2), nn.BatchNorm2d(widths[0])
    size = widths[0]
    for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), start=1):
      layers = []
      for block in range(num):
        layers.append(Residual(size, width, 2 if stage > 1 and block == 0 else 1, bottleneck))
        size = width * (4 if bottleneck else 1)
      self.add_module(f"layer{stage}", nn.Sequential(*layers))
    self.num_stages, self.fc = len(blocks), nn.Linear(size, num_classes)

  def forward(self, x):
    x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
    for stage in range(1, self.num_stages + 1):
      x = getattr(self, f"layer{stage}")(x)
    return self.fc(x.mean((2, 3)))


class DenseLayer(nn.Module):
  def __init__(self, in_size, growth_rate):
    super().__init__()
    self.norm1, self.conv1 = nn.BatchNorm2d(in_size), conv(in_size, 4 * growth_rate, 1)
    self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth_rate), conv(4 * growth_rate, growth_rate, 3)

  def forward(self, x):
    y = self.conv2(functional.relu(self.norm2(self.conv1(functional.relu(self.norm1(x))))))
    return torch.cat([x, y], 1)


class Transition(nn.Module):
  def __init__(self, size):
    super().__init__()
    self.norm, self.conv = nn.BatchNorm2d(size), conv(size, size // 2, 1)

  def forward(self, x):
    return functional.avg_pool2d(self.conv(functional.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
  def __init__(self, layers, growth_rate=32, num_classes=1000):
    super().__init__()
    size = 2 * growth_rate
    self.features = nn.Sequential()
    self.features.add_module("conv0", conv(3, size, 7, 2))
    self.features.add_module("norm0", nn.BatchNorm2d(size))
    self.features.add_module("relu0", nn.ReLU())
    self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
    for block, num in enumerate(layers, start=1):
      dense = nn.Sequential()
      for layer in range(1, num + 1):
        dense.add_module(f"denselayer{layer}", DenseLayer(size, growth_rate))
        size += growth_rate
      self.features.add_module(f"denseblock{block}", dense)
      if block < len(layers):
        self.features.add_module(f"transition{block}", Transition(size))
        size //= 2
    self.features.add_module("norm5", nn.BatchNorm2d(size))
    self.classifier = nn.Linear(size, num_classes)

  def forward(self, x):
    return self.classifier(functional.relu(self.features(x)).mean((2, 3)))


class AlexNet(nn.Module):
  def __init__(self, num_classes=1000):
    super().__init__()
    convolutions = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2)]
    convolutions += [(192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
    features = []
    for index, form in enumerate(convolutions, start=1):
      features += [nn.Conv2d(*form), nn.ReLU()]
      features += [nn.MaxPool2d(3, 2)] if index in (1, 2, 5) else []
    self.features, self.avgpool = nn.Sequential(*features), nn.AdaptiveAvgPool2d(6)
    hidden = [layer for size in (256 * 36, 4096) for layer in (nn.Dropout(), *self.hidden(size))]
    self.classifier = nn.Sequential(*hidden, nn.Linear(4096, num_classes))

  @staticmethod
  def hidden(size):
    return nn.Linear(size, 4096), nn.ReLU()

  def forward(self, x):
    return self.classifier(self.avgpool(self.features(x)).flatten(1))
