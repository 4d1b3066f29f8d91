"""Scores: how well a trained network fits each single training example. A vmap of a one-example function over the dataset."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.data.batches import num_batches
from sdt.evaluate import batch_inputs, batch_positions, predict
from sdt.losses import accumulator_dtype
from sdt.parallel import Layout, compile_program, fetch, gather_batch, padded_batch_size, place, shard_batch
from sdt.train import map_replicas


def log_odds(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns z_y - log sum_{k != y} exp(z_k) of each example, in (-inf, inf); larger is easier.

  The same order as the softmax probability of the own label, which in float32 is exactly 1 from a margin of about 16 on: ranked by it, ties
  and so the order of the data set would decide who is among the easiest.

  Args:
    logits: [..., K] float, K >= 2, unnormalised; computed in float32 at least.
    labels: [...] int32 in [0, K).
  Returns:
    [...] float32 (float64 for float64 logits), in the order of `labels`.
  Source: the logit of the paper's score. Differs from source: by this strictly increasing transform.
  """
  logits = logits.astype(accumulator_dtype(logits.dtype))
  is_own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  own = jnp.sum(jnp.where(is_own, logits, 0.0), axis=-1)
  return own - jax.nn.logsumexp(jnp.where(is_own, -jnp.inf, logits), axis=-1)


def confidence(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns softmax(logits)[label] of each example, in [0, 1]; larger is easier. Shapes as in `log_odds`.

  Source: the paper, Algorithm 1, step 2. Differs from source: none; computed as the sigmoid of the log-odds.
  """
  return jax.nn.sigmoid(log_odds(logits, labels))


@dataclasses.dataclass(frozen=True)
class Scorer:
  """A score of a single pass: the function of (logits, labels), which end is easy, and its range."""

  function: Callable[[jax.Array, jax.Array], jax.Array]
  direction: str
  range: tuple[float | None, float | None]


SCORERS = {
  "confidence": Scorer(confidence, "higher_is_easier", (0.0, 1.0)),
  "log_odds": Scorer(log_odds, "higher_is_easier", (None, None)),
}


@dataclasses.dataclass(frozen=True)
class ScoreProgram:
  """Everything static about a scoring program."""

  model: Any
  layout: Layout
  crop_size: int | None
  replicas: str
  batch_size: int
  batches_per_dispatch: int


def _example_scores(model: Any, variables: Any, one_input: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
  """Returns every score of one example, [] each; one_input [H, W, C] or [D], normalised."""
  logits = predict(model, variables, one_input[None])[0]
  return {name: scorer.function(logits, label) for name, scorer in SCORERS.items()}


def _score_batch(program: ScoreProgram, data: Any, index: jax.Array, variables: Any) -> dict[str, jax.Array]:
  """Returns every score of batch `index` of the training set, [B] each."""
  size = padded_batch_size(program.batch_size, program.layout)
  positions = shard_batch(program.layout, batch_positions(index, size, data["train_labels"].shape[0])[0])
  inputs = batch_inputs(data, "train", positions, program.crop_size)
  one_example = functools.partial(_example_scores, program.model, variables)
  scores = jax.vmap(one_example)(inputs, data["train_labels"][positions])
  return {name: gather_batch(program.layout, values) for name, values in scores.items()}


def score_dispatch(program: ScoreProgram, variables: Any, data: Any, first_batch: jax.Array) -> dict[str, jax.Array]:
  """Returns the scores of batches [first_batch, first_batch + batches_per_dispatch), each [batches, R, B]; the end is padding."""

  def body(carry: None, offset: jax.Array) -> tuple[None, dict[str, jax.Array]]:
    score_fn = functools.partial(_score_batch, program, data, first_batch + offset)
    return carry, map_replicas(program.replicas, score_fn)(variables)

  return jax.lax.scan(body, None, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[1]


def score(
  program: ScoreProgram, variables: Any, data: Any, num_examples: int, after_dispatch: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, np.ndarray]:
  """Returns every score of every training example under every replica's network, float32 [R, N] each, in the order of the data set.

  Args:
    program: the static part.
    variables: `params` and `batch_stats`, leaves [R, ...], placed.
    data: placed training set: train_inputs, train_sizes, train_labels, shift, scale.
    num_examples: N.
    after_dispatch: called with (batches done, batches in all); a place to show progress and to stop.
  """
  total = num_batches(num_examples, padded_batch_size(program.batch_size, program.layout))
  parts: list[dict[str, np.ndarray]] = []
  compiled = None
  for first in range(0, total, program.batches_per_dispatch):
    first_batch = place(program.layout, np.int32(first))
    if compiled is None:
      compiled = compile_program(program.layout, functools.partial(score_dispatch, program), (variables, data, first_batch))
    parts.append(fetch(program.layout, compiled(variables, data, first_batch)))
    after_dispatch(min(first + program.batches_per_dispatch, total), total)
  scores = {}
  for name in SCORERS:
    batches = np.concatenate([part[name] for part in parts])  # [batches, R, B]
    scores[name] = np.ascontiguousarray(batches.swapaxes(0, 1).reshape(batches.shape[1], -1)[:, :num_examples])
  return scores
