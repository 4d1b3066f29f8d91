"""The ResNets for ImageNet, with both stems, and the max-pool, against torch and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.pools import max_pool
from sdt.models.resnet import ResNet
from tests.golden import drawn
from tests.support.agreement import check_agreement, check_evaluation, load_golden
from tests.support.networks import check_bfloat16, check_distributions, check_masked_rows
from tests.support.quick import only

WIDTHS = (64, 128, 256, 512)


@pytest.mark.parametrize("name", only(["basic"], sorted(drawn.IMAGENET_RESNETS)))
def test_resnets_with_imagenets_stem_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(
    ResNet(10, **drawn.IMAGENET_RESNETS[name]), "imagenet.npz", name, drawn.STEM_SHAPES["imagenet"]
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "stem", "size"),
  [
    ("resnet50", "small", 64),
    ("resnet18", "imagenet", 224),
    ("resnet34", "imagenet", 224),
    ("resnet50", "imagenet", 224),
  ],
)
def test_full_resnets_evaluate_as_torch_does(name, stem, size):
  model = make_model(ModelConfig(name=name, stem=stem), 10)
  check_evaluation(model, load_golden("imagenet.npz"), f"{name}-{stem}", (size, size, 3), 1e-4)


def test_initial_values_have_the_declared_distributions():
  model = make_model(ModelConfig(name="resnet18", blocks=(2,) * 4, widths=(16, 32, 64, 128)), 100)
  check_distributions(model, num_kernels=1 + 2 * 8 + 3)


@pytest.mark.slow
def test_a_masked_example_changes_nothing():
  check_masked_rows(ResNet(10, blocks=(1,), widths=(8,), stem="imagenet"))


def test_bfloat16_layers_give_float32_logits_and_statistics():
  check_bfloat16(ResNet(10, blocks=(1,), widths=(8,), stem="imagenet"))


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({"name": "resnet18"}, {"blocks": (2, 2, 2, 2), "stem": "imagenet"}),
    ({"name": "resnet34"}, {"blocks": (3, 4, 6, 3), "stem": "imagenet"}),
    (
      {"name": "resnet34", "shortcut": "zero_pad"},
      {"blocks": (3, 4, 6, 3), "stem": "imagenet", "shortcut": "zero_pad"},
    ),
    ({"name": "resnet50"}, {"blocks": (3, 4, 6, 3), "bottleneck": True, "stem": "imagenet"}),
    (
      {"name": "resnet50", "stem": "small"},
      {"blocks": (3, 4, 6, 3), "bottleneck": True, "stem": "small"},
    ),
    (
      {"name": "resnet", "widths": (4, 8), "stem": "imagenet"},
      {"blocks": (1, 1), "widths": (4, 8), "stem": "imagenet"},
    ),
  ],
)
def test_names_and_stems_make_the_papers_networks(changes, expected):
  assert make_model(ModelConfig(**changes), 10) == ResNet(10, **{"widths": WIDTHS, **expected})


def test_a_network_without_stems_refuses_one():
  with pytest.raises(
    ConfigError, match=r"model.stem='imagenet' does not apply to model.name='mlp'"
  ):
    make_model(ModelConfig(name="mlp", stem="imagenet"), 10)


@pytest.mark.parametrize(
  ("stem", "sizes"), [("imagenet", (32, 16, 16, 8)), ("small", (64, 64, 64, 32))]
)
def test_only_imagenets_stem_shrinks_the_image(stem, sizes):
  """Pixels a side, of 64: after the stem's convolution, before stage 1, after it, after stage 2."""
  model = ResNet(5, blocks=(1, 1), widths=(4, 8), bottleneck=True, stem=stem)
  variables = init_variables(model, (64, 64, 3), 0)
  apply = lambda x: model.apply(variables, x, train=False, capture_intermediates=True)  # noqa: E731
  _, seen = jax.eval_shape(apply, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
  outputs = {
    name: seen["intermediates"][name] for name in ("stem_conv", "stage1_block1", "stage2_block1")
  }
  first = outputs["stage1_block1"]["conv1"]["__call__"][0]
  last = [outputs[name]["__call__"][0] for name in ("stem_conv", "stage1_block1", "stage2_block1")]
  assert tuple(x.shape[1] for x in (last[0], first, last[1], last[2])) == sizes
  # The 3x3 convolution of a bottleneck strides, not the 1x1 before it.
  inner = [
    outputs["stage2_block1"][name]["__call__"][0].shape[1] for name in ("conv1", "conv2", "conv3")
  ]
  assert inner == [sizes[2], sizes[3], sizes[3]]


# ---- the max-pool


def _numpy_max_pool(x, weights, window, stride, padding):
  """Returns the maxima and the gradient of sum(weights * maxima).

  The gradient of a window goes to its first maximum in reading order.
  """
  gradient, outputs = np.zeros(x.shape), np.zeros(weights.shape)
  for b, i, j, c in np.ndindex(weights.shape):
    rows = range(max(i * stride - padding, 0), min(i * stride - padding + window, x.shape[1]))
    columns = range(max(j * stride - padding, 0), min(j * stride - padding + window, x.shape[2]))
    places = [(row, column) for row in rows for column in columns]
    best = max(places, key=lambda place: x[b, *place, c])
    outputs[b, i, j, c] = x[b, *best, c]
    gradient[b, *best, c] += weights[b, i, j, c]
  return outputs, gradient


@pytest.mark.parametrize(
  ("size", "window", "stride", "padding"),
  [((8, 8), 3, 2, 1), ((7, 9), 3, 2, 1), ((1, 2), 3, 2, 1), ((6, 5), 2, 2, 0), ((4, 4), 3, 1, 1)],
)
def test_max_pool_and_its_gradient_equal_numpy_also_under_vmap_and_in_a_scan(
  size, window, stride, padding
):
  rng = np.random.default_rng(0)
  # Few values, so that many windows hold their maximum twice; all negative, so that padding of
  # zeros would win.
  x = -rng.integers(1, 5, (3, 2, *size, 3)).astype(np.float32)
  out_size = tuple((side + 2 * padding - window) // stride + 1 for side in size)
  weights = rng.normal(size=(3, 2, *out_size, 3)).astype(np.float32)
  expected = [
    _numpy_max_pool(*replica, window, stride, padding) for replica in zip(x, weights, strict=True)
  ]

  def forward_and_back(x, weights):
    outputs, backward = jax.vjp(lambda x: max_pool(x, window, stride, padding=padding), x)
    return outputs, backward(weights)[0]

  one = jax.jit(forward_and_back)
  alone = jax.tree.map(
    lambda *leaves: np.stack(leaves), *[one(*replica) for replica in zip(x, weights, strict=True)]
  )
  mapped = jax.jit(jax.vmap(forward_and_back))(x, weights)
  scanned = jax.jit(lambda *both: jax.lax.map(lambda replica: forward_and_back(*replica), both))(
    x, weights
  )
  for results in (alone, mapped, scanned):
    for ours, numpys in zip(results, zip(*expected, strict=True), strict=True):
      np.testing.assert_allclose(ours, np.stack(numpys), rtol=1e-5, atol=1e-6)
