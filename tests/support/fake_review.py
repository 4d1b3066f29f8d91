"""Adds to a run of `fake_run` what a person reviews: suspects, their images, other classes."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from sdt import files
from sdt.report.read import REVIEWED_COLUMN, SUSPECT_COLUMNS

# What a name may hold and a page must show as text.
HOSTILE = (
  "</script><img src=x onerror=alert(1)>",
  'a, "quoted" name',
  "two\nlines\r\nand\ta tab",
  "<!--<script>",
  "خلفية ‏قطة",
  "猫 🐈\u200d⬛ naïve",
  "{{ 7 * 7 }} ${7 * 7} \u2028&amp;",
  "=1+1; DROP TABLE",
)


def add_review(
  workdir: Path,
  *,
  num_images: int = 60,
  size: int | None = None,
  source_files: Sequence[str] | None = None,
  reviewed: Collection[int] | None = None,
) -> np.ndarray:
  """Writes the files for a finished fake run; returns the ids, the most suspicious first.

  Args:
    workdir: of the run.
    num_images: how many of the first suspects have an image.
    size: of the images, pixels; None for 8.
    source_files: by example; "" where there are fewer.
    reviewed: places in the order of those that an earlier review has kept; None without one.
  """
  rng = np.random.default_rng(5)
  names = files.read_json(workdir / "results.json")["data"]["class_names"]
  scores = files.read_npz(workdir / "scores.npz")
  log_odds, labels = scores["log_odds"], scores["label"]
  others = rng.integers(1, len(names), log_odds.shape)
  others[:, rng.random(len(labels)) < 0.7] = 1  # mostly, the seeds agree
  other_class = ((labels + others) % len(names)).astype(np.int32)
  files.write_npz(workdir / "scores.npz", **scores, other_class=other_class)
  order = np.argsort(log_odds.mean(axis=0), kind="stable")
  agree = (log_odds < 5.0).sum(axis=0)
  paths = [*(source_files or ()), *[""] * len(labels)]
  rows = []
  for place, at in enumerate(order):
    suggested = names[other_class[0, at]]
    suspicion = 1 - place / (len(order) - 1)
    reason = f"{agree[at]} of {len(log_odds)} seeds prefer {suggested} (a fake)"
    cells = [at, paths[at], names[labels[at]], suggested]
    odds, is_suspect = np.exp(-log_odds[:, at].mean()), int(agree[at] == len(log_odds))
    cells += [f"{suspicion:.6f}", f"{odds:.4g}", is_suspect]
    rows.append([*cells, agree[at], len(log_odds), reason])
    rows[-1] += [] if reviewed is None else [int(place in reviewed)]
  columns = SUSPECT_COLUMNS if reviewed is None else (*SUSPECT_COLUMNS, REVIEWED_COLUMN)
  files.write_csv(workdir / "suspects.csv", columns, rows)
  first = order[:num_images].astype(np.int32)
  images = np.stack([_picture(rng, int(labels[at]), size or 8) for at in first])
  files.write_npz(
    workdir / "figures" / "review.npz", example_id=first, images=images, labels=labels[first]
  )
  return first


def add_test_review(workdir: Path, *, num_images: int = 20, reviewed: int | None = None) -> None:
  """Adds test images: of class i % K, every fifth in the random sample, the first three disputed.

  The example ids are those of training images too. `reviewed`: one that an earlier review kept.
  """
  rng = np.random.default_rng(8)
  names = files.read_json(workdir / "results.json")["data"]["class_names"]
  rows = [
    [
      *(number, f"test/{number}.png", names[number % len(names)], names[(number + 1) % len(names)]),
      *(f"{1 - number / num_images:.6f}", 20 if number < 3 else 0.1, int(number < 3)),
      *(3 if number < 3 else 0, 3, "a fake"),
      *(int(number % 5 == 0), *([] if reviewed is None else [int(number == reviewed)])),
    ]
    for number in range(num_images)
  ]
  columns = (*SUSPECT_COLUMNS, "random", *(() if reviewed is None else ("reviewed",)))
  files.write_csv(workdir / "suspects_test.csv", columns, rows)
  ids = np.arange(num_images, dtype=np.int32)
  files.write_npz(
    workdir / "figures" / "review_test.npz",
    example_id=ids,
    images=np.stack([_picture(rng, number, 8) for number in range(num_images)]),
    labels=ids % len(names),
  )


def add_course(workdir: Path, *, rounds: int = 15) -> np.ndarray:
  """Adds the course to scores.npz: every example is learned at some time, some late or never.

  Returns it, uint8 [R, N, rounds].
  """
  rng = np.random.default_rng(6)
  scores = files.read_npz(workdir / "scores.npz")
  shape = scores["log_odds"].shape
  ease = scores["log_odds"].mean(axis=0).argsort().argsort() / shape[1]  # 0 for the hardest
  starts = rounds * (1.2 - 1.6 * ease) + rng.normal(0, 1, shape)
  now = np.arange(1, rounds + 1) - starts[..., None]
  p = 1 / (1 + np.exp(-8 * now / rounds)) + rng.normal(0, 0.02, (*shape, rounds))
  course = np.clip(np.rint(255 * p), 1, 255).astype(np.uint8)
  files.write_npz(workdir / "scores.npz", **scores, course=course)
  return course


def _picture(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
  """Returns stripes whose number and colour are the class's, [size, size, 3] uint8."""
  rows = np.sin(np.arange(size) * (1 + label % 10) * np.pi / size)[:, None, None]
  colour = np.array([[60 + 17 * label % 190, 200 - 31 * label % 150, 90 + 53 * label % 160]])
  noise = rng.normal(0, 8, (size, size, 3))
  return np.clip(128 + rows * (colour - 128) + noise, 0, 255).astype(np.uint8)
