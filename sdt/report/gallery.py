"""The images that a person should look at: suspects, the hardest, the easiest, as tiles of text."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sdt.config.score_names import TRAINED_NETWORKS
from sdt.report import tables
from sdt.report.image_figures import percent_of_confidence
from sdt.report.read import CLEANLAB_COLUMN, NUM_SUSPECTS, Artifacts
from sdt.report.thumbnails import address
from sdt.report.wording import class_names, of_unlearned

_MOST_PAIRS = 12


@dataclasses.dataclass(frozen=True)
class Tile:
  """An image with what is said of it.

  Attributes:
    source: the image itself as an address; "" for a training set of vectors.
    title: its class, or the given and the suggested one.
    notes: lines below it: id, file, and why it is here.
  """

  source: str
  title: str
  notes: tuple[str, ...]


def describe(artifacts: Artifacts) -> dict[str, Any] | None:
  """Returns what the section on the images shows; None for a run without scores."""
  summary = artifacts.results.get("suspects")
  if not summary or not artifacts.suspects:
    return None
  return {
    "summary": summary,
    "unlearned": of_unlearned(artifacts.results),
    "is_in_sample": summary["source"] == TRAINED_NETWORKS,
    "tiles": list(_suspects(artifacts)),
    "pairs": summary["pairs"][:_MOST_PAIRS],
    "num_pairs": len(summary["pairs"]),
    "num_train": artifacts.results["data"]["num_train"],
    "hardest": list(_examples(artifacts, "hardest")),
    "easiest": list(_examples(artifacts, "easiest")),
    "percent": tables.percent,
  }


def _suspects(artifacts: Artifacts) -> Iterator[Tile]:
  images = dict(
    zip(
      artifacts.review.get("example_id", np.zeros(0)).tolist(),
      artifacts.review.get("images", ()),
      strict=True,
    )
  )
  for number, row in itertools.islice(artifacts.suspects.items(), NUM_SUSPECTS):
    agree = f"{float(row['odds']):.3g} to 1, {row['seeds_agree']} of {row['num_seeds']} seeds"
    cleanlab = f", cleanlab {row[CLEANLAB_COLUMN]}" if CLEANLAB_COLUMN in row else ""
    yield Tile(
      address(images[number]) if number in images else "",
      f"{row['given']} \u2192 {row['suggested']}?",
      (f"odds {agree}{cleanlab}", _which(number, row)),
    )


def _examples(artifacts: Artifacts, kind: str) -> Iterator[Tile]:
  parts = [artifacts.mosaics.get(f"{kind}_{name}") for name in ("images", "ids", "labels")]
  images, ids, labels = (() if part is None else part for part in parts)
  confidence = artifacts.mosaics.get(f"{kind}_confidence", ())
  names = class_names(artifacts.results)
  for image, number, label, sure in zip(images, ids, labels, confidence, strict=True):
    row = artifacts.suspects.get(int(number), {})
    other = f"; or {row['suggested']}?" if row and kind == "hardest" else ""
    yield Tile(
      address(image),
      f"{names[int(label)]}{other}",
      (f"confidence {percent_of_confidence(float(sure))}", _which(int(number), row)),
    )


def _which(number: int, row: Mapping[str, str]) -> str:
  file = row.get("source_file", "")
  return f"id {number}" + (f", {file}" if file else "")
