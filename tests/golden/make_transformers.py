"""Writes transformers.npz: what timm computes with small ViTs and CaiTs, in float64 on the CPU.

For each form of `drawn.TRANSFORMERS`, with weights drawn by timm's names: "<name>:names" and
"<name>:shapes" (as text) of its state_dict, "<name>:eval" the logits of drawn images,
"<name>:gradients/..." `drawn.digests` of the gradients of their mean cross-entropy, by timm's names
and in torch's layout. "positions/<prefix>/<before>/<after>": timm's positions of another image
size, for square grids with so many tokens before them.

It prints the parameters and multiply-adds of timm's own models, for tests/models/test_counts.py.
Command (in this folder, Python with torch and timm; last run with torch 2.13.0, timm 1.0.31):
python make_transformers.py
"""

from pathlib import Path

import drawn
import numpy as np
import timm
import torch
import torch_network
from timm.layers import resample_abs_pos_embed, set_fused_attn
from timm.models.cait import Cait
from timm.models.vision_transformer import VisionTransformer
from torch.utils.flop_counter import FlopCounterMode

set_fused_attn(False)
MODULES = {"vit": VisionTransformer, "cait": Cait}
# Of timm's names: pixels a side.
PUBLISHED = {
  "vit_tiny_patch16_224": 224,
  "vit_small_patch16_224": 224,
  "vit_base_patch16_224": 224,
  "vit_large_patch16_224": 224,
  "cait_xxs24_224": 224,
  "cait_xxs36_224": 224,
  "cait_xs24_384": 384,
  "cait_s24_224": 224,
  "cait_s36_384": 384,
  "cait_m36_384": 384,
  "cait_m48_448": 448,
}


def agreement(name, module, sizes, image_shape):
  images = {"img_size": image_shape[:2], "in_chans": image_shape[2]}
  if module == "cait":  # ours has one ratio for both
    sizes = {**sizes, "mlp_ratio_token_only": sizes["mlp_ratio"]}
  network = MODULES[module](**images, num_classes=10, **sizes).double()
  state = network.state_dict()
  for key, tensor in state.items():
    tensor.copy_(torch.from_numpy(drawn.transformer_tensor(key, tuple(tensor.shape))))
  arrays = {
    "names": np.array(list(state)),
    "shapes": np.array(["x".join(map(str, one.shape)) for one in state.values()]),
    "eval": torch_network.evaluate(network, name, 4, image_shape),
  }
  images = torch_network.to_torch_images(drawn.images(name, 4, image_shape))
  labels = torch.from_numpy(drawn.labels(name, 4).astype(np.int64))
  logits = network.train()(images)
  np.testing.assert_allclose(logits.detach().numpy(), arrays["eval"], rtol=1e-10, atol=1e-12)
  torch.nn.functional.cross_entropy(logits, labels).backward()
  gradients = {key: one.grad.numpy() for key, one in network.named_parameters()}
  arrays |= {f"gradients/{key}": array for key, array in drawn.digests(gradients).items()}
  return {f"{name}:{key}": array for key, array in arrays.items()}


def main():
  arrays = {}
  for name, (module, sizes, image_shape) in drawn.TRANSFORMERS.items():
    arrays |= agreement(name, module, sizes, image_shape)
  for prefix, before, after in drawn.GRIDS:
    values = torch.from_numpy(drawn.positions(prefix, before)).float()
    found = resample_abs_pos_embed(values, [after, after], num_prefix_tokens=prefix)
    arrays[f"positions/{prefix}/{before}/{after}"] = found.numpy()
  torch_network.save(Path(__file__).with_name("transformers.npz"), arrays)
  for name, size in PUBLISHED.items():
    with torch.device("meta"):
      model = timm.create_model(name).eval().requires_grad_(False)
      counter = FlopCounterMode(display=False)
      with counter, torch.no_grad():
        model(torch.empty(1, 3, size, size))
    num = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {num:,} parameters, {counter.get_total_flops() / 2e6:,.1f} M multiply-adds")


main()
