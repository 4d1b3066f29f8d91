"""Small stand-ins for the registered sets: made-up records, with the checksums that belong to them."""

import hashlib
import io
import tarfile

import numpy as np

from sdt.data.cifar import CifarFile, CifarFormat, KnownVariant
from sdt.data.download import RemoteFile
from sdt.data.registered import PublishedSizes, RegisteredSet

CHANGED = (3, 7)  # the test records whose pixels the stand-in does not know


def sha256(content):
  return hashlib.sha256(bytes(content)).hexdigest()


def records(num, num_label_bytes, num_classes, seed):
  """Returns uint8 [num, num_label_bytes + 3072]; the class is the record's number modulo the number of classes, its half the coarse class."""
  rows = np.random.default_rng(seed).integers(0, 256, (num, num_label_bytes + 3072), dtype=np.uint8)
  classes = np.arange(num) % num_classes
  rows[:, 0] = classes // 2  # of two label bytes the first
  rows[:, num_label_bytes - 1] = classes
  return rows


def make_cifar(num_label_bytes=1, num_classes=4, url="http://localhost:9/small.tar.gz"):
  """Returns (spec, {file name: bytes} of the original, bytes of the known variant's test file)."""
  rows = {
    "a.bin": records(20, num_label_bytes, num_classes, 1),
    "b.bin": records(20, num_label_bytes, num_classes, 2),
    "test.bin": records(12, num_label_bytes, num_classes, 3),
  }
  variant = rows["test.bin"].copy()
  variant[list(CHANGED), num_label_bytes:] ^= 1
  masked = rows["test.bin"].copy()
  masked[list(CHANGED), num_label_bytes:] = 0
  contents = {name: value.tobytes() for name, value in rows.items()}
  archive = pack({f"small-bin/{name}": content for name, content in contents.items()})
  form = CifarFormat(
    folder="small-bin",
    class_names=tuple("abcd"[:num_classes]),
    coarse_class_names=("low", "high") if num_label_bytes == 2 else None,
    train=(CifarFile("a.bin", 20, sha256(contents["a.bin"])), CifarFile("b.bin", 20, sha256(contents["b.bin"]))),
    test=(
      CifarFile(
        "test.bin",
        12,
        variants=(KnownVariant("jpeg-2", sha256(variant.tobytes()), "2 images are re-encoded"),),
        unknown_records=CHANGED,
        masked_sha256=sha256(masked.tobytes()),
      ),
    ),
  )
  spec = RegisteredSet(
    name="cifar10",
    sizes=PublishedSizes(40, 12, num_classes),
    tfds_name="small",
    remotes=(RemoteFile(url, "small.tar.gz", len(archive), sha256(archive)),),
    form=form,
    mean_std=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
  )
  return spec, contents, variant.tobytes()


def pack(members, extra=()):
  """Returns the bytes of a .tar.gz of {name: content}; `extra` are (TarInfo, content) pairs behind them."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
    for info, content in extra:
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def write(folder, contents):
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in contents.items():
    (folder / name).write_bytes(content)
  return folder


def tree(folder):
  """Returns what lies below a folder: every path with its size and time of change."""
  return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))
