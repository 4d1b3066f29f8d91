"""Networks of every family, exported: other programs compute what sdt computes."""

import dataclasses
import json
import subprocess
import sys

import jax.export
import numpy as np
import onnx
import onnxruntime
import pytest

from sdt import files
from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.data.sources import load
from sdt.models.registry import MODEL_NAMES
from sdt.trained.exports import onnx_file, stablehlo
from sdt.trained.load import load as load_run
from tests.support import exported, tiny, whole
from tests.support.networks import SMALLEST
from tests.support.places import ROOT
from tests.support.quick import only

WHOLE = [
  pytest.param(name, id=name, marks=pytest.mark.slow) for name in MODEL_NAMES if name != "mlp"
]


def run(content, inputs):
  session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
  return session.run(["logits"], {"inputs": inputs})[0]


# Of the transformers, which take long to compile, the default suite has one.
SLOW = {"smallest cait"}


@pytest.mark.slow_rows(
  "activation elu",
  "activation gelu",
  "activation leaky_relu",
  "activation prelu",
  "activation selu",
  "activation sigmoid",
  "activation tanh",
  "norm group",
  "norm instance",
  "norm none",
  "norm weight",
  "smallest alexnet",
  "smallest preresnet",
  "smallest resnet",
  "smallest resnet18",
)
@pytest.mark.parametrize("name", [*only(exported.FORMS.keys() - SLOW, exported.FORMS), *WHOLE])
def test_onnxruntime_has_the_logits_of_sdt_for_one_example_and_for_seven(name):
  model, inputs, expected = exported.case(name)
  content = onnx_file.content(model)
  onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
  assert np.abs(expected).max() > 1e-2
  for num in (7, 1):
    found = run(content, inputs[:num])
    np.testing.assert_allclose(found, expected[:num], rtol=0, atol=1e-4)


_READER = """
import sys
sys.modules["sdt"] = sys.modules["flax"] = None  # an import of them fails
import jax.export
import numpy as np
folder, *sizes = sys.argv[1:]
for index, size in enumerate(map(int, sizes)):
  program = jax.export.deserialize(open(f"{folder}/{index}.stablehlo", "rb").read())
  assert program.platforms == ("cpu", "cuda", "tpu"), program.platforms
  inputs = np.load(f"{folder}/{index}-inputs.npy")
  np.save(f"{folder}/{index}-logits.npy", program.call(inputs[:size]))
"""


def check_stablehlo(names, folder):
  """Reads and runs the files of these networks in one process, for seven examples and for one."""
  sizes = [7, *(1 if index % 3 else 7 for index in range(1, len(names)))]
  for index, name in enumerate(names):
    model, inputs, _ = exported.case(name)
    (folder / f"{index}.stablehlo").write_bytes(stablehlo.content(model))
    np.save(folder / f"{index}-inputs.npy", inputs)
  command = [sys.executable, "-c", _READER, str(folder), *map(str, sizes)]
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  for index, (name, size) in enumerate(zip(names, sizes, strict=True)):
    expected, found = exported.case(name)[2][:size], np.load(folder / f"{index}-logits.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_stablehlo_of_every_family_is_read_and_run_without_sdt(tmp_path):
  names = [f"smallest {name}" for name in SMALLEST if name not in ("cait", "vit")]
  check_stablehlo([*names, "images smaller than a kernel", "vectors"], tmp_path)


@pytest.mark.slow
def test_stablehlo_of_transformers_is_read_and_run_without_sdt(tmp_path):
  check_stablehlo(["smallest cait", "smallest vit"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_stablehlo_of_every_network_is_read_and_run_without_sdt(name, tmp_path):
  check_stablehlo([name], tmp_path)


def test_a_stablehlo_file_has_the_same_bytes_for_every_caller_and_no_path():
  model = exported.network("resnet", exported.SMALL)
  first = stablehlo.content(model)
  second = (lambda: stablehlo.content(model))()
  assert first == second
  assert b".py" not in first
  assert b"sdt" not in first


def test_the_stablehlo_program_has_the_plain_operations_of_all_platforms():
  model, _, _ = exported.case("images smaller than a kernel")
  text = jax.export.deserialize(stablehlo.content(model)).mlir_module()
  # JAX itself gives a CPU another convolution. Ours would be products of matrices, and barriers.
  for word, count in {"convolution": 4, "dot_general": 1}.items():
    assert count <= text.count(f"stablehlo.{word}") <= count * len(stablehlo.PLATFORMS)
  assert "optimization_barrier" not in text
  # The one call is JAX's check of the number of examples.
  assert text.count("custom_call") == text.count("custom_call @shape_assertion")


def test_the_onnx_file_says_what_the_network_is_and_its_weights_have_names():
  model = exported.network("resnet", exported.SMALL)
  content = onnx_file.content(model)
  assert content == onnx_file.content(model)
  proto = onnx.load_from_string(content)
  said = {one.key: one.value for one in proto.metadata_props}
  assert tuple(json.loads(said["class_names"])) == exported.CLASS_NAMES
  assert json.loads(said["input_shape"]) == [8, 8, 3]
  mean, std = (json.loads(said["normalisation"])[key] for key in ("mean", "std"))
  np.testing.assert_array_equal(np.float32(mean), model.mean)
  np.testing.assert_array_equal(np.float32(std), model.std)
  assert (said["arm"], said["seed"], said["network"]) == ("method", "3", "resnet")
  described = {
    one.name: (
      one.type.tensor_type.elem_type,
      [size.dim_param or size.dim_value for size in one.type.tensor_type.shape.dim],
    )
    for one in (*proto.graph.input, *proto.graph.output)
  }
  assert described == {
    "inputs": (onnx.TensorProto.UINT8, ["batch", 8, 8, 3]),
    "logits": (onnx.TensorProto.FLOAT, ["batch", 3]),
  }
  weights = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}
  kernel = model.variables["params"]["stage1_block1"]["conv1"]["kernel"]
  np.testing.assert_array_equal(
    weights["params/stage1_block1/conv1/kernel"], kernel.transpose(3, 2, 0, 1)
  )
  # The images are turned once; BatchNorm is a product and a sum. The seventh product normalises.
  kinds = [node.op_type for node in proto.graph.node]
  assert (kinds.count("Transpose"), kinds.count("Conv"), kinds.count("Mul")) == (1, 6, 7)


def check_accuracies(workdir, test):
  results = files.read_json(workdir / "results.json")
  for arm, entry in results["arms"].items():
    for seed, accuracy in entry["accuracy"].items():
      logits = run(onnx_file.content(load_run(workdir).network(arm, int(seed))), test.inputs)
      assert np.mean(logits.argmax(-1) == test.labels) == accuracy, (arm, seed)


def test_the_accuracy_by_onnxruntime_is_that_of_the_results(reference_run):
  check_accuracies(reference_run, tiny.data(whole.CONFIG).test)


@pytest.mark.slow
def test_the_accuracy_by_onnxruntime_of_a_short_run_on_the_digits_is_that_of_the_results(tmp_path):
  config = resolve(load_config_file(ROOT / "configs/digits.py"))
  config = dataclasses.replace(
    config,
    model=whole.CONFIG.model,
    optim=dataclasses.replace(config.optim, milestones=(1,)),
    split=dataclasses.replace(config.split, class_balanced=False),
    arms=("baseline",),
    seeds=(0,),
    rounds=2,
  )
  assert whole.run(config, tmp_path / "run") == 0
  check_accuracies(tmp_path / "run", load(config.data).test)


@pytest.mark.slow
def test_the_accuracy_by_onnxruntime_on_the_digits_is_that_of_the_results(tmp_path):
  config = resolve(load_config_file(ROOT / "configs/digits.py"))
  assert whole.run(config, tmp_path / "run") == 0
  check_accuracies(tmp_path / "run", load(config.data).test)
