"""Training on several devices against one; as a program of its own, `python many_devices.py`, on
eight simulated ones.
"""

import dataclasses
import functools
import json
import os
import re
from collections import Counter
from typing import Any, cast

if __name__ == "__main__":
  os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"}

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sdt.config import Config
from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.batch import make_batch
from sdt.engine.program import Network
from sdt.engine.state import Position, TrainState
from sdt.engine.step import StepKeys, StepNow, train_step
from sdt.engine.trainer import Trainer
from sdt.inputs.device_data import DeviceData
from sdt.inputs.order import augment_key, mixup_key
from sdt.models import init_variables, make_model
from sdt.run.programs import Setup
from tests.support import one_step, tiny

ONE = tiny.resnet(augment__pad_crop=1, augment__flip=True, parallel__steps_per_dispatch=3)


def with_parallel(of: Config, **keys: Any) -> Config:
  return dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, **keys))


def two_phases(of: Config) -> Trainer:
  """Returns a trainer of A and B at its start; the second batch has 4 examples, so of several
  devices some get none.
  """
  data = tiny.data(of)
  return tiny.trainer(of, tiny.alternating(of, len(data.train), 20), data)


@functools.cache
def first_steps(of: Config) -> Any:
  """Returns state and sums after the first dispatch of `two_phases`."""
  made = two_phases(of)
  next(made.run(Position()))
  snapshot = made.get_state()
  return snapshot.state, snapshot.sums


def collectives(made: Trainer) -> Counter[str]:
  """Returns how often each kind of message between devices stands in the compiled program."""
  (executable,) = made._executables.values()
  return Counter(
    re.findall(r" (all-\w+|collective-\w+|reduce-scatter)[\w-]*\(", cast(Any, executable).as_text())
  )


def float64_steps(num_devices: int, mode: str, num_steps: int = 20) -> TrainState:
  """Returns the state after 20 float64 steps of a small ResNet (of 0 devices: plain jit); every
  third batch is partial.
  """
  optim, devices = OptimConfig(), jax.devices()[:num_devices]
  axis_name = "data" if mode == "pmap" else None
  types: Any = {"dtype": jnp.float64, "param_dtype": jnp.float64}
  model = make_model(
    ModelConfig(name="resnet", blocks=(1,), widths=(4,)), 3, axis_name=axis_name, **types
  )
  state = one_step.first_state(init_variables(model, (8, 8, 3), 0), optim)
  rng = np.random.default_rng(0)
  step = functools.partial(train_step, network=Network(model, optim, axis_name))
  if mode == "pmap":
    step_fn = jax.pmap(step, "data", in_axes=(0, 0, None), devices=devices)
    state = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(devices), *np.shape(leaf))), state)
  else:
    step_fn = jax.jit(step)
  for index in range(num_steps):
    images, labels = rng.normal(size=(8, 8, 8, 3)), rng.integers(0, 3, 8).astype(np.int32)
    batch = one_step.batch(images, labels, np.arange(8) < (3 if index % 3 == 2 else 8))
    if mode == "pmap":
      batch = jax.tree.map(lambda array: array.reshape(len(devices), -1, *array.shape[1:]), batch)
    elif devices:
      mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
      batch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    now = one_step.now(np.float64(0.1), np.array([1e-2, 1e-4]), phase=index % 2)
    state, _ = step_fn(state, batch, now)
  return jax.tree.map(lambda leaf: np.asarray(leaf)[0], state) if mode == "pmap" else state


# Every drawing of noise is code of its own for the example and each of its partners: the program of
# all takes five times as long to compile as that of some.
SOME_OPS = ("rotate(30) noise(0.1) cutmix(1)", "black")
ALL_OPS = ("crop(1) flip rotate(30) noise(0.1) cutout(3) ricap(1)", "noise")


def augmented_inputs(
  num_devices: int, mode: str, operations: tuple[str, str] = ALL_OPS
) -> np.ndarray:
  """Returns the inputs [15, 8, 8, 3] of a batch under operations, made on several devices.

  `operations` are augment.ops and augment.fill.
  """
  of = tiny.resnet(augment__ops=operations[0], augment__fill=operations[1], batch_size=15)
  data = tiny.data(of)
  setup = Setup.make(with_parallel(of, mode=mode, num_devices=num_devices), data)
  program = setup.trainer(tiny.everything(of, len(data.train))).program
  # All numbers are arguments: XLA would draw from constant keys as it compiles, slowly.
  places = jax.tree.map(
    jnp.asarray, (np.arange(15, dtype=np.int32), np.arange(15) < 13, np.int32(0))
  )
  keys = StepKeys(augment_key(0, 0, 0), mixup_key(0, 0, 0))
  strengths = {name: np.float32(value) for name, value in setup.pipeline.strengths.items()}
  none = np.zeros(1, np.float32)
  now = dataclasses.replace(one_step.now(np.float32(0), none, overrides=strengths), keys=keys)

  def make(source: DeviceData, now: StepNow, places: Any) -> Any:
    return make_batch(program, source, now, places[0], mask=places[1], offset=places[2]).inputs

  source = setup.source.data
  if mode == "pmap":
    devices = jax.devices()[:num_devices]
    inputs = jax.pmap(make, "data", in_axes=(0, None, None), devices=devices)(source, now, places)
    return np.asarray(inputs).reshape(-1, *inputs.shape[2:])[:15]
  return np.asarray(jax.jit(make)(source, now, places))[:15]


def largest_difference(ours: Any, expected: Any) -> float:
  """Returns the largest |a - b| / (1 + |b|) of two trees."""
  pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True)
  return max(
    float(np.max(np.abs(np.asarray(a) - b) / (1 + np.abs(b)))) for a, b in pairs if np.size(b)
  )


def main() -> None:
  """Prints the largest differences as JSON: {"float64 jit 4": ...} from one device, {"by device 4":
  ...} of jit from pmap.
  """
  jax.config.update("jax_numpy_rank_promotion", "raise")
  found: dict[str, float] = {}
  counts = (4, 8)
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    alone = float64_steps(0, "jit")
    for mode in ("jit", "pmap"):
      found |= {
        f"float64 {mode} {count}": largest_difference(float64_steps(count, mode), alone)
        for count in counts
      }
  jax.config.update("jax_numpy_dtype_promotion", "strict")
  one = dataclasses.replace(ONE, seeds=(0,))
  alone = first_steps(one)
  for mode in ("jit", "pmap"):
    found |= {
      f"{mode} {count}": largest_difference(
        first_steps(with_parallel(one, mode=mode, num_devices=count)), alone
      )
      for count in counts
    }
  inputs = augmented_inputs(1, "jit")
  found |= {
    f"operations {mode} {count}": float(np.abs(augmented_inputs(count, mode) - inputs).max())
    for mode in ("jit", "pmap")
    for count in (2, 4)
  }
  by_jit, by_pmap = (
    first_steps(with_parallel(one, mode=mode, num_devices=4, batch_norm="device"))
    for mode in ("jit", "pmap")
  )
  print(json.dumps(found | {"by device 4": largest_difference(by_jit, by_pmap)}))


if __name__ == "__main__":
  main()
