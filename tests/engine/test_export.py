"""Every network's training and scoring, lowered for platforms that are not here."""

import dataclasses
import functools

import jax
import jax.export
import numpy as np
import pytest

from sdt.arms.class_shares import by_class
from sdt.config.schema import RegulariseConfig
from sdt.engine import scan
from sdt.engine.score_pass import score_dispatch
from sdt.engine.state import Position
from sdt.inputs.device_data import Feed
from sdt.models.registry import MODEL_NAMES
from sdt.run.programs import Setup
from tests.support import tiny
from tests.support.networks import SMALLEST

PLATFORMS = ("cpu", "cuda", "tpu")
# Lowering costs a deep network 10 to 20 seconds: the smallest member of every family is lowered by
# default, all by `make slow`.
CASES = [
  *(
    pytest.param(
      name,
      keys,
      id=f"smallest {name}",
      marks=() if name in ("mlp", "vgg16") else pytest.mark.slow,
    )
    for name, keys in SMALLEST.items()
  ),
  *(pytest.param(name, {}, id=name, marks=pytest.mark.slow) for name in MODEL_NAMES),
]


def exports(of, overrides=None):
  """Returns the exported training dispatch (with overrides in A) and scoring dispatch of a config,
  and the network's parameters.
  """
  data = tiny.data(of)
  setup = Setup.make(of, data)
  plan = tiny.alternating(of, len(data.train), 20)
  first = dataclasses.replace(
    plan.phases[0],
    overrides=overrides or {},
    by_class=by_class(data.train.labels[plan.phases[0].example_ids], 3, overrides or {}),
  )
  plan = dataclasses.replace(plan, phases=(first, *plan.phases[1:]))
  made = setup.trainer(plan)
  start = setup.fresh_start
  made.set_state(start)
  variables = {"params": start.state.params, "batch_stats": start.state.batch_stats}
  programs = {
    "train": (
      functools.partial(scan.dispatch, made.program),
      made.arguments(made._next(Position()).clock, Feed(setup.source.data)),
    ),
    "score": (
      functools.partial(score_dispatch, setup.score_program()),
      (variables, setup.source.data, np.int32(0)),
    ),
  }
  exported = {}
  for name, (function, args) in programs.items():
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), args)
    exported[name] = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)
  return exported, start.state.params


@pytest.mark.slow_rows("vmap-bfloat16")
@pytest.mark.parametrize(
  ("replicas", "precision"),
  [
    ("loop", "float32"),
    ("vmap", "bfloat16"),
    pytest.param("loop", "bfloat16", marks=pytest.mark.slow),
    pytest.param("vmap", "float32", marks=pytest.mark.slow),
  ],
)
def test_training_and_scoring_lower_for_cpu_cuda_and_tpu(replicas, precision):
  exported, _ = exports(
    tiny.resnet(precision=precision, parallel__replicas=replicas, augment__pad_crop=1)
  )
  for name, program in exported.items():
    assert program.platforms == PLATFORMS, name
    assert "stablehlo.convolution" in program.mlir_module()


@pytest.mark.slow_rows("smallest vgg16")
@pytest.mark.parametrize(("name", "keys"), CASES)
def test_every_network_trains_and_scores_on_cpu_cuda_and_tpu(name, keys):
  model = {f"model__{key}": value for key, value in ({"hidden_sizes": None} | keys).items()}
  exported, params = exports(
    tiny.config(model__name=name, **model, seeds=(0,), precision="bfloat16")
  )
  assert [program.platforms for program in exported.values()] == [PLATFORMS] * 2
  ranks = [leaf.ndim - 1 for leaf in jax.tree.leaves(params)]
  products = {"stablehlo.convolution": ranks.count(4), "stablehlo.dot_general": ranks.count(2)}
  train_module, score_module = (program.mlir_module() for program in exported.values())
  # Scoring is one product per layer, whatever the number of examples. Each platform may have its
  # own; on a CPU a convolution over images smaller than its kernel is a matrix product.
  most = {op: count * len(PLATFORMS) for op, count in products.items()}
  most["stablehlo.dot_general"] += most["stablehlo.convolution"]
  # Attention has two products of tokens with tokens.
  blocks = sum("attention" in layer for layer in params.values())
  most["stablehlo.dot_general"] += 2 * blocks * len(PLATFORMS)
  for op, count in products.items():
    assert count <= score_module.count(op) <= most[op], op
    assert train_module.count(op) >= 2 * count, op  # training has gradients beside


@pytest.mark.slow
def test_the_regularisers_lower_for_cpu_cuda_and_tpu():
  of = tiny.config(
    seeds=(0,),
    precision="bfloat16",
    augment__pad_crop=1,
    model__name="wrn",
    model__depth=10,
    model__widen_factor=1,
    model__hidden_sizes=None,
  )
  exported, _ = exports(of, dataclasses.asdict(RegulariseConfig()))
  assert exported["train"].platforms == PLATFORMS
