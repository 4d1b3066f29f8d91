"""Attention rollout against a calculation by hand, for both kinds of transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.engine import activation_maps
from sdt.engine.attention_rollout import attention_rollout
from sdt.models import make_model
from sdt.models.registry import variable_shapes
from tests.support.networks import SMALLEST

HEIGHT, WIDTH, HEADS = 2, 3, 2
NUM = HEIGHT * WIDTH


def attention(seed, queries, keys):
  """Returns shares [1, queries, keys, HEADS] that sum to one over the keys, and their mean."""
  raw = np.random.default_rng(seed).uniform(0.1, 1.0, (1, queries, keys, HEADS)).astype(np.float32)
  shares = raw / raw.sum(2, keepdims=True)
  return {"attention": {"attention": (jnp.asarray(shares),)}}, shares[0].mean(-1).astype(np.float64)


PATCHES = {"patches": (jnp.zeros((1, HEIGHT, WIDTH, 4)),)}


def test_of_vit_it_is_the_product_of_all_blocks_in_order():
  blocks = [attention(seed, NUM + 1, NUM + 1) for seed in range(11)]
  kept = {f"block{at}": block for at, (block, _) in enumerate(blocks, start=1)}
  total = np.eye(NUM + 1)
  for _, mean in blocks:
    total = (0.5 * mean + 0.5 * np.eye(NUM + 1)) @ total
  found = attention_rollout(PATCHES | dict(sorted(kept.items())))
  np.testing.assert_allclose(found, total[0, 1:].reshape(1, HEIGHT, WIDTH), rtol=1e-5)


def test_of_cait_the_class_token_reads_what_the_patches_have_read():
  own = [attention(seed, NUM, NUM) for seed in (1, 2)]
  last = [attention(seed, 1, NUM + 1) for seed in (3, 4)]
  kept = {f"class_block{at}": block for at, (block, _) in enumerate(last, start=1)}
  kept |= {f"block{at}": block for at, (block, _) in enumerate(own, start=1)}
  patches, read = np.eye(NUM), np.zeros(NUM)
  for _, mean in own:
    patches = 0.5 * (mean @ patches + patches)
  for _, (mean,) in last:
    read = 0.5 * (mean[0] * read + mean[1:] @ patches + read)
  found = attention_rollout(PATCHES | kept)
  np.testing.assert_allclose(found, read.reshape(1, HEIGHT, WIDTH), rtol=1e-5)


@pytest.mark.slow_rows("cait")
@pytest.mark.parametrize("name", ["cait", "vit"])
def test_a_transformer_keeps_what_its_rollout_needs_and_has_a_map_of_more_than_one_patch(name):
  model = make_model(ModelConfig(name=name, **SMALLEST[name]), 3)
  for shape, has_map in (((8, 12, 1), True), ((4, 3, 1), False)):
    variables = variable_shapes(model, shape)
    source = activation_maps.source_of_map(model, variables, shape)
    assert source == ("patches" if has_map else None)
    image = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    _, kept = jax.eval_shape(
      lambda v, x: model.apply(v, x, train=False, mutable=["intermediates"]), variables, image
    )
    found = jax.eval_shape(attention_rollout, kept["intermediates"])
    assert found.shape == ((2, 2, 3) if has_map else (2, 1, 1))
