"""Both modes of data parallelism against one device."""

import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sdt.dispatch import Position
from sdt.errors import ConfigError
from sdt.keys import ModelConfig, OptimConfig, ParallelConfig
from sdt.models import init_variables, make_model
from sdt.optim import init_opt_state
from sdt.parallel import compile_program, fetch, make_layout, padded_batch_size, place
from sdt.setup import check
from sdt.step import TrainState, train_step


def first_steps(of, num_steps=3):
  """Returns state and sums after the first steps of A and B; the second batch has 4 examples, so the second device gets none."""
  data = tiny.data(of)
  plan = tiny.alternating(of, len(data.train), 20)
  made = tiny.trainer(dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, steps_per_dispatch=num_steps)), plan, data)
  next(made.run(Position()))
  return made.get_state()[:2]


@pytest.mark.parametrize("mode", ["jit", "pmap"])
@pytest.mark.parametrize("replicas", ["loop", "vmap"])
def test_two_devices_train_as_one(mode, replicas):
  one = tiny.resnet(augment__pad_crop=1, augment__flip=True)
  two = dataclasses.replace(one, parallel=dataclasses.replace(one.parallel, mode=mode, replicas=replicas, num_devices=2))
  expected, expected_sums = first_steps(one)
  state, sums = first_steps(two)
  for ours, theirs in ((state, expected), (sums, expected_sums)):
    for name, leaf in tiny.leaves(theirs).items():
      np.testing.assert_allclose(tiny.leaves(ours)[name], leaf, rtol=1e-5, atol=1e-5, err_msg=name)


def float64_steps(devices, mode, num_steps=20):
  """Returns the state after 20 float64 steps of a small ResNet on `devices` (None: plain jit); every third batch is partial."""
  optim = OptimConfig()
  model = make_model(ModelConfig(name="resnet", blocks=(1,), widths=(4,)), 3, dtype=jnp.float64, param_dtype=jnp.float64,
                     axis_name="data" if mode == "pmap" else None)  # fmt: skip
  variables = init_variables(model, (8, 8, 3), 0)
  state = TrainState(np.int32(0), variables["params"], variables["batch_stats"], init_opt_state(optim, variables["params"]))
  rng = np.random.default_rng(0)
  step = functools.partial(train_step, model=model, optim=optim, axis_name="data" if mode == "pmap" else None)
  if mode == "pmap":
    step_fn = jax.pmap(step, "data", in_axes=(0, 0, 0, 0, None, None, None, None), devices=devices)
    state = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(devices), *np.shape(leaf))), state)
  else:
    step_fn = jax.jit(step)
  for index in range(num_steps):
    images, labels = rng.normal(size=(8, 8, 8, 3)), rng.integers(0, 3, 8).astype(np.int32)
    batch = (images, labels, np.arange(8) < (3 if index % 3 == 2 else 8))
    if mode == "pmap":
      batch = tuple(array.reshape(len(devices), -1, *array.shape[1:]) for array in batch)
    elif mode == "jit":
      mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
      batch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    phase = np.int32(index % 2)
    state, _ = step_fn(state, *batch, np.float64(0.1), np.array([1e-2, 1e-4]), phase, {})
  return jax.tree.map(lambda leaf: np.asarray(leaf)[0], state) if mode == "pmap" else state


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_twenty_float64_steps_on_two_devices_equal_one(mode):
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    expected = tiny.leaves(float64_steps(None, "alone"))
    ours = tiny.leaves(float64_steps(jax.devices()[:2], mode))
  for name, leaf in expected.items():
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_two_devices_count_the_test_set_exactly(mode):
  of = tiny.config(seeds=(0,), rounds=1, parallel__mode=mode, parallel__num_devices=2, score__batch_size=7)
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
    with mock.patch.object(jax.stages.Lowered, "compile", autospec=True, side_effect=jax.stages.Lowered.compile) as compiling:
      compile_program(of, lambda x: x + 1.0, (x,))
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
