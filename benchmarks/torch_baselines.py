r"""Trains the same networks in the same way in torch, for comparison with the speed of sdt.

The script needs torch and NumPy, but neither JAX nor sdt.

    python benchmarks/torch_baselines.py --baseline=T2 --network=resnet20 [--batch_size=128] \
      [--steps=20] [--blocks=5]

T1: eager, float32, channels first; a DataLoader with workers augments the images one by one.
T2: eager, channels last; the whole set is on the device as uint8 and augmented there in batches; on
a GPU under bfloat16 autocast.
T3: T2 under torch.compile(mode="reduce-overhead"), on a CPU in the default mode.

All use drawn images, random crop after padding by 4, mirroring, SGD with momentum 0.9 and decay
1e-4, the mean cross-entropy, and keep the sums of loss and hits on the device. The script prints
images per second. With --serve, it answers each line "N" on its standard input with the seconds of
N steps, as JSON; benchmarks/train_speed.py uses this to alternate it with sdt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

# The tests compare sdt with the same networks as the benchmarks.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/golden"))
from torch_densenet import DenseNet
from torch_resnet import ResNet
from torch_vgg import VGG
from torch_wide_resnet import WideResNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
  "resnet8": lambda: ResNet((1, 1, 1), (16, 32, 64), False, "projection"),
  "resnet20": lambda: ResNet((3, 3, 3), (16, 32, 64), False, "projection"),
  "resnet56": lambda: ResNet((9, 9, 9), (16, 32, 64), False, "projection"),
  "resnet110": lambda: ResNet((18, 18, 18), (16, 32, 64), False, "projection"),
  "resnet50": lambda: ResNet((3, 4, 6, 3), (64, 128, 256, 512), True, "projection", "imagenet"),
  "densenet_bc100": lambda: DenseNet((16, 16, 16), 12),
  "wrn28_10": lambda: WideResNet(28, 10),
  "vgg16": lambda: VGG((2, 2, 3, 3, 3), (64, 128, 256, 512, 512)),
}
PAD = 4


class DrawnImages(torch.utils.data.Dataset):
  """Images [3, size, size] of uniform noise, as floats, augmented one by one for T1."""

  def __init__(self, num: int, size: int):
    generator = np.random.default_rng(0)
    self.images = torch.from_numpy(generator.integers(0, 256, (num, 3, size, size), dtype=np.uint8))
    self.labels = torch.from_numpy(generator.integers(0, 10, num))

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = self.images.shape[2]
    top, left, mirrored = torch.randint(2 * PAD + 1, (3,)).tolist()
    image = nn.functional.pad(self.images[index], (PAD,) * 4)[
      :, top : top + size, left : left + size
    ]
    image = image.flip(2) if mirrored % 2 else image
    return (image.float() - 127.5) / 64.0, self.labels[index]


def loaded_batches(
  data: DrawnImages, batch_size: int, workers: int, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
  loader = torch.utils.data.DataLoader(
    data,
    batch_size,
    shuffle=True,
    drop_last=True,
    num_workers=workers,
    pin_memory=device == "cuda",
    persistent_workers=workers > 0,
  )
  while True:
    for images, labels in loader:
      yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def resident_batches(
  data: DrawnImages, batch_size: int, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
  """Yields augmented batches in channels-last order, made on the device."""
  images, labels, size = (
    data.images.permute(0, 2, 3, 1).contiguous().to(device),
    data.labels.to(device),
    data.images.shape[2],
  )
  padded = nn.functional.pad(images, (0, 0, PAD, PAD, PAD, PAD))
  steps = torch.arange(size, device=device)
  while True:
    for ids in torch.randperm(len(data), device=device).split(batch_size):
      if len(ids) == batch_size:
        rows = torch.randint(2 * PAD + 1, (batch_size, 1), device=device) + steps
        columns = torch.randint(2 * PAD + 1, (batch_size, 1), device=device) + steps
        mirrored = torch.rand((batch_size, 1), device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        batch = padded[ids[:, None, None], rows[:, :, None], columns[:, None, :]]
        yield ((batch.float() - 127.5) / 64.0).permute(0, 3, 1, 2), labels[ids]


def core_secs() -> float:
  """Returns the processor seconds of this process and, on Linux, of the DataLoader's workers."""
  secs = time.process_time()
  for worker in multiprocessing.active_children():
    with contextlib.suppress(OSError):
      fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
      secs += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
  return secs


class Training:
  """A network in training; `run(n)` returns the seconds of n steps."""

  def __init__(self, options: argparse.Namespace):
    self.device = device = options.device
    is_first = options.baseline == "T1"
    data = DrawnImages(max(options.num_images, options.batch_size), options.image_size)
    network = NETWORKS[options.network]().to(device).train()
    self.network: nn.Module = network if is_first else network.to(memory_format=torch.channels_last)
    self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    if options.baseline == "T3":
      self.network = torch.compile(network, mode="reduce-overhead" if device == "cuda" else None)
    self.half = device == "cuda" and not is_first
    self.batches = (
      loaded_batches(data, options.batch_size, options.workers, device)
      if is_first
      else resident_batches(data, options.batch_size, device)
    )
    self.loss, self.hits = (
      torch.zeros((), device=device),
      torch.zeros((), dtype=torch.int64, device=device),
    )

  def step(self) -> None:
    images, labels = next(self.batches)
    with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
      logits = self.network(images)
      loss = nn.functional.cross_entropy(logits, labels)
    self.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    self.optimizer.step()
    self.loss += loss.detach()
    self.hits += (logits.detach().argmax(1) == labels).sum()

  def run(self, steps: int) -> dict[str, float]:
    wall, cores = time.perf_counter(), core_secs()
    for _ in range(steps):
      self.step()
    self.loss.item()  # waits for the device
    return {"secs": time.perf_counter() - wall, "core_secs": core_secs() - cores}


def parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--baseline", choices=("T1", "T2", "T3"), default="T2")
  parser.add_argument("--network", choices=sorted(NETWORKS), default="resnet20")
  parser.add_argument("--batch_size", type=int, default=128)
  parser.add_argument("--image_size", type=int, default=32)
  parser.add_argument("--num_images", type=int, default=10_000)
  parser.add_argument("--threads", type=int, default=2, help="of torch's operations on a CPU")
  parser.add_argument(
    "--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="of T1's DataLoader"
  )
  parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
  parser.add_argument("--steps", type=int, default=20, help="in a block")
  parser.add_argument("--blocks", type=int, default=5)
  parser.add_argument("--serve", action="store_true")
  return parser.parse_args()


def main() -> None:
  options = parse()
  torch.set_num_threads(options.threads)
  torch.backends.cudnn.benchmark = True
  training = Training(options)
  name = (
    torch.cuda.get_device_name() if options.device == "cuda" else f"cpu, {options.threads} threads"
  )
  if options.serve:
    print(
      json.dumps({"torch": torch.__version__, "device": name, "baseline": options.baseline}),
      flush=True,
    )
    for line in sys.stdin:
      print(json.dumps(training.run(int(line))), flush=True)
    return
  for _ in range(3):
    training.run(options.steps)
  secs = statistics.median(training.run(options.steps)["secs"] for _ in range(options.blocks))
  speed = options.steps * options.batch_size / secs
  print(
    f"{options.baseline} {options.network} batch {options.batch_size} on {name}, torch "
    f"{torch.__version__}: {speed:.0f} images/s"
  )


if __name__ == "__main__":
  main()
