"""The scoring pass (Algorithm 1, step 2): scores the whole training set under every replica."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from sdt.config.score_names import OTHER_CLASS, PROBABILITIES
from sdt.devices.compile import Executable, compile_program, map_replicas
from sdt.devices.layout import fetch, gather_batch, place, place_replicas, shard_batch
from sdt.engine.evaluate import batch_inputs, batch_positions, predict, predict_with_features
from sdt.engine.norms import global_norm
from sdt.engine.program import PassProgram
from sdt.inputs.device_data import DeviceData
from sdt.inputs.order import num_batches
from sdt.inputs.source import Source
from sdt.inputs.stream import ascending
from sdt.scores.formulas import SCORERS, Outputs, loss, other_class
from sdt.types import Model, Params, Variables


def grand(
  model: Model, variables: Variables, one_input: Shaped[Array, "..."], label: Int[Array, ""]
) -> Float[Array, ""]:
  """Returns ||grad loss||_2 of one example by all parameters, [] in [0, inf); larger is harder.

  It is the gradient of `loss`, which keeps its digits where p_y - 1 is 0 in float32 (from a margin
  of about 16 on).

  Args:
    model: the network, in evaluation mode.
    variables: `params` and `batch_stats`.
    one_input: [H, W, C] or [D], normalised.
    label: [] int32.
  Source: Paul, Ganguli and Dziugaite 2021, "Deep Learning on a Data Diet", definition 2.1. Differs
  from source: of one network, where the paper takes the mean over ten, early in training.
  """

  def loss_of(params: Params) -> Float[Array, ""]:
    logits = predict(model, {**variables, "params": params}, one_input[None])[0]
    return loss(Outputs(logits, None), label)

  return global_norm(jax.grad(loss_of)(variables["params"]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreProgram(PassProgram):
  """Everything static about a scoring program.

  Attributes:
    batches_per_dispatch: batches of one dispatch.
    gradients_at_once: of how many examples each device computes `grand` together, 0 for none.
    has_probabilities: whether the probabilities of all classes come along.
  """

  batches_per_dispatch: int
  gradients_at_once: int = 0
  has_probabilities: bool = False


def _example_scores(
  program: ScoreProgram,
  variables: Variables,
  one_input: Shaped[Array, "..."],
  label: Int[Array, ""],
) -> dict[str, Shaped[Array, "..."]]:
  """Returns every score of one example and its `other_class`, [] each.

  The program may ask for `probabilities` [K] too. one_input: [H, W, C] or [D], normalised.
  """
  logits, features = predict_with_features(program.model, variables, one_input[None])
  outputs = Outputs(logits[0], features[0])
  scores = {name: scorer(outputs, label) for name, scorer in SCORERS.items()}
  if program.has_probabilities:
    scores[PROBABILITIES] = jax.nn.softmax(logits[0])
  return scores | {OTHER_CLASS: other_class(outputs, label)}


def _score_batch(
  program: ScoreProgram,
  data: DeviceData,
  first: Int[Array, ""],
  offset: Int[Array, ""],
  variables: Variables,
) -> dict[str, Shaped[Array, "B ..."]]:
  """Returns every score of batch `first + offset` of the training set, [B] each.

  `vmap` scores the examples of the batch side by side, each alone.
  """
  labels, layout = data.train.labels, program.layout
  size, num_examples = program.padded_eval_batch_size, labels.shape[0]
  positions = batch_positions(first + offset, size, num_examples)[0]
  inputs = batch_inputs(program, data, data.train, positions=positions, offset=offset)
  labels = labels[shard_batch(layout, positions)]
  scores = jax.vmap(functools.partial(_example_scores, program, variables))(inputs, labels)
  if program.gradients_at_once:
    # All at once would hold a gradient of every parameter for each example of the batch.
    of_one = functools.partial(grand, program.model, variables)
    scores["grand"] = _in_chunks(program, of_one, (inputs, labels))
  return {name: gather_batch(layout, values) for name, values in scores.items()}


def _in_chunks(
  program: ScoreProgram, function: Callable[..., jax.Array], arrays: tuple[jax.Array, ...]
) -> jax.Array:
  """Returns `function` of each example of `arrays` [B, ...], [B], `gradients_at_once` at a time."""
  # Under jit the batch lies over the devices in as many stretches; a chunk takes a part of each, so
  # that nothing moves between them.
  stretches = program.layout.batch_parts if program.layout.mode == "jit" else 1
  length = arrays[0].shape[0] // stretches
  size = next(
    size for size in range(min(length, program.gradients_at_once), 0, -1) if length % size == 0
  )

  def cut(array: jax.Array) -> jax.Array:
    return array.reshape(stretches, length // size, size, *array.shape[1:]).swapaxes(0, 1)

  def of_chunk(chunk: tuple[jax.Array, ...]) -> jax.Array:
    together = (array.reshape(stretches * size, *array.shape[2:]) for array in chunk)
    return jax.vmap(function)(*together).reshape(stretches, size)

  return jax.lax.map(of_chunk, tuple(map(cut, arrays))).swapaxes(0, 1).reshape(-1)


def score_dispatch(
  program: ScoreProgram, variables: Variables, data: DeviceData, first_batch: Int[Array, ""]
) -> dict[str, Shaped[Array, "G R B ..."]]:
  """Returns the scores of batches `first_batch` to `+ batches_per_dispatch`, [G, R, B] each.

  Examples beyond the end of the training set are padding.
  """

  def body(carry: None, offset: Int[Array, ""]) -> tuple[None, dict[str, Shaped[Array, "R B ..."]]]:
    score_fn = functools.partial(_score_batch, program, data, first_batch, offset)
    return carry, map_replicas(program.replicas, score_fn)(variables)

  return jax.lax.scan(body, None, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[1]


class ScoreRunner:
  """Scores a training set under any networks of one kind; the program is compiled once."""

  def __init__(self, program: ScoreProgram, source: Source) -> None:
    self._program, self._source = program, source
    self._compiled: Executable | None = None
    self.num_batches = num_batches(source.num_train, program.padded_eval_batch_size)

  def scores(
    self,
    variables: Variables,
    after_dispatch: Callable[[int, int], None] = lambda done, total: None,
  ) -> dict[str, Shaped[np.ndarray, "R N ..."]]:
    """Returns every score of every training example under every replica's network, [R, N] each.

    Args:
      variables: `params` and `batch_stats`, leaves [R, ...], on the host.
      after_dispatch: called with (batches done, batches in all); a place to show progress and to
        stop.
    Returns:
      float32, and int32 for `other_class`, in the order of the data set. `probabilities` are
      [R, N, K].
    """
    program, parts, total = self._program, [], self.num_batches
    layout, group = program.layout, program.batches_per_dispatch
    variables = place_replicas(layout, variables)
    positions = ascending(program.padded_eval_batch_size)
    with self._source.pass_over("train", positions, total, group=group) as dispatches:
      for first in range(0, total, group):
        arguments = variables, next(dispatches), place(layout, np.int32(first))
        if self._compiled is None:
          self._compiled = compile_program(
            layout, score_dispatch, program, args=arguments, replica_axes=1
          )
        parts.append(fetch(layout, self._compiled(*arguments)))
        del arguments  # the inputs are not needed any more when the next are asked for
        after_dispatch(min(first + group, total), total)
    return {name: self._joined([part[name] for part in parts]) for name in parts[0]}

  def _joined(self, parts: list[Shaped[np.ndarray, "G R B ..."]]) -> Shaped[np.ndarray, "R N ..."]:
    """Returns the scores of all dispatches in the order of the data set, without the padding."""
    batches = np.concatenate(parts)
    by_seed = batches.swapaxes(0, 1)
    scores = by_seed.reshape(len(by_seed), -1, *batches.shape[3:])[:, : self._source.num_train]
    return np.ascontiguousarray(scores)
