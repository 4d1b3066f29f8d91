"""The networks of one arm, as one classifier: their mean probability counts."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import Image

from sdt.data.readers.images import in_order
from sdt.errors import DataError
from sdt.trained import pictures
from sdt.trained.model import Model
from sdt.trained.pictures import Pictures
from sdt.trained.predicting import Guesses, Predictor, guessed
from sdt.trained.preparing import Picture, PreparedPart, Preparing

_PARTS_AHEAD = 16  # prepared before they are asked for

# What `Networks.predict_proba` takes: an array [N, ...], a list of pictures and files, one picture,
# or a path as the command takes it: of a file, a folder, a CSV file or an npz.
type Images = np.ndarray | Sequence[Picture] | Image.Image | str | Path


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """The networks of an arm, one for each seed.

  Attributes:
    models: at least one.
    precision: in which the layers compute: that of the run.
  """

  models: tuple[Model, ...]
  precision: str = "float32"

  @property
  def class_names(self) -> tuple[str, ...]:
    return self.models[0].class_names

  @property
  def preparing(self) -> Preparing:
    """How images become inputs of these networks."""
    return Preparing(self.models[0].config.data, self.models[0].input_shape)

  def answers(
    self, found: Sequence[Pictures], batch_size: int | None = None
  ) -> Iterator[tuple[PreparedPart, Guesses]]:
    """Yields what is said of the pictures, some at a time, in order.

    Threads prepare some pictures ahead. Memory does not grow with the number of pictures.

    Args:
      found: what `pictures` found.
      batch_size: examples a batch; by default that of the run's evaluations, or for fewer pictures
        the next power of two.
    """
    total = sum(one.total for one in found)
    size = batch_size or min(
      self.models[0].config.score.batch_size, 2 ** max(0, total - 1).bit_length()
    )
    predictor = Predictor(self.models, batch_size=size, precision=self.precision)
    preparing = self.preparing

    def prepare(part: pictures.Part) -> PreparedPart:
      return preparing.part(*part)

    parts = (part for one in found for part in one.draw())
    with (
      warnings.catch_warnings(),
      contextlib.closing(in_order(prepare, parts, ahead=_PARTS_AHEAD)) as prepared,
    ):
      warnings.simplefilter("ignore")  # Pillow warns of oddities of single files
      yield from guessed(predictor, prepared, inputs=lambda part: part.inputs)

  def predict_proba(
    self, images: Images, *, batch_size: int | None = None
  ) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], the mean over the networks.

    Args:
      images: uint8 [N, H, W, C] or grey [N, H, W] of any size; a list of such single images, of
        Pillow's images, and of files; or a path as the command takes it. Of vectors: floats
        [N, D].
      batch_size: see `answers`.

    Raises:
      DataError: an image cannot be read, or this network cannot take it.
    """
    found = self._found(images)
    rows = [np.zeros((0, len(self.class_names)))]
    for part, guesses in self.answers(found, batch_size):
      for place, reason in part.reasons.items():
        raise DataError(f"{part.names[place]}: {reason}")
      rows.append(guesses.probabilities)
    return np.concatenate(rows)

  def _found(self, images: Images) -> list[Pictures]:
    if isinstance(images, str | Path):
      return pictures.find([images], self.preparing)
    several = [images] if isinstance(images, Image.Image) else images
    return [pictures.of_arrays(several, self.preparing)]

  def predict(self, images: Images, *, batch_size: int | None = None) -> np.ndarray:
    """Returns the name of the most probable class of each image, [N]; see `predict_proba`."""
    best = self.predict_proba(images, batch_size=batch_size).argmax(axis=1)
    return np.array(self.class_names)[best]
