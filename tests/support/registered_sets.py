"""Small stand-ins for the registered sets: made-up records, with their checksums."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdt.data.published.cifar import CifarFormat
from sdt.data.published.cifar_files import CifarFile, KnownVariant
from sdt.data.published.download import RemoteFile
from sdt.data.published.registered import PublishedSizes, RegisteredSet

CHANGED = (3, 7)  # the test records whose pixels the stand-in does not know


def sha256(content: bytes) -> str:
  return hashlib.sha256(bytes(content)).hexdigest()


def records(num: int, num_label_bytes: int, num_classes: int, seed: int) -> np.ndarray:
  """Returns uint8 [num, num_label_bytes + 3072]: record i has class i modulo the number of classes.

  Half of it is the coarse class.
  """
  rows = np.random.default_rng(seed).integers(0, 256, (num, num_label_bytes + 3072), dtype=np.uint8)
  classes = np.arange(num) % num_classes
  rows[:, 0] = classes // 2  # of two label bytes the first
  rows[:, num_label_bytes - 1] = classes
  return rows


def make_cifar(
  num_label_bytes: int = 1, num_classes: int = 4, url: str = "http://localhost:9/small.tar.gz"
) -> tuple[RegisteredSet, dict[str, bytes], bytes]:
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
    train=(
      CifarFile("a.bin", 20, sha256(contents["a.bin"])),
      CifarFile("b.bin", 20, sha256(contents["b.bin"])),
    ),
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
    remotes=(RemoteFile(url, "small.tar.gz", len(archive), sha256=sha256(archive)),),
    form=form,
    mean_std=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
  )
  return spec, contents, variant.tobytes()


def pack(
  members: Mapping[str, bytes], extra: Iterable[tuple[tarfile.TarInfo, bytes]] = ()
) -> bytes:
  """Returns a .tar.gz of {name: content} and the (TarInfo, content) pairs of `extra`."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
    for info, content in extra:
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def prepare(
  root: Path,
  contents: Mapping[str, bytes],
  num_label_bytes: int = 1,
  test_ids: Sequence[str] | None = None,
) -> Path:
  """Prepares the stand-in as tfds would, shuffled by its own rule; returns the version folder."""
  import tensorflow_datasets as tfds

  keys = ("coarse_label", "label")[-num_label_bytes:]

  class Small(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("3.0.2")

    def _info(self) -> Any:
      features = {"id": tfds.features.Text(), "image": tfds.features.Image(shape=(32, 32, 3))}
      features |= {key: tfds.features.ClassLabel(num_classes=10) for key in keys}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
      return {
        "train": self._generate_examples("train", ("a.bin", "b.bin")),
        "test": self._generate_examples("test", ("test.bin",)),
      }

    def _generate_examples(self, split: str, names: Sequence[str]) -> Iterator[Any]:
      rows = np.frombuffer(b"".join(contents[name] for name in names), np.uint8).reshape(
        -1, num_label_bytes + 3072
      )
      for i, row in enumerate(rows):
        image = Image.fromarray(row[num_label_bytes:].reshape(3, 32, 32).transpose(1, 2, 0))
        name = f"{split}_{i:05d}" if split == "train" or test_ids is None else test_ids[i]
        yield i, {"id": name, "image": image} | {key: int(row[k]) for k, key in enumerate(keys)}

  del tfds.core.registered._DATASET_REGISTRY["small"]  # the next test registers its own
  builder = Small(data_dir=root, file_format="array_record")
  builder.download_and_prepare()
  return root / "small" / "3.0.2"


def write(folder: Path, contents: Mapping[str, bytes]) -> Path:
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in contents.items():
    (folder / name).write_bytes(content)
  return folder


def tree(folder: Path) -> list[tuple[str, int, int]]:
  """Returns what lies below a folder: every path with its size and time of change."""
  return sorted(
    (str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")
  )


def picture(seed: int, size: tuple[int, int] = (6, 4), form: str = "JPEG") -> bytes:
  """Returns the bytes of an image of noise."""
  pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, form)
  return buffer.getvalue()


WNIDS = ("n00000030", "n00000010", "n00000020")
NUMBERS = (0, 2, 9, 10, 499)  # of the training images, in no order of text
TEST_NUMBERS = (3, 20, 100)


def make_tiny_imagenet(root: Path) -> Path:
  """Writes a small set in the layout of Tiny-ImageNet; returns the folder."""
  folder = root / "tiny-imagenet-200"
  for label, wnid in enumerate(WNIDS):
    images = [(f"{wnid}_{number}.JPEG", picture(10_000 * label + number)) for number in NUMBERS]
    write(folder / "train" / wnid / "images", dict(images))
    (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(
      "".join(f"{name}\t0\t0\t5\t3\n" for name, _ in images)
    )
  write(
    folder / "val" / "images",
    {f"val_{number}.JPEG": picture(50_000 + number) for number in TEST_NUMBERS},
  )
  write(folder / "test" / "images", {"test_0.JPEG": picture(1)})
  lines = [
    f"val_{number}.JPEG\t{WNIDS[label]}\t0\t0\t5\t3\n"
    for number, label in ((100, 1), (3, 1), (20, 0))
  ]
  (folder / "val" / "val_annotations.txt").write_text("".join(lines))
  (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
  words = (
    "n00000010\tcrane, bird\n",
    "n00000015\tnobody asked, for this\n",
    "n00000020\tcrane\n",
    "n00000030\tsea snake, elapid\n",
  )
  (folder / "words.txt").write_text("".join(words))
  return folder


# (image id, class id, 1 for training, file): ids follow no order of file names, as in the original.
CUB_ROWS = (
  (1, 1, 0, "001.Black_footed_Albatross/z_0002.jpg"),
  (2, 1, 1, "001.Black_footed_Albatross/a_0009.jpg"),
  (3, 1, 1, "001.Black_footed_Albatross/m_0001.jpg"),
  (5, 3, 1, "003.Sooty_Albatross/s_2.jpg"),
  (6, 3, 0, "003.Sooty_Albatross/s_1.jpg"),
  (9, 3, 1, "003.Sooty_Albatross/s_10.jpg"),
)
CUB_CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")


def cub_pictures() -> dict[str, bytes]:
  """Returns {file: bytes} of images of differing sizes."""
  return {file: picture(image_id, (28 + 3 * image_id, 30)) for image_id, _, _, file in CUB_ROWS}


def make_cub(root: Path) -> Path:
  """Writes 6 images of 2 of 3 classes in the layout of CUB-200-2011; returns the folder."""
  folder = root / "CUB_200_2011"
  for file, content in cub_pictures().items():
    write((folder / "images" / file).parent, {file.split("/")[1]: content})
  lists = {
    "images.txt": [f"{image_id} {file}" for image_id, _, _, file in CUB_ROWS],
    "image_class_labels.txt": [f"{image_id} {number}" for image_id, number, _, _ in CUB_ROWS],
    "train_test_split.txt": [f"{image_id} {is_train}" for image_id, _, is_train, _ in CUB_ROWS],
    "classes.txt": [f"{number} {name}" for number, name in enumerate(CUB_CLASSES, 1)],
    "bounding_boxes.txt": [f"{image_id} 0.0 0.0 30.0 20.0" for image_id, *_ in CUB_ROWS],
  }
  for name, lines in lists.items():
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
  return folder


def edit(path: Path, old: str, new: str) -> None:
  """Replaces the only occurrence of a text in a file."""
  text = path.read_text()
  assert text.count(old) == 1
  path.write_text(text.replace(old, new))
