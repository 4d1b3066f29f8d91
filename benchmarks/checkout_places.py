"""Where a case of compare_checkouts.py runs: the folder, the environment, and its inputs."""

import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

INPUTS = "inputs-1"  # another number where `draw_inputs` draws others


# ---- where a case runs


@dataclasses.dataclass(frozen=True)
class Place:
  """One case in one checkout.

  Attributes:
    root: the checkout.
    python: the interpreter.
    base: DIR.
    work: the folder of the case, of the same path for both checkouts.
    shelf: where OLD's cases lie.
    is_old: whether the checkout is OLD.
  """

  root: Path
  python: str
  base: Path
  work: Path
  shelf: Path
  is_old: bool

  def fill(self, flag: str) -> str:
    """Returns a flag with the folders in it that it names."""
    return flag.replace("INPUTS", str(self.base / INPUTS)).replace("WORK", str(self.work))

  def start(self, flags: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Starts run.py of the checkout."""
    command = [self.python, "run.py", *map(self.fill, flags)]
    return subprocess.Popen(
      command,
      cwd=self.root,
      env={**clean_environment(self), **environment},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(
    self, label: str, flags: Sequence[str], code: int = 0, environment: Mapping[str, str] = {}
  ) -> None:
    """Runs to the end, and keeps LABEL.out and LABEL.err; OLD must end with `code`."""
    process = self.start(flags, environment)
    out, err = process.communicate()
    self.keep(label, process.returncode, out, err)
    self.check(label, process.returncode, code, err)

  def stop(self, line_start: str, flags: Sequence[str]) -> None:
    """Sends SIGTERM at the first line that starts so; keeps the exit code in stop.out."""
    lines: list[str] = []
    is_sent = False
    with self.start(flags, {}) as process:
      for line in process.stderr or ():
        lines.append(line)
        if line.startswith(line_start) and not is_sent:
          process.send_signal(signal.SIGTERM)
          is_sent = True
    (self.work / "stop.out").write_text(exit_line(process.returncode))
    self.check("stop", process.returncode, 75, "".join(lines))

  def keep(self, label: str, code: int, out: str, err: str) -> None:
    """Writes what a process said, with names in the place of folders."""
    (self.work / f"{label}.out").write_text(exit_line(code) + self.named(out))
    (self.work / f"{label}.err").write_text(self.named(err))

  def check(self, label: str, code: int, expected: int, err: str) -> None:
    """Ends the program where OLD itself does not what the case is about."""
    if self.is_old and code != expected:
      tail = "".join(err.splitlines(keepends=True)[-15:])
      what = f"{self.work.name}, {label}: exit code {code} of OLD, expected {expected}"
      raise SystemExit(f"{tail}{what}")

  def named(self, text: str) -> str:
    """Returns the text with names in the place of folders."""
    for path, name in ((self.work, "WORK"), (self.base, "DIR"), (self.root, "CHECKOUT")):
      text = text.replace(str(path), name)
    return text


def exit_line(code: int) -> str:
  """Returns the first line of a file NAME.out."""
  return f"exit code {code}\n"


def clean_environment(place: Place) -> dict[str, str]:
  """Returns the environment of a run: nothing of JAX's or sdt's own from outside."""
  kept = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("JAX_", "XLA_", "SDT_", "SLURM_", "PYTHONPATH", "PYTHONSAFEPATH"))
  }
  return kept | {
    "JAX_PLATFORMS": "cpu",
    "XDG_CACHE_HOME": str(place.base / "cache"),
    "SDT_DATA_DIR": str(place.work / "data"),
    "TFDS_DATA_DIR": str(place.base / "none"),
    "PYTHONDONTWRITEBYTECODE": "1",
    "COLUMNS": "110",
  }


# ---- cases

type Commands = Mapping[str, tuple[int, tuple[str, ...]]]


def draw_inputs(folder: Path) -> None:
  """Draws the sets of images and the wrong files, once for all comparisons in DIR."""
  if folder.exists():
    return
  tmp = folder.with_name(f"{folder.name}.tmp")
  shutil.rmtree(tmp, ignore_errors=True)
  rows = ["path,label,split"]
  for index in range(90):
    label, image = index % 3, drawn(index)
    suffix = ("png", "jpg")[index // 3 % 2]
    own = image.convert(("RGB", "L", "P")[index // 6 % 3] if suffix == "png" else "RGB")
    split = "test" if index % 5 == 4 else "train"
    for top in ("folder", f"split/{split}"):
      path = tmp / top / f"class {label}" / f"{index:03d}.{suffix}"
      path.parent.mkdir(parents=True, exist_ok=True)
      own.save(path)
    rows.append(f"folder/class {label}/{index:03d}.{suffix},{'abc'[label]},{split}")
  (tmp / "folder/class 1/damaged.png").write_bytes(b"no image")
  (tmp / "table.csv").write_text("\n".join([*rows, ""]))
  (tmp / "bad.csv").write_text("\n".join([*rows[:9], "folder/nowhere.png,a,train", ""]))
  (tmp / "broken.py").write_text("def get_config():\n  return 1 / 0\n")
  small = [np.asarray(drawn(index).resize((4, 4)), np.float32) for index in range(120)]
  x, y = np.stack(small).reshape(120, -1), np.arange(120) % 3
  np.savez(tmp / "bad.npz", train_x=x, train_y=y[:7])
  np.savez(tmp / "set.npz", train_x=x[30:], train_y=y[30:], test_x=x[:30], test_y=y[:30])
  tmp.rename(folder)


def drawn(index: int) -> Image.Image:
  """Returns an RGB image of noise with a brighter band, whose place is its class, index % 3."""
  generator = np.random.default_rng(index)
  width, height = 18 + index % 4, 20
  pixels = generator.integers(0, 150, (height, width, 3), dtype=np.uint8)
  start = index % 3 * 6
  pixels[start : start + 6] += generator.integers(60, 100, dtype=np.uint8)
  return Image.fromarray(pixels)


# ---- both checkouts
