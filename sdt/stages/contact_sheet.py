"""Writes figures/augmentation.npz: a few training images under the operations of `augment.ops`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from sdt import files
from sdt.arms.strengths import strongest
from sdt.arrays import AnyArray
from sdt.config import Config
from sdt.config.toolbox.block import Call
from sdt.config.toolbox.operation_blocks import SMOTE, off_strength, strength_of
from sdt.config.toolbox.pipeline import Pipeline
from sdt.data.dataset import Data, image_sizes
from sdt.inputs.augment import centre_crop, output_size
from sdt.inputs.operations.mixing import MIXERS
from sdt.inputs.operations.pipeline import augment, draw
from sdt.inputs.order import augment_key, mixup_key
from sdt.inputs.preprocess import Preparation
from sdt.run.context import Context

FILE = "figures/augmentation.npz"
_NUM_IMAGES = 8
PLAIN, TOGETHER = "as in evaluation", "all together"


def is_drawn(config: Config, data: Data) -> bool:
  """Returns whether a run leaves the file: it has images, and `augment.ops` names an operation."""
  return bool(config.augment.ops) and data.train.inputs.ndim == 4


def write_contact_sheet(context: Context) -> None:
  """Writes the file, unless it is there; `is_drawn` says whether a run has one."""
  path = context.workdir / FILE
  if is_drawn(context.config, context.data) and not files.is_intact(path):
    files.write_npz(path, **contact_sheet(context.config, context.data))


def shown_calls(pipeline: Pipeline) -> list[Call]:
  """Returns the operations that have a row: SMOTE reads images that are not shown."""
  return [call for call in pipeline.calls if call.name != SMOTE]


def contact_sheet(config: Config, data: Data) -> dict[str, np.ndarray]:
  """Returns the content of the file (docs/artifacts.md): rows of the same eight images.

  The images are a seeded draw, and the random numbers those of the first seed. Each operation has
  its largest strength in any phase of any arm. A mixing operation mixes the eight among themselves.
  """
  train, whole = data.train, strongest(config)
  order = np.random.default_rng([config.seeds[0], 0x5EE7]).permutation(len(train))
  ids = np.sort(order[:_NUM_IMAGES])
  images, sizes = train.inputs[ids], image_sizes(train)[ids]
  crop = config.data.crop_size
  rows = {PLAIN: np.asarray(centre_crop(images, sizes, crop))}
  # One program: all operations but one are off.
  off = {strength_of(call.name): off_strength(call.name) for call in whole.calls}
  calls = shown_calls(whole)
  strengths = {str(call): off | Pipeline((call,)).strengths for call in calls}
  strengths |= {TOGETHER: whole.strengths} if len(calls) > 1 else {}
  mean = Preparation.of(data.mean, data.std, (), dtype=train.inputs.dtype).mean_colour
  setting = whole, output_size(images.shape[1:], crop), config.seeds[0]
  for name, values in strengths.items():
    given = {key: np.float32(value) for key, value in values.items()}
    rows[name] = np.asarray(_shown(setting, images, sizes, mean=mean, strengths=given))
  return {
    "rows": np.array(list(rows)),
    "images": np.stack(list(rows.values())),
    "ids": train.example_ids[ids],
    "labels": train.labels[ids],
  }


@functools.partial(jax.jit, static_argnames="setting")
def _shown(
  setting: tuple[Pipeline, tuple[int, int], int],
  images: UInt8[AnyArray, "n H W C"],
  sizes: Int[AnyArray, "n 2"],
  *,
  mean: Float[AnyArray, "C"] | None,
  strengths: dict[str, AnyArray],
) -> UInt8[Array, "n h w C"]:
  """Returns the images after the operations at these strengths.

  `setting`: the operations, the size of what the network sees, and the seed.
  """
  pipeline, output, seed = setting
  draws = draw(augment_key(seed, 0, 0), sizes, output, pipeline=pipeline, strengths=strengths)
  shown = augment(images, draws, output, pipeline=pipeline, mean=mean).astype(jnp.float32)
  if pipeline.mixing is not None:
    mixer, alpha = MIXERS[pipeline.mixing], strengths[strength_of(pipeline.mixing)]
    drawn = mixer.draw(mixup_key(seed, 0, 0), alpha, output)
    shown = mixer.mix([jnp.roll(shown, -at, axis=0) for at in range(mixer.partners + 1)], drawn)
  return jnp.clip(jnp.rint(shown), 0.0, 255.0).astype(jnp.uint8)
