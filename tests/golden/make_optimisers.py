"""Writes optimisers.npz: the weights after the trainings of `optimiser_cases`, by torch in float64.

They are stored as they are, not by `drawn.save`: the tests compare to 1e-10.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_optimisers.py
"""

import re
from pathlib import Path

import drawn
import numpy as np
import optimiser_cases
import torch
from torch.nn.functional import cross_entropy


def optimiser_of(optim, rate, weights):
  """Returns torch's optimiser; decay is set in every step, where it has it."""
  name, momentum = optim.get("name", "sgd"), optim.get("momentum", 0.9)
  epsilon = {"eps": optim["epsilon"]} if "epsilon" in optim else {}
  if name == "sgd":
    return torch.optim.SGD(weights, rate, momentum=momentum, nesterov=optim.get("nesterov", False))
  if name == "adagrad":
    return torch.optim.Adagrad(weights, rate)
  if name == "rmsprop":
    alpha = {"alpha": optim["betas"][0]} if "betas" in optim else {}
    return torch.optim.RMSprop(weights, rate, momentum=momentum, **alpha, **epsilon)
  if name == "lbfgs":
    return torch.optim.LBFGS(
      weights, rate, max_iter=1, history_size=10, tolerance_grad=0.0, tolerance_change=0.0
    )
  betas = {"betas": optim["betas"]} if "betas" in optim else {}
  kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
  return kind(weights, rate, **betas, **epsilon)


def clip(text, weights):
  """Clips gradients; norms without the 1e-6 that torch's own functions add."""
  for name, number in re.findall(r"(\w+)\(([\d.]+)\)", text):
    bound, norms = float(number), [torch.linalg.vector_norm(w.grad) for w in weights]
    if name == "value":
      torch.nn.utils.clip_grad_value_(weights, bound)
    total = torch.linalg.vector_norm(torch.stack(norms))
    for weight, norm in zip(weights, norms, strict=True):
      factors = {"norm": bound / norm, "global_norm": bound / total}
      factors |= {"average_norm": bound / (norm / weight.numel())}
      weight.grad.mul_(factors.get(name, torch.ones(())).clamp(max=1.0))


def train(case):
  optim, rate = case.optim, case.rate
  drawn_params = optimiser_cases.params(drawn.uniform)
  weights = [
    torch.tensor(leaf, requires_grad=True)
    for module in drawn_params.values()
    for leaf in module.values()
  ]
  inputs, labels = optimiser_cases.examples(drawn.uniform)
  inputs, labels = torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64))
  optimiser = optimiser_of(optim, rate, weights)
  form = "adamw" if optim.get("name") == "adamw" else optim.get("decay_form", "coupled")

  def gradient():
    kernel, bias, head_kernel, head_bias = weights
    loss = cross_entropy(torch.tanh(inputs @ kernel + bias) @ head_kernel + head_bias, labels)
    optimiser.zero_grad()
    loss.backward()
    return loss

  for step in range(optimiser_cases.STEPS):
    decay = case.decays[optimiser_cases.PHASES[step]]
    loss = gradient()
    if optim.get("name") == "lbfgs":
      if step == 0:  # torch divides the first step by the sum of |g|, optax by the norm of g
        flat = torch.cat([w.grad.ravel() for w in weights])
        by_norm, by_sum = (
          (1.0 / flat.norm()).clamp(max=1.0),
          (1.0 / flat.abs().sum()).clamp(max=1.0),
        )
        optimiser.param_groups[0]["lr"] = float(rate * by_norm / by_sum)
      optimiser.step(gradient)
      optimiser.param_groups[0]["lr"] = rate
      continue
    clip(optim.get("clip", ""), weights)
    old = [weight.detach().clone() for weight in weights]
    for weight in weights:  # as if added to the loss, but behind the clipping
      weight.grad.add_(optim.get("l1", 0.0) * weight.detach().sign())
      weight.grad.add_(2 * decay * weight.detach() if form == "penalty" else 0.0)
    for group in optimiser.param_groups:
      group["weight_decay"] = decay if form in ("coupled", "adamw") else 0.0
    optimiser.step()
    if form == "decoupled":
      with torch.no_grad():
        for weight, before in zip(weights, old, strict=True):
          weight.sub_(rate * decay * before)
  print(loss.item())
  return np.concatenate([weight.detach().numpy().ravel() for weight in weights])


arrays = {name: train(case) for name, case in optimiser_cases.CASES.items()}
np.savez_compressed(Path(__file__).with_name("optimisers.npz"), **arrays)
print(f"torch {torch.__version__}, {len(arrays)} trainings")
