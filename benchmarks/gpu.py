"""Measures a GPU in minutes: limits, command buffers, kernels, replicas, large networks, scoring.

    .venv/bin/python benchmarks/gpu.py [--parts=ceilings,buffers,kernels,replicas,networks,scoring]
    [--network=resnet56] [--out=FILE]

With --tiny everything is small enough for a CPU, to check that the script works; its numbers then
mean nothing. To compare with torch, use benchmarks/train_speed.py --torch_python=PATH
--network=resnet56 --baselines=T1,T2,T3.

ceilings: a copy, a product of bfloat16 matrices, and the time of a kernel that does nothing.
buffers: a step with XLA's choice for command buffers (CUDA graphs), with convolutions in them, with
convolutions and loops in them; step by step, and 50 steps in one dispatch.
kernels: how many kernels a step starts, and how many different ones.
replicas: 2, 4, 8 seeds under vmap, unrolled, and one after the other: time per replica over the
time of one seed alone.
networks: images per second, and their share of the limit of an H200 (compute, bandwidth, launches).
scoring: a scoring pass over the training set, against a training epoch of as many examples; and the
same pass with each BatchNorm reduced to its addition, as if it were folded into the convolutions.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import functools
import glob
import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import measure
import replicas as replicas_benchmark

from sdt.data import sources
from sdt.devices.layout import place
from sdt.engine.score_pass import ScoreRunner
from sdt.errors import ConfigError
from sdt.models.norms import BatchNorm

# XLA has no option that adds to its list (jax 0.12).
USUAL = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION"
BUFFERS = {
  "default": None,
  "convolutions": f"{USUAL},CONVOLUTION",
  "convolutions and loops": f"{USUAL},CONVOLUTION,WHILE",
}
# Thousands of images a second at batch 128 in bfloat16 on one H200: the least of compute, bandwidth
# after fusion, and kernels of 2 us.
LIMITS = {
  "resnet20": 277,
  "resnet56": 105,
  "resnet110": 54,
  "vgg16": 420,
  "vgg19": 331,
  "densenet_bc100": 34,
  "wrn28_10": 25,
}


def config(options: argparse.Namespace, network: str | None = None, **changes: Any) -> Any:
  size = {"data__shapes__image_size": options.image_size, **changes}
  return measure.steps_config(
    network or options.network, options.batch_size, size.pop("steps", options.steps), **size
  )


def ceilings(options: argparse.Namespace) -> dict[str, Any]:
  side, length = (256, 2**16) if options.tiny else (8192, 2**28)
  matrix, vector, nothing = jnp.ones((side, side), jnp.bfloat16), jnp.ones(length), jnp.zeros(())
  many = 20 if options.tiny else 1000
  work: dict[str, tuple[Callable[..., Any], Any, float, str]] = {
    "copy": (jax.jit(lambda x: x + 1.0), vector, 2 * vector.nbytes / 1e12, "TB/s"),
    "product": (jax.jit(lambda x: x @ x), matrix, 2 * side**3 / 1e12, "TFLOP/s"),
    "kernel": (
      jax.jit(lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=many)[0]),
      nothing,
      many / 1e6,
      "million/s",
    ),
  }
  figures = measure.in_turn(
    {name: lambda f=f, x=x: measure.timed(lambda: f(x)) for name, (f, x, _, _) in work.items()},
    options.repeats,
  )
  speeds = {
    name: amount / measure.median(figures, name) for name, (_, _, amount, _) in work.items()
  }
  for name, speed in speeds.items():
    print(f"{name:8} {speed:10.3f} {work[name][3]}")
  return speeds


def buffers(options: argparse.Namespace) -> dict[str, Any]:
  many = 3 if options.tiny else 50
  cases = {}
  for name, wanted in BUFFERS.items():
    for steps in (1, many):
      try:
        own = (
          {}
          if wanted is None
          else {"parallel__compiler_options": f"xla_gpu_enable_command_buffer={wanted}"}
        )
        training = measure.Training.make(config(options, steps=steps, **own))
        training.dispatch()
      except (ConfigError, jax.errors.JaxRuntimeError) as error:
        print(f"{name}, {steps} steps: refused: {str(error).splitlines()[0]}")
        continue
      cases[f"{name}, {steps} a dispatch"] = functools.partial(training.timed, many // steps)
  figures = measure.in_turn(cases, options.repeats)
  millisecs = {name: 1e3 * measure.median(figures, name) / many for name in cases}
  for name, value in millisecs.items():
    print(f"{name:40} {value:9.3f} ms a step")
  return millisecs


def kernels(options: argparse.Namespace) -> dict[str, Any]:
  training = measure.Training.make(config(options))
  training.dispatch()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      training.dispatch()
    (path,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
    with gzip.open(path) as file:
      events = json.load(file)["traceEvents"]
  names = collections.Counter(
    event["args"]["hlo_op"] for event in events if "hlo_op" in event.get("args", {})
  )
  result = {"a_step": names.total() / options.steps, "names": len(names)}
  print(
    f"kernels: {result['a_step']:.0f} a step, of {result['names']} names; most often "
    f"{', '.join(name for name, _ in names.most_common(5))}"
  )
  return result


def replicas(options: argparse.Namespace) -> dict[str, Any]:
  own = dataclasses.replace(config(options), rounds=2)
  data, tables = sources.load(own.data), {}
  for count in (2,) if options.tiny else (2, 4, 8):
    print(f"{count} replicas")
    tables[count] = replicas_benchmark.compare(own, data, count, repeats=options.repeats)
  return tables


def networks(options: argparse.Namespace) -> dict[str, Any]:
  speeds = {}
  for network in ("resnet8",) if options.tiny else LIMITS:
    training = measure.Training.make(config(options, network))
    figures = measure.in_turn({network: training.timed}, options.repeats)
    speeds[network] = options.steps * options.batch_size / measure.median(figures, network)
    share = (
      f"{speeds[network] / LIMITS[network] / 1e3:.2f} of the limit of an H200"
      if network in LIMITS
      else ""
    )
    print(f"{network:16} {speeds[network]:9.0f} images/s {share}", flush=True)
  return speeds


@contextlib.contextmanager
def folded() -> Iterator[None]:
  """Reduces each BatchNorm, in evaluation mode, to the addition of one number per channel."""
  whole = BatchNorm.__call__

  def call(
    self: BatchNorm, x: jax.Array, *, train: bool, mask: jax.Array | None = None
  ) -> jax.Array:
    if train or self.is_initializing():
      return whole(self, x, train=train, mask=mask)
    return x + self.get_variable("params", "bias").astype(x.dtype).reshape(
      (1,) * (x.ndim - 1) + (-1,)
    )

  with mock.patch.object(BatchNorm, "__call__", call):
    yield


def score_pass(training: measure.Training) -> Callable[[], dict[str, float]]:
  """Returns what scores the whole training set; it is compiled here."""
  setup = training.setup
  state = setup.fresh_start.state
  variables = place(setup.layout, state.variables)
  runner = ScoreRunner(setup.score_program(), setup.source)
  work = functools.partial(runner.scores, variables)
  work()
  return lambda: measure.timed(work)


def scoring(options: argparse.Namespace) -> dict[str, Any]:
  training = measure.Training.make(config(options))
  cases = {"epoch": training.timed, "scoring": score_pass(training)}
  with folded():
    cases["folded"] = score_pass(training)
  figures = measure.in_turn(cases, options.repeats)
  pairs = (("scoring / epoch", "scoring", "epoch"), ("folded / not", "folded", "scoring"))
  return {
    name: {key: measure.show_ratio(name, figures, *pair, key) for key in ("secs", "core_secs")}
    for name, *pair in pairs
  }


PARTS = {part.__name__: part for part in (ceilings, buffers, kernels, replicas, networks, scoring)}


def main() -> None:
  parser = measure.parser(
    __doc__,
    parts=",".join(PARTS),
    network="resnet56",
    batch_size=128,
    image_size=32,
    steps=20,
    repeats=8,
  )
  parser.add_argument("--tiny", action="store_true")
  options = parser.parse_args()
  if options.tiny:
    vars(options).update(network="resnet8", batch_size=4, image_size=8, steps=2, repeats=1)
  content = {}
  for name in options.parts.split(","):
    print(f"== {name}", flush=True)
    content[name] = PARTS[name](options)
  measure.write(
    options.out, "gpu", {"tiny": options.tiny, "network": options.network, "parts": content}
  )


if __name__ == "__main__":
  main()
