"""Writes label_smoothing.npz: torch's CrossEntropyLoss(label_smoothing=s), in float64.

Its values, and its gradients by the logits.

Command (in this folder, Python with torch; last run with torch 2.13.0): python
make_label_smoothing.py
"""

from pathlib import Path

import numpy as np
import torch

rng = np.random.default_rng(7)
logits, labels = 3.0 * rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
arrays = {
  "logits": logits,
  "labels": labels.astype(np.int32),
  "smoothing": np.array([0.0, 0.1, 0.9]),
}
for index, smoothing in enumerate(arrays["smoothing"]):
  inputs = torch.tensor(logits, requires_grad=True)
  losses = torch.nn.CrossEntropyLoss(label_smoothing=float(smoothing), reduction="none")(
    inputs, torch.tensor(labels)
  )
  losses.mean().backward()
  arrays[f"losses{index}"], arrays[f"gradient{index}"] = (
    losses.detach().numpy(),
    inputs.grad.numpy(),
  )
np.savez(Path(__file__).with_name("label_smoothing.npz"), **arrays)
