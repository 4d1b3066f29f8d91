"""The CIFAR ResNets written in torch, layer by layer as torch users write them; modules carry the names of sdt's parameters."""

import drawn
import numpy as np
import torch
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
  def __init__(self, blocks, widths, bottleneck, shortcut):
    super().__init__()
    self.stem_conv = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
    self.stem_norm = nn.BatchNorm2d(widths[0])
    size, self.names = widths[0], []
    for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), start=1):
      for block in range(1, num + 1):
        name = f"stage{stage}_block{block}"
        self.add_module(name, Block(size, width, 2 if stage > 1 and block == 1 else 1, bottleneck, shortcut))
        self.names.append(name)
        size = width * 4 if bottleneck else width
    self.head = nn.Linear(size, 10)

  def forward(self, x):
    x = functional.relu(self.stem_norm(self.stem_conv(x)))
    for name in self.names:
      x = getattr(self, name)(x)
    return self.head(x.mean((2, 3)))


def sdt_path(name, tensor):
  """Returns sdt's path of a torch state entry: stem_norm.running_var -> batch_stats/stem_norm/var."""
  *modules, leaf = name.split(".")
  if leaf.startswith("running_"):
    return "/".join(["batch_stats", *modules, leaf.removeprefix("running_")])
  leaf = {"bias": "bias", "weight": "kernel" if tensor.ndim > 1 else "scale"}[leaf]
  return "/".join(["params", *modules, leaf])


def to_sdt(tensor):
  """Returns a NumPy copy in sdt's layout: OIHW -> HWIO, [K, D] -> [D, K]."""
  array = tensor.detach().numpy().copy()
  return array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])


def make_network(blocks, widths, bottleneck, shortcut, dtype=torch.float64):
  """Returns the network with the drawn variables."""
  network = ResNet(blocks, widths, bottleneck, shortcut).to(dtype)
  state = network.state_dict()
  for name, tensor in state.items():
    if name.endswith("num_batches_tracked"):
      continue
    shape = to_sdt(tensor).shape
    value = drawn.variable(sdt_path(name, tensor), shape)
    back = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(value.transpose(back))))
  network.load_state_dict(state)
  return network


def to_torch_images(images, dtype=torch.float64):
  return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(dtype)


def follow_biased_variances(network):
  """Returns a dict that holds, after every training forward pass, what running_var would be with the batch's biased variance.

  torch stores the unbiased one. Its own number is checked against the same recursion with n / (n - 1) on the way.
  """
  biased, unbiased = {}, {}

  def follow(name, module, x):
    if name not in biased:
      biased[name] = unbiased[name] = module.running_var.clone()
    n = x.numel() // x.shape[1]
    var = x.detach().transpose(0, 1).reshape(x.shape[1], -1).var(1, correction=0)
    biased[name] = 0.9 * biased[name] + 0.1 * var
    unbiased[name] = 0.9 * unbiased[name] + 0.1 * var * n / (n - 1)

  for name, module in network.named_modules():
    if isinstance(module, nn.BatchNorm2d):
      module.register_forward_pre_hook(lambda module, args, name=name: follow(name, module, args[0]))

  def result():
    for name, module in network.named_modules():
      if name in unbiased:
        torch.testing.assert_close(module.running_var, unbiased[name], rtol=1e-10, atol=1e-12)
    return {f"batch_stats/{name.replace('.', '/')}/var": value.numpy().copy() for name, value in biased.items()}

  return result
