"""What every family of networks promises, checked on one of it."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

from sdt.arrays import AnyArray
from sdt.models import init_variables
from sdt.types import PyTree
from tests.support.agreement import flat
from tests.support.quick import QUICK

SHAPE = (8, 8, 1)
# Tracing one of these takes a second or more. `make slow` has all; the default suite has smaller
# members of each family.
DEEP = frozenset(
  "resnet34 resnet50 resnet56 resnet110 paper_resnet56 paper_resnet110 preresnet56 preresnet110 "
  "paper_preresnet56 paper_preresnet110 vgg19 densenet100 densenet_bc100 densenet121 "
  "wrn28_10 vit_tiny vit_small vit_base vit_large cait_xxs24 cait_xxs36 cait_xs24 cait_s24 "
  "cait_s36 cait_m36 cait_m48".split()
)
# The smallest member of every family: a name of the registry, and the keys that make it small.
SMALLEST: dict[str, dict[str, Any]] = {
  "alexnet": {"widths": (4,) * 5, "hidden_sizes": (8, 8), "stem": "small"},
  "cait": {"depth": 1, "width": 8, "heads": 2, "mlp_ratio": 1.5},
  "densenet": {"depth": 10, "growth_rate": 4},
  "lenet": {"widths": (2, 4), "hidden_sizes": (8, 8)},
  "mlp": {"hidden_sizes": (8,)},
  "preresnet": {"blocks": (1, 1), "widths": (4, 8)},
  "resnet": {"blocks": (1, 1), "widths": (4, 8)},
  "resnet18": {"blocks": (1, 1), "widths": (4, 8)},
  "vgg16": {"blocks": (1, 1), "widths": (4, 8)},
  "vit": {"depth": 1, "width": 8, "heads": 2, "mlp_ratio": 1.5},
  "wrn": {"depth": 10, "widen_factor": 1},
}


def named(tree: PyTree) -> dict[str, np.ndarray]:
  """Returns {"params/stem_conv/kernel": ..., ...} of NumPy arrays."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def case(name: str, *values: Any, label: str | None = None) -> ParameterSet:
  """Returns the parameters of a test of this network, which is slow where the network is deep."""
  marks = pytest.mark.slow if name in DEEP else ()
  return pytest.param(name, *values, id=label or name, marks=marks)


def check_distributions(
  model: nn.Module, num_kernels: int, head_scale: float | None = None
) -> None:
  """Asserts the initial values of a network for images of 32x32x3 by their moments.

  Kernels N(0, 2 / (kh * kw * O)), biases of convolutions 0, BatchNorm 1 and 0, the head uniform on
  +-1/sqrt(D), or N(0, head_scale^2) with zero bias.
  """
  leaves = {
    path: leaf
    for kind, tree in init_variables(model, (32, 32, 3), 3).items()
    for path, leaf in flat(kind, tree).items()
  }
  kernels = {path: leaf for path, leaf in leaves.items() if leaf.ndim == 4}
  assert len(kernels) == num_kernels
  for path, kernel in kernels.items():
    height, width, _, out_size = kernel.shape
    _check_normal(path, kernel, math.sqrt(2.0 / (height * width * out_size)))
  pooled = np.concatenate([(kernel / kernel.std()).ravel() for kernel in kernels.values()])
  # The fourth moment tells normal from uniform.
  assert abs((pooled**4).mean() - 3) < 5 * math.sqrt(96 / pooled.size)
  head = {name: leaves[f"params/head/{name}"] for name in ("kernel", "bias")}
  for path, leaf in leaves.items():
    if leaf.ndim == 1 and path != "params/head/bias":
      assert np.all(leaf == (1.0 if path.endswith(("scale", "var")) else 0.0)), path
  if head_scale is not None:
    _check_normal("head", head["kernel"], head_scale)
    assert not head["bias"].any()
    return
  bound = 1 / math.sqrt(head["kernel"].shape[0])
  for leaf, least in ((head["kernel"], 0.99), (head["bias"], 0.9)):
    assert least * bound < np.abs(leaf).max() <= bound
    assert abs(leaf.std() / bound * math.sqrt(3) - 1) < 5 / math.sqrt(leaf.size)


def _check_normal(path: str, values: np.ndarray, scale: float) -> None:
  # Five standard errors of the mean and of the standard deviation of n normal numbers.
  assert abs(values.mean()) < 5 * scale / math.sqrt(values.size), path
  assert abs(values.std() / scale - 1) < 5 / math.sqrt(2 * values.size), path


def check_masked_rows(model: nn.Module) -> None:
  """Asserts that excluded examples change no logit, statistic or gradient, whatever is in them."""
  variables = init_variables(model, SHAPE, 0)
  rng = np.random.default_rng(0)
  x, labels = rng.normal(size=(6, *SHAPE)).astype(np.float32), rng.integers(0, model.num_classes, 6)

  def loss_fn(
    params: PyTree, x: AnyArray, labels: AnyArray, mask: AnyArray
  ) -> tuple[jax.Array, tuple[jax.Array, PyTree]]:
    inputs = {"params": params, "batch_stats": variables["batch_stats"]}
    logits, updated = model.apply(inputs, x, train=True, mask=mask, mutable=["batch_stats"])
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
    return jnp.where(mask, losses, 0.0).sum(), (logits[:4], updated)

  step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True), compiler_options=QUICK)
  params, mask = variables["params"], np.arange(6) < 4
  padded = step(params, x, labels, mask)
  other = step(params, np.where(mask[:, None, None, None], x, 7.0), labels, mask)
  short = step(params, x[:4], labels[:4], mask[:4])
  # Gradients of biases that BatchNorm takes away are rounding errors.
  for ours in (padded, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5), ours, short)


def check_bfloat16(model: nn.Module) -> None:
  """Asserts that bfloat16 layers give float32 logits and statistics, close to float32 layers."""
  variables = init_variables(model, SHAPE, 0)
  x = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)

  def apply(dtype: Any) -> tuple[jax.Array, PyTree]:
    return model.clone(dtype=dtype).apply(variables, x, train=True, mutable=["batch_stats"])

  (logits, updated), (exact, _) = (
    jax.jit(apply, static_argnums=0, compiler_options=QUICK)(dtype)
    for dtype in (jnp.bfloat16, jnp.float32)
  )
  assert {leaf.dtype for leaf in jax.tree.leaves((logits, updated))} == {jnp.dtype(jnp.float32)}
  assert 0 < float(jnp.abs(logits - exact).max()) < 0.1
