"""Class activation maps: exact for every family of networks, and the file that a run
leaves behind.
"""

import functools
import types

import jax
import numpy as np
import pytest

from sdt import files
from sdt.config.schema import ModelConfig
from sdt.data.dataset import image_sizes
from sdt.engine import activation_maps
from sdt.engine.activation_maps import MapSettings
from sdt.inputs.augment import centre_crop
from sdt.models import init_variables, make_model
from sdt.models.registry import NETWORKS
from sdt.report import build_report
from sdt.run import resume
from sdt.run.programs import Setup
from sdt.stages.final_networks import write_activation_maps
from tests.support import tiny, whole
from tests.support.networks import SMALLEST

SHAPE = (16, 16, 3)
# A small network of every family whose head reads a mean over pixels.
SMALL = {
  "resnet": ModelConfig(name="resnet", blocks=(1, 1), widths=(4, 6)),
  "preresnet": ModelConfig(name="preresnet", blocks=(1, 1), widths=(4, 6)),
  "wide_resnet": ModelConfig(name="wrn", depth=10, widen_factor=1),
  "densenet": ModelConfig(name="densenet", depth=10, growth_rate=4),
  "vgg": ModelConfig(name="vgg16", blocks=(1, 1), widths=(4, 6)),
}


jit_maps = jax.jit(activation_maps.class_activation_maps, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def logits_of(model, variables, inputs):
  return model.apply(variables, inputs, train=False)


def network(name, num_classes=5):
  """Returns a network with statistics and biases that are not at their start, and its variables."""
  model = make_model(SMALL[name], num_classes)
  rng = np.random.default_rng(3)
  shaken = jax.tree.map(
    lambda leaf: leaf + rng.uniform(0.05, 0.3, leaf.shape).astype(np.float32),
    init_variables(model, SHAPE, 1),
  )
  return model, shaken


def test_every_family_whose_head_reads_a_mean_is_tested_here():
  families = {entry.module.__module__.rpartition(".")[2] for entry in NETWORKS.values()}
  assert families == {*SMALL, "alexnet", "cait", "lenet", "mlp", "vit"}


@pytest.mark.parametrize("name", SMALL)
def test_the_mean_of_a_map_and_the_bias_are_the_logit_of_its_class(name):
  model, variables = network(name)
  inputs = np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)
  labels = np.arange(6, dtype=np.int32) % 5
  logits, maps = jit_maps(model, variables, inputs, labels)
  assert maps.shape[0] == 6
  assert maps.shape[1] * maps.shape[2] > 1
  assert np.ptp(maps, axis=(1, 2)).min() > 1e-3
  bias = np.asarray(variables["params"]["head"]["bias"], np.float64)
  means = np.asarray(maps, np.float64).mean(axis=(1, 2))
  np.testing.assert_allclose(
    means + bias[labels], np.asarray(logits, np.float64)[np.arange(6), labels], rtol=2e-5, atol=2e-5
  )


def test_a_map_equals_its_twin_in_numpy_at_every_place():
  """The last block's output, caught where the block returns it, times the head's column."""
  model, variables = network("resnet")
  inputs = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
  labels = np.array([4, 0, 2, 2], np.int32)
  maps = jit_maps(model, variables, inputs, labels)[1]
  capture = {"capture_intermediates": True, "mutable": ["intermediates"]}
  _, kept = jax.jit(functools.partial(model.apply, train=False, **capture))(variables, inputs)
  blocks = [name for name in kept["intermediates"] if name.startswith("stage")]
  (features,) = kept["intermediates"][max(blocks)]["__call__"]
  kernel = np.asarray(variables["params"]["head"]["kernel"], np.float64)
  expected = np.stack(
    [np.asarray(features, np.float64)[i] @ kernel[:, label] for i, label in enumerate(labels)]
  )
  np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


def test_networks_without_places_have_no_map():
  for name in ("alexnet", "lenet", "mlp"):
    model = make_model(ModelConfig(name=name, **SMALLEST[name]), 3)
    assert activation_maps.source_of_map(model, init_variables(model, SHAPE, 0), SHAPE) is None
  vgg = make_model(ModelConfig(name="vgg16", blocks=(1, 1, 1), widths=(4, 4, 4)), 3)
  variables = init_variables(vgg, SHAPE, 0)
  assert activation_maps.source_of_map(vgg, variables, SHAPE) == "feature_map"
  # Three halvings leave one place.
  assert activation_maps.source_of_map(vgg, variables, (8, 8, 3)) is None


def test_groups_are_drawn_from_the_test_set_by_what_the_networks_say(tmp_path):
  config = tiny.resnet()
  data = tiny.data(config)
  model = make_model(config.model, len(data.class_names))
  networks = {
    arm: init_variables(model, data.test.inputs.shape[1:], seed)
    for arm, seed in (("baseline", 0), ("method", 5))
  }
  content = activation_maps.maps_of_test_images(
    model, networks, data, MapSettings(None, seed=7, batch_size=8)
  )
  again = activation_maps.maps_of_test_images(
    model, networks, data, MapSettings(None, seed=7, batch_size=8)
  )
  other = activation_maps.maps_of_test_images(
    model, networks, data, MapSettings(None, seed=8, batch_size=30)
  )
  tiny.assert_equal(content, again)
  assert content["ids"].tolist() != other["ids"].tolist()
  positions = np.searchsorted(data.test.example_ids, content["ids"])
  np.testing.assert_array_equal(content["images"], data.test.inputs[positions])
  np.testing.assert_array_equal(content["labels"], data.test.labels[positions])
  inputs = (data.test.inputs / 255.0 - data.mean) / data.std
  for number, variables in enumerate(networks.values()):
    logits = np.asarray(logits_of(model, variables, inputs.astype(np.float32)), np.float64)
    logits = logits[positions]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(content["predictions"][number], shares.argmax(axis=1))
    np.testing.assert_allclose(content["probabilities"][number], shares.max(axis=1), rtol=1e-4)
    own = (
      content["maps"][number].mean(axis=(1, 2))
      + variables["params"]["head"]["bias"][content["labels"]]
    )
    np.testing.assert_allclose(
      own, logits[np.arange(len(own)), content["labels"]], rtol=1e-4, atol=1e-5
    )
  right = content["predictions"] == content["labels"]
  names = {(True, True): "baseline and method right", (True, False): "only baseline right"}
  names |= {(False, True): "only method right", (False, False): "baseline and method wrong"}
  assert content["groups"].tolist() == [names[tuple(pair)] for pair in right.T.tolist()]
  assert max(np.unique(content["groups"], return_counts=True)[1]) <= 3
  assert len(set(content["ids"].tolist())) == len(content["ids"])


def test_a_crop_is_what_the_network_sees():
  config = tiny.resnet(data__crop_size=6)
  data = tiny.data(config)
  model = make_model(config.model, len(data.class_names))
  networks = {"baseline": init_variables(model, (6, 6, 3), 0)}
  content = activation_maps.maps_of_test_images(model, networks, data, MapSettings(6, seed=0))
  positions = np.searchsorted(data.test.example_ids, content["ids"])
  np.testing.assert_array_equal(
    content["images"], centre_crop(data.test.inputs, image_sizes(data.test), 6)[positions]
  )
  assert set(content["groups"].tolist()) <= {"baseline right", "baseline wrong"}


@pytest.fixture
def context(tmp_path):
  """What the stage needs of a run of three seeds whose networks are those of the start."""
  config = tiny.resnet(seeds=(3, 4, 5), arms=("baseline", "uniform_mean", "method"))
  setup = Setup.make(config, tiny.data(config))
  rows = [{"arm": arm, "seed": seed} for arm in ("baseline", "method") for seed in config.seeds]
  files.append_rows(
    tmp_path / "metrics.jsonl",
    [row | ({"diverged": True} if list(row.values()) == ["method", 3] else {}) for row in rows],
  )
  return types.SimpleNamespace(
    setup=setup,
    config=config,
    data=setup.data,
    workdir=tmp_path,
    raise_if_stopped=lambda where: None,
  )


def test_the_stage_takes_the_final_networks_of_the_first_seed_that_diverged_in_no_arm(context):
  restored, state = [], context.setup.fresh_start.state
  trainings = types.SimpleNamespace(final_state=lambda arm: restored.append(arm) or state)
  write_activation_maps(context, trainings)
  content = files.read_npz(context.workdir / "figures" / "cam.npz")
  assert restored == ["baseline", "method"]
  assert int(content["seed"]) == 4
  assert content["arms"].tolist() == ["baseline", "method"]
  np.testing.assert_array_equal(
    content["maps"][0], content["maps"][1]
  )  # the same networks stand for both arms
  bias, data = np.asarray(state.params["head"]["bias"])[1], context.setup.data
  inputs = data.test.inputs[np.searchsorted(data.test.example_ids, content["ids"])] / 255.0
  variables = jax.tree.map(lambda leaf: leaf[1], state.variables)
  logits = logits_of(
    context.setup.model, variables, ((inputs - data.mean) / data.std).astype(np.float32)
  )
  expected = np.asarray(logits)[np.arange(len(inputs)), content["labels"]]
  np.testing.assert_allclose(
    content["maps"][0].mean(axis=(1, 2)) + bias[content["labels"]], expected, rtol=1e-4, atol=1e-5
  )


def test_maps_that_a_run_once_made_must_be_intact_and_others_are_not_missed(context):
  path = context.workdir / "figures" / "cam.npz"
  assert path not in resume.missing(context.workdir, [])
  files.write_npz(path, seed=np.int64(0))
  assert path not in resume.missing(context.workdir, [])
  path.write_bytes(b"damaged")
  assert path in resume.missing(context.workdir, [])


@pytest.mark.slow
def test_a_run_writes_the_maps_and_the_report_shows_them(tmp_path):
  config = tiny.resnet(rounds=2, optim__milestones=(1,), compilation_cache=False)
  assert whole.run(config, tmp_path) == 0
  assert "Where the networks look" in (tmp_path / "report.html").read_text()
  assert list((tmp_path / "figures").glob("cam.*g"))
  before = whole.outputs(tmp_path)
  (tmp_path / "figures" / "cam.npz").write_bytes(b"damaged")
  assert whole.run(config, tmp_path) == 0
  (tmp_path / "figures" / "cam.npz.kept-1").unlink()  # what was found there is kept aside
  assert whole.outputs(tmp_path) == before
  # A run of an earlier version has none: its report is built all the same, and it is complete.
  for path in (tmp_path / "figures").rglob("cam.*"):
    path.unlink()
  build_report(tmp_path)
  assert "Where the networks look" not in (tmp_path / "report.html").read_text()
  assert whole.run(config, tmp_path) == 0
  assert not (tmp_path / "figures" / "cam.npz").exists()
