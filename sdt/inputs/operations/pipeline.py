"""Runs the operations of a training on a batch: `draw`, then `augment`.

Neighbouring geometric operations become one warp. Crops and mirrors alone are one integer gather.
"""

import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from sdt.arrays import AnyArray
from sdt.config.toolbox.block import Call
from sdt.config.toolbox.operation_blocks import CROPS, SMOTE, strength_of
from sdt.config.toolbox.pipeline import Pipeline
from sdt.inputs.operations import blur, boxes, colour, policies, smote
from sdt.inputs.operations.crops import crop_and_flip, draw_boxes, draw_offsets, resize_boxes
from sdt.inputs.operations.frame import Drawn, Frame, beside, draw_seeds, of_examples, symmetric
from sdt.inputs.operations.geometry import (
  GEOMETRY,
  LOGARITHMIC,
  MIRRORS,
  bilinear,
  source_places,
)

# What a batch has drawn: by operation, arrays [B, ...] by name.
type Draws = dict[str, Drawn]
type Strength = float | AnyArray
type Strengths = Mapping[str, AnyArray]
# From a key, B, the operation's numbers (the first may be traced) and the frame.
type _Draw = Callable[[jax.Array, int, Sequence[Strength], Frame], Drawn]


class Pixels(NamedTuple):
  """An operation that leaves pixels where they are.

  Attributes:
    draw: its numbers for a batch; `amount` [B, ...] is 0 where it changes nothing.
    apply: from float images [B, h, w, C] in [0, unit], the numbers and the frame to such images.
  """

  draw: _Draw
  apply: Callable[[jax.Array, Drawn, Frame], jax.Array]


def _change(count: int | None = None) -> _Draw:
  def draw(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
    del frame
    return {"amount": symmetric(key, (num,) if count is None else (num, count), numbers[0])}

  return draw


def _draw_up_to(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  del frame
  return {"amount": jax.random.uniform(key, (num,), jnp.float32) * numbers[0]}


def _draw_side(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  """From 1 to so many pixels; 0 where that is 1 or less."""
  del frame
  more = jnp.maximum(jnp.asarray(numbers[0], jnp.float32) - 1.0, 0.0)
  side = 1.0 + jax.random.uniform(key, (num,), jnp.float32) * more
  return {"amount": jnp.where(more > 0, side, 0.0)}


def _draw_chance(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  del frame
  return {"amount": jax.random.bernoulli(key, numbers[0], (num,))}


def _draw_normal(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  del frame
  return {"amount": jax.random.normal(key, (num, 3), jnp.float32) * beside(numbers[0], 2)}


def _draw_noise(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  del frame
  amount = jnp.broadcast_to(jnp.asarray(numbers[0], jnp.float32), (num,))
  return {"amount": amount, "seeds": draw_seeds(key, num)}


def _draw_cutout(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  box_key, seed_key = jax.random.split(key)
  box = boxes.cutout_boxes(box_key, num, numbers[0], size=(frame.height, frame.width))
  return {"amount": box, "seeds": draw_seeds(seed_key, num)}


def _draw_erase(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
  box_key, seed_key, chance_key = jax.random.split(key, 3)
  box = boxes.draw_erasing_boxes(box_key, num, (frame.height, frame.width))
  acts = jax.random.bernoulli(chance_key, numbers[0], (num,))
  return {"amount": jnp.where(acts[:, None], box, 0), "seeds": draw_seeds(seed_key, num)}


def _fill_boxes(images: jax.Array, drawn: Drawn, frame: Frame) -> jax.Array:
  is_filled = boxes.inside(drawn["amount"], (frame.height, frame.width))[..., None]
  filling = frame.filling(drawn["seeds"], images.shape[-1])
  return jnp.where(is_filled, 0.0 if filling is None else filling, images)


def _of_amount(
  function: Callable[[jax.Array, jax.Array, Frame], jax.Array],
) -> Callable[[jax.Array, Drawn, Frame], jax.Array]:
  return lambda images, drawn, frame: function(images, drawn["amount"], frame)


def _policy(draw_choices: _Draw) -> Pixels:
  def with_amount(key: jax.Array, num: int, numbers: Sequence[Strength], frame: Frame) -> Drawn:
    drawn = draw_choices(key, num, numbers, frame)
    return {**drawn, "amount": drawn["choice"]}

  return Pixels(with_amount, policies.apply_choices)


PIXELS: Mapping[str, Pixels] = {
  "brightness": Pixels(_change(), _of_amount(colour.brightness)),
  "contrast": Pixels(_change(), _of_amount(colour.contrast)),
  "saturation": Pixels(_change(), _of_amount(colour.saturation)),
  "hue": Pixels(_change(), _of_amount(colour.hue)),
  "colour": Pixels(_change(3), _of_amount(colour.jitter)),
  "pca_colour": Pixels(_draw_normal, _of_amount(colour.pca_colour)),
  "noise": Pixels(
    _draw_noise,
    lambda images, drawn, frame: colour.noise(images, drawn["amount"], drawn["seeds"], frame=frame),
  ),
  "mean_blur": Pixels(_draw_side, _of_amount(blur.mean_blur)),
  "gaussian_blur": Pixels(_draw_up_to, _of_amount(blur.gaussian_blur)),
  "median_blur": Pixels(_draw_chance, _of_amount(blur.median_blur)),
  "bilateral_blur": Pixels(_draw_up_to, _of_amount(blur.bilateral_blur)),
  "cutout": Pixels(_draw_cutout, _fill_boxes),
  "erase": Pixels(_draw_erase, _fill_boxes),
  "trivial_augment": _policy(
    lambda key, num, numbers, frame: policies.draw_trivial(key, num, numbers[0], frame=frame)
  ),
  "rand_augment": _policy(
    lambda key, num, numbers, frame: policies.draw_random(
      key, num, (numbers[0], int(numbers[1])), frame=frame
    )
  ),
  "auto_augment": _policy(
    lambda key, num, numbers, frame: policies.draw_auto(key, num, numbers[0], frame=frame)
  ),
}


# ---- what is drawn


def draw(
  key: Key[Array, ""],
  sizes: Int[AnyArray, "B 2"],
  output: tuple[int, int],
  pipeline: Pipeline,
  *,
  strengths: Strengths | None = None,
) -> Draws:
  """Returns the random numbers of one batch, by operation.

  They are drawn for the whole batch before it is divided over devices, so the number of devices
  changes nothing. An operation draws the same whatever stands beside it.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32, height and width of every image.
    output: (height, width) after the crop; no larger than any padded image.
    pipeline: the operations.
    strengths: [] float each, or [B] where examples differ, in place of the numbers in the pipeline;
      by the regulariser's name.
      `augment_strength` in [0, 1] multiplies all. A mirror's strength is its probability; of a crop
      (or box) it scales the distance of each edge from its place in evaluation, in whole pixels.
  """
  given, frame = strengths or {}, Frame(*output)
  scale = given.get("augment_strength")
  crop_key, flip_key = jax.random.split(key)
  draws: Draws = {"sizes": {"sizes": sizes}}
  if pipeline.find("resized_crop") is None:
    crop = _draw_crop(crop_key, sizes, output, call=pipeline.find("crop"), strengths=given)
    draws["crop"] = crop | {"seeds": draw_seeds(_key_of("crop", key), len(sizes))}
  for call in pipeline.of_one:
    numbers = (_number(call, given, scale), *call.numbers[1:])
    if call.name == "resized_crop":
      area = given.get("resized_crop", call.numbers[0])
      setting = (area, call.numbers[1])
      box = draw_boxes(crop_key, sizes, output, setting=setting, strength=scale)
      draws[call.name] = {"boxes": box}
    elif call.name == "flip":
      draws[call.name] = {"is_on": jax.random.bernoulli(flip_key, numbers[0], (len(sizes),))}
    elif call.name not in CROPS:
      own = _key_of(call.name, key)
      draws[call.name] = _draw_one(own, len(sizes), call.name, numbers=numbers, frame=frame)
  synthetic = pipeline.find(SMOTE)
  if synthetic is not None:
    strength = _number(synthetic, given, scale)
    draws[SMOTE] = smote.draw(_key_of(SMOTE, key), len(sizes), strength)
  return draws


def _key_of(name: str, key: jax.Array) -> jax.Array:
  """Returns the key of an operation, which depends on its name alone."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _number(call: Call, strengths: Strengths, scale: AnyArray | None) -> Strength:
  number = strengths.get(strength_of(call.name), call.numbers[0])
  return number if scale is None else number * scale


def _draw_crop(
  key: jax.Array,
  sizes: AnyArray,
  output: tuple[int, int],
  *,
  call: Call | None,
  strengths: Strengths,
) -> Drawn:
  """Returns the offsets of crops; without a call those of the crop to `data.crop_size` alone."""
  pad, strength = 0 if call is None else int(call.numbers[0]), strengths.get("augment_strength")
  if call is not None and "crop" in strengths:
    share = strengths["crop"] * (1.0 / max(pad, 1))
    strength = share if strength is None else share * strength
  return {"offsets": draw_offsets(key, sizes, output, pad=pad, strength=strength)}


def _draw_one(
  key: jax.Array, num: int, name: str, *, numbers: Sequence[Strength], frame: Frame
) -> Drawn:
  if name in MIRRORS:
    return {"is_on": jax.random.bernoulli(key, numbers[0], (num,))}
  if name not in GEOMETRY:
    return PIXELS[name].draw(key, num, numbers, frame)
  amount_key, seed_key = jax.random.split(key)
  largest = jnp.log1p(jnp.asarray(numbers[0], jnp.float32)) if name in LOGARITHMIC else numbers[0]
  amount = symmetric(amount_key, (num, GEOMETRY[name].num_amounts), largest)
  return {"amount": amount, "seeds": draw_seeds(seed_key, num)}


# ---- what becomes of the images


def augment(
  inputs: Shaped[AnyArray, "B *rest"],
  draws: Draws,
  output: tuple[int, int],
  pipeline: Pipeline,
  *,
  mean: Float[AnyArray, "C"] | None = None,
) -> Shaped[Array, "B *out"]:
  """Returns the augmented batch [B, *output, C]; unchanged for features, or without augmentation.

  Args:
    inputs: [B, H, W, C] uint8 images (or float in [0, 1]), or [B, D] features.
    draws: from `draw`, the rows of these examples.
    output: (height, width) after the crop.
    pipeline: the operations.
    mean: [C] float32, the mean colour in units of a pixel; needed where `pipeline.fill` is mean.
  Returns:
    uint8 after crops and mirrors alone, otherwise float32 in the units of a pixel.
  """
  images = jnp.asarray(inputs)
  if images.ndim != 4:
    return images
  unit = 255.0 if images.dtype == jnp.uint8 else 1.0
  frame = Frame(*output, unit=unit, fill=pipeline.fill, mean=mean)
  for is_place, names in _stages(pipeline, needs_crop=output != images.shape[1:3]):
    if is_place:
      images = _moved(images, names, draws, frame=frame, pipeline=pipeline)
      continue
    images = images.astype(jnp.float32)
    for name in names:
      images = _changed(images, name, draws[name], frame=frame)
  return images


def _is_place(name: str) -> bool:
  return name in (*CROPS, *MIRRORS) or name in GEOMETRY


def _stages(pipeline: Pipeline, *, needs_crop: bool) -> Iterator[tuple[bool, tuple[str, ...]]]:
  """Yields (whether pixels move, the names of neighbouring operations) in order.

  The crop to `data.crop_size` comes first where no other stands there.
  """
  names = [call.name for call in pipeline.of_one]
  if names[:1] not in ([name] for name in CROPS) and (
    needs_crop or (names and _is_place(names[0]))
  ):
    names.insert(0, "crop")
  for is_place, group in itertools.groupby(names, _is_place):
    yield is_place, tuple(group)


def _moved(
  images: jax.Array,
  names: tuple[str, ...],
  draws: Draws,
  *,
  frame: Frame,
  pipeline: Pipeline,
) -> jax.Array:
  """Returns the images [B, h, w, C] after neighbouring operations that move pixels."""
  output, call = (frame.height, frame.width), pipeline.find("crop")
  num, pad = images.shape[0], 0 if call is None else int(call.numbers[0])
  no_flips = jnp.zeros((num,), bool)
  flips = draws["flip"]["is_on"] if "flip" in names else no_flips
  if names[0] == "resized_crop":
    has_flip = names[1:2] == ("flip",)
    boxed = draws["resized_crop"]["boxes"]
    images = resize_boxes(images, boxed, flips if has_flip else no_flips, output=output)
    names = names[1 + has_flip :]
    return _moved(images, names, draws, frame=frame, pipeline=pipeline) if names else images
  if set(names) <= {"crop", *MIRRORS} and (pipeline.fill == "black" or pad == 0):
    is_first = names[0] == "crop"
    offsets = draws["crop"]["offsets"] if is_first else jnp.zeros((num, 2), jnp.int32)
    upside_down = draws["vertical_flip"]["is_on"] if "vertical_flip" in names else None
    pad = pad if is_first else 0
    return crop_and_flip(images, offsets, flips, pad=pad, output=output, upside_down=upside_down)
  return _warped(images, names, draws, frame=frame, pad=pad)


def _warped(
  images: jax.Array, names: tuple[str, ...], draws: Draws, *, frame: Frame, pad: int
) -> jax.Array:
  """Returns the images after one bilinear gather for all operations of a group."""
  output = jnp.asarray([[frame.height, frame.width]], jnp.int32)
  first, sizes = jnp.zeros((1, 2), jnp.int32), jnp.broadcast_to(output, (images.shape[0], 2))
  # A group without a seed is made of mirrors, which show no place outside of the image.
  no_seeds = jnp.zeros((images.shape[0],), jnp.uint32)
  seeds = next((draws[name]["seeds"] for name in names if "seeds" in draws[name]), no_seeds)
  if names[0] == "crop":
    first, sizes, names = draws["crop"]["offsets"] - pad, draws["sizes"]["sizes"], names[1:]
  x, y = source_places(names, draws, frame)
  middle = first.astype(jnp.float32) + 0.5 * (output - 1).astype(jnp.float32)
  places = x + middle[:, 1, None, None], y + middle[:, 0, None, None]
  filling = frame.filling(seeds, images.shape[-1])
  return bilinear(images, places, sizes, filling=filling)


def _changed(images: jax.Array, name: str, drawn: Drawn, *, frame: Frame) -> jax.Array:
  """Returns the images after an operation on their pixels; those whose amount is 0 as they were."""
  acts = drawn["amount"].astype(bool)
  acts = acts if acts.ndim == 1 else acts.any(axis=1)
  return jnp.where(of_examples(acts), PIXELS[name].apply(images, drawn, frame), images)
