"""ViT and CaiT against timm; their positions, dropout and depth; what they refuse."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.config.schema import ModelConfig
from sdt.engine import optim
from sdt.errors import ConfigError, DataError
from sdt.models import count_params, init_variables, make_model, namings, positions, pretrained
from sdt.models.layers import Dropout, FamilyModule
from sdt.models.registry import variable_shapes
from tests.golden import drawn
from tests.support.agreement import check_digests, load_golden
from tests.support.networks import SMALLEST, check_bfloat16, check_masked_rows, named
from tests.support.quick import QUICK, only

GOLDEN = load_golden("transformers.npz")
SHAPE = (8, 8, 3)


def small(name, **keys):
  return make_model(ModelConfig(name=name, **{**SMALLEST[name], **keys}), 3)


def of_timm(name):
  """Returns a golden network, the shape of its images, and timm's tensors for it."""
  _, sizes, shape = drawn.TRANSFORMERS[name]
  ours = {"embed_dim": "width", "num_heads": "heads"}
  keys = {ours.get(key, key): value for key, value in sizes.items()}
  listed = zip(GOLDEN[f"{name}:names"].tolist(), GOLDEN[f"{name}:shapes"].tolist(), strict=True)
  tensors = {
    key: drawn.transformer_tensor(key, tuple(map(int, text.split("x")))).astype(np.float32)
    for key, text in listed
  }
  return make_model(ModelConfig(name=name, **keys), 10), shape, tensors


# CaiT has all that ViT has but the place of its class token.
@pytest.mark.parametrize("name", only(["cait"], drawn.TRANSFORMERS))
def test_logits_and_gradients_are_timms_on_the_weights_of_its_file(name, tmp_path):
  model, shape, tensors = of_timm(name)
  path = tmp_path / "weights.safetensors"
  path.write_bytes(save(tensors))
  read = pretrained.load(path, name, variable_shapes(model, shape), with_head=True)
  assert read.positions == ""
  variables = read.put_into(init_variables(model, shape, 0))
  images = drawn.images(name, 4, shape).astype(np.float32)
  labels = drawn.labels(name, 4)

  def loss(params):
    logits = model.apply({"params": params}, images, train=True)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), logits

  step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)
  (_, logits), gradients = step(variables["params"])
  expected = GOLDEN[f"{name}:eval"]
  assert np.ptp(expected, axis=0).min() > 0.1
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
  public = namings.public_tensors(name, {"params": gradients})
  golden = {key: GOLDEN[f"{name}:gradients/{key}"] for key in ("paths", "digests")}
  check_digests(drawn.digests(public), golden, 1e-5)
  # What is written is what was read.
  written = namings.public_tensors(name, variables)
  assert written.keys() == tensors.keys()
  for key, tensor in tensors.items():
    np.testing.assert_array_equal(written[key], tensor, err_msg=key)


def test_vit_tiny_has_the_published_parameters():
  assert count_params(make_model(ModelConfig(name="vit_tiny"), 1000), (224, 224, 3)) == 5_717_416


def test_every_size_is_free():
  sizes = {"patch_size": 2, "depth": 3, "width": 20, "heads": 5, "mlp_ratio": 1.75}
  params = variable_shapes(make_model(ModelConfig(name="vit_base", **sizes), 7), SHAPE)["params"]
  assert sum(layer.startswith("block") for layer in params) == 3
  shapes = {path: leaf.shape for path, leaf in shapes_of(params).items()}
  assert shapes["patch_embedding/kernel"] == (2, 2, 3, 20)
  assert shapes["positions/embedding"] == (1, 1 + 16, 20)
  assert shapes["block2/attention/qkv/kernel"] == (20, 60)
  assert shapes["block2/fc1/kernel"] == (20, 35)
  cait = shapes_of(variable_shapes(small("cait", heads=4), SHAPE)["params"])
  assert cait["block1/attention/talk1/kernel"].shape == (4, 4)
  assert cait["positions/embedding"].shape == (1, 4, 8)


def shapes_of(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"width": 50}, r"model.width=50 .*'cait': expected a multiple of model.heads=4.*such as 52"),
    ({"heads": 5}, r"model.width=192 .*expected a multiple of model.heads=5"),
    ({"widths": (4,)}, r"model.widths=\(4,\) does not apply to model.name='cait'"),
    ({"pool": "max"}, r"model.pool='max' does not apply to model.name='cait'"),
    ({"start": "fixup", "norm": "none"}, r"branches of convolutions.*'cait' has not.*preresnet"),
  ],
)
def test_what_makes_no_transformer_is_refused(keys, message):
  with pytest.raises(ConfigError, match=message):
    make_model(ModelConfig(name="cait", **keys), 3)


@pytest.mark.parametrize(("depth", "start"), [(18, 0.1), (24, 1e-5), (25, 1e-6)])
def test_layer_scale_starts_by_the_depth_as_in_the_paper(depth, start):
  assert make_model(ModelConfig(name="cait", depth=depth), 3).layer_scale == start
  params = init_variables(small("cait", depth=1), SHAPE, 0)["params"]
  assert params["class_block2"]["scale1"]["gamma"].tolist() == [np.float32(0.1)] * 8


def test_weights_tokens_and_positions_start_as_small_normal_numbers():
  params = shapes_of(init_variables(small("vit", width=64, patch_size=2), SHAPE, 0)["params"])
  for path in ("block1/attention/qkv/kernel", "positions/embedding", "head/kernel"):
    values = params[path]
    assert abs(values.std() / 0.02 - 1) < 5 / np.sqrt(2 * values.size), path
  assert not params["block1/fc1/bias"].any()
  bound = 1 / np.sqrt(2 * 2 * 3)
  for leaf in ("kernel", "bias"):
    assert 0.9 * bound < np.abs(params[f"patch_embedding/{leaf}"]).max() <= bound


def test_learned_tokens_and_positions_decay_only_where_everything_does():
  params = variable_shapes(small("cait"), SHAPE)["params"]
  decayed = shapes_of(optim._decayed_leaves(params))
  assert {path for path, is_decayed in decayed.items() if is_decayed} == {
    path for path in decayed if path.endswith("kernel")
  }


# ---- positions for images of another size


@pytest.mark.parametrize("case", drawn.GRIDS)
def test_positions_of_another_grid_are_timms(case):
  prefix, before, after = case
  values = drawn.positions(prefix, before).astype(np.float32)
  found = positions.resized(values, (1, prefix + after**2, 3))
  expected = GOLDEN[f"positions/{prefix}/{before}/{after}"]
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_file_for_images_of_another_size_is_read_with_interpolated_positions(tmp_path):
  path = tmp_path / "weights.safetensors"
  of_file = init_variables(small("vit"), (16, 16, 3), 0)
  path.write_bytes(save({key: leaf for key, leaf in named(of_file).items()}))
  start = init_variables(small("vit"), SHAPE, 1)
  read = pretrained.load(path, "vit", start, with_head=True)
  assert read.positions == "; its positions are interpolated, from 4x4 patches to 2x2"
  ours, theirs = named(read.put_into(start)), named(of_file)
  stored = theirs.pop(positions.PATH)
  np.testing.assert_array_equal(ours[positions.PATH], positions.resized(stored, (1, 5, 8)))
  np.testing.assert_array_equal(ours[positions.PATH][:, 0], stored[:, 0])
  for key, leaf in theirs.items():
    np.testing.assert_array_equal(ours[key], leaf, err_msg=key)


@pytest.mark.parametrize(
  ("keys", "shape"),
  [({"width": 16}, SHAPE), ({"patch_size": 8}, (16, 16, 3)), ({}, (8, 12, 3))],
  ids=["another width", "another patch", "no square"],
)
def test_positions_that_cannot_be_interpolated_are_refused(keys, shape, tmp_path):
  path = tmp_path / "weights.safetensors"
  path.write_bytes(save(named(init_variables(small("vit"), SHAPE, 0))))
  with pytest.raises(DataError, match="of another shape"):
    pretrained.load(path, "vit", variable_shapes(small("vit", **keys), shape), with_head=False)


# ---- what is dropped, and how often


def traced(model, monkeypatch):
  """Returns where values drop in training, and the depth of every branch in order."""
  dropped, depths, plain = [], [], FamilyModule.branch
  variables = variable_shapes(model, SHAPE)

  def branch(self, x, depth, *, name="branch", **now):
    depths.append(depth)
    return plain(self, x, depth, name=name, **now)

  def interceptor(next_call, args, kwargs, context):
    is_call = context.method_name == "__call__"
    if is_call and isinstance(context.module, Dropout) and not context.module.per_example:
      dropped.append("/".join(context.module.path))
    return next_call(*args, **kwargs)

  monkeypatch.setattr(FamilyModule, "branch", nn.nowrap(branch))

  def apply(variables, rates, key):
    with nn.intercept_methods(interceptor):
      inputs = np.zeros((2, *SHAPE), np.float32)
      return model.apply(variables, inputs, train=True, rates=rates, rngs={"dropout": key})

  rates = dict.fromkeys(("dropout", "stochastic_depth"), np.float32(0.1))
  jax.eval_shape(apply, variables, rates, jax.random.key(0))
  return dropped, depths


def test_vit_drops_behind_positions_and_linear_layers_and_branches_by_their_depth(monkeypatch):
  dropped, depths = traced(small("vit", depth=2), monkeypatch)
  of_block = ("attention/dropout", "dropout1", "dropout2")
  assert dropped == ["stem_dropout", *(f"block{at}/{name}" for at in (1, 2) for name in of_block)]
  assert depths == [0.5, 0.5, 1.0, 1.0]


def test_cait_drops_branches_of_patches_at_one_rate_and_those_of_the_class_token_never(monkeypatch):
  dropped, depths = traced(small("cait", depth=2), monkeypatch)
  assert len(dropped) == 1 + 3 * 4
  assert depths == [1.0] * 4 + [0.0] * 4


# ---- slow: each is a program or two to compile

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize("name", ["cait", "vit"])
@pytest.mark.parametrize("norm", [None, "batch", "weight"])
def test_a_masked_example_changes_nothing(name, norm):
  check_masked_rows(small(name, norm=norm))


@slow
@pytest.mark.parametrize("name", ["cait", "vit"])
def test_bfloat16_layers_give_float32_logits(name):
  check_bfloat16(small(name))


@slow
@pytest.mark.parametrize("name", ["cait", "vit"])
def test_an_image_that_fills_no_patch_has_zeros_below_and_at_the_right(name):
  model = small(name)
  variables = init_variables(model, SHAPE, 0)
  assert named(variables).keys() == named(init_variables(model, (5, 7, 3), 0)).keys()
  images = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
  framed = np.pad(images, ((0, 0), (0, 3), (0, 1), (0, 0)))
  logits = jax.jit(lambda x: model.apply(variables, x, train=False))
  np.testing.assert_array_equal(logits(images), logits(framed))


@slow
@pytest.mark.parametrize("name", ["cait", "vit"])
def test_a_dropped_branch_leaves_the_token_as_it_was(name):
  model = small(name, depth=1)
  variables = init_variables(model, SHAPE, 0)
  images = np.random.default_rng(0).normal(size=(400, *SHAPE)).astype(np.float32)

  @jax.jit
  def seen(rate):
    options = {"rates": {"stochastic_depth": rate}, "rngs": {"dropout": jax.random.key(1)}}
    options |= {"mutable": ["intermediates"], "capture_intermediates": True}
    _, kept = model.apply(variables, images, train=True, **options)
    return kept["intermediates"]["block1"]

  rate = 0.25
  block = seen(np.float32(rate))
  for number in (1, 2):
    gone = ~np.asarray(block[f"branch{number}"]["__call__"][0]).any(axis=(1, 2))
    assert abs(gone.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / len(gone))
  other = ~np.asarray(block["branch1"]["__call__"][0]).any(axis=(1, 2))
  assert (other != gone).any()  # each branch draws for itself
