"""Weights in the names of torchvision and timm: what is written is what is read, to the bit."""

import dataclasses
import itertools
import json
import math

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import load_file, save

from sdt.errors import ConfigError
from sdt.models import pretrained
from sdt.models.registry import NETWORKS
from sdt.trained.exports import torch_file
from sdt.trained.exports.formats import FORMATS
from tests.golden import drawn
from tests.support import exported
from tests.support.places import GOLDEN
from tests.support.quick import only

SHAPE = (64, 64, 3)
PUBLIC = ("densenet121", "resnet18", "resnet34", "resnet50")


def names(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def public(name):
  """Returns a public network whose weights count on from leaf to leaf, so that no two are equal."""
  model = exported.described(name, {}, shape=SHAPE, class_names=tuple("abcdefghij"))
  numbers = itertools.count(step=0.25)
  variables = jax.tree.map(
    lambda leaf: (
      np.arange(math.prod(leaf.shape), dtype=np.float32).reshape(leaf.shape)
      + np.float32(next(numbers))
    ),
    model.variables,
  )
  return dataclasses.replace(model, variables=variables)


@pytest.mark.parametrize("name", only(["resnet18"], PUBLIC))
def test_what_is_read_is_what_was_written_to_the_bit_and_under_torchvisions_names(name, tmp_path):
  model, path = public(name), tmp_path / "weights.safetensors"
  path.write_bytes(torch_file.content(model))
  start = jax.tree.map(np.zeros_like, model.variables)
  read = pretrained.load(path, NETWORKS[name].weights_from, start, with_head=True)
  assert read.is_public
  written, back = names(model.variables), names(read.put_into(start))
  assert written.keys() == back.keys()
  for key, leaf in written.items():
    np.testing.assert_array_equal(back[key], leaf, err_msg=key)
  # The names and shapes of torchvision's own state_dict, batch counters and all.
  with np.load(GOLDEN / "pretrained.npz") as stored:
    shapes = (tuple(map(int, filter(None, text.split("x")))) for text in stored[f"{name}:shapes"])
    expected = dict(zip(stored[f"{name}:names"].tolist(), shapes, strict=True))
  assert {key: tensor.shape for key, tensor in load_file(path).items()} == expected


# The others, which take long to compile, are with the slow tests.
@pytest.mark.parametrize(
  "name",
  [pytest.param(name, marks=() if name == "resnet18" else pytest.mark.slow) for name in PUBLIC],
)
def test_the_weights_with_which_torch_has_our_logits_are_those_of_the_file(name, tmp_path):
  with np.load(GOLDEN / "pretrained.npz") as stored:
    listed, logits = stored[f"{name}:names"].tolist(), stored[f"{name}:logits"]
    shapes = [tuple(map(int, filter(None, text.split("x")))) for text in stored[f"{name}:shapes"]]
  # The very numbers of torch's network, under its own names.
  of_torch = {
    key: np.zeros((), np.int64)
    if key.endswith("num_batches_tracked")
    else drawn.public_tensor(key, shape).astype(np.float32)
    for key, shape in zip(listed, shapes, strict=True)
  }
  model, path = exported.described(name, {}, shape=SHAPE, class_names=tuple("abcdefghij")), tmp_path
  (path / "torch").write_bytes(save(of_torch))
  start = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), model.variables)
  read = pretrained.load(path / "torch", NETWORKS[name].weights_from, start, with_head=True)
  model = dataclasses.replace(model, variables=read.put_into(start))
  images = drawn.images(name, 2, SHAPE).astype(np.float32)
  found = jax.jit(lambda v, x: model.module.apply(v, x, train=False))(model.variables, images)
  np.testing.assert_allclose(found, logits, rtol=0, atol=1e-4 * np.abs(logits).max())
  (path / "ours").write_bytes(torch_file.content(model))
  ours = load_file(path / "ours")
  assert ours.keys() == of_torch.keys()
  for key, tensor in of_torch.items():
    np.testing.assert_array_equal(ours[key], tensor, err_msg=key, strict=True)


def test_the_file_is_torchs_and_names_network_and_classes(tmp_path):
  path, content = tmp_path / "weights.safetensors", torch_file.content(public("resnet18"))
  assert content == torch_file.content(public("resnet18"))
  path.write_bytes(content)
  with safe_open(path, "np") as file:
    said = file.metadata()
  assert (said["format"], said["architecture"]) == ("pt", "resnet18")
  assert json.loads(said["class_names"]) == list("abcdefghij")


@pytest.mark.slow_rows("resnet20", "vgg19", "wrn")
@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet20", "wrn", "preresnet", "mlp"])
def test_a_network_without_a_public_name_is_refused_with_what_would_do(name):
  model = exported.described(name, {"hidden_sizes": (8,)} if name == "mlp" else {})
  with pytest.raises(ConfigError) as caught:
    torch_file.check(model)
  assert f"model.name={name!r}; they have alexnet, cait, cait_xxs24" in str(caught.value)
  assert str(caught.value).endswith("--format=onnx or --format=stablehlo, which take any network")


@pytest.mark.slow_rows("resnet18-1")
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", only(["resnet18"], ["resnet18", "resnet34"]))
def test_a_public_network_for_images_of_other_channels_is_refused_with_what_would_do(
  name, channels
):
  model = exported.described(name, {}, shape=(64, 64, channels))
  with pytest.raises(ConfigError, match=rf"images of {channels} channel\(s\).*--format=stablehlo"):
    torch_file.check(model)
  torch_file.check(exported.described(name, {}, shape=SHAPE))


@pytest.mark.slow_rows("resnet18-keys1", "resnet34-keys2")
@pytest.mark.parametrize(
  ("name", "keys"),
  [
    ("resnet18", {"stem": "small"}),
    ("resnet18", {"activation": "gelu"}),
    ("resnet34", {"shortcut": "zero_pad"}),
    pytest.param(
      "resnet50",
      {"blocks": (3, 4, 6, 2), "widths": (64, 128, 256, 512)},
      marks=pytest.mark.slow,
    ),
    pytest.param("densenet121", {"growth_rate": 16}, marks=pytest.mark.slow),
  ],
)
def test_a_public_network_with_keys_of_its_own_is_refused(name, keys):
  with pytest.raises(ConfigError, match="with other model keys than its own"):
    torch_file.content(exported.described(name, keys))


def test_keys_that_change_nothing_are_no_reason_to_refuse():
  torch_file.check(exported.described("resnet18", {"stem": "imagenet", "activation": "relu"}))


@pytest.mark.parametrize("name", drawn.TRANSFORMERS)
def test_a_transformer_of_any_size_has_timms_names_and_its_card_says_how_to_load_it(name):
  _, sizes, shape = drawn.TRANSFORMERS[name]
  ours = {"embed_dim": "width", "num_heads": "heads"}
  keys = {ours.get(key, key): value for key, value in sizes.items()}
  model = exported.described(name, keys, shape=shape, class_names=tuple("abcdefghij"))
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), model.variables)
  tensors = load_tensors(torch_file.content(dataclasses.replace(model, variables=zeros)))
  with np.load(GOLDEN / "transformers.npz") as stored:
    shapes = (tuple(map(int, text.split("x"))) for text in stored[f"{name}:shapes"])
    expected = dict(zip(stored[f"{name}:names"].tolist(), shapes, strict=True))
  assert {key: tensor.shape for key, tensor in tensors.items()} == expected
  example = FORMATS["torch"].example_of(model, "weights.safetensors")
  assert f"img_size={shape[:2]}, in_chans={shape[2]}, num_classes=10" in example
  assert f"embed_dim=12, depth={sizes['depth']}, num_heads={sizes['num_heads']}" in example
  assert ("mlp_ratio_token_only=3.0" in example) == (name == "cait")


@pytest.mark.parametrize(
  ("keys", "shape", "what"),
  [
    ({"norm": "batch"}, (8, 8, 3), "with other model keys than its own"),
    ({"activation": "relu"}, (8, 8, 3), "with other model keys than its own"),
    ({}, (8, 6, 3), "for images whose last patches are not filled"),
  ],
)
def test_a_transformer_that_timm_does_not_have_is_refused(keys, shape, what):
  with pytest.raises(ConfigError, match=f"'vit' {what}.*; they have .*cait"):
    torch_file.check(exported.described("vit", {"depth": 1, **keys}, shape=shape))
