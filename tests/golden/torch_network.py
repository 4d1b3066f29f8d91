"""Shared by the networks written in torch: their names in sdt, drawn variables, stored numbers.

A network here is a module whose submodules carry the names of sdt's parameters.
"""

import drawn
import numpy as np
import torch
from torch import nn


def sdt_path(name, tensor):
  """Returns sdt's path of a torch name: stem_norm.running_var -> batch_stats/stem_norm/var."""
  *modules, leaf = name.split(".")
  if leaf.startswith("running_"):
    return "/".join(["batch_stats", *modules, leaf.removeprefix("running_")])
  leaf = {"bias": "bias", "weight": "kernel" if tensor.ndim > 1 else "scale"}[leaf]
  return "/".join(["params", *modules, leaf])


def to_sdt(tensor):
  """Returns a NumPy copy in sdt's layout: OIHW -> HWIO, [K, D] -> [D, K]."""
  array = tensor.detach().numpy().copy()
  return array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])


def with_drawn_variables(network, dtype=torch.float64, gain=1.0):
  """Returns the network, of `dtype`, with the drawn variables; `gain` is of `drawn.variable`."""
  network = network.to(dtype)
  state = network.state_dict()
  for name, tensor in state.items():
    if name.endswith("num_batches_tracked"):
      continue
    value = drawn.variable(sdt_path(name, tensor), to_sdt(tensor).shape, gain)
    back = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(value.transpose(back))))
  network.load_state_dict(state)
  return network


def to_torch_images(images, dtype=torch.float64):
  return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(dtype)


def follow_biased_variances(network):
  """Returns a dict of what running_var would be with the batch's biased variance.

  Every training forward pass updates it.

  torch stores the unbiased one. Its own number is checked against the same recursion with n / (n -
  1) on the way.
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
      module.register_forward_pre_hook(
        lambda module, args, name=name: follow(name, module, args[0])
      )

  def result():
    for name, module in network.named_modules():
      if name in unbiased:
        torch.testing.assert_close(module.running_var, unbiased[name], rtol=1e-10, atol=1e-12)
    return {
      f"batch_stats/{name.replace('.', '/')}/var": value.numpy().copy()
      for name, value in biased.items()
    }

  return result


def evaluate(network, name, num, image_shape):
  """Returns the logits [num, K] of the images called `name`, in evaluation mode."""
  parameter = next(network.parameters())
  with torch.no_grad():
    return network.eval()(
      to_torch_images(drawn.images(name, num, image_shape), parameter.dtype)
    ).numpy()


def agreement(network, name, num=4, image_shape=drawn.IMAGE_SHAPE):
  """Returns what `check_agreement` of tests/support/agreement.py needs of a network.

  The network is float64 with drawn variables.

  "<name>:eval" and "<name>:train": logits [num, K] of both modes; "<name>:statistics/..." and
  "<name>:gradients/...": `drawn.digests` of the running statistics after that forward pass, and of
  the gradients of its mean cross-entropy. Images and labels are drawn by `name`.
  """
  arrays = {"eval": evaluate(network, name, num, image_shape)}
  images = to_torch_images(drawn.images(name, num, image_shape))
  labels = torch.from_numpy(drawn.labels(name, num).astype(np.int64))
  biased_variances = follow_biased_variances(network)
  logits = network.train()(images)
  nn.functional.cross_entropy(logits, labels).backward()
  arrays["train"] = logits.detach().numpy()
  state = network.state_dict()
  means = {
    sdt_path(entry, tensor): to_sdt(tensor)
    for entry, tensor in state.items()
    if entry.endswith("running_mean")
  }
  gradients = {
    sdt_path(entry, parameter): to_sdt(parameter.grad)
    for entry, parameter in network.named_parameters()
  }
  for kind, values in (("statistics", means | biased_variances()), ("gradients", gradients)):
    arrays |= {f"{kind}/{key}": array for key, array in drawn.digests(values).items()}
  return {f"{name}:{key}": array for key, array in arrays.items()}


def save(path, arrays):
  """Writes arrays as they are."""
  np.savez_compressed(path, **arrays)
  print(
    f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes, torch {torch.__version__}"
  )
