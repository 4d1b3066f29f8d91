"""Writes training_params.npz, training_momenta.npz and gradients.npz, computed by torch on the CPU.

The first two: every parameter, running statistic and momentum of ResNet-20 (projection) after the
ten float64 steps of `drawn`. The last: the float32 gradients of one step of the 8-layer network.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_training.py
"""

from pathlib import Path

import drawn
import numpy as np
import torch
import torch_network
import torch_resnet

FOLDER = Path(__file__).parent


def training():
  network = torch_resnet.make_network(**drawn.FORWARD_NETWORKS["basic20_projection"]).train()
  biased_variances = torch_network.follow_biased_variances(network)
  optimizer = torch.optim.SGD(network.parameters(), lr=drawn.LEARNING_RATE, momentum=drawn.MOMENTUM)
  losses = []
  for step, (phase, size) in enumerate(zip(drawn.STEP_PHASES, drawn.STEP_SIZES, strict=True)):
    optimizer.param_groups[0]["weight_decay"] = drawn.WEIGHT_DECAYS[phase]
    images = torch_network.to_torch_images(drawn.images(f"step{step}", drawn.BATCH_SIZE)[:size])
    labels = torch.from_numpy(drawn.labels(f"step{step}", drawn.BATCH_SIZE)[:size].astype(np.int64))
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
  print("losses", losses)
  params, momenta = {"losses": np.array(losses)}, {}
  for name, parameter in network.named_parameters():
    path = torch_network.sdt_path(name, parameter)
    params[path] = torch_network.to_sdt(parameter)
    momenta[path] = torch_network.to_sdt(optimizer.state[parameter]["momentum_buffer"])
  for name, tensor in network.state_dict().items():
    if name.endswith("running_mean"):
      params[torch_network.sdt_path(name, tensor)] = torch_network.to_sdt(tensor)
  drawn.save(FOLDER / "training_params.npz", params | biased_variances())
  drawn.save(FOLDER / "training_momenta.npz", momenta)


def gradients():
  network = torch_resnet.make_network(
    **drawn.FORWARD_NETWORKS["basic8_projection"], dtype=torch.float32
  ).train()
  images = torch_network.to_torch_images(drawn.images("gradients", drawn.BATCH_SIZE), torch.float32)
  labels = torch.from_numpy(drawn.labels("gradients", drawn.BATCH_SIZE).astype(np.int64))
  torch.nn.functional.cross_entropy(network(images), labels).backward()
  arrays = {
    torch_network.sdt_path(name, p): torch_network.to_sdt(p.grad)
    for name, p in network.named_parameters()
  }
  drawn.save(FOLDER / "gradients.npz", arrays)


training()
gradients()
print(f"torch {torch.__version__}")
