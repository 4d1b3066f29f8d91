"""Runs the networks of a run on any number of examples: batch by batch, in constant memory."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float32, Float64, Int, Shaped

from sdt.config.schema import ParallelConfig
from sdt.config.toolbox.view_blocks import CENTRE, View
from sdt.devices.layout import AXIS, make_layout, padded_batch_size, place
from sdt.engine.averages import log_mean_over_views
from sdt.engine.evaluate import predict
from sdt.inputs.preprocess import Preparation, prepare
from sdt.trained.model import Model
from sdt.types import Model as Network
from sdt.types import Variables

_BATCHES_AHEAD = 2  # on the devices, while the host prepares the next


class Predictor:
  """Networks of one shape, the seeds of an arm, on the devices; one compiled program for all.

  Every batch has the same size: a smaller one is filled up. So what is said of an example does not
  depend on the others.
  """

  def __init__(
    self,
    models: Sequence[Model],
    *,
    batch_size: int,
    precision: str = "float32",
    views: tuple[View, ...] = (CENTRE,),
  ):
    """Places the networks on the devices.

    Args:
      models: of one arm, which differ in their weights only.
      batch_size: examples a batch.
      precision: in which the layers compute, such as that of the run.
      views: of every image; its probabilities are the mean over them.
    """
    self.model, self._views = models[0], views
    self._layout = make_layout(ParallelConfig())
    self._batch_size = padded_batch_size(batch_size, self._layout)
    self._variables = [place(self._layout, model.variables) for model in models]
    self._preparation = place(self._layout, self.model.preparation())
    self._network = self.model.module.clone(dtype=np.dtype(jax.numpy.dtype(precision)))

  @property
  def num_networks(self) -> int:
    return len(self._variables)

  def logits(
    self, parts: Iterable[Shaped[np.ndarray, "m ..."]]
  ) -> Iterator[Float32[np.ndarray, "R n K"]]:
    """Yields the logits of the examples, [R, n, K] for n of them at a time, in their order.

    Under several views they are logits of the mean probability.

    Args:
      parts: uint8 [m, H, W, C] or float32 [m, D], any number of examples in each, drawn as they are
        needed.
    """
    waiting: collections.deque[tuple[list[jax.Array], int]] = collections.deque()
    for batch, count in self._batches(parts):
      waiting.append((self._launch(batch), count))
      if len(waiting) > _BATCHES_AHEAD:
        yield _fetch(*waiting.popleft())
    while waiting:
      yield _fetch(*waiting.popleft())

  def _batches(
    self, parts: Iterable[Shaped[np.ndarray, "m ..."]]
  ) -> Iterator[tuple[Shaped[np.ndarray, "B ..."], int]]:
    """Yields (a whole batch, how many of its examples count); the others are zeros."""
    batch, count = None, 0
    for part in parts:
      done = 0
      while done < len(part):
        if batch is None:  # a new one: the devices may still read the last
          batch = np.zeros((self._batch_size, *part.shape[1:]), part.dtype)
        taken = min(len(part) - done, self._batch_size - count)
        batch[count : count + taken] = part[done : done + taken]
        done, count = done + taken, count + taken
        if count == self._batch_size:
          yield batch, count
          batch, count = None, 0
    if batch is not None:
      yield batch, count

  def _launch(self, batch: Shaped[np.ndarray, "B ..."]) -> list[jax.Array]:
    """Starts the networks on a batch; returns at once."""
    divided = NamedSharding(self._layout.mesh, PartitionSpec(AXIS))
    inputs = jax.device_put(batch, divided)
    return [
      _logits(self._network, self._views, variables, inputs=inputs, by=self._preparation)
      for variables in self._variables
    ]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _logits(
  network: Network,
  views: tuple[View, ...],
  variables: Variables,
  *,
  inputs: Shaped[Array, "B ..."],
  by: Preparation,
) -> Float[Array, "B K"]:
  """Returns the logits [B, K] of raw inputs, as an evaluation has them; of the mean over views."""
  if views == (CENTRE,):
    return predict(network, variables, prepare(inputs, by))
  sizes = jnp.broadcast_to(jnp.asarray(inputs.shape[1:3], jnp.int32), (inputs.shape[0], 2))
  return log_mean_over_views(
    views,
    inputs,
    sizes,
    crop_size=None,
    by=by,
    logits_of=lambda seen: predict(network, variables, seen),
  )


def _fetch(logits: list[jax.Array], count: int) -> Float32[np.ndarray, "R n K"]:
  return np.stack([np.asarray(one)[:count].astype(np.float32) for one in logits])


def probabilities(logits: Float32[np.ndarray, "*rest K"]) -> Float64[np.ndarray, "*rest K"]:
  """Returns the softmax of logits [..., K]. In float64: two logits never become one number."""
  shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
  powers = np.exp(shifted)
  return powers / powers.sum(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Guesses:
  """What the networks say of some examples.

  Attributes:
    probabilities: float64 [n, K], the mean over the networks.
    spread: float64 [n], the standard deviation (over R - 1) of the probability of the predicted
      class over the R networks; None of one network.
  """

  probabilities: Float64[np.ndarray, "n K"]
  spread: Float64[np.ndarray, "n"] | None

  @classmethod
  def of(cls, logits: Float32[np.ndarray, "R n K"]) -> "Guesses":
    """Returns what the logits of the networks say."""
    each = probabilities(logits)
    mean = each.mean(axis=0)
    if len(each) == 1:
      return cls(mean, None)
    of_best = np.take_along_axis(each, mean.argmax(axis=-1)[None, :, None], axis=-1)[..., 0]
    return cls(mean, of_best.std(axis=0, ddof=1))

  def best(self, number: int) -> Int[np.ndarray, "n best"]:
    """Returns the most probable classes of each example, the first first; of equal ones the lower.

    The first is the predicted one.
    """
    return np.argsort(-self.probabilities, axis=-1, kind="stable")[:, :number]


def guessed[Part](
  predictor: Predictor,
  parts: Iterable[Part],
  *,
  inputs: Callable[[Part], Shaped[np.ndarray, "m ..."]],
) -> Iterator[tuple[Part, Guesses]]:
  """Yields every part with the guesses on its inputs, in order.

  Args:
    predictor: the networks.
    parts: drawn as they are needed.
    inputs: part -> [m, ...], what the networks are given; m may be 0.
  """
  waiting: collections.deque[Part] = collections.deque()
  ready = np.zeros((predictor.num_networks, 0, len(predictor.model.class_names)), np.float32)

  def drawn() -> Iterator[Shaped[np.ndarray, "m ..."]]:
    for part in parts:
      waiting.append(part)
      if len(inputs(part)):
        yield inputs(part)

  for logits in itertools.chain(predictor.logits(drawn()), [ready]):
    ready = np.concatenate([ready, logits], axis=1)
    while waiting and len(inputs(waiting[0])) <= ready.shape[1]:
      part = waiting.popleft()
      count = len(inputs(part))
      yield part, Guesses.of(ready[:, :count])
      ready = ready[:, count:]
