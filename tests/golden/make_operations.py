"""Writes operations.npz: what torchvision and timm make of images, at given amounts.

Images are float32 in [0, 1], [3, 12, 10, 3]; so are the results. Boxes of timm's random erasing and
cutmix at given random numbers, and torchvision's table of AutoAugment's policy for CIFAR-10.

Command (in this folder, Python with torch, torchvision and timm; last run with torch 2.13.0):
python make_operations.py
"""

import json
import random
from pathlib import Path

import numpy as np
import timm.data.random_erasing as timm_erasing
import torch
from timm.data.mixup import rand_bbox
from torchvision.transforms import (
  AutoAugment,
  AutoAugmentPolicy,
  InterpolationMode,
  RandAugment,
  TrivialAugmentWide,
  functional,
)

rng = np.random.default_rng(11)
images = rng.integers(0, 256, (3, 12, 10, 3)).astype(np.float32) / 255
arrays: dict[str, np.ndarray] = {"images": images}


def affine(image, angle=0.0, translate=(0.0, 0.0), scale=1.0, shear=(0.0, 0.0)):
  return functional.affine(
    image,
    angle,
    list(translate),
    scale,
    list(shear),
    interpolation=InterpolationMode.BILINEAR,
  )


CASES = {
  # torchvision cuts shifts to whole pixels.
  "translate": (((2.0, -1.0), (0.0, 3.0), (0.0, 0.0)), lambda x, a: affine(x, translate=a)),
  "rotate": (((30.0,), (-75.0,), (180.0,)), lambda x, a: affine(x, angle=a[0])),
  "zoom": (((0.5,), (-0.5,), (0.1,)), lambda x, a: affine(x, scale=float(np.exp(a[0])))),
  "shear": (((20.0, 0.0), (-10.0, 30.0), (0.0, 40.0)), lambda x, a: affine(x, shear=a)),
  "brightness": ((0.5, -0.3, -1.0), lambda x, a: functional.adjust_brightness(x, 1 + a)),
  "contrast": ((0.5, -0.3, -1.0), lambda x, a: functional.adjust_contrast(x, 1 + a)),
  "saturation": ((0.8, -0.3, -1.0), lambda x, a: functional.adjust_saturation(x, 1 + a)),
  "hue": ((0.2, -0.4, 0.5), lambda x, a: functional.adjust_hue(x, a)),
  "gaussian_blur": ((0.4, 1.0, 1.9), lambda x, a: functional.gaussian_blur(x, [7, 7], [a, a])),
}
for name, (amounts, function) in CASES.items():
  results = []
  for image, amount in zip(images, amounts, strict=True):
    results.append(function(torch.tensor(image).permute(2, 0, 1), amount).permute(1, 2, 0).numpy())
  arrays[f"{name}_amounts"] = np.array(amounts, np.float32)
  arrays[f"{name}_results"] = np.stack(results)

# ---- boxes: timm with random numbers that are given
SIZE, TRIES, NUM = (32, 24), 10, 40
areas = rng.uniform(0.02, 1 / 3, (TRIES, NUM))
areas[:9, :8] = 0.33
ratios = np.exp(rng.uniform(-1, 1, (TRIES, NUM)) * np.log(1 / 0.3))
ratios[:9, :8] = 3.3
places = rng.random((NUM, 2))
boxes = np.zeros((NUM, 4), np.int32)
for example in range(NUM):
  draws = iter(np.stack([areas[:, example], np.log(ratios[:, example])], 1).ravel())
  where = iter(places[example])
  timm_erasing.random = type(
    "Given",
    (),
    {
      "random": staticmethod(lambda: 0.0),
      "uniform": staticmethod(lambda low, high, it=draws: next(it)),
      "randint": staticmethod(lambda low, high, it=where: low + int(next(it) * (high - low + 1))),
    },
  )
  erase = timm_erasing.RandomErasing(probability=1.0, mode="const", device="cpu")
  picture = torch.ones(1, *SIZE)
  erase(picture)
  erased = np.argwhere(picture[0].numpy() == 0)
  if len(erased):
    boxes[example] = [*erased.min(axis=0), *(erased.max(axis=0) + 1)]
timm_erasing.random = random
arrays |= {"erase_areas": areas, "erase_ratios": ratios, "erase_places": places}
arrays |= {"erase_boxes": boxes, "box_size": np.array(SIZE)}

weights, middles, cut = rng.random(NUM), [], []
for weight in weights:
  middle = (int(rng.integers(SIZE[0])), int(rng.integers(SIZE[1])))
  it = iter(middle)
  original = np.random.randint
  np.random.randint = lambda low, high, size=None, it=it: next(it)
  top, bottom, left, right = rand_bbox((1, 1, *SIZE), weight)
  np.random.randint = original
  middles.append(middle)
  cut.append([top, left, bottom, right])
arrays |= {"cutmix_weights": weights, "cutmix_middles": np.array(middles, np.int32)}
arrays["cutmix_boxes"] = np.array(cut, np.int32)

# ---- the policies
policy = AutoAugment(AutoAugmentPolicy.CIFAR10)
spaces = {
  "auto": policy._augmentation_space(10, SIZE),
  "trivial": TrivialAugmentWide()._augmentation_space(31),
  "random": RandAugment()._augmentation_space(31, SIZE),
}
arrays["policies"] = np.array(
  json.dumps(
    {
      "pairs": policy.policies,
      "spaces": {
        name: {op: np.atleast_1d(levels.numpy()).tolist() for op, (levels, _) in space.items()}
        for name, space in spaces.items()
      },
    }
  )
)
np.savez_compressed(Path(__file__).with_name("operations.npz"), **arrays)
