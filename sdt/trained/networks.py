"""The networks of one arm, as one classifier: their mean probability counts."""

import contextlib
import dataclasses
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from sdt.config.toolbox.view_blocks import CENTRE, View
from sdt.data.readers.images import in_order
from sdt.errors import ConfigError, DataError
from sdt.trained import given, pictures
from sdt.trained.given import Images
from sdt.trained.model import Model
from sdt.trained.pictures import Pictures
from sdt.trained.predicting import Guesses, Predictor, guessed
from sdt.trained.preparing import PreparedPart, Preparing

_PARTS_AHEAD = 16  # prepared before they are asked for
_BATCH_SIZE, _BATCH_PIXELS = 64, 2**22  # at most, so that a batch of large images fits into memory
_LARGEST_BATCH = 2**17
_PACKAGE = str(Path(__file__).parents[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """The networks of an arm, one for each seed.

  Attributes:
    models: at least one.
    precision: in which the layers compute: that of the run.
    views: under which an image is seen; the probabilities are the mean over them.
  """

  models: tuple[Model, ...]
  precision: str = "float32"
  views: tuple[View, ...] = (CENTRE,)

  @property
  def class_names(self) -> tuple[str, ...]:
    return self.models[0].class_names

  @property
  def preparing(self) -> Preparing:
    """How images become inputs of these networks."""
    return Preparing(self.models[0].config.data, self.models[0].input_shape)

  @property
  def batch_size(self) -> int:
    """Examples a batch unless another size is asked for; it does not depend on their number.

    So what is said of an example depends on nothing else, to the last bit.
    """
    shape = self.models[0].input_shape
    fitting = _BATCH_PIXELS // (shape[0] * shape[1]) if len(shape) == 3 else _BATCH_SIZE
    return max(1, min(_BATCH_SIZE, self.models[0].config.score.batch_size, fitting))

  def answers(
    self, found: Sequence[Pictures], batch_size: int | None = None
  ) -> Generator[tuple[PreparedPart, Guesses]]:
    """Yields what is said of the pictures, some at a time, in order.

    Threads prepare some pictures ahead. Memory does not grow with the number of pictures. Pillow
    warns of oddities of single files: see `without_warnings`.

    Args:
      found: what `pictures` found.
      batch_size: examples a batch, see `Networks.batch_size`.

    Raises:
      ConfigError: no such batch size.
    """
    size = self.batch_size if batch_size is None else batch_size
    is_whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
    if not is_whole or not 1 <= size <= _LARGEST_BATCH:
      raise ConfigError(
        f"batch_size={batch_size!r}: expected a whole number from 1 to {_LARGEST_BATCH}"
      )
    predictor = Predictor(
      self.models, batch_size=int(size), precision=self.precision, views=self.views
    )
    preparing = self.preparing

    def prepare(part: pictures.Part) -> PreparedPart:
      return preparing.part(*part)

    parts = (part for one in found for part in one.draw())
    with contextlib.closing(in_order(prepare, parts, ahead=_PARTS_AHEAD)) as prepared:
      yield from guessed(predictor, prepared, inputs=lambda part: part.inputs)

  def predict_proba(
    self, images: Images, *, batch_size: int | None = None
  ) -> Float64[np.ndarray, "N K"]:
    """Returns the probability of every class, [N, K], the mean over the networks.

    Args:
      images: uint8 [N, H, W, C] or grey [N, H, W] of any size; a list of such single images, of
        Pillow's images, and of files; or a path as the command takes it. Of vectors: floats
        [N, D].
      batch_size: see `Networks.batch_size`.

    It warns of images that it scales, see `scaled_note`.

    Raises:
      DataError: an image cannot be read, or this network cannot take it. ConfigError: no such batch
        size.
    """
    rows, note = self.answered(images, batch_size=batch_size)
    warn(note)
    return rows

  def answered(
    self, images: Images, *, batch_size: int | None = None
  ) -> tuple[Float64[np.ndarray, "N K"], str]:
    """Returns what `predict_proba` does, and the note on images that were scaled, or ""."""
    found, num_scaled = self._found(images), 0
    rows = [np.zeros((0, len(self.class_names)))]
    with without_warnings(), contextlib.closing(self.answers(found, batch_size)) as answers:
      for part, guesses in answers:
        for place, reason in part.reasons.items():
          raise DataError(f"{part.names[place]}: {reason}")
        rows.append(guesses.probabilities)
        num_scaled += part.num_scaled
    return np.concatenate(rows), self.scaled_note(num_scaled)

  def scaled_note(self, number: int) -> str:
    """Returns what is told of so many images that had to be scaled; "" of none."""
    if not number:
      return ""
    which, were = ("image", "was") if number == 1 else ("images", "were")
    height, width = self.models[0].input_shape[:2]
    return f"{number:,} {which} of another size {were} scaled to {width} x {height} pixels"

  def _found(self, images: Images) -> list[Pictures]:
    several = given.normalised(images)
    if isinstance(several, Path):
      return pictures.find([several], self.preparing)
    return [pictures.of_arrays(several, self.preparing)]

  def predict(self, images: Images, *, batch_size: int | None = None) -> np.ndarray:
    """Returns the name of the most probable class of each image, [N]; see `predict_proba`."""
    best = self.predict_proba(images, batch_size=batch_size).argmax(axis=1)
    return np.array(self.class_names)[best]


def warn(note: str) -> None:
  """Warns the program that has called sdt, unless the note is empty."""
  if note:
    warnings.warn(note, skip_file_prefixes=(_PACKAGE,), stacklevel=2)


@contextlib.contextmanager
def without_warnings() -> Generator[None]:
  """Silences warnings in the block, such as those of Pillow on single files.

  No generator may yield from within it: what its caller does meanwhile would be silenced too.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    yield
