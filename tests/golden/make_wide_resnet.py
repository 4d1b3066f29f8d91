"""Writes wide_resnet.npz: what torch computes with wide ResNets, in float64 on the CPU.

WRN-28-10 in evaluation mode only.

Command (in this folder, Python with torch; last run with torch 2.13.0): python make_wide_resnet.py
"""

from pathlib import Path

import drawn
import torch_network
from torch_wide_resnet import WideResNet

arrays = {}
for name, shape in drawn.WIDE_RESNETS.items():
  arrays |= torch_network.agreement(torch_network.with_drawn_variables(WideResNet(**shape)), name)
network = torch_network.with_drawn_variables(WideResNet(28, 10), gain=drawn.FULL_GAINS["wrn28_10"])
arrays["wrn28_10:eval"] = torch_network.evaluate(network, "wrn28_10", 2, drawn.FULL_SHAPE)
torch_network.save(Path(__file__).with_name("wide_resnet.npz"), arrays)
for depth, widen_factor in ((16, 4), (28, 10)):
  print(
    f"WRN-{depth}-{widen_factor}: "
    f"{sum(p.numel() for p in WideResNet(depth, widen_factor).parameters())} parameters at 10 "
    "classes"
  )
