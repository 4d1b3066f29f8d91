"""Writes figures/augmentation.npz: a few training images under the operations of `augment.ops`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from sdt import files
from sdt.config import Config
from sdt.config.toolbox.pipeline import Pipeline, pipeline_of
from sdt.data.dataset import Data, image_sizes
from sdt.inputs.augment import centre_crop, output_size
from sdt.inputs.operations.mixing import MIXERS
from sdt.inputs.operations.pipeline import augment, draw
from sdt.inputs.order import augment_key, mixup_key
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


def contact_sheet(config: Config, data: Data) -> dict[str, np.ndarray]:
  """Returns the content of the file (docs/artifacts.md): rows of the same eight images.

  The images are a seeded draw, and the random numbers those of the first seed. A mixing operation
  mixes the eight among themselves.
  """
  train, whole = data.train, pipeline_of(config.augment)
  order = np.random.default_rng([config.seeds[0], 0x5EE7]).permutation(len(train))
  ids = np.sort(order[:_NUM_IMAGES])
  images, sizes = train.inputs[ids], image_sizes(train)[ids]
  crop = config.data.crop_size
  rows = {PLAIN: np.asarray(centre_crop(images, sizes, crop))}
  alone = {str(call): Pipeline((call,), whole.fill) for call in whole.calls}
  for name, pipeline in (alone | ({TOGETHER: whole} if len(alone) > 1 else {})).items():
    output = output_size(images.shape[1:], crop)
    mean = (255.0 * data.mean).astype(np.float32)
    rows[name] = np.asarray(
      _shown(images, sizes, mean, seed=config.seeds[0], of=(pipeline, output))
    )
  return {
    "rows": np.array(list(rows)),
    "images": np.stack(list(rows.values())),
    "ids": train.example_ids[ids],
    "labels": train.labels[ids],
  }


@functools.partial(jax.jit, static_argnames=("seed", "of"))
def _shown(
  images: UInt8[np.ndarray, "n H W C"],
  sizes: Int[np.ndarray, "n 2"],
  mean: np.ndarray,
  *,
  seed: int,
  of: tuple[Pipeline, tuple[int, int]],
) -> jax.Array:
  """Returns the images after a pipeline at an output size, uint8."""
  pipeline, output = of
  draws = draw(augment_key(seed, 0, 0), sizes, output, pipeline=pipeline)
  shown = augment(images, draws, output, pipeline=pipeline, mean=mean)
  if pipeline.mixing is not None:
    mixer, alpha = MIXERS[pipeline.mixing], pipeline.calls[-1].numbers[0]
    drawn = mixer.draw(mixup_key(seed, 0, 0), jnp.float32(alpha), output)
    shown = shown.astype(jnp.float32)
    shown = mixer.mix([jnp.roll(shown, -at, axis=0) for at in range(mixer.partners + 1)], drawn)
  if shown.dtype == jnp.uint8:
    return shown
  return jnp.clip(jnp.rint(shown), 0.0, 255.0).astype(jnp.uint8)
