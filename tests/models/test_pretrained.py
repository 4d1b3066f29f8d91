"""Weights from safetensors files: public checkpoints, sdt's own files, and what is refused."""

import json
import struct
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError, DataError
from sdt.models import init_variables, make_model, pretrained
from sdt.models.densenet import DenseNet
from sdt.models.namings import NAMINGS
from sdt.models.pretrained import load
from sdt.models.registry import NETWORKS, variable_shapes
from sdt.models.resnet import ResNet
from tests.golden import drawn
from tests.support.networks import case
from tests.support.places import GOLDEN

IMAGE_SHAPE = (64, 64, 3)
SMALL = {
  "small_basic": (
    "resnet",
    ResNet(10, blocks=(1, 1, 1, 1), widths=(8, 16, 24, 32), stem="imagenet"),
  ),
  "small_bottleneck": (
    "resnet",
    ResNet(10, blocks=(1, 2, 1, 1), widths=(8, 8, 12, 16), bottleneck=True, stem="imagenet"),
  ),
  "small_dense": ("densenet", DenseNet(10, layers=(2, 1, 2, 1), growth_rate=8, stem="imagenet")),
}
WHOLE = ("resnet18", "resnet34", "resnet50", "densenet121")


def golden(network):
  """Returns the shapes of the public checkpoint's tensors by name, and torch's logits of it."""
  with np.load(GOLDEN / "pretrained.npz") as stored:
    shapes = [
      tuple(map(int, text.split("x"))) if text else () for text in stored[f"{network}:shapes"]
    ]
    return dict(zip(stored[f"{network}:names"].tolist(), shapes, strict=True)), stored[
      f"{network}:logits"
    ]


def public(network, dtype=np.float32):
  """Returns the tensors of the public checkpoint."""
  return {
    name: np.zeros((), np.int64)
    if name.endswith("num_batches_tracked")
    else drawn.public_tensor(name, shape).astype(dtype)
    for name, shape in golden(network)[0].items()
  }


def written(folder, tensors, name="weights.safetensors"):
  path = folder / name
  path.write_bytes(save({key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}))
  return path


def names(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def check_logits(network, naming, model, path, tolerance=1e-4):
  start = init_variables(model, IMAGE_SHAPE, 0)
  variables = load(path, naming, start, with_head=True).put_into(start)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
  expected = golden(network)[1]
  images = drawn.images(network, 2, IMAGE_SHAPE).astype(np.float32)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
  np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.slow_rows("small_basic", "small_dense")
@pytest.mark.parametrize("network", SMALL)
def test_a_network_with_weights_in_public_names_computes_what_torch_computes(network, tmp_path):
  check_logits(network, *SMALL[network], written(tmp_path, public(network)))


@pytest.mark.slow
@pytest.mark.parametrize("network", WHOLE)
def test_the_published_networks_compute_what_torch_computes(network, tmp_path):
  model = make_model(ModelConfig(name=network), 10)
  check_logits(network, NETWORKS[network].weights_from, model, written(tmp_path, public(network)))


@pytest.mark.parametrize("network", [*map(case, WHOLE)])
def test_the_names_and_shapes_that_are_expected_are_those_of_the_published_networks(network):
  naming = NAMINGS[NETWORKS[network].weights_from]
  shapes = {
    key: leaf.shape
    for key, leaf in names(
      variable_shapes(make_model(ModelConfig(name=network), 10), IMAGE_SHAPE)
    ).items()
  }
  to_torch = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
  expected = {
    naming.public_name(key): tuple(shape[axis] for axis in to_torch[len(shape)])
    for key, shape in shapes.items()
  }
  assert len(expected) == len(shapes)
  assert expected == {
    name: shape
    for name, shape in golden(network)[0].items()
    if not name.endswith("num_batches_tracked")
  }


@pytest.fixture
def basic():
  """A small network, its variables, and a checkpoint for it."""
  naming, model = SMALL["small_basic"]
  return naming, init_variables(model, IMAGE_SHAPE, 0), public("small_basic")


def test_without_the_files_head_the_head_stays_as_drawn_and_all_else_is_the_files(basic, tmp_path):
  naming, start, tensors = basic
  tensors["fc.weight"], tensors["fc.bias"] = (
    np.ones((1000, 32), np.float32),
    np.ones(1000, np.float32),
  )
  for left_out in ((), ("fc.weight", "fc.bias")):
    path = written(
      tmp_path, {name: tensor for name, tensor in tensors.items() if name not in left_out}
    )
    variables = load(path, naming, start, with_head=False).put_into(start)
    before, after = names(start), names(variables)
    assert before.keys() == after.keys()
    for key, leaf in after.items():
      if key.startswith("params/head/"):
        np.testing.assert_array_equal(leaf, before[key])
      else:
        assert np.any(leaf != before[key]), key
    np.testing.assert_array_equal(
      after["params/stem_conv/kernel"][3, 5, 1, 6], tensors["conv1.weight"][6, 1, 3, 5]
    )
    np.testing.assert_array_equal(
      after["batch_stats/stage2_block1/shortcut_norm/var"],
      tensors["layer2.0.downsample.1.running_var"],
    )


@pytest.mark.parametrize(
  ("kind", "tolerance"), [(np.float16, 2**-10), (ml_dtypes.bfloat16, 2**-7), (np.float64, 2**-23)]
)
def test_other_floating_types_become_float32(kind, tolerance, basic, tmp_path):
  naming, start, tensors = basic
  path = written(
    tmp_path,
    {
      name: tensor.astype(kind) if tensor.ndim else tensor
      for name, tensor in public("small_basic", np.float64).items()
    },
  )
  leaves = load(path, naming, start, with_head=True).leaves
  assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(np.float32)}
  np.testing.assert_allclose(
    leaves["params/head/kernel"], tensors["fc.weight"].T, rtol=tolerance, atol=1e-7
  )


@pytest.mark.parametrize("change", ["prefix", "no counters", "old spelling"])
def test_other_spellings_of_a_checkpoint_give_the_same_weights(change, tmp_path):
  naming, model = SMALL["small_dense"]
  start, tensors = init_variables(model, IMAGE_SHAPE, 0), public("small_dense")
  spell = {
    "prefix": lambda name: f"module.{name}",
    "no counters": lambda name: None if name.endswith("num_batches_tracked") else name,
    "old spelling": lambda name: "features.denseblock1.denselayer2.".join(
      part.replace("norm2.", "norm.2.", 1).replace("conv1.", "conv.1.", 1) if index else part
      for index, part in enumerate(name.split("features.denseblock1.denselayer2."))
    ),
  }[change]
  other = {spell(name): tensor for name, tensor in tensors.items() if spell(name) is not None}
  assert other.keys() != tensors.keys()
  left = load(written(tmp_path, tensors), naming, start, with_head=True).leaves
  right = load(written(tmp_path, other, "other.safetensors"), naming, start, with_head=True).leaves
  assert left.keys() == right.keys() == names(start).keys()
  for key in left:
    np.testing.assert_array_equal(left[key], right[key])


def test_a_file_of_sdts_fits_any_network_of_the_same_names_with_or_without_its_head(tmp_path):
  model = ResNet(3, blocks=(1,), widths=(4,))
  earlier = names(init_variables(model, (8, 8, 3), 5))
  path, start = written(tmp_path, earlier), init_variables(model, (8, 8, 3), 0)
  whole = load(path, None, start, with_head=True)
  assert not whole.is_public
  assert all(
    np.array_equal(leaf, earlier[key]) for key, leaf in names(whole.put_into(start)).items()
  )
  other_head = init_variables(model.clone(num_classes=7), (8, 8, 3), 0)
  body = names(load(path, None, other_head, with_head=False).put_into(other_head))
  assert body["params/head/kernel"].shape == (4, 7)
  np.testing.assert_array_equal(body["params/stem_conv/kernel"], earlier["params/stem_conv/kernel"])


def header(content, body=b""):
  text = content if isinstance(content, bytes) else json.dumps(content).encode()
  return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
  ("name", "content", "part"),
  [
    ("none.safetensors", None, "none.safetensors: no such file; expected a safetensors file"),
    (".", None, "not a file; expected a safetensors file"),
    (
      "a.safetensors",
      b"",
      (
        "not a sound safetensors file (Error while deserializing: header too small); get an "
        "intact copy"
      ),
    ),
    ("a.safetensors", b"\0" * 64, "not a sound safetensors file"),
    ("a.safetensors", struct.pack("<Q", 2**62) + b"{}", "header too large"),
    (
      "a.safetensors",
      header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}, b"0" * 16),
      "overflow",
    ),
    (
      "a.safetensors",
      header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"0" * 8),
      "not fully covered",
    ),
    (
      "a.safetensors",
      header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"0" * 24),
      "not fully covered",
    ),
    (
      "a.safetensors",
      header({}),
      "60 missing (layer1.0.bn1.running_mean for batch_stats/stage1_block1/norm1/mean, ",
    ),
    (
      "resnet18.pth",
      b"PK\x03\x04" + b"0" * 99,
      "it seems, a pickle, which may run any code and which sdt does not load; take the model",
    ),
    (
      "weights",
      b"\x80\x02}q\x00.",
      "safetensors.torch.save_file(torch.load(FILE, weights_only=True)",
    ),
    ("pytorch_model.bin", b"anything", "a pickle"),
  ],
)
def test_a_file_that_is_no_sound_safetensors_is_refused_in_one_line(
  name, content, part, basic, tmp_path
):
  naming, start, _ = basic
  if content is not None:
    (tmp_path / name).write_bytes(content)
  with pytest.raises(DataError) as caught:
    load(tmp_path / name, naming, start, with_head=False)
  assert part in str(caught.value)
  assert str(caught.value).startswith(f"model.pretrained={tmp_path / name}: ")
  assert "\n" not in str(caught.value)


def test_a_file_too_large_for_weights_is_refused_before_it_is_read(basic, tmp_path, monkeypatch):
  naming, start, tensors = basic
  path = written(tmp_path, tensors)
  monkeypatch.setattr(pretrained, "MAX_BYTES", path.stat().st_size)
  load(path, naming, start, with_head=True)
  monkeypatch.setattr(pretrained, "MAX_BYTES", path.stat().st_size - 1)
  monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read"))
  with pytest.raises(
    DataError,
    match=(
      f"{path.stat().st_size} "
      f"bytes, at most {path.stat().st_size - 1} are expected; is it the "
      "right file"
    ),
  ):
    load(path, naming, start, with_head=True)


def test_a_file_cut_anywhere_is_refused(basic, tmp_path):
  naming, start, tensors = basic
  path = written(tmp_path, tensors)
  whole = path.read_bytes()
  for size in [*range(0, 40), *np.linspace(40, len(whole) - 1, 60).astype(int)]:
    path.write_bytes(whole[:size])
    with pytest.raises(DataError, match="not a sound safetensors file"):
      load(path, naming, start, with_head=True)


def with_value(tensors, name, value):
  tensors[name] = tensors[name].copy()
  tensors[name][-1] = value


@pytest.mark.parametrize(
  ("change", "part"),
  [
    (
      lambda t: [t.pop(name) for name in ("bn1.bias", "layer1.0.bn2.running_var")],
      "of the 62 tensors that this network needs: 2 missing (layer1.0.bn2.running_var for "
      "batch_stats/stage1_block1/norm2/var, "
      "bn1.bias for params/stem_norm/bias); choose the model.name",
    ),
    (
      lambda t: t.update(
        {f"layer1.1.conv{k}.weight": np.ones(1, np.float32) for k in (1, 2, 3, 4)}
      ),
      "4 left over (layer1.1.conv1.weight, layer1.1.conv2.weight, layer1.1.conv3.weight, ...)",
    ),
    (
      lambda t: t.update({"module.fc.bias": t.pop("fc.bias")}),
      "1 missing (fc.bias for params/head/bias), 1 left over (module.fc.bias); ",
    ),
    (
      lambda t: t.update({"conv1.weight": np.ones((8, 1, 7, 7), np.float32)}),
      (
        "1 of another shape (conv1.weight is [8, 1, 7, 7], params/stem_conv/kernel wants [8, 3, "
        "7, 7])"
      ),
    ),
    (
      lambda t: t.update(
        {"fc.weight": np.ones((200, 32), np.float32), "fc.bias": np.ones(200, np.float32)}
      ),
      "it was trained on another number of classes: leave model.pretrained_head off",
    ),
    (
      lambda t: with_value(t, "layer2.0.bn1.weight", np.inf),
      "layer2.0.bn1.weight holds 1 numbers that no network can have (the first: inf at",
    ),
    (
      lambda t: with_value(t, "fc.weight", np.nan),
      "fc.weight holds 32 numbers that no network can have (the first: nan at [9, 0])",
    ),
    (
      lambda t: with_value(t, "bn1.running_var", -1.0),
      "bn1.running_var holds 1 numbers that no network can have (the first: -1.0 at [7])",
    ),
    (
      lambda t: t.update({"bn1.bias": np.ones(8, np.int32)}),
      "bn1.bias is of type I32, expected one of F64, F32, F16, BF16",
    ),
    (
      lambda t: t.update({"bn1.bias": np.full(8, 1e300)}),
      "bn1.bias holds 8 numbers that no network can have (the first: inf at [0])",
    ),
  ],
)
def test_tensors_that_do_not_fit_the_network_are_named(change, part, basic, tmp_path):
  naming, start, tensors = basic
  change(tensors)
  with pytest.raises(DataError) as caught:
    load(written(tmp_path, tensors), naming, start, with_head=True)
  assert part in str(caught.value)


def test_public_names_are_refused_by_a_network_that_no_public_checkpoint_fits(tmp_path):
  start = init_variables(ResNet(10, blocks=(1,), widths=(4,)), IMAGE_SHAPE, 0)
  with pytest.raises(
    ConfigError,
    match=r"imagenet: alexnet, cait, .*, densenet121, resnet18, resnet34, resnet50, vit, .*; ",
  ):
    load(written(tmp_path, public("small_basic")), None, start, with_head=False)
