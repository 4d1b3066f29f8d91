"""Every network's number of parameters, to the digit, and its multiply-adds.

Counted on public implementations, and for our own small ones on the networks in tests/golden;
docs/networks.md has the same table.
"""

import itertools
import re

import jax
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st

from sdt.config.schema import ModelConfig
from sdt.models import count_params, init_variables, make_model
from sdt.models.init import declared_variables
from sdt.models.registry import MODEL_NAMES, multiply_adds
from tests.support.networks import case
from tests.support.places import ROOT

SMALL_RESNET = ModelConfig(name="resnet", blocks=(1, 1), widths=(16, 32))
SMALL = {"stem": "small"}
IMAGENET = {"stem": "imagenet"}
PROJECTION = {"shortcut": "projection"}
ZERO_PAD = {"shortcut": "zero_pad"}

# name, keys, {classes: parameters}, (pixels a side, classes, multiply-adds in millions, how many
# decimals are known) or None
SIZES = [
  ("resnet", PROJECTION, {10: 78_042}, None),
  ("resnet8", PROJECTION, {10: 78_042}, None),
  ("resnet20", PROJECTION, {10: 272_474, 100: 278_324, 200: 284_824}, (32, 10, 40.8, 1)),
  ("resnet20", ZERO_PAD, {10: 269_722, 100: 275_572, 200: 282_072}, (32, 10, 40.6, 1)),
  ("resnet56", PROJECTION, {10: 855_770}, (32, 10, 125.7, 1)),
  ("resnet56", ZERO_PAD, {10: 853_018}, None),
  ("resnet110", PROJECTION, {10: 1_730_714}, (32, 10, 253.1, 1)),
  ("resnet110", ZERO_PAD, {10: 1_727_962}, None),
  ("paper_resnet56", {}, {10: 869_530, 100: 892_660, 200: 918_360}, (32, 10, 127.3, 1)),
  ("paper_resnet110", {}, {10: 1_704_154, 100: 1_727_284, 200: 1_752_984}, (32, 100, 247.7, 1)),
  ("preresnet", {}, {10: 77_850}, None),
  ("preresnet20", {}, {10: 272_282}, None),
  ("preresnet56", {}, {10: 855_578}, (32, 10, 125.7, 1)),
  ("preresnet110", {}, {10: 1_730_522}, (32, 10, 253.1, 1)),
  ("paper_preresnet56", {}, {10: 868_634, 100: 891_764, 200: 917_464}, (32, 10, 127.3, 1)),
  ("paper_preresnet110", {}, {10: 1_703_258, 100: 1_726_388, 200: 1_752_088}, (32, 100, 247.7, 1)),
  ("vgg16", {}, {10: 14_728_266, 100: 14_774_436, 200: 14_825_736}, (32, 10, 313.2, 1)),
  ("vgg19", {}, {10: 20_040_522, 100: 20_086_692, 200: 20_137_992}, (32, 10, 398.1, 1)),
  ("densenet_bc100", {}, {10: 769_162, 100: 800_032, 200: 834_332}, (32, 10, 287.9, 1)),
  ("densenet100", {}, {10: 7_083_538, 100: 7_189_468, 200: 7_307_168}, (32, 10, 1816.7, 1)),
  ("lenet", {}, {10: 62_006}, None),
  ("alexnet", IMAGENET, {10: 57_044_810, 1000: 61_100_840}, (224, 1000, 714, 0)),
  ("alexnet", SMALL, {10: 28_714_826}, None),
  *(
    (name, {}, {1000: num}, (size, 1000, *cost))
    for name, size, num, *cost in (
      ("vit_tiny", 224, 5_717_416, 1253.7, 1),
      ("vit_small", 224, 22_050_664, 4598.9, 1),
      ("vit_base", 224, 86_567_656, 17_563.8, 1),
      ("vit_large", 224, 304_326_632, 61_554.7, 1),
      ("cait_xxs24", 224, 11_956_264, 2523.5, 1),
      ("cait_xxs36", 224, 17_299_720, 3755.7, 1),
      ("cait_xs24", 384, 26_670_088, 19_240.6, 1),
      ("cait_s24", 224, 46_916_200, 9327.3, 1),
      ("cait_s36", 384, 68_366_632, 47_908.0, 1),
      ("cait_m36", 384, 271_221_352, 172_943.7, 1),
      ("cait_m48", 448, 356_460_520, 329_107.7, 1),
    )
  ),
  ("wrn", {}, {10: 2_748_890, 100: 2_772_020}, None),
  ("wrn28_10", {}, {10: 36_479_194, 100: 36_536_884, 200: 36_600_984}, (32, 10, 5243, 0)),
  ("resnet50", SMALL, {10: 23_520_842, 100: 23_705_252, 200: 23_910_152}, (64, 200, 5192, 0)),
  (
    "resnet50",
    IMAGENET,
    {10: 23_528_522, 100: 23_712_932, 200: 23_917_832, 1000: 25_557_032},
    (224, 200, 4088, 0),
  ),
  ("densenet121", SMALL, {10: 6_956_298, 100: 7_048_548, 200: 7_151_048}, (64, 200, 3554, 0)),
  (
    "densenet121",
    IMAGENET,
    {10: 6_964_106, 100: 7_056_356, 200: 7_158_856, 1000: 7_978_856},
    (224, 200, 2833, 0),
  ),
  ("resnet18", IMAGENET, {1000: 11_689_512}, None),
  ("resnet18", SMALL, {10: 11_173_962}, None),
  ("resnet34", IMAGENET, {1000: 21_797_672}, (224, 1000, 3664, 0)),
  ("resnet34", SMALL, {10: 21_282_122}, None),
]


@pytest.mark.parametrize(
  ("name", "keys", "counts", "cost"),
  [case(*row, label="-".join([row[0], *row[1].values()])) for row in SIZES],
)
def test_networks_have_the_published_sizes(name, keys, counts, cost):
  size = 32 if cost is None else cost[0]
  num_classes = min(counts) if cost is None else cost[1]
  model = make_model(ModelConfig(name=name, **keys), num_classes)
  declared = traverse_util.flatten_dict(
    declared_variables(model, (size, size, 3))["params"], sep="/"
  )
  num_params = sum(box.value.size for box in declared.values())
  # Tracing a deep network takes seconds, and only the head knows the classes.
  per_class = declared["head/kernel"].value.shape[0] + 1
  assert {num: num_params + (num - num_classes) * per_class for num in counts} == counts
  if cost is not None:
    _, _, millions, decimals = cost
    assert round(multiply_adds(model, (size, size, 3)) / 1e6, decimals) == millions


@settings(max_examples=15)
@given(st.integers(1, 30), st.lists(st.integers(1, 20), min_size=1, max_size=3), st.integers(2, 12))
def test_mlps_have_the_obvious_size(in_size, hidden_sizes, num_classes):
  model = make_model(ModelConfig(name="mlp", hidden_sizes=tuple(hidden_sizes)), num_classes)
  sizes = [in_size, *hidden_sizes, num_classes]
  weights = sum(a * b for a, b in itertools.pairwise(sizes))
  assert count_params(model, (in_size,)) == weights + sum(sizes[1:])
  assert multiply_adds(model, (in_size,)) == weights


def test_count_params_counts_the_drawn_numbers():
  variables = init_variables(make_model(SMALL_RESNET, 10), (8, 8, 1), 0)
  assert count_params(make_model(SMALL_RESNET, 10), (8, 8, 1)) == sum(
    leaf.size for leaf in jax.tree.leaves(variables["params"])
  )


def test_every_network_of_the_registry_has_a_counted_size():
  assert set(MODEL_NAMES) == {name for name, *_ in SIZES} | {"cait", "densenet", "mlp", "vit"}


def _row(name, keys, counts, cost):
  """Returns the row of docs/networks.md."""
  network = ", ".join([f"`{name}`", *(f"`{key}={value}`" for key, value in keys.items())])
  parameters = " / ".join(f"{count:,} ({num_classes})" for num_classes, count in counts.items())
  size, _, millions, _ = cost or (None,) * 4
  return f"| {network} | {parameters} | " + (
    "|" if cost is None else f"{millions:,} at {size}x{size} |"
  )


def test_the_documentation_has_the_same_sizes():
  page = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
  assert [row for row in page.splitlines() if re.match(r"\| `\w+`(, `\w+=\w+`)* \| \d", row)] == [
    _row(*row) for row in SIZES
  ]
