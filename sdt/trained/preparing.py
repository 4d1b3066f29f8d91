"""Makes of a picture what the network of a run is given: decoded, scaled and cut as in the run."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import downsample
from sdt.data.readers import npz
from sdt.data.readers.decoding import Decoded, decode, from_image
from sdt.errors import DataError

# A file, the bytes of one, an image of Pillow's, or an array: uint8 [h, w], [h, w, 1], [h, w, 3] or
# [h, w, 4], or numbers [D] where the network takes vectors.
type Picture = str | Path | bytes | Image.Image | Shaped[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class Prepared:
  """One input of the network.

  Attributes:
    inputs: uint8 [H, W, C], or float32 [D]; None where there is none.
    reason: why there is none.
    is_scaled: whether it had another size than the images that the network was trained on, of a
      run that scales no images.
  """

  inputs: Shaped[np.ndarray, "..."] | None
  reason: str = ""
  is_scaled: bool = False


@dataclasses.dataclass(frozen=True)
class PreparedPart:
  """The inputs of some pictures.

  Attributes:
    names: [n], what a table calls the pictures.
    inputs: [m, ...] of those that there are.
    reasons: why there is none, by place in `names`.
    num_scaled: see `Prepared.is_scaled`.
  """

  names: Sequence[str]
  inputs: Shaped[np.ndarray, "m ..."]
  reasons: Mapping[int, str]
  num_scaled: int = 0


@dataclasses.dataclass(frozen=True)
class Preparing:
  """How the images (or vectors) of a run become inputs of its networks.

  Attributes:
    config: `image_size`, `resize`, `downsample`, `crop_size` and `value_range` of the run.
    shape: of what the network sees, (H, W, C), or (D,).
  """

  config: DataConfig
  shape: tuple[int, ...]

  def refuse_files(self) -> None:
    """Raises a DataError where no image file can be an input of the network."""
    if len(self.shape) == 1:
      raise DataError(
        f"this network was trained on vectors of {self.shape[0]} numbers, not on images; give an "
        "npz or an array of floats [N, D]"
      )
    if self.shape[2] not in (1, 3):
      raise DataError(
        f"this network was trained on images of {self.shape[2]} channels, which no image file "
        "has; give an npz or an array of uint8 [N, H, W, C]"
      )

  def refuse_other_arrays(
    self,
    shape: tuple[int, ...],
    dtype: np.dtype,
    where: str,
    *,
    span: tuple[float, float] | None = None,
  ) -> None:
    """Raises a DataError where an array of this shape [N, ...] cannot hold inputs of the network.

    `where` is what the message calls it; `span` its smallest and largest number, where known.
    """
    what = f"{where}: {dtype} {list(shape)}"
    if len(self.shape) == 1:
      if len(shape) != 2 or dtype.kind not in "fiu" or shape[1] != self.shape[0]:
        raise DataError(
          f"{what}; this network was trained on vectors: expected floats [N, {self.shape[0]}]"
        )
      return
    channels, wanted = (shape[3] if len(shape) == 4 else 1), self.shape[2]
    taken = {3: (1, 3, 4)}.get(wanted, (wanted,))
    if dtype != np.uint8 or len(shape) not in (3, 4):
      raise DataError(
        f"{what}; expected uint8, 0 to 255, [N, height, width, {wanted}]"
        f"{'; one image is x[None]' if len(shape) == 2 else ''}{_to_bytes(dtype, span)}"
      )
    if channels not in taken:
      is_first = len(shape) == 4 and shape[1] in taken
      advice = "; its channels come first: give x.transpose(0, 2, 3, 1)" if is_first else ""
      raise DataError(
        f"{what} has {channels} channels, this network was trained on images of {wanted}{advice}"
      )

  def __call__(self, picture: Picture) -> Prepared:
    """Returns the input that a picture gives; never raises for what is wrong with it."""
    if isinstance(picture, np.ndarray):
      return self._of_vector(picture) if len(self.shape) == 1 else self._of_array(picture)
    if isinstance(picture, Image.Image):
      return self._of_decoded(from_image(picture, self.config))
    content = Path(picture) if isinstance(picture, str) else picture
    return self._of_decoded(decode(content, self.config))

  def part(
    self, names: Sequence[str], pictures: Sequence[Picture] | Shaped[np.ndarray, "n ..."]
  ) -> PreparedPart:
    """Returns the inputs of some pictures, each with its name."""
    if isinstance(pictures, np.ndarray) and self._are_inputs(pictures):
      return PreparedPart(names, pictures.reshape(len(pictures), *self.shape), {})
    each = [self(picture) for picture in pictures]
    there = [one.inputs for one in each if one.inputs is not None]
    empty = np.zeros((0, *self.shape), np.uint8 if len(self.shape) == 3 else np.float32)
    return PreparedPart(
      names,
      np.stack(there) if there else empty,
      {place: one.reason for place, one in enumerate(each) if one.inputs is None},
      num_scaled=sum(one.is_scaled for one in each),
    )

  def _are_inputs(self, images: Shaped[np.ndarray, "n ..."]) -> bool:
    """Returns whether images are what the network sees: nothing is to be scaled or cut."""
    if len(self.shape) == 1 or images.dtype != np.uint8:
      return False
    shape = images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)
    size = self.config.image_size
    is_scaled = size is not None and shape[:2] != (size, size)
    return shape == self.shape and not is_scaled

  def _of_vector(self, vector: Shaped[np.ndarray, "..."]) -> Prepared:
    if vector.shape != self.shape or vector.dtype.kind not in "fiu":
      return Prepared(
        None,
        f"an array of {vector.dtype} {list(vector.shape)}, where the network takes vectors of "
        f"{self.shape[0]} numbers",
      )
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite: refused here
      numbers = vector.astype(np.float32)
    if not np.isfinite(numbers).all():
      return Prepared(None, "some of its numbers are not finite in float32")
    return Prepared(numbers)

  def _of_array(self, pixels: Shaped[np.ndarray, "..."]) -> Prepared:
    """Returns the input of an array, of any size where Pillow has such images."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
      return Prepared(
        None,
        f"an array of {pixels.dtype} {list(pixels.shape)}; expected uint8, 0 to 255, [height, "
        f"width] or [height, width, channels]{_to_bytes(pixels.dtype, span_of(pixels))}",
      )
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = image.shape[2]
    if channels == self.shape[2] and channels in (1, 3) and not self.config.image_size:
      return self._cut(image)
    if channels == self.shape[2] and channels not in (1, 3):
      return self._cut(image)
    if channels not in (1, 3, 4):
      return Prepared(None, f"{channels} channels, where the network takes {self.shape[2]}")
    plain = image[..., 0] if channels == 1 else image
    return self._of_decoded(from_image(Image.fromarray(np.ascontiguousarray(plain)), self.config))

  def _of_decoded(self, decoded: Decoded) -> Prepared:
    """Returns the input of upright RGB in the run's size: its middle, in the run's channels."""
    pixels = decoded.pixels
    if pixels is None:
      return Prepared(None, decoded.reason)
    if self.shape[2] == 3:
      return self._cut(pixels)
    grey = pixels[..., :1]
    if self.shape[2] != 1 or (pixels != grey).any():
      way_out = "; convert it to grey first" if self.shape[2] == 1 else ""
      takes = _channels(self.shape[2])
      return Prepared(None, f"a colour image, where the network takes {takes}{way_out}")
    return self._cut(grey)

  def _cut(self, pixels: UInt8[np.ndarray, "h w C"]) -> Prepared:
    """Returns the middle of an image, or without a crop the whole image in the network's size."""
    height, width, channels = self.shape
    size = self.config.crop_size
    pixels = self._averaged(pixels)
    here = pixels.shape[:2]
    if size is not None:
      if min(here) < size:
        return Prepared(
          None,
          f"{here[1]} x {here[0]} pixels, where the network sees the middle {size} x {size} "
          "(data.crop_size)",
        )
      top, left = (here[0] - size) // 2, (here[1] - size) // 2
      return Prepared(pixels[top : top + size, left : left + size])
    if here == (height, width):
      return Prepared(pixels)
    if channels not in (1, 3):
      return Prepared(
        None, f"{here[1]} x {here[0]} pixels, where the network takes {width} x {height}"
      )
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return Prepared(scaled.reshape(self.shape), is_scaled=True)

  def _averaged(self, pixels: UInt8[np.ndarray, "h w C"]) -> UInt8[np.ndarray, "h2 w2 C"]:
    """Returns an image in the size that `data.downsample` leaves, if it has that of the run's."""
    factor, (high, wide) = self.config.downsample, pixels.shape[:2]
    of_run = (high, wide) == (factor * self.shape[0], factor * self.shape[1])
    is_cut = self.config.crop_size is not None and high % factor == 0 and wide % factor == 0
    return downsample.averaged(pixels, factor) if of_run or is_cut else pixels


def span_of(array: Shaped[np.ndarray, "..."]) -> tuple[float, float] | None:
  """Returns the smallest and largest number of an array; None where it has none."""
  has_numbers = array.dtype.kind in "uifb" and array.size
  return (float(array.min()), float(array.max())) if has_numbers else None


def _to_bytes(dtype: np.dtype, span: tuple[float, float] | None) -> str:
  """Returns what makes bytes of numbers of another type, by their span where it is known."""
  if dtype == np.uint8 or dtype.kind not in "uifb":
    return ""
  unit, whole = (npz.call_to_bytes(0.0, top) for top in (1.0, 255.0))
  if span is None:
    return f"; numbers from 0 to 1 become that by {unit}, those from 0 to 255 by {whole}"
  if span[0] >= 0 and span[1] <= 255:
    return f"; these become that by {unit if span[1] <= 1 else whole}"
  return "; make of these what was made of the images that the network was trained on"


def _channels(number: int) -> str:
  return "grey ones" if number == 1 else f"{number} channels"
