"""Writes forward.npz: float64 logits and running statistics of the networks of `drawn.FORWARD_NETWORKS`, computed by torch on the CPU.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_forward.py
"""

from pathlib import Path

import drawn
import torch
import torch_resnet

arrays = {}
images = torch_resnet.to_torch_images(drawn.images("forward", 4))
for name, shape in drawn.FORWARD_NETWORKS.items():
  network = torch_resnet.make_network(**shape)
  with torch.no_grad():
    arrays[f"{name}:eval"] = network.eval()(images).numpy()
    biased_variances = torch_resnet.follow_biased_variances(network)
    arrays[f"{name}:train"] = network.train()(images).numpy()
  for entry, tensor in network.state_dict().items():
    if entry.endswith("running_mean"):
      arrays[f"{name}:{torch_resnet.sdt_path(entry, tensor)}"] = torch_resnet.to_sdt(tensor)
  for path, value in biased_variances().items():
    arrays[f"{name}:{path}"] = value
drawn.save(Path(__file__).with_name("forward.npz"), arrays)
print(f"torch {torch.__version__}")
