"""Damaged files of every kind that sdt reads: a clear refusal, no crash, nothing written elsewhere.

A seeded script damages them.
"""

import functools
import os
import resource
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from sdt import files
from sdt.config.schema import DataConfig, ModelConfig
from sdt.data import sources
from sdt.data.published import registered
from sdt.errors import SdtError
from sdt.models import make_model, pretrained
from sdt.models.registry import variable_shapes
from tests.support import image_files, registered_sets

SEED = int(os.environ.get("SDT_FUZZ_SEED", "20261121"))
MEMORY_BYTES = 300 * 2**20
IMAGES = {
  "PNG": "png",
  "JPEG": "jpg",
  "BMP": "bmp",
  "GIF": "gif",
  "TIFF": "tif",
  "WEBP": "webp",
  "PPM": "ppm",
}


def mutated(content, rng):
  """Returns the bytes with one kind of damage, drawn at random.

  The kinds: bits, a cut, zeros, noise, a part twice, parts in another order, a huge number.
  """
  data = bytearray(content)
  at = int(rng.integers(len(data)))
  length = int(rng.integers(1, 65))
  kind = int(rng.integers(8))
  if kind == 0:
    for place in rng.integers(len(data), size=int(rng.integers(1, 9))):
      data[place] ^= 1 << int(rng.integers(8))
  elif kind == 1:
    del data[at:]
  elif kind == 2:
    data[at : at + length] = bytes(len(data[at : at + length]))
  elif kind == 3:
    data[at : at + length] = rng.bytes(len(data[at : at + length]))
  elif kind == 4:
    data[at:at] = data[at : at + length]
  elif kind == 5:
    data = data[at:] + data[:at]
  elif kind == 6:
    data[at : at + 8] = b"\xff" * len(data[at : at + 8])
  else:
    head = int(rng.integers(min(64, len(data))))
    data[head : head + 4] = rng.bytes(4)  # where headers are
  return bytes(data)


def _folder(root, kind, suffix):
  for split in ("train", "test"):
    for index in range(4):
      folder = root / split / "ab"[index % 2]
      folder.mkdir(parents=True, exist_ok=True)
      image_files.noise((12, 12), seed=index).save(folder / f"{index}.{suffix}", kind)
  return root / "train" / "a" / f"0.{suffix}", lambda: sources.load(
    DataConfig(name="folder", path=str(root), cache=False)
  )


def _npz(root):
  rng = np.random.default_rng(0)
  arrays = {
    f"{split}_x": rng.integers(0, 256, (6, 4, 4, 3), np.uint8) for split in ("train", "test")
  }
  arrays |= {f"{split}_y": np.arange(6, dtype=np.int64) % 2 for split in ("train", "test")}
  np.savez_compressed(root / "set.npz", **arrays)
  return root / "set.npz", lambda: sources.load(DataConfig(name="npz", path=str(root / "set.npz")))


def _scores(root):
  files.write_npz(root / "scores.npz", scores=np.arange(12, dtype=np.float32).reshape(3, 4))
  return root / "scores.npz", lambda: files.read_npz(root / "scores.npz")


def _csv(root):
  lines = ["path,label,split"]
  for index in range(8):
    image_files.noise((6, 6), seed=index).save(root / f"{index}.png")
    lines.append(f"{index}.png,{'ab'[index % 2]},{'train' if index < 4 else 'test'}")
  (root / "set.csv").write_text("\n".join(lines) + "\n")
  return root / "set.csv", lambda: sources.load(
    DataConfig(name="csv", path=str(root / "set.csv"), cache=False)
  )


def _safetensors(root):
  shapes = variable_shapes(make_model(ModelConfig(name="mlp", hidden_sizes=(4,)), 3), (4, 4, 3))
  named = {
    "/".join(part.key for part in path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
  }
  (root / "weights.safetensors").write_bytes(
    save({name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in named.items()})
  )
  return root / "weights.safetensors", lambda: pretrained.load(
    root / "weights.safetensors", None, shapes, with_head=True
  )


def _prepared(root):
  spec, contents, _ = registered_sets.make_cifar()
  folder = registered_sets.prepare(root, contents)
  chosen = sorted(path for path in folder.rglob("*") if path.is_file())

  def load():
    return registered.load_registered(
      DataConfig(name="cifar10", path=str(folder), verify="known"), spec, lambda line: None
    )

  return chosen, load


def _archive(root):
  spec, contents, _ = registered_sets.make_cifar()
  path = root / "small.tar.gz"
  path.write_bytes(
    registered_sets.pack({f"small-bin/{name}": content for name, content in contents.items()})
  )

  def load():
    return registered.load_registered(
      DataConfig(name="cifar10", path=str(path), verify="known"), spec, lambda line: None
    )

  return path, load


KINDS = {
  **{
    kind.lower(): functools.partial(_folder, kind=kind, suffix=suffix)
    for kind, suffix in IMAGES.items()
  },
  "npz": _npz,
  "scores": _scores,
  "csv": _csv,
  "safetensors": _safetensors,
  "prepared": _prepared,
  "archive": _archive,
}


def _peak_bytes():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
    1 if sys.platform == "darwin" else 1024
  )


def _tree(root):
  return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def _refusal(load):
  """Returns what a refusal says, None where the file is read."""
  try:
    load()
  except SdtError as error:
    return str(error)
  return None


@pytest.mark.filterwarnings("ignore")  # what Pillow warns of in a damaged file is not ours
@pytest.mark.parametrize("num_files", [20, pytest.param(50, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_in_one_line_or_read_and_nothing_else_happens(
  tmp_path, monkeypatch, figure, kind, num_files
):
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
  root = tmp_path / "set"
  root.mkdir()
  targets, load = KINDS[kind](root)
  targets = targets if isinstance(targets, list) else [targets]
  rng = np.random.default_rng([SEED, *kind.encode()])
  assert _refusal(load) is None
  sound = {path: path.read_bytes() for path in targets}
  before, peak, refusals = _tree(tmp_path), _peak_bytes(), []
  for number in range(num_files):
    target = targets[number % len(targets)]
    target.write_bytes(mutated(sound[target], rng))
    refusals.append(_refusal(load))
    target.write_bytes(sound[target])
  said = [text for text in refusals if text is not None]
  # The rest changed values where nothing can tell, as in the pixels of a PPM.
  assert len(said) > 0.2 * num_files
  assert all("\n" not in text and len(text) < 2000 for text in said)
  assert _peak_bytes() - peak < MEMORY_BYTES
  assert [
    name for name in _tree(tmp_path) if name not in before and not name.startswith("cache")
  ] == []
  figure(
    f"{num_files} damaged files of kind {kind}: {len(said)} refused in one line, the others read "
    f"(seed {SEED})"
  )
