"""Steps 1 and 2: the gradient check, and what is true before the first step."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from sdt.data.dataset import Data, Dataset
from sdt.doctor.lesson import Task, kernels_of
from sdt.doctor.visit import Outcome, Visit
from sdt.engine.gradient_check import slopes
from sdt.engine.state import TrainState
from sdt.engine.units import batch_of, units_of
from sdt.models import make_model
from sdt.models.registry import multiply_adds
from sdt.stats import start_diagnosis
from sdt.stats.neighbours import Agreement, agreement

_STREAM = 0xD0C
_NUM_LOOKED_AT = 256  # examples whose inputs and activations are measured
# The gradient check makes eleven steps in float64: with so many examples that these
# multiply-adds are not exceeded, within the bounds.
_MULTIPLY_ADDS, _FEWEST, _MOST = 4e10, 4, 32
_PASSES = 33
_QUERIES, _OTHERS = 500, 2000  # examples that are looked at, those among which a nearest is sought

type Layers = list[dict[str, Any]]


def check_gradient(visit: Visit) -> Outcome:
  """Compares the gradient with finite differences along directions of length 1, in float64.

  Source: the slides on training networks; Ng and others 2011, UFLDL, "Gradient checking".
  """
  config, data, lesson = visit.plain, visit.data, visit.lesson
  model = make_model(
    config.model, len(data.class_names), dtype=jnp.float64, param_dtype=jnp.float64
  )
  cost = _PASSES * float(multiply_adds(lesson.setup.model, lesson.setup.input_shape))
  num = int(np.clip(_MULTIPLY_ADDS / cost, _FEWEST, min(_MOST, len(data.train))))
  positions = drawn(len(data.train), num)
  inputs = _as_seen(data, config.data.crop_size, positions)
  state = lesson.start
  variables = {"params": _first(state.params), "batch_stats": _first(state.batch_stats)}
  found = slopes(model, variables, inputs, labels=data.train.labels[positions])
  errors = [one.error for one in found]
  measured = {"num_examples": num, "errors": errors, "slopes": [list(one) for one in found]}
  return Outcome(tuple(start_diagnosis.of_gradient(errors)), measured)


def _first(tree: Any) -> Any:
  import jax

  return jax.tree.map(lambda leaf: np.asarray(leaf[0]), tree)


def drawn(num_examples: int, num: int, part: int = 0) -> Int[np.ndarray, "n"]:
  """Returns up to `num` drawn positions, ascending; `part` 1 has those after the first `num`."""
  order = np.random.default_rng(_STREAM).permutation(num_examples)
  return np.sort(order[part * num : (part + 1) * num]).astype(np.int32)


def _as_seen(
  data: Data, crop_size: int | None, positions: Int[np.ndarray, "B"]
) -> Float[np.ndarray, "B ..."]:
  """Returns training examples as the network sees them, without augmentation."""
  some = dataclasses.replace(data, train=data.train.take(positions))
  return batch_of(some, crop_size, len(positions))


def look_before(visit: Visit) -> Outcome:
  """Measures the loss, the inputs, the labels, the weights and the activations before any step.

  Source: the slides on training networks, step 1: the initial loss is log K. Differs from source:
  the statistics of each batch are used, as a new network's running statistics are of no data; the
  labels are compared with those of the nearest training example.
  """
  data, lesson = visit.data, visit.lesson
  loss = lesson.learn(Task(0.0, 1))[0].losses
  mean_loss = math.fsum(loss) / len(loss) if loss else math.nan
  names, is_drawn = data.class_names, visit.beside.pretrained is None
  inputs = _as_seen(data, visit.plain.data.crop_size, drawn(len(data.train), _NUM_LOOKED_AT))
  mean, sd = _scale_of(inputs)
  kernels = kernels_of(lesson.start)
  constant = [name for name, value in kernels if value.size > 1 and np.ptp(value) == 0.0]
  activation, layers = spread(visit, lesson.start)
  train, test = neighbours(data)
  findings = [
    *start_diagnosis.of_initial_loss(mean_loss, len(names), is_drawn=is_drawn),
    *start_diagnosis.of_inputs(mean, sd),
    *start_diagnosis.of_labels(train, test, names),
  ]
  of_weights = start_diagnosis.of_weights(constant, len(kernels)) if is_drawn else []
  findings += of_weights or start_diagnosis.of_units(layers, activation)
  measured = {
    "loss": mean_loss if math.isfinite(mean_loss) else None,
    "num_classes": len(names),
    "mean": [float(value) for value in mean],
    "sd": [float(value) for value in sd],
    "neighbours": {"train": train.accuracy, "test": test.accuracy},
    "activation": activation,
    "layers": layers,
  }
  return Outcome(tuple(findings), measured)


def _scale_of(
  inputs: Float[np.ndarray, "B ..."],
) -> tuple[Float[np.ndarray, "C"], Float[np.ndarray, "C"]]:
  """Returns mean and standard deviation of every channel that varies, of vectors those of all."""
  axes = tuple(range(inputs.ndim - 1)) if inputs.ndim > 2 else None
  mean, sd = np.atleast_1d(inputs.mean(axis=axes)), np.atleast_1d(inputs.std(axis=axes))
  varies = sd > 0 if np.any(sd > 0) else sd >= 0
  return mean[varies], sd[varies]


def spread(visit: Visit, state: TrainState) -> tuple[str, Layers]:
  """Returns the activation's name, and the figures of every layer in training mode."""
  config, data = visit.plain, visit.data
  model = make_model(config.model, len(data.class_names))
  activation = getattr(model, "activation", "")
  inputs = batch_of(data, config.data.crop_size, _NUM_LOOKED_AT)
  (layers,) = units_of(model, activation, state, inputs=inputs, in_training=True)
  return activation, [dict(layer) for layer in layers]


def neighbours(data: Data) -> tuple[Agreement, Agreement]:
  """Returns how labels agree with nearest neighbours: of training examples, and of test ones."""
  num = len(data.train)
  queries = min(_QUERIES, num // 2)
  order = np.random.default_rng(_STREAM).permutation(num)
  mine, others = order[:queries], order[queries : queries + _OTHERS]
  asked = drawn(len(data.test), _QUERIES)
  of_train = (data.train.inputs[others], data.train.labels[others])
  num_classes = len(data.class_names)
  return (
    agreement(_taken(data.train, mine), of_train, num_classes),
    agreement(_taken(data.test, asked), of_train, num_classes),
  )


def _taken(split: Dataset, at: Int[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
  return split.inputs[at], split.labels[at]
