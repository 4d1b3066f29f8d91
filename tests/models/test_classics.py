"""LeNet and AlexNet against torch, and images of other sizes than they are made for."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import count_params, init_variables, make_model, namings, pretrained
from sdt.models.alexnet import AlexNet
from sdt.models.lenet import LeNet
from tests.golden import drawn
from tests.support.agreement import check_agreement, load_golden
from tests.support.networks import SMALLEST, check_bfloat16, check_masked_rows

FORMS = {
  **{name: LeNet(10, **form) for name, form in drawn.LENETS.items()},
  **{name: AlexNet(10, **form, dropout=0.0) for name, form in drawn.ALEXNETS.items()},
}


@pytest.mark.slow_rows("alexnet_small")
@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=pytest.mark.slow if name == "alexnet_imagenet" else ())
    for name in FORMS
  ],
)
def test_the_classics_compute_what_torch_computes_on_the_same_weights(name):
  check_agreement(FORMS[name], "classics.npz", name, drawn.CLASSIC_SHAPES[name])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("alexnet", 64), ("alexnet224", 224)])
def test_torchvisions_alexnet_has_our_logits(name, size):
  golden = load_golden("classics.npz")
  model = make_model(ModelConfig(name="alexnet"), 10)
  naming = namings.NAMINGS["alexnet"]
  shapes = init_shapes(model, (size, size, 3))
  public = {key: naming.public_name(key) for key in shapes}
  assert sorted(public.values()) == sorted(golden["alexnet:names"].tolist())
  axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
  variables: dict = {"params": {}, "batch_stats": {}}
  for key, shape in shapes.items():
    torchs = tuple(shape[axis] for axis in namings.TO_TORCH[len(shape)])
    _, layer, leaf = key.split("/")
    value = drawn.public_tensor(public[key], torchs).transpose(axes[len(shape)])
    variables["params"].setdefault(layer, {})[leaf] = value.astype(np.float32)
  images = drawn.images(name, 2, (size, size, 3)).astype(np.float32)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
  expected = golden[f"{name}:logits"]
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_weights_under_torchvisions_names_are_read_back_to_the_bit(tmp_path):
  model = make_model(ModelConfig(name="alexnet", **SMALLEST["alexnet"]), 10)
  variables = init_variables(model, (32, 32, 3), 0)
  written = namings.public_tensors("alexnet", variables)
  assert {"features.10.bias", "classifier.6.weight"} < written.keys()
  assert written["classifier.1.weight"].shape == (8, 4 * 9)
  path = tmp_path / "weights.safetensors"
  path.write_bytes(save({key: np.ascontiguousarray(leaf) for key, leaf in written.items()}))
  start = jax.tree.map(np.zeros_like, variables)
  read = pretrained.load(path, "alexnet", start, with_head=True)
  jax.tree.map(np.testing.assert_array_equal, read.put_into(start), variables)


def init_shapes(model, shape):
  from sdt.models.registry import variable_shapes

  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(variable_shapes(model, shape))
  }


@pytest.mark.parametrize(
  ("name", "size"),
  [
    ("lenet", 28),
    ("alexnet", 1),
    *[
      pytest.param(name, size, marks=pytest.mark.slow)
      for name, size in (("lenet", 1), ("lenet", 47), ("alexnet", 8), ("alexnet", 47))
    ],
  ],
)
def test_images_of_every_size_have_the_same_parameters_and_finite_logits(name, size):
  model = make_model(ModelConfig(name=name, **SMALLEST[name]), 10)
  assert count_params(model, (size, size, 1)) == count_params(model, (32, 32, 1))
  variables = init_variables(model, (size, size, 1), 0)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(
    variables, np.ones((1, size, size, 1), np.float32)
  )
  assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", ["lenet", pytest.param("alexnet", marks=pytest.mark.slow)])
def test_a_masked_example_changes_nothing(name):
  keys = SMALLEST[name] | ({"dropout": 0.0} if name == "alexnet" else {})
  check_masked_rows(make_model(ModelConfig(name=name, **keys), 10))


def test_bfloat16_layers_give_float32_logits():
  check_bfloat16(make_model(ModelConfig(name="lenet", **SMALLEST["lenet"]), 10))


def test_another_number_of_convolutions_is_refused():
  with pytest.raises(ConfigError, match=r"model.widths=\(4,\) of model.name='lenet': expected 2"):
    make_model(ModelConfig(name="lenet", widths=(4,)), 10)
