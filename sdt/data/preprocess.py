"""The statistics of the preprocessing that a config names, taken from the training split alone.

A preprocessing is a first step (x - mean) / std, and further steps. Images count in pixel / 255.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from sdt.config.toolbox.block import Call
from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.data.dataset import Dataset, Step
from sdt.errors import ConfigError

# A matrix of 4096 x 4096 float32 is 64 MiB, and stands in every file of weights.
MOST_NUMBERS = 4096
_PART_BYTES = 2**25  # of the examples in float64 that are read together
# Eigenvalues below this share of the largest are rounding errors of the covariance.
_ROUNDING = 1e-10


class Fitted(NamedTuple):
  """A preprocessing: (x - mean) / std, float32 [C], [D] or [H, W, C], then the steps in order."""

  mean: Float32[np.ndarray, "*s"]
  std: Float32[np.ndarray, "*s"]
  steps: tuple[Step, ...] = ()


class Moments(NamedTuple):
  """Of every value of an example at its place, float64 like the example."""

  mean: Float64[np.ndarray, "*s"]
  variance: Float64[np.ndarray, "*s"]
  low: Float64[np.ndarray, "*s"]
  high: Float64[np.ndarray, "*s"]


# Gives the examples, as the steps before leave them, in parts: float64 [m, ...].
type Parts = Callable[[], Iterator[np.ndarray]]


def fit(
  text: str, train: Dataset, channels: tuple[Float32[np.ndarray, "D"], Float32[np.ndarray, "D"]]
) -> Fitted:
  """Returns the preprocessing that `data.normalise` names, fitted to the training split.

  Args:
    text: of `data.normalise`.
    train: the training split; nothing else is read.
    channels: (mean, std) of each channel, or of each column of vectors: those of `train`, or the
      published ones. They are what `channel` and `mean` take in the first place.

  Raises:
    ConfigError: statistics of each place for images of several sizes; a whitening of more than
      `MOST_NUMBERS` numbers, of a single example, or with epsilon 0 of inputs that do not fill
      their space.
  """
  calls = parse_calls(text, NORMALISERS)
  _check(calls, train)
  first, others = _first(calls, train, channels)
  steps: list[Step] = []
  for call in others:
    before = Fitted(*first, tuple(steps))
    steps.append(FITS[call.name](call, functools.partial(_parts, train, before)))
  return Fitted(*first, tuple(steps))


def stand_in(text: str, shape: tuple[int, ...]) -> Fitted:
  """Returns a preprocessing of the right shapes for examples [H, W, C] or [D], all zeros and ones.

  The zeros of a matrix take no memory.
  """
  calls, size = parse_calls(text, NORMALISERS), math.prod(shape)

  def affine(name: str) -> tuple[np.ndarray, np.ndarray]:
    own = shape if name in _OF_PLACE else shape[-1:]
    return np.zeros(own, np.float32), np.ones(own, np.float32)

  def step(name: str) -> Step:
    whiten = np.zeros(size, np.float32), np.broadcast_to(np.float32(0), (size, size))
    return Step(_kind(name), {"affine": affine(name), "whiten": whiten}.get(_kind(name), ()))

  is_first = calls[0].name in _AFFINE
  steps = tuple(step(call.name) for call in calls[is_first:])
  return Fitted(*affine(calls[0].name if is_first else "unit"), steps)


def _kind(name: str) -> str:
  return "affine" if name in _AFFINE else "whiten" if name in ("pca", "zca") else name


def _first(
  calls: tuple[Call, ...], train: Dataset, channels: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[Call, ...]]:
  """Returns (mean, std) of the first step, and the blocks that are left."""
  mean, std = channels
  nothing, name = (np.zeros_like(mean), np.ones_like(std)), calls[0].name
  if name not in _AFFINE:
    return nothing, calls
  if name == "unit":
    return nothing, calls[1:]
  if name in ("channel", "mean"):
    return (mean, std if name == "channel" else np.ones_like(std)), calls[1:]
  if name == "min_max" and train.sizes is not None:
    return _span(train), calls[1:]
  return _affine(name, _moments(lambda: _parts(train, Fitted(*nothing)))), calls[1:]


def _span(train: Dataset) -> tuple[np.ndarray, np.ndarray]:
  """Returns (low, high - low) of each channel, of images of several sizes without their margins."""
  low, high = np.full(train.inputs.shape[3], 255), np.zeros(train.inputs.shape[3], int)
  for image, (height, width) in zip(train.inputs, train.sizes, strict=True):  # type: ignore[arg-type]
    inside = image[:height, :width]
    low, high = np.minimum(low, inside.min((0, 1))), np.maximum(high, inside.max((0, 1)))
  return (low / 255).astype(np.float32), _nonzero((high - low) / 255)


def _check(calls: Iterable[Call], train: Dataset) -> None:
  for place, call in enumerate(calls):
    is_whole = call.name in _OF_PLACE or (place > 0 and call.name in _AFFINE)
    if is_whole and train.sizes is not None:
      raise ConfigError(
        f"data.normalise: {call.name!r} takes its numbers from whole images, and these differ in "
        "size; choose 'channel' or 'mean', or data.resize=stretch"
      )
    size = math.prod(train.inputs.shape[1:])
    if _kind(call.name) == "whiten" and not (size <= MOST_NUMBERS and len(train) > 1):
      raise ConfigError(
        f"data.normalise={call.name!r} takes inputs of at most {MOST_NUMBERS} numbers and two "
        f"examples or more, these are {len(train)} of {size}; choose 'channel', or smaller images"
      )


def _parts(train: Dataset, before: Fitted) -> Iterator[np.ndarray]:
  """Yields the training examples in float64, as the steps before leave them."""
  is_image = train.inputs.dtype == np.uint8
  size = max(1, _PART_BYTES // (8 * math.prod(train.inputs.shape[1:])))
  for start in range(0, len(train), size):
    part = train.inputs[start : start + size].astype(np.float64) / (255.0 if is_image else 1.0)
    part = (part - before.mean) / before.std
    for step in before.steps:
      part = APPLY[step.kind](part, *step.arrays)
    yield part


# ---- what a step does, in NumPy; `sdt.inputs.preprocess` has the same for the programs
def _each_image(x: np.ndarray) -> np.ndarray:
  axes = tuple(range(1, x.ndim))
  floor = 1.0 / math.sqrt(math.prod(x.shape[1:]))
  spread = np.maximum(x.std(axis=axes, keepdims=True), floor)
  return (x - x.mean(axis=axes, keepdims=True)) / spread


def _whitened(x: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  return ((x.reshape(len(x), -1) - mean) @ matrix).reshape(x.shape)


APPLY: Mapping[str, Callable[..., np.ndarray]] = {
  "affine": lambda x, shift, scale: (x - shift) * scale,
  "image": _each_image,
  "dc": lambda x: x - x.mean(axis=tuple(range(1, x.ndim)), keepdims=True),
  "whiten": _whitened,
}


# ---- what is fitted
def _moments(parts: Parts) -> Moments:
  """Returns the moments of the examples; the variance divides by N. Reads them twice."""
  sums = [(len(part), part.sum(axis=0), part.min(axis=0), part.max(axis=0)) for part in parts()]
  counts, totals, lows, highs = zip(*sums, strict=True)
  mean = np.sum(totals, axis=0) / sum(counts)
  squares = np.sum([((part - mean) ** 2).sum(axis=0) for part in parts()], axis=0)
  return Moments(mean, squares / sum(counts), np.min(lows, axis=0), high=np.max(highs, axis=0))


def _nonzero(values: np.ndarray) -> Float32[np.ndarray, "*s"]:
  return np.where(values < 1e-12, 1.0, values).astype(np.float32)


def _affine(name: str, of: Moments) -> tuple[np.ndarray, np.ndarray]:
  """Returns (mean, std) of a block of `_AFFINE`."""
  inner = tuple(range(of.mean.ndim - 1))
  mean = of.mean.mean(axis=inner)
  spread = np.sqrt(of.variance.mean(axis=inner) + of.mean.var(axis=inner))
  low, high = of.low.min(axis=inner), of.high.max(axis=inner)
  both: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
    "channel": (mean, spread),
    "unit": (np.zeros_like(mean), np.ones_like(mean)),
    "mean": (mean, np.ones_like(mean)),
    "image_mean": (of.mean, np.ones_like(of.mean)),
    "pixel": (of.mean, np.sqrt(of.variance)),
    "min_max": (low, high - low),
  }
  return both[name][0].astype(np.float32), _nonzero(both[name][1])


_AFFINE = ("channel", "unit", "mean", "image_mean", "min_max", "pixel")
_OF_PLACE = ("image_mean", "pixel", "pca", "zca")


def _fit_affine(call: Call, parts: Parts) -> Step:
  mean, std = _affine(call.name, _moments(parts))
  return Step("affine", (mean, (1.0 / std.astype(np.float64)).astype(np.float32)))


def _fit_whitening(call: Call, parts: Parts) -> Step:
  """Returns x -> (x - mean) M, M = U diag(1/sqrt(s + epsilon)), for ZCA times U^T.

  The covariance divides by N - 1, as scikit-learn's does. The sign of a column of U is such that
  its largest entry is positive.
  """
  (epsilon,) = call.numbers
  mean = _moments(parts).mean.reshape(-1)
  covariance, count = np.zeros((len(mean), len(mean))), 0
  for part in parts():
    centred = part.reshape(len(part), -1) - mean
    covariance, count = covariance + centred.T @ centred, count + len(part)
  values, vectors = np.linalg.eigh(covariance / (count - 1))
  values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
  if epsilon == 0 and values[-1] <= _ROUNDING * values[0]:
    rank = int((values > _ROUNDING * values[0]).sum())
    raise ConfigError(
      f"data.normalise={call.name}(0): the {count} training examples fill {rank} of {len(mean)} "
      f"dimensions, and the others would be divided by 0; give an epsilon, as in {call.name}(0.1)"
    )
  largest = np.abs(vectors).argmax(axis=0)
  vectors = vectors * np.sign(vectors[largest, np.arange(len(mean))])
  matrix = vectors / np.sqrt(values + epsilon)
  if call.name == "zca":
    matrix = matrix @ vectors.T
  return Step("whiten", (mean.astype(np.float32), matrix.astype(np.float32)))


FITS: Mapping[str, Callable[[Call, Parts], Step]] = {
  **dict.fromkeys(_AFFINE, _fit_affine),
  "image": lambda call, parts: Step("image"),
  "dc": lambda call, parts: Step("dc"),
  "pca": _fit_whitening,
  "zca": _fit_whitening,
}
