"""Writes resnet.npz: what torch computes with `drawn.FORWARD_NETWORKS`, in float64 on the CPU.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_resnet.py
"""

from pathlib import Path

import drawn
import torch_network
import torch_resnet

arrays = {}
for name, shape in drawn.FORWARD_NETWORKS.items():
  arrays |= torch_network.agreement(torch_resnet.make_network(**shape), name)
torch_network.save(Path(__file__).with_name("resnet.npz"), arrays)
