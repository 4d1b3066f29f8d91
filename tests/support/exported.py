"""Networks with drawn weights, as exports take them."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from sdt.config.schema import ModelConfig
from sdt.models import make_model
from sdt.models.activations import ACTIVATIONS
from sdt.models.norms import NORMS
from sdt.models.registry import variable_shapes
from sdt.trained.model import Model, preprocess
from tests.golden import drawn
from tests.support import tiny
from tests.support.networks import SMALLEST

# A comma, a line break, a quotation mark, and letters beyond ASCII.
CLASS_NAMES = ("cat, black", 'two\nlines "quoted"', "Übung 猫")

# The first gain of the drawn weights is taken with which logits are no larger than those of trained
# networks: what an absolute difference means depends on that.
_GAINS, _LARGEST = (1.0, 0.85, 0.7, 0.55, 0.45, 0.35, 0.25), 15.0

SMALL = {"blocks": (1, 1), "widths": (4, 8)}
# What a family has beside: name, keys, shape of the inputs.
FORMS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
  **{f"smallest {name}": (name, keys, (8, 8, 3)) for name, keys in SMALLEST.items()},
  "odd pixels, and zeros for new channels": (
    "resnet18",
    {**SMALL, "shortcut": "zero_pad"},
    (31, 29, 3),
  ),
  "a mean that leaves rows over": ("densenet", {"depth": 10, "growth_rate": 4}, (15, 14, 1)),
  "images smaller than a kernel": (
    "vgg16",
    {"blocks": (1,) * 4, "widths": (4, 8, 8, 12)},
    (8, 8, 2),
  ),
  "vectors": ("mlp", {"hidden_sizes": (8,)}, (5,)),
  **{
    f"activation {name}": ("preresnet", {**SMALL, "activation": name}, (8, 8, 3))
    for name in ACTIVATIONS
    if name not in ("relu", "maxout")
  },
  "activation maxout": ("vgg16", {**SMALL, "activation": "maxout(3)"}, (8, 8, 3)),
  **{
    f"norm {name}": ("resnet", {**SMALL, "norm": name}, (8, 8, 3))
    for name in NORMS
    if name != "batch"
  },
  "pool average": ("vgg16", {**SMALL, "pool": "average"}, (8, 8, 3)),
  "pool fractional_max": ("vgg16", {**SMALL, "pool": "fractional_max(1.5)"}, (8, 8, 3)),
  "overlapping means": ("alexnet", {**SMALLEST["alexnet"], "pool": "average"}, (33, 35, 3)),
  "fixup": ("resnet", {**SMALL, "norm": "none", "start": "fixup"}, (8, 8, 3)),
}


def described(
  name: str,
  keys: dict[str, Any],
  *,
  shape: tuple[int, ...] = (8, 8, 3),
  class_names: tuple[str, ...] = CLASS_NAMES,
) -> Model:
  """Returns a network of the registry for inputs of this shape, with shapes in place of weights."""
  model = {f"model__{key}": value for key, value in ({"hidden_sizes": None} | keys).items()}
  module, num = make_model(ModelConfig(name=name, **keys), len(class_names)), shape[-1]
  return Model(
    config=tiny.config(model__name=name, **model),
    class_names=class_names,
    mean=np.linspace(0.2, 0.6, num, dtype=np.float32),
    std=np.linspace(0.3, 0.2, num, dtype=np.float32),
    input_shape=shape,
    module=module,
    variables=variable_shapes(module, shape),
    arm="method",
    seed=3,
    digest="0" * 64,
  )


def network(name: str, keys: dict[str, Any], *, gain: float = 1.0, **options: Any) -> Model:
  """Returns the network of `described`, with every variable drawn; kernels by `gain` larger."""
  model = described(name, keys, **options)

  def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    place = jax.tree_util.keystr(path, simple=True, separator="/")
    return drawn.variable(place, leaf.shape, gain).astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(draw, model.variables)
  return dataclasses.replace(model, variables=variables)


type Case = tuple[Model, np.ndarray, np.ndarray]


def case(name: str) -> Case:
  """Returns a network, seven inputs, and the logits that sdt computes of them.

  The small ones are kept; the weights of all networks of the registry together take 11 GB.

  Args:
    name: of `FORMS`, or of the registry: that network for images of 32x32x3.
  """
  return _small(name) if name in FORMS else _whole(name)


def _case(name: str) -> Case:
  form, keys, shape = FORMS.get(name, (name, {}, (32, 32, 3)))
  inputs = drawn.uniform("inputs", (7, *shape), 0, 256)
  inputs = inputs.astype(np.uint8 if len(shape) == 3 else np.float32)
  model = described(form, keys, shape=shape)
  compute = jax.jit(lambda v, x: model.module.apply(v, preprocess(model, x), train=False))
  for gain in _GAINS:
    variables = network(form, keys, shape=shape, gain=gain).variables
    logits = np.asarray(compute(variables, inputs))
    if np.abs(logits).max() <= _LARGEST:
      break
  return dataclasses.replace(model, variables=variables), inputs, logits


_small = functools.cache(_case)
_whole = functools.lru_cache(maxsize=1)(_case)
