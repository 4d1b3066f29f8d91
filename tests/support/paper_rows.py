"""The paper's 19 rows, typed from its tables and from the sizes of the public implementations.

They stand here once more, so that neither configs/paper nor docs/results/paper.md is its own
witness.
"""

import dataclasses
from collections.abc import Mapping

import pytest

from sdt.config import Config, resolve
from sdt.config.config_file import load_config_file
from tests.support.places import ROOT

FOLDER = ROOT / "configs/paper"

# Training and test examples, classes, pixels a side that the network sees, and what is done to a
# training image.
CROP, CROP_AND_FLIP = {"augment.pad_crop": 4}, {"augment.pad_crop": 4, "augment.flip": True}
SETS = {
  "svhn": (73_257, 10, 32, CROP),
  "cifar10": (50_000, 10, 32, CROP_AND_FLIP),
  "cifar100": (50_000, 100, 32, CROP_AND_FLIP),
  "tiny_imagenet": (100_000, 200, 64, {"augment.pad_crop": 8, "augment.flip": True}),
  "cub": (5_994, 200, 224, {"augment.flip": True}),
}


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the paper: accuracies in percent; `methods` by lambda_A, whose best one the config
  file has.
  """

  data: str
  network: str
  called: str
  baseline: float
  methods: dict[str, float]
  best: str
  num_params: int
  millions: float
  keys: Mapping[str, object] = dataclasses.field(default_factory=dict)
  batch_size: int = 128
  num_easy: int | None = None

  @property
  def stem(self) -> str:
    return f"{self.data}_{self.network}"


SMALL, IMAGENET = {"model.stem": "small"}, {"model.stem": "imagenet"}
CUB = {
  "data.image_size": 256,
  "data.resize": "short_side",
  "data.crop_size": 224,
  "method.num_easy": 616,
}
ROWS = [
  Row(
    "svhn",
    "resnet20",
    "ResNet20",
    95.76,
    {"5e-4": 96.81, "1.5e-3": 95.78, "2e-3": 95.69},
    "5e-4",
    272_474,
    40.8,
  ),
  Row(
    "svhn",
    "paper_resnet56",
    "ResNet56",
    96.63,
    {"1e-3": 96.68, "1.5e-3": 96.72, "2e-3": 96.76},
    "2e-3",
    869_530,
    127.3,
  ),
  Row("cifar10", "paper_resnet56", "ResNet56", 93.82, {"1e-3": 94.36}, "1e-3", 869_530, 127.3),
  Row(
    "cifar10", "paper_resnet110", "ResNet110", 94.35, {"1.5e-3": 94.87}, "1.5e-3", 1_704_154, 247.6
  ),
  Row(
    "cifar10", "paper_preresnet56", "PreResNet56", 94.06, {"1e-3": 94.49}, "1e-3", 868_634, 127.3
  ),
  Row(
    "cifar10",
    "paper_preresnet110",
    "PreResNet110",
    95.08,
    {"1e-3": 95.15},
    "1e-3",
    1_703_258,
    247.6,
  ),
  Row(
    "cifar100",
    "paper_resnet56",
    "ResNet56",
    73.71,
    {"1e-3": 74.52, "1.5e-3": 74.66, "2e-3": 74.57},
    "1.5e-3",
    892_660,
    127.3,
  ),
  Row(
    "cifar100",
    "paper_resnet110",
    "ResNet110",
    74.6,
    {"1.8e-4": 76.07, "2.5e-3": 76.41},
    "2.5e-3",
    1_727_284,
    247.7,
  ),
  Row(
    "cifar100",
    "paper_preresnet56",
    "PreResNet56",
    74.18,
    {"1e-3": 74.46, "1.5e-3": 74.24},
    "1e-3",
    891_764,
    127.3,
  ),
  Row(
    "cifar100",
    "paper_preresnet110",
    "PreResNet110",
    76.09,
    {"1.5e-3": 76.74},
    "1.5e-3",
    1_726_388,
    247.7,
  ),
  Row("cifar100", "vgg16", "VGG16", 72.45, {"1.5e-3": 74.67}, "1.5e-3", 14_774_436, 313.2),
  Row("cifar100", "vgg19", "VGG19", 73.14, {"1.5e-3": 73.74}, "1.5e-3", 20_086_692, 398.2),
  Row(
    "cifar100",
    "densenet_bc100",
    "DenseNet100",
    77.21,
    {"1e-3": 77.30, "5e-4": 77.59},
    "5e-4",
    800_032,
    288.0,
    {},
    64,
  ),
  Row(
    "cifar100",
    "wrn28_10",
    "Wide ResNet28",
    79.07,
    {"2e-3": 80.12, "2.5e-3": 80.07},
    "2e-3",
    36_536_884,
    5_243,
  ),
  Row(
    "tiny_imagenet",
    "resnet50",
    "ResNet50",
    60.47,
    {"2e-3": 62.04},
    "2e-3",
    23_910_152,
    5_192,
    SMALL,
  ),
  Row(
    "tiny_imagenet",
    "paper_preresnet56",
    "PreResNet56",
    58.60,
    {"1e-3": 60.50},
    "1e-3",
    917_464,
    509,
  ),
  Row(
    "tiny_imagenet",
    "paper_preresnet110",
    "PreResNet110",
    60.97,
    {"1e-3": 64.56},
    "1e-3",
    1_752_088,
    991,
  ),
  Row(
    "tiny_imagenet",
    "densenet121",
    "DenseNet121",
    63.67,
    {"2e-3": 65.90},
    "2e-3",
    7_151_048,
    3_554,
    SMALL,
  ),
  Row(
    "cub",
    "resnet50",
    "ResNet50",
    76.58,
    {"5e-4": 77.27, "1e-3": 77.70},
    "1e-3",
    23_917_832,
    4_088,
    IMAGENET | CUB,
    128,
    616,
  ),
]
each_row = pytest.mark.parametrize("row", ROWS, ids=[row.stem for row in ROWS])


def config_of(row: Row) -> Config:
  return resolve(load_config_file(FOLDER / f"{row.stem}.py"))


def note_of(row: Row) -> str:
  """Returns the docstring of the row's config file, in one line."""
  return " ".join((FOLDER / f"{row.stem}.py").read_text(encoding="utf-8").split('"""')[1].split())


def steps_of(row: Row) -> tuple[int, int, int]:
  """Returns the optimiser steps of (everything, A, B); an incomplete last batch is a step too."""
  num_train = SETS[row.data][0]
  num_easy = row.num_easy or num_train // 10

  def num_steps(count: int) -> int:
    return -(-count // row.batch_size)

  return num_steps(num_train), num_steps(num_easy), num_steps(num_train - num_easy)
