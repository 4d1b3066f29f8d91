"""Times the parts of a training step: the time of a step with a part over that of one without it.

    .venv/bin/python benchmarks/costs.py [--parts=scan,augmentation,norms,finite,alternation]
    [--network=resnet20] [--batch_size=128] [--steps=8] [--repeats=8] [--out=FILE]

scan: one dispatch of K steps against K dispatches of one step (accept 0.95, aim 1.0 of the
throughput). augmentation: random crop and mirroring (accept 8 %, aim 4 %). norms: the norms of
weights, gradient and update in every step. finite: the check that every new number is finite.
alternation: phases A and B with their own decays, against the same number of steps on all examples
(accept 1.05, aim 1.01); this part also checks that the program is compiled once. The training
dynamics have benchmarks/dynamics.py, several seeds have benchmarks/replicas.py.

The cases take turns, A/B/B/A, after three rounds of warming up. The script prints the median of the
ratios of neighbours, with quartiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax.numpy as jnp
import measure
import numpy as np

from sdt.config import Config
from sdt.data import sources
from sdt.engine.plan import Phase, Plan

type Cases = dict[str, Callable[[], dict[str, float]]]


def steps_config(options: argparse.Namespace, **changes: Any) -> Config:
  return measure.steps_config(
    options.network,
    options.batch_size,
    options.steps,
    data__shapes__image_size=options.image_size,
    **changes,
  )


def scan(options: argparse.Namespace) -> Cases:
  together = measure.Training.make(steps_config(options))
  single = measure.Training.make(steps_config(options, parallel__steps_per_dispatch=1))
  return {"with": together.timed, "without": lambda: single.timed(options.steps)}


def augmentation(options: argparse.Namespace) -> Cases:
  plain = measure.Training.make(steps_config(options, augment__pad_crop=0, augment__flip=False))
  return {"with": measure.Training.make(steps_config(options)).timed, "without": plain.timed}


def without(name: str, stand_in: Callable[..., Any]) -> Callable[[argparse.Namespace], Cases]:
  """Returns a part that compares the program with one in which the named function is replaced."""

  def part(options: argparse.Namespace) -> Cases:
    whole = measure.Training.make(steps_config(options))
    with mock.patch(name, stand_in):
      less = measure.Training.make(steps_config(options))
    return {"with": whole.timed, "without": less.timed}

  return part


def alternation(options: argparse.Namespace) -> Cases:
  config = steps_config(options)
  data, size = sources.load(config.data), options.batch_size
  easy = max(1, options.steps // 8)
  ids = np.arange(options.steps * size, dtype=np.int32)[None]
  plans = {
    "with": [
      Phase("A", ids[:, : easy * size], easy, weight_decay=np.array([1e-3])),
      Phase("B", ids[:, easy * size :], options.steps - easy, weight_decay=np.array([1e-4])),
    ],
    "without": [Phase("all", ids, options.steps, weight_decay=np.array([1e-4]))],
  }
  trainings = {
    name: measure.Training.make(config, data, Plan("baseline", tuple(phases), config.rounds))
    for name, phases in plans.items()
  }

  def timed(name: str) -> dict[str, float]:
    seconds = trainings[name].timed()
    if trainings[name].trainer.num_compilations != 1:
      raise SystemExit("the program was compiled again")
    return seconds

  return {name: lambda name=name: timed(name) for name in trainings}


PARTS: dict[str, Callable[[argparse.Namespace], Cases]] = {
  "scan": scan,
  "augmentation": augmentation,
  "norms": without("sdt.engine.step.global_norm", lambda tree: jnp.zeros(())),
  "finite": without("sdt.engine.scan.is_finite", lambda tree: jnp.ones((), bool)),
  "alternation": alternation,
}


def main() -> None:
  parser = measure.parser(
    __doc__,
    parts=",".join(PARTS),
    network="resnet20",
    batch_size=128,
    image_size=32,
    steps=8,
    repeats=8,
  )
  options = parser.parse_args()
  content: dict[str, Any] = {}
  if unknown := set(options.parts.split(",")) - PARTS.keys():
    parser.error(f"--parts: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
  for name in options.parts.split(","):
    figures = measure.in_turn(PARTS[name](options), options.repeats)
    ratios = {
      key: measure.show_ratio(f"{name}: with / without", figures, "with", "without", key)
      for key in ("secs", "core_secs")
    }
    content[name] = {"ratios": ratios, "figures": figures}
  measure.write(
    options.out,
    "costs",
    {
      "network": options.network,
      "batch_size": options.batch_size,
      "steps": options.steps,
      "parts": content,
    },
  )


if __name__ == "__main__":
  main()
