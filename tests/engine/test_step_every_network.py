"""One training step of every network of the registry, at the size of its images."""

import dataclasses
import functools
import time

import jax
import numpy as np
import pytest

from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.program import Network
from sdt.engine.step import StepKeys, train_step
from sdt.models import init_variables, make_model
from sdt.models.registry import MODEL_NAMES, NETWORKS
from tests.support import one_step
from tests.support.agreement import flat

# Without decay, so that what moves has a gradient.
OPTIM = OptimConfig(learning_rate=0.1, weight_decay=0.0)
BATCH_SIZE = 2


def _cases():
  """Yields (name, stem or None, pixels a side): ImageNet's networks with either stem, the others
  for images of 32 pixels.
  """
  for name in MODEL_NAMES:
    if NETWORKS[name].arguments.get("stem") == "imagenet":
      yield from ((name, "imagenet", 224), (name, "small", 64))
    else:
      yield name, None, 32


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stem", "size"), list(_cases()))
def test_one_step_moves_every_kernel_and_statistic(name, stem, size, capsys):
  model = make_model(ModelConfig(name=name, stem=stem), 10)
  variables = init_variables(model, (size, size, 3), 0)
  # A LayerScale of 1e-5 leaves gradients that do not move a float32: at 1 it shows that they are.
  variables["params"] = jax.tree_util.tree_map_with_path(
    lambda path, leaf: np.ones_like(leaf) if path[-1].key == "gamma" else leaf, variables["params"]
  )
  before = one_step.first_state(variables, OPTIM)
  images = np.random.default_rng(0).normal(size=(BATCH_SIZE, size, size, 3)).astype(np.float32)
  batch = one_step.batch(images, np.array([3, 8], np.int32), np.ones(BATCH_SIZE, bool))
  now = one_step.now(np.float32(OPTIM.learning_rate), np.zeros(1, np.float32))
  now = dataclasses.replace(now, keys=StepKeys(dropout=jax.random.key(0)))
  step_fn = jax.jit(functools.partial(train_step, network=Network(model, OPTIM)))
  seconds = []
  for _ in range(2):
    start = time.perf_counter()
    after, measured = jax.block_until_ready(step_fn(before, batch, now))
    seconds.append(time.perf_counter() - start)
  with capsys.disabled():
    label = name if stem is None else f"{name} ({stem} stem)"
    print(
      f"\n{label}, {size}x{size}: {seconds[1]:.2f} s a step of {BATCH_SIZE}, "
      f"{seconds[0] - seconds[1]:.1f} s to compile"
    )
  assert int(measured.count) == BATCH_SIZE
  assert int(after.step) == 1
  assert np.isfinite(float(measured.loss))
  for kind, old, new in (
    ("params", before.params, after.params),
    ("batch_stats", before.batch_stats, after.batch_stats),
  ):
    old, new = flat(kind, old), flat(kind, new)
    assert all(np.isfinite(leaf).all() for leaf in new.values())
    unmoved = [path for path, leaf in new.items() if np.array_equal(leaf, old[path])]
    # The bias of a convolution has no gradient where BatchNorm takes it away.
    assert all(
      path.endswith("/bias") and path.rsplit("/", 1)[0] + "/kernel" in new for path in unmoved
    ), unmoved
