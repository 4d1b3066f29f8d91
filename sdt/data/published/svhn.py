"""SVHN's cropped digits: two MATLAB files with the images X [32, 32, 3, N] and labels y [N, 1]."""

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.dataset import RawSplit
from sdt.data.published import prepared
from sdt.data.published.download import RemoteFile
from sdt.data.published.registered import Contents, RegisteredSet, refuse_unverified
from sdt.errors import DataError
from sdt.types import Log

_SHAPE = (32, 32, 3)
_CLASS_NAMES = tuple(str(digit) for digit in range(10))
LABEL_NOTE = "SVHN's files call the digit 0 class 10; here its label is 0"


def decode_mat(content: bytes, where: str) -> RawSplit:
  """Returns the examples of one file: images uint8 [N, 32, 32, 3] and labels in [0, 10).

  The digit 0 has label 10 in the file, and label 0 here.

  Args:
    content: a MATLAB 5 file with X uint8 [32, 32, 3, N] and y integers [N, 1] in 1 .. 10.
    where: what the messages call the file.

  Raises:
    DataError: not such a file, or a label outside 1 .. 10 (first index and count).
  """
  import scipy.io  # a tenth of a second to import, so only here

  try:
    arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=("X", "y"))
  except Exception as error:  # SciPy's reader raises errors of many types on damaged bytes
    raise DataError(f"{where}: not a readable MATLAB 5 file: {error}") from error
  images, labels = arrays.get("X"), arrays.get("y")
  if images is None or labels is None:
    raise DataError(
      f"{where}: no variable {'X' if images is None else 'y'}; expected X (images) and y (labels)"
    )
  are_images = images.dtype == np.uint8 and images.ndim == 4 and images.shape[:3] == _SHAPE
  if not are_images or labels.size != images.shape[3]:
    raise DataError(
      f"{where}: X is {images.dtype} {list(images.shape)} and y {list(labels.shape)}, expected "
      "uint8 [32, 32, 3, N] and [N, 1]"
    )
  labels = labels.reshape(-1)
  bad = ~((labels >= 1) & (labels <= 10) & (labels == np.floor(labels)))
  if bad.any():
    first = int(np.argmax(bad))
    raise DataError(
      f"{where}: {int(bad.sum())} of {len(labels)} labels are outside 1 .. 10; the first is "
      f"{labels[first]} at example {first}"
    )
  images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
  return RawSplit(images, (labels % 10).astype(np.int32))


def read_mat(path: Path, remote: RemoteFile) -> RawSplit:
  """Returns the examples of a file whose SHA-256 is the registered one.

  Raises:
    DataError: the file is missing, unreadable or another one.
  """
  try:
    size = path.stat().st_size
    if size != remote.size:
      raise DataError(
        f"{path}: {size} bytes, registered are {remote.size}; the file is cut off or another one, "
        f"fetch {remote.url} again"
      )
    content = path.read_bytes()
  except OSError as error:
    raise DataError(f"{path}: {error.strerror}; fetch it from {remote.url}") from error
  digest = hashlib.sha256(content).hexdigest()
  if digest != remote.sha256:
    raise DataError(
      f"{path}: its SHA-256 is {digest}, registered is {remote.sha256}; fetch {remote.url} again"
    )
  return decode_mat(content, str(path))


@dataclasses.dataclass(frozen=True)
class SvhnFormat:
  """The two files of the set."""

  expected: str = "the folder with train_32x32.mat and test_32x32.mat"

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns `root` if both files are in it; a missing one is fetched, or the user is asked."""
    return root if all((root / remote.name).exists() for remote in spec.remotes) else None

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set from the two files; raises a DataError if one is not the registered one."""
    del config, log
    train, test = (read_mat(place / remote.name, remote) for remote in spec.remotes)
    return Contents(train, test, _CLASS_NAMES, variant="canonical", notes=(LABEL_NOTE,))

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """Returns the set from a folder that tfds prepared, which cannot be verified.

    In it the digit 0 has label 0 already.
    """
    del log
    variant, notes = refuse_unverified(folder, spec, config.verify)
    sizes = {"train": spec.sizes.num_train, "test": spec.sizes.num_test}
    read = (
      prepared.read_images(folder, split, num, label_keys=("label",), shape=_SHAPE)
      for split, num in sizes.items()
    )
    train, test = (RawSplit(images, labels[:, 0]) for images, labels in read)
    return Contents(train, test, _CLASS_NAMES, variant=variant, notes=notes)
