"""Writes blocks.npz: activations, norms and pools of torch with their gradients, in float64.

Of each block "<block>:y" are the outputs and "<block>:x" and so on the gradients of
sum(weights * outputs), where weights are the drawn "weights/<block>".

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_blocks.py
"""

from pathlib import Path

import drawn
import numpy as np
import torch
from torch.nn import functional

GROUPS = {"layer": 1, "instance": 12, "group": 4}


def tensor(name, low=-1.0, high=1.0):
  return torch.from_numpy(drawn.uniform(name, drawn.BLOCK_SHAPES[name], low, high)).requires_grad_()


def record(arrays, name, outputs, **inputs):
  weights = torch.from_numpy(drawn.uniform(f"weights/{name}", tuple(outputs.shape), -1, 1))
  (outputs * weights).sum().backward()
  arrays[f"{name}:y"] = outputs.detach().numpy()
  arrays |= {f"{name}:{key}": leaf.grad.numpy().copy() for key, leaf in inputs.items()}
  return arrays


def activations(arrays):
  functions = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "sigmoid": torch.sigmoid,
    "selu": functional.selu,
    "maxout": lambda x: x.unflatten(1, (4, 3)).amax(2),
  }
  for name, function in functions.items():
    x = tensor("x", -3, 3)
    record(arrays, name, function(x), x=x)
  x, slope = tensor("x", -3, 3), tensor("slope", 0, 0.5)
  record(arrays, "prelu", functional.prelu(x, slope), x=x, slope=slope)


def norms(arrays):
  for name, groups in GROUPS.items():
    x, scale, bias = tensor("x", -3, 3), tensor("scale", 0.5, 1.5), tensor("bias")
    record(arrays, name, functional.group_norm(x, groups, scale, bias), x=x, scale=scale, bias=bias)
  x, kernel, scale = tensor("x"), tensor("kernel"), tensor("lengths", 0.5, 1.5)
  directions = torch._weight_norm(kernel, scale.reshape(-1, 1, 1, 1), 0)
  record(
    arrays, "weight", functional.conv2d(x, directions, padding=1), x=x, kernel=kernel, scale=scale
  )


def pools(arrays):
  x = tensor("x")
  record(arrays, "average", functional.avg_pool2d(x, 3, 2), x=x)
  for size in (3, 5, 11):
    x = tensor("x")
    record(arrays, f"adaptive{size}", functional.adaptive_avg_pool2d(x, size), x=x)
  # torch draws the place of columns first.
  places = torch.tensor(drawn.PLACES[::-1], dtype=torch.float64)
  samples = places.expand(*drawn.BLOCK_SHAPES["x"][:2], 2).contiguous()
  x = tensor("x")
  outputs = functional.fractional_max_pool2d(x, 2, (5, 4), _random_samples=samples)
  record(arrays, "fractional_max", outputs, x=x)


made = {}
for part in (activations, norms, pools):
  part(made)
np.savez_compressed(Path(__file__).with_name("blocks.npz"), **made)
print(f"blocks.npz: {len(made)} arrays, torch {torch.__version__}")
