"""Class activation maps: the places of an image that speak for a class.

They are made of the head's weights and the last feature map before the pooling. Of transformers,
whose head reads one token and no map, attention rollout takes their place.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from sdt.arrays import AnyArray
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.engine.attention_rollout import attention_rollout
from sdt.inputs.augment import centre_crop
from sdt.inputs.preprocess import Preparation, prepare
from sdt.losses import accumulator_dtype
from sdt.types import Model, PyTree, Variables

# Of a large test set only so many images are looked at; so many of each group are shown.
_POOL, _PER_GROUP = 512, 3
_STREAM = 0xCA3
# What a network keeps for a map: the last feature map, or the patches of a transformer.
_FEATURES, _PATCHES = "feature_map", "patches"


@dataclasses.dataclass(frozen=True)
class Maps:
  """What one network says of B images: its logits, and a map of each."""

  logits: Float[np.ndarray, "B K"]
  maps: Float[np.ndarray, "B h w"]


def source_of_map(model: Model, variables: Variables, input_shape: tuple[int, ...]) -> str | None:
  """Returns which of `_FEATURES` and `_PATCHES` the network keeps at more than one place.

  None where it has a single place: a map would not say where.
  """
  image = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  _, kept = jax.eval_shape(functools.partial(_forward, model), variables, image)
  found = [name for name in (_FEATURES, _PATCHES) if name in kept]
  return next((name for name in found if kept[name][0].shape[1:3] != (1, 1)), None)


def class_activation_maps(
  model: Model, variables: Variables, inputs: Float[AnyArray, "B H W C"], labels: Int[AnyArray, "B"]
) -> tuple[Float[Array, "B K"], Float[Array, "B h w"]]:
  """Returns the logits [B, K] and the maps M(x, y) = sum_c w_c f_c(x, y) of class `labels[i]`.

  The maps are in float32 at least. The mean of M over all places plus the head's bias is the logit
  of that class, because the head reads the mean of f.

  Args:
    model: a network whose head reads the mean over the pixels of a feature map f [B, h, w, C'].
    variables: of one network.
    inputs: [B, H, W, C], normalised.
    labels: [B] int32 in [0, K).

  Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", equation 2.
  Differs from source: none; the head here has a bias, which has no place and stands in no map.
  """
  logits, kept = _forward(model, variables, inputs)
  (feature_map,) = kept["feature_map"]
  kernel = variables["params"]["head"]["kernel"]
  dtype = accumulator_dtype(jnp.result_type(feature_map.dtype, kernel.dtype))
  maps = jnp.einsum(
    "bhwc,cb->bhw",
    feature_map.astype(dtype),
    kernel.astype(dtype)[:, labels],
    precision=jax.lax.Precision.HIGHEST,
  )
  return logits, maps


def _forward(
  model: Model, variables: Variables, inputs: Float[AnyArray, "B ..."]
) -> tuple[Float[Array, "B K"], PyTree]:
  logits, kept = model.apply(variables, inputs, train=False, mutable=["intermediates"])
  return logits, kept["intermediates"]


@dataclasses.dataclass(frozen=True)
class MapSettings:
  """How the maps of the test images are made.

  Attributes:
    crop_size: of the network's view.
    seed: of the networks; it also orders the test set.
    batch_size: images at once.
  """

  crop_size: int | None
  seed: int
  batch_size: int = 64


def maps_of_test_images(
  model: Model,
  networks: Mapping[str, Variables],
  data: Data,
  settings: MapSettings,
  after_batch: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray] | None:
  """Returns the content of figures/cam.npz (docs/artifacts.md), None without a map of places.

  It shows up to three test images of each group, by which networks are right, in a seeded order of
  the test set. Of a large test set only the first 512 of that order are looked at.

  Args:
    model: computes in float32.
    networks: arm -> variables of one seed.
    data: for the test set.
    settings: see there.
    after_batch: called after every batch; a place to stop.
  """
  test, crop_size = data.test, settings.crop_size
  positions = np.random.default_rng([settings.seed, _STREAM]).permutation(len(test))[:_POOL]
  images = np.asarray(_cropped(test, positions, crop_size)) if test.inputs.ndim == 4 else None
  if images is None:
    return None
  source = source_of_map(model, next(iter(networks.values())), images.shape[1:])
  if source is None:
    return None
  labels = test.labels[positions]
  by = Preparation.of(data.mean, data.std, data.steps, dtype=test.inputs.dtype)
  program = jax.jit(functools.partial(_maps_of_images, model, source))
  said: dict[str, Maps] = {}
  for arm, variables in networks.items():
    parts = []
    for first in range(0, len(positions), settings.batch_size):
      # The last batch is filled up with the first images, so that the program is compiled once.
      size = min(settings.batch_size, len(positions))
      batch = np.arange(first, first + size) % len(positions)
      parts.append(jax.device_get(program(variables, images[batch], labels[batch], by)))
      after_batch()
    logits, maps = (np.concatenate(kind)[: len(positions)] for kind in zip(*parts, strict=True))
    said[arm] = Maps(logits, maps)
  content = _content(said, images, labels, ids=test.example_ids[positions], seed=settings.seed)
  return content if source == _FEATURES else {**content, "kind": np.asarray("attention_rollout")}


def _cropped(
  test: Dataset, positions: Int[np.ndarray, "B"], crop_size: int | None
) -> Shaped[Array, "B ..."]:
  inputs, sizes = test.inputs[positions], image_sizes(test)[positions]
  return centre_crop(jnp.asarray(inputs), jnp.asarray(sizes), crop_size)


def _maps_of_images(
  model: Model,
  source: str,
  variables: Variables,
  images: Shaped[Array, "B H W C"],
  labels: Int[Array, "B"],
  by: Preparation,
) -> tuple[Float[Array, "B K"], Float[Array, "B h w"]]:
  inputs = prepare(images, by)
  if source == _FEATURES:
    return class_activation_maps(model, variables, inputs, labels=labels)
  logits, kept = _forward(model, variables, inputs)
  return logits, attention_rollout(kept)


def _content(
  said: Mapping[str, Maps],
  images: Shaped[np.ndarray, "B ..."],
  labels: Int[np.ndarray, "B"],
  ids: Int[np.ndarray, "B"],
  seed: int,
) -> dict[str, np.ndarray]:
  """Returns the file's arrays for the first images of each group; `said`: by arm."""
  arms = list(said)
  predictions = np.stack([one.logits.argmax(axis=1) for one in said.values()]).astype(np.int32)
  is_right = predictions == labels
  groups = [
    np.flatnonzero((is_right == right[:, None]).all(axis=0))[:_PER_GROUP]
    for right in _outcomes(len(arms))
  ]
  chosen = np.concatenate(groups)
  names = [
    _group_name(arms, right)
    for right, members in zip(_outcomes(len(arms)), groups, strict=True)
    for _ in members
  ]
  logits = np.stack([one.logits for one in said.values()])[:, chosen].astype(np.float64)
  shares = np.exp(logits - logits.max(axis=2, keepdims=True))
  return {
    "arms": np.asarray(arms),
    "seed": np.int64(seed),
    "ids": ids[chosen],
    "images": images[chosen],
    "labels": labels[chosen],
    "groups": np.asarray(names),
    "maps": np.stack([one.maps for one in said.values()])[:, chosen].astype(np.float32),
    "predictions": predictions[:, chosen],
    "probabilities": (shares.max(axis=2) / shares.sum(axis=2)).astype(np.float32),
  }


def _outcomes(num_arms: int) -> list[np.ndarray]:
  """Returns which of the networks are right, [num_arms] bool each: all, each alone, none."""
  single = (
    [np.eye(num_arms, dtype=bool)[index] for index in range(num_arms)] if num_arms > 1 else []
  )
  return [np.ones(num_arms, bool), *single, np.zeros(num_arms, bool)]


def _group_name(arms: list[str], right: np.ndarray) -> str:
  if len(arms) == 1:
    return f"{arms[0]} right" if right.all() else f"{arms[0]} wrong"
  if right.all() or not right.any():
    return f"{' and '.join(arms)} {'right' if right.all() else 'wrong'}"
  return (
    f"only {' and '.join(arm for arm, is_right in zip(arms, right, strict=True) if is_right)} right"
  )
