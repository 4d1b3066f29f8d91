"""Writes classics.npz: what torch computes with LeNet and AlexNet, in float64 on the CPU.

The published AlexNet in evaluation mode only, with weights drawn by torchvision's names:
"alexnet:names" and "alexnet:shapes" (as text) of its state_dict and "alexnet:logits" of images of
64x64, "alexnet224:logits" of 224x224.

The twin of torchvision_names.py has been compared with torchvision's alexnet: names, shapes and, in
float64, logits are equal.
Command (in this folder, Python with torch; last run with torch 2.13.0): python make_classics.py
"""

from pathlib import Path

import drawn
import numpy as np
import torch
import torch_network
from torch import nn
from torch.nn import functional
from torchvision_names import AlexNet as PublicAlexNet


class LeNet(nn.Module):
  def __init__(self, widths, hidden_sizes):
    super().__init__()
    self.conv1, self.conv2 = nn.Conv2d(3, widths[0], 5), nn.Conv2d(widths[0], widths[1], 5)
    self.hidden1 = nn.Linear(25 * widths[1], hidden_sizes[0])
    self.hidden2 = nn.Linear(*hidden_sizes)
    self.head = nn.Linear(hidden_sizes[1], 10)

  def forward(self, x):
    for conv in (self.conv1, self.conv2):
      x = functional.avg_pool2d(torch.tanh(conv(x)), 2)
    x = torch.tanh(self.hidden1(x.flatten(1)))
    return self.head(torch.tanh(self.hidden2(x)))


class AlexNet(nn.Module):
  """Without dropout, so that both modes agree."""

  def __init__(self, widths, hidden_sizes, stem):
    super().__init__()
    first, self.size = {
      "imagenet": ((11, 4, 2), 6),
      "small": ((5, 1, 2), 3),
    }[stem]
    forms = [first, (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)]
    size = 3
    for index, (width, form) in enumerate(zip(widths, forms, strict=True), start=1):
      self.add_module(f"conv{index}", nn.Conv2d(size, width, *form))
      size = width
    self.hidden1 = nn.Linear(size * self.size**2, hidden_sizes[0])
    self.hidden2 = nn.Linear(*hidden_sizes)
    self.head = nn.Linear(hidden_sizes[1], 10)

  def forward(self, x):
    for index in range(1, 6):
      x = functional.relu(getattr(self, f"conv{index}")(x))
      if index in (1, 2, 5):
        x = functional.max_pool2d(x, 3, 2)
    x = functional.adaptive_avg_pool2d(x, self.size).flatten(1)
    x = functional.relu(self.hidden1(x))
    return self.head(functional.relu(self.hidden2(x)))


arrays = {}
for kind, forms in ((LeNet, drawn.LENETS), (AlexNet, drawn.ALEXNETS)):
  for name, form in forms.items():
    network = torch_network.with_drawn_variables(kind(**form))
    arrays |= torch_network.agreement(network, name, image_shape=drawn.CLASSIC_SHAPES[name])

public = PublicAlexNet(10).double()
state = public.state_dict()
for key, tensor in state.items():
  tensor.copy_(torch.from_numpy(drawn.public_tensor(key, tuple(tensor.shape))))
arrays["alexnet:names"] = np.array(list(state))
arrays["alexnet:shapes"] = np.array(["x".join(map(str, one.shape)) for one in state.values()])
for name, size in (("alexnet", 64), ("alexnet224", 224)):
  arrays[f"{name}:logits"] = torch_network.evaluate(public, name, 2, (size, size, 3))
torch_network.save(Path(__file__).with_name("classics.npz"), arrays)
