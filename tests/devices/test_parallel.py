"""Both modes of data parallelism against one device."""

import functools
import json
import os
import subprocess
import sys
from unittest import mock

import jax
import numpy as np
import pytest

from sdt.arms.checks import check
from sdt.config.schema import ParallelConfig
from sdt.devices.compile import compile_program
from sdt.devices.layout import fetch, make_layout, padded_batch_size, place
from sdt.engine.state import Position
from sdt.errors import ConfigError
from tests.support import tiny
from tests.support.many_devices import (
  ALL_OPS,
  ONE,
  SOME_OPS,
  augmented_inputs,
  collectives,
  first_steps,
  float64_steps,
  two_phases,
  with_parallel,
)
from tests.support.places import ROOT, SUPPORT
from tests.support.quick import only


@pytest.mark.slow_rows("pmap-vmap")
@pytest.mark.parametrize(
  ("mode", "replicas"),
  [
    ("jit", "loop"),
    ("pmap", "vmap"),
    pytest.param("jit", "vmap", marks=pytest.mark.slow),
    pytest.param("pmap", "loop", marks=pytest.mark.slow),
  ],
)
def test_two_devices_train_as_one(mode, replicas):
  expected, expected_sums = first_steps(ONE)
  made = two_phases(with_parallel(ONE, mode=mode, replicas=replicas, num_devices=2))
  next(made.run(Position()))
  snapshot = made.get_state()
  state, sums = snapshot.state, snapshot.sums
  for ours, theirs in ((state, expected), (sums, expected_sums)):
    for name, leaf in tiny.leaves(theirs).items():
      np.testing.assert_allclose(tiny.leaves(ours)[name], leaf, rtol=1e-5, atol=1e-5, err_msg=name)
  # A step: the number of valid examples; the statistics of each of the three BatchNorms, and their
  # gradients, for which the layer below waits; the other gradients with the loss. An evaluation
  # batch: the loss, and the counts.
  if replicas == "loop":
    assert collectives(made) == {"all-reduce": 2 + 2 * 3 + 2}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("mode", "operations"),
  [
    ("jit", SOME_OPS),
    pytest.param("jit", ALL_OPS, marks=pytest.mark.slow),
    pytest.param("pmap", ALL_OPS, marks=pytest.mark.slow),
  ],
  ids=["jit", "jit-all", "pmap-all"],
)
def test_operations_have_the_same_bits_on_two_devices(mode, operations):
  ours = augmented_inputs(2, mode, operations)
  np.testing.assert_array_equal(ours, one_device_inputs(operations))


@functools.cache
def one_device_inputs(operations):
  return augmented_inputs(1, "jit", operations)


@pytest.fixture(scope="module")
def float64_alone():
  """Returns the leaves of `float64_steps` without a mode of several devices."""
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    return tiny.leaves(float64_steps(0, "jit"))


@pytest.mark.parametrize("mode", only(["jit"], ["jit", "pmap"]))
def test_twenty_float64_steps_on_two_devices_equal_one(mode, float64_alone):
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    ours = tiny.leaves(float64_steps(2, mode))
  for name, leaf in float64_alone.items():
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_four_and_eight_devices_train_as_one(figure):
  command = [sys.executable, str(SUPPORT / "many_devices.py")]
  own = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "8"}
  found = json.loads(
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=500, env=own).stdout
  )
  figure(f"largest relative difference from one device: {found}")
  assert len(found) == 13
  assert not any(found[name] for name in found if name.startswith("operations"))
  assert {
    name: value
    for name, value in found.items()
    if value > (1e-9 if name.startswith("float64") else 1e-5)
  } == {}


@pytest.mark.parametrize("mode", only(["jit"], ["jit", "pmap"]))
def test_two_devices_count_the_test_set_exactly(mode):
  of = tiny.config(
    seeds=(0,), rounds=1, parallel__mode=mode, parallel__num_devices=2, score__batch_size=7
  )
  _, finished = tiny.train(of, tiny.everything(of, 70, rounds=1), tiny.data(of))
  assert finished[0].sums.test_count.tolist() == [30]
  assert finished[0].sums.train_count.sum() == 70


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_placing_and_fetching_gives_the_same_arrays(mode):
  layout = make_layout(ParallelConfig(mode=mode))
  assert layout.num_devices == 2
  tree = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.float32(1.5)}
  tiny.assert_equal(fetch(layout, place(layout, tree)), tree)


def test_batches_are_padded_to_a_multiple_of_the_devices():
  layout = make_layout(ParallelConfig())
  assert [padded_batch_size(size, layout) for size in (1, 2, 7, 128)] == [2, 2, 8, 128]


def test_more_devices_than_exist_are_refused():
  with pytest.raises(ConfigError, match=r"parallel\.num_devices=99: this machine has 2 cpu"):
    make_layout(ParallelConfig(num_devices=99))


def test_options_of_the_compiler_reach_every_program_and_change_no_other_run():
  text = "xla_cpu_enable_fast_math=true xla_gpu_enable_command_buffer=FUSION,CUBLAS,CONVOLUTION"
  layout = make_layout(ParallelConfig(compiler_options=text))
  assert dict(layout.compiler_options) == {
    "xla_cpu_enable_fast_math": True,
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CONVOLUTION",
  }
  plain = make_layout(ParallelConfig())
  x = place(plain, np.array([np.nan, 1.0], np.float32))
  told = {}
  for name, of in (("fast", layout), ("plain", plain)):
    with mock.patch.object(
      jax.stages.Lowered, "compile", autospec=True, side_effect=jax.stages.Lowered.compile
    ) as compiling:
      compile_program(of, lambda more, x: x + more, 1.0, args=(x,))
    told[name] = compiling.call_args.kwargs["compiler_options"]
  assert told == {"fast": dict(layout.compiler_options), "plain": None}


@pytest.mark.parametrize(
  ("text", "part"),
  [
    ("xla_cpu_enable_fast_math", "'xla_cpu_enable_fast_math' is not NAME=VALUE"),
    ("xla_no_such_thing=1", "No such compile option"),
    ("xla_gpu_enable_command_buffer=BLA", "not a valid enum value"),
  ],
)
def test_options_that_the_compiler_does_not_know_are_refused_before_any_data_are_read(text, part):
  with pytest.raises(ConfigError, match=part) as caught:
    check(tiny.config(parallel__compiler_options=text))
  assert str(caught.value).startswith("parallel.compiler_options: ")
