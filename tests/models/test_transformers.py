"""ViT and CaiT against timm, their positions, dropout and depth, and what they refuse."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError, DataError
from sdt.models import init_variables, make_model, namings, positions, pretrained
from sdt.models.registry import NETWORKS, variable_shapes
from tests.golden import drawn
from tests.support.agreement import check_digests, load_golden
from tests.support.networks import SMALLEST, check_bfloat16, check_masked_rows, named

GOLDEN = load_golden("transformers.npz")
NAMES = ("vit", "cait")


def keys_of(sizes):
  """Returns timm's arguments as our keys."""
  ours = {"embed_dim": "width", "num_heads": "heads"}
  return {ours.get(key, key): value for key, value in sizes.items()}


def of_timm(name, dtype):
  """Returns the network of a golden form, and timm's file of weights for it."""
  _, sizes, shape = drawn.TRANSFORMERS[name]
  listed = zip(GOLDEN[f"{name}:names"].tolist(), GOLDEN[f"{name}:shapes"].tolist(), strict=True)
  tensors = {
    key: drawn.transformer_tensor(key, tuple(map(int, text.split("x")))).astype(np.float32)
    for key, text in listed
  }
  config = ModelConfig(name=name, **keys_of(sizes))
  return make_model(config, 10, dtype=dtype, param_dtype=dtype), shape, tensors


@pytest.fixture(params=NAMES)
def case(request, tmp_path):
  """Returns name, model, the shape of its images and the variables that were read of timm's."""
  model, shape, tensors = of_timm(request.param, jnp.float32)
  path = tmp_path / "weights.safetensors"
  path.write_bytes(save(tensors))
  start = init_variables(model, shape, 0)
  read = pretrained.load(path, request.param, start, with_head=True)
  assert read.positions == ""
  return request.param, model, shape, read.put_into(start)


def test_logits_and_gradients_are_timms_on_the_weights_of_its_file(case):
  name, model, shape, variables = case
  images = drawn.images(name, 4, shape).astype(np.float32)
  labels = drawn.labels(name, 4)

  def loss(params):
    logits = model.apply({"params": params}, images, train=True)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), logits

  (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
  expected = GOLDEN[f"{name}:eval"]
  assert np.ptp(expected, axis=0).min() > 0.01
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
  public = namings.public_tensors(name, {"params": gradients})
  golden = {key: GOLDEN[f"{name}:gradients/{key}"] for key in ("paths", "digests")}
  check_digests(drawn.digests(public), golden, 1e-5)
