"""Times a training step that unrolls the blocks of a stage against one that scans over them.

    .venv/bin/python benchmarks/stage_scan.py [--networks=paper_resnet56,paper_resnet110]
    [--batch_size=64] [--repeats=3] [--out=FILE]

The program is two steps of SGD with momentum in a `lax.scan`, as in the engine, on 32x32 images.
"unrolled" is the network as it is. "scan" runs all blocks of a stage except the first in an inner
`lax.scan` over their stacked parameters. The script checks that both agree. Every repeat compiles
and runs them in the order A/B/A, so a drift of the machine affects both alike. The script prints
medians, and ratios of scan to unrolled.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import measure
import numpy as np

from sdt.config.schema import ModelConfig
from sdt.models import init_variables, make_model
from sdt.models.conv import barrier
from sdt.models.layers import Conv, Linear, mean_over_pixels
from sdt.models.norms import BatchNorm
from sdt.models.resnet import ResidualBlock, ResNet

IMAGE_SHAPE = (32, 32, 3)
STEPS = 2
FORMS = ("unrolled", "scan", "unrolled")
Tree = Any


def stack_stages(tree: Tree) -> Tree:
  """Returns one collection's variables with blocks 2, 3, ... of a stage stacked: stage<i>_rest."""
  stacked = {
    name: value
    for name, value in tree.items()
    if not re.fullmatch(r"stage\d+_block(?!1$)\d+", name)
  }
  for stage in sorted({name.split("_")[0] for name in tree if name.startswith("stage")}):
    rest = [
      tree[name]
      for name in sorted(tree, key=len)
      if name.startswith(f"{stage}_") and name not in stacked
    ]
    stacked[f"{stage}_rest"] = jax.tree.map(lambda *leaves: np.stack(leaves), *rest)
  return stacked


def one_block(
  block: ResidualBlock, x: jax.Array, variables: tuple[Tree, Tree]
) -> tuple[jax.Array, Tree]:
  params, stats = variables
  y, updated = block.apply(
    {"params": params, "batch_stats": stats}, x, train=True, mask=None, mutable=["batch_stats"]
  )
  return y, updated["batch_stats"]


def scanned_forward(
  model: ResNet, params: Tree, stats: Tree, x: jax.Array
) -> tuple[jax.Array, Tree]:
  """Returns logits and new statistics in training mode, from stacked variables."""
  new_stats = {}

  def run(module: Any, name: str, x: jax.Array, **options: Any) -> jax.Array:
    variables = {"params": params[name], "batch_stats": stats.get(name, {})}
    y, updated = module.apply(variables, x, mutable=["batch_stats"], **options)
    if name in stats:
      new_stats[name] = updated["batch_stats"]
    return y

  x = run(Conv(model.widths[0], 3, padding=1), "stem_conv", x)
  x = barrier(jax.nn.relu(run(BatchNorm(), "stem_norm", x, train=True)))
  for stage, width in enumerate(model.widths, start=1):
    make = functools.partial(
      ResidualBlock, width, bottleneck=model.bottleneck, shortcut=model.shortcut
    )
    x = run(make(2 if stage > 1 else 1), f"stage{stage}_block1", x, train=True, mask=None)

    rest = params[f"stage{stage}_rest"], stats[f"stage{stage}_rest"]
    x, new_stats[f"stage{stage}_rest"] = jax.lax.scan(
      functools.partial(one_block, make(1)), x, rest
    )
  return run(Linear(model.num_classes), "head", mean_over_pixels(x)), new_stats


def unrolled_forward(
  model: ResNet, params: Tree, stats: Tree, x: jax.Array
) -> tuple[jax.Array, Tree]:
  logits, updated = model.apply(
    {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
  )
  return logits, updated["batch_stats"]


def training(forward: Callable[..., tuple[jax.Array, Tree]], model: ResNet) -> Callable[..., Any]:
  """Returns train(state, images, labels) -> (state, losses [STEPS]).

  The state holds parameters, statistics and momenta.
  """

  def loss_fn(
    params: Tree, stats: Tree, images: jax.Array, labels: jax.Array
  ) -> tuple[jax.Array, Tree]:
    logits, stats = forward(model, params, stats, images)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), stats

  def step(state: Tree, batch: tuple[jax.Array, jax.Array]) -> tuple[Tree, jax.Array]:
    params, stats, momenta = state
    (loss, stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, *batch)
    momenta = jax.tree.map(lambda m, g, w: 0.9 * m + g + 1e-4 * w, momenta, gradients, params)
    return (jax.tree.map(lambda w, m: w - 0.1 * m, params, momenta), stats, momenta), loss

  return lambda state, images, labels: jax.lax.scan(step, state, (images, labels))


def start(form: str, variables: Tree) -> Tree:
  if form == "scan":
    variables = {kind: stack_stages(tree) for kind, tree in variables.items()}
  return (
    variables["params"],
    variables["batch_stats"],
    jax.tree.map(np.zeros_like, variables["params"]),
  )


def measure_form(
  form: str, model: ResNet, state: Tree, batches: Tree, runs: int
) -> tuple[dict[str, list[float]], np.ndarray]:
  """Returns the seconds of tracing, compiling and a step, temporary memory, and the losses."""
  jax.clear_caches()
  program = jax.jit(training({"unrolled": unrolled_forward, "scan": scanned_forward}[form], model))
  made: dict[str, Any] = {}
  trace = measure.timed(lambda: made.update(lowered=program.lower(state, *batches)))
  compile_ = measure.timed(lambda: made.update(compiled=made["lowered"].compile()))
  compiled = made["compiled"]
  figures = {f"trace_{key}": [value] for key, value in trace.items()} | {
    f"compile_{key}": [value] for key, value in compile_.items()
  }
  figures["temporary_mb"] = [compiled.memory_analysis().temp_size_in_bytes / 1e6]
  _, losses = compiled(state, *batches)
  losses = np.asarray(losses)
  for _ in range(runs):
    for key, value in measure.timed(lambda: compiled(state, *batches)).items():
      figures.setdefault(f"step_{key}", []).append(value / STEPS)
  return figures, losses


def compare(name: str, batch_size: int, repeats: int, runs: int) -> dict[str, Any]:
  """Returns the figures of a network in both forms, and the ratios of their medians."""
  model = make_model(ModelConfig(name=name), 10)
  variables = init_variables(model, IMAGE_SHAPE, 0)
  rng = np.random.default_rng(0)
  batches = (
    rng.normal(size=(STEPS, batch_size, *IMAGE_SHAPE)).astype(np.float32),
    rng.integers(0, 10, (STEPS, batch_size)),
  )
  figures: dict[str, dict[str, list[float]]] = {form: {} for form in FORMS}
  losses = {}
  for _ in range(repeats):
    for form in FORMS:
      one, losses[form] = measure_form(form, model, start(form, variables), batches, runs)
      for key, value in one.items():
        figures[form].setdefault(key, []).extend(value)
  np.testing.assert_allclose(losses["scan"], losses["unrolled"], rtol=1e-3)
  medians = {
    form: {key: statistics.median(values) for key, values in of.items()}
    for form, of in figures.items()
  }
  ratios = {key: medians["scan"][key] / medians["unrolled"][key] for key in medians["scan"]}
  print(f"{'':16} {'':9} " + " ".join(ratios))
  for form, row in [*medians.items(), ("ratio", ratios)]:
    print(
      f"{name:16} {form:9} " + " ".join(f"{row[key]:{len(key)}.3f}" for key in ratios), flush=True
    )
  return {"figures": figures, "ratios": ratios}


def main() -> None:
  options = measure.parser(
    __doc__, networks="paper_resnet56,paper_resnet110", batch_size=64, repeats=3, runs=2
  ).parse_args()
  networks = {
    name: compare(name, options.batch_size, options.repeats, options.runs)
    for name in options.networks.split(",")
  }
  measure.write(options.out, "stage_scan", {"batch_size": options.batch_size, "networks": networks})


if __name__ == "__main__":
  main()
