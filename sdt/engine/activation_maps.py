"""Class activation maps: which places of an image speak for a class, by the head's weights and the
last feature map before the pooling.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.inputs.augment import centre_crop, normalise, shift_and_scale
from sdt.losses import accumulator_dtype

# Of a large test set only so many images are looked at; so many of each group are shown.
_POOL, _PER_GROUP = 512, 3
_STREAM = 0xCA3


@dataclasses.dataclass(frozen=True)
class Maps:
  """What one network says of images: logits [B, K], and the activation map [B, h, w] of one class
  of each.
  """

  logits: np.ndarray
  maps: np.ndarray


def has_map(model: Any, variables: Any, input_shape: tuple[int, ...]) -> bool:
  """Returns whether the network pools a feature map of more than one place: only then does a map
  say where.
  """
  shapes = jax.eval_shape(
    functools.partial(_forward, model),
    variables,
    jax.ShapeDtypeStruct((1, *input_shape), jnp.float32),
  )
  found = shapes[1].get("feature_map")
  return found is not None and found[0].shape[1] * found[0].shape[2] > 1


def class_activation_maps(
  model: Any, variables: Any, inputs: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the logits [B, K] and, for the class `labels[i]` of each image, M(x, y) = sum_c w_c
  f_c(x, y), [B, h, w], in float32 at least.

  The mean of M over all places plus the head's bias is the logit of that class, because the head
  reads the mean of f.

  Args:
    model: a network whose head reads the mean over the pixels of a feature map f [B, h, w, C].
    variables: `params` and `batch_stats` of one network.
    inputs: [B, H, W, C'], normalised.
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


def _forward(model: Any, variables: Any, inputs: jax.Array) -> tuple[jax.Array, Any]:
  logits, kept = model.apply(variables, inputs, train=False, mutable=["intermediates"])
  return logits, kept["intermediates"]


def maps_of_test_images(
  model: Any,
  networks: Mapping[str, Any],
  data: Data,
  *,
  crop_size: int | None,
  seed: int,
  batch_size: int = 64,
  after_batch: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray] | None:
  """Returns the content of figures/cam.npz (docs/artifacts.md), None for networks without a feature
  map of several places.

  Up to three test images of each group, which images are right under which networks, in a seeded
  order of the test set; of a large test set only the first 512 of that order are looked at.

  Args:
    model: computes in float32.
    networks: arm -> `params` and `batch_stats` of one seed.
    data: for the test set.
    crop_size: of the network's view.
    seed: of the networks; it orders the test set too.
    batch_size: images at once.
    after_batch: called after every batch; a place to stop.
  """
  test = data.test
  positions = np.random.default_rng([seed, _STREAM]).permutation(len(test))[:_POOL]
  images = np.asarray(_cropped(test, positions, crop_size)) if test.inputs.ndim == 4 else None
  if images is None or not has_map(model, next(iter(networks.values())), images.shape[1:]):
    return None
  labels = test.labels[positions]
  shift, scale = shift_and_scale(data.mean, data.std, test.inputs.dtype)
  program = jax.jit(functools.partial(_maps_of_images, model))
  found: dict[str, Maps] = {}
  for arm, variables in networks.items():
    parts = []
    for first in range(0, len(positions), batch_size):
      # The last batch is filled up with the first images, so that the program is compiled once.
      batch = np.arange(first, first + min(batch_size, len(positions))) % len(positions)
      parts.append(jax.device_get(program(variables, images[batch], labels[batch], shift, scale)))
      after_batch()
    logits, maps = (np.concatenate(kind)[: len(positions)] for kind in zip(*parts, strict=True))
    found[arm] = Maps(logits, maps)
  return _content(found, images, labels, ids=test.example_ids[positions], seed=seed)


def _cropped(test: Dataset, positions: np.ndarray, crop_size: int | None) -> jax.Array:
  return centre_crop(
    jnp.asarray(test.inputs[positions]), jnp.asarray(image_sizes(test)[positions]), crop_size
  )


def _maps_of_images(
  model: Any,
  variables: Any,
  images: jax.Array,
  labels: jax.Array,
  shift: jax.Array,
  scale: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  return class_activation_maps(model, variables, normalise(images, shift, scale), labels=labels)


def _content(
  found: Mapping[str, Maps], images: np.ndarray, labels: np.ndarray, ids: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
  arms = list(found)
  predictions = np.stack([one.logits.argmax(axis=1) for one in found.values()]).astype(np.int32)
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
  logits = np.stack([one.logits for one in found.values()])[:, chosen].astype(np.float64)
  shares = np.exp(logits - logits.max(axis=2, keepdims=True))
  return {
    "arms": np.asarray(arms),
    "seed": np.int64(seed),
    "ids": ids[chosen],
    "images": images[chosen],
    "labels": labels[chosen],
    "groups": np.asarray(names),
    "maps": np.stack([one.maps for one in found.values()])[:, chosen].astype(np.float32),
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
