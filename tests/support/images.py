"""Images and ready-made programs for the tests of operations on them."""

import functools

import jax
import numpy as np

from sdt.config.schema import AugmentConfig
from sdt.config.toolbox.pipeline import Pipeline, pipeline_of
from sdt.inputs.operations import pipeline as module
from tests.support.quick import QUICK

_jit = functools.partial(jax.jit, static_argnames=("output", "pipeline"), compiler_options=QUICK)
augment, draw = _jit(module.augment), _jit(module.draw)


def operations(text: str, fill: str = "black") -> Pipeline:
  return pipeline_of(AugmentConfig(ops=text, fill=fill))


def sizes_of(num: int, height: int, width: int) -> np.ndarray:
  return np.tile(np.array([[height, width]], np.int32), (num, 1))


def random_bytes(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth_bytes(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  """Returns images whose neighbouring pixels are alike, as those of photographs."""
  values = np.random.default_rng(seed).normal(size=shape).cumsum(axis=1).cumsum(axis=2)
  low, high = (f(values, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
  return np.rint(255 * (values - low) / (high - low)).astype(np.uint8)
