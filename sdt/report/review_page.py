"""The review.html of a run: its most suspicious training images, to keep, relabel or drop by hand.

One file, with script and images inside. Nothing in it can reach a network, and no name is ever
read as HTML: names stand in a block of JSON, and the script writes them as text.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from sdt import files
from sdt.config.score_names import COURSE, TRAINED_NETWORKS
from sdt.errors import DataError
from sdt.files.sealed import read_bytes
from sdt.report import course, page
from sdt.report.read import RANDOM_COLUMN, REVIEWED_COLUMN, SUSPECT_COLUMNS, Artifacts
from sdt.report.read import REVIEW_IMAGES as IMAGES
from sdt.report.read import SUSPECTS as TABLE
from sdt.report.read import TEST_REVIEW_IMAGES as TEST_IMAGES
from sdt.report.read import TEST_SUSPECTS as TEST_TABLE
from sdt.report.thumbnails import address
from sdt.report.wording import class_names, of_unlearned

FILE = "review.html"
MAX_BYTES = 30_000_000  # of the page, about
SCRIPTS = (
  *("review_rows.js", "review_state.js", "review_list.js"),
  *("review_course.js", "review_view.js", "review.js"),
)
RANDOM_SUBSET = "random"
_STYLE = "review.css"
_DIGITS = 4  # of a score
_REMEDY = "run the same command again"

type Json = dict[str, Any]


def write(workdir: Path, artifacts: Artifacts) -> Path | None:
  """Writes review.html and returns its path; None for a run without suspects or their images.

  Raises:
    DataError: a file is damaged, or the files are not of one run.
  """
  if not artifacts.has_review:
    return None
  path = workdir / FILE
  test = content_of_test(workdir, artifacts) if artifacts.has_test_review else None
  num_bytes = MAX_BYTES - (len(escaped(test)) if test else 0)
  text = html(content(workdir, artifacts, num_bytes), test, of_unlearned(artifacts.results))
  files.write_text(path, text)
  return path


def html(
  data: Mapping[str, object], test: Mapping[str, object] | None = None, unlearned: str = ""
) -> str:
  """Returns the page with `data` in its block of JSON, `test` in another, and a warning."""
  style, digest = page.own([_STYLE])
  return page.render(
    "review.html",
    *SCRIPTS,
    data=escaped(data),
    data_test=None if test is None else escaped(test),
    unlearned=unlearned,
    style=style,
    style_digest=digest,
  )


def escaped(data: Mapping[str, object]) -> str:
  """Returns `data` as JSON whose texts cannot end the script that holds it: no < is left."""
  from jinja2.utils import htmlsafe_json_dumps

  return htmlsafe_json_dumps(data, dumps=lambda value: files.json_text(value, indent=None))


def content(workdir: Path, artifacts: Artifacts, num_bytes: int | None = None) -> Json:
  """Returns what the page shows, in JSON's types: `run`, `scores` and, by columns, `examples`.

  `num_bytes`: of all of it, about; `MAX_BYTES` by default.

  Raises:
    DataError: a file is damaged, or the files are not of one run.
  """
  names = _names(artifacts)
  shown, suspects, num_all = _rows_of(workdir, IMAGES, TABLE)
  ids = [int(number) for number in shown["example_id"]]
  examples = _columns(suspects, ids, names, where=workdir / TABLE)
  examples["subset"] = _subsets(workdir / "split.csv", ids)
  scores = _scores(artifacts, ids)
  others = _other_classes(artifacts, ids, names)
  run = _run(artifacts, names, num_all=num_all)
  run["numSeeds"] = max((int(row["num_seeds"]) for row in suspects), default=0)
  run["longest"] = max(shown["images"].shape[1:3])
  if COURSE in artifacts.scores:
    run["course"], examples["course"] = _course(artifacts.scores, ids)
  rest = files.json_text([run, scores, examples, others], indent=None)
  most = (MAX_BYTES if num_bytes is None else num_bytes) - len(rest.encode())
  images = _within(shown["images"], most)
  kept = len(images)
  return {
    "run": run,
    "scores": [{**one, "values": one["values"][:kept]} for one in scores],
    "examples": {name: column[:kept] for name, column in examples.items()}
    | {"image": images, "others": others[:kept]},
  }


def content_of_test(workdir: Path, artifacts: Artifacts) -> Json:
  """Returns the same of the test images, which have no scores of training.

  They take a third of the page at most.

  Raises:
    DataError: a file is damaged, or the files are not of one run.
  """
  names = _names(artifacts)
  shown, suspects, num_all = _rows_of(workdir, TEST_IMAGES, TEST_TABLE)
  ids = [int(number) for number in shown["example_id"]]
  examples = _columns(suspects, ids, names, where=workdir / TEST_TABLE)
  examples["subset"] = [RANDOM_SUBSET if row[RANDOM_COLUMN] == "1" else "" for row in suspects]
  run = _run(artifacts, names, num_all=num_all)
  recommended = artifacts.results.get("recommended", {}).get("arm")
  run |= {
    **{"side": "test", "table": TEST_TABLE, "file": "corrections_test.csv"},
    "key": run["key"].replace("sdt-review", "sdt-review-test", 1),
    "seeds": [],
    "numSuspects": None,
    "saysLittle": False,
    "source": f"the networks of {recommended}, which have not seen them",
    "numSeeds": max((int(row["num_seeds"]) for row in suspects), default=0),
    "longest": max(shown["images"].shape[1:3]),
  }
  rest = files.json_text([run, examples], indent=None)
  images = _within(shown["images"], MAX_BYTES // 3 - len(rest.encode()))
  kept: Json = {name: column[: len(images)] for name, column in examples.items()}
  kept |= {"image": images, "others": [[] for _ in images]}
  return {"run": run, "scores": [], "examples": kept}


def _names(artifacts: Artifacts) -> list[str]:
  """Returns the names of the classes, each once: two classes may have one name."""
  return list(dict.fromkeys(class_names(artifacts.results)))


def _rows_of(
  workdir: Path, images: str, table: str
) -> tuple[dict[str, Shaped[np.ndarray, "..."]], list[dict[str, str]], int]:
  """Returns the arrays of the images, the rows of the table of these, and how many rows it has."""
  shown = _images_of(workdir / images)
  ids = [int(number) for number in shown["example_id"]]
  return shown, *_suspects(workdir / table, ids, images=images)


def _columns(
  suspects: Sequence[Mapping[str, str]], ids: Sequence[int], names: Sequence[str], *, where: Path
) -> Json:
  """Returns what the table says of each example, by columns."""
  examples: Json = {
    "id": ids,
    "file": [row["source_file"] for row in suspects],
    "given": _classes(suspects, "given", names, where=where),
    "suggested": _classes(suspects, "suggested", names, where=where),
    "suspicion": [float(row["suspicion"]) for row in suspects],
    "suspect": [row["suspect"] == "1" for row in suspects],
    "agree": [int(row["seeds_agree"]) for row in suspects],
    "reason": [row["reason"] for row in suspects],
  }
  if any(row.get(REVIEWED_COLUMN) == "1" for row in suspects):
    examples["reviewed"] = [row[REVIEWED_COLUMN] == "1" for row in suspects]
  return examples


def _run(artifacts: Artifacts, names: Sequence[str], *, num_all: int) -> Json:
  """Returns what the page says of the run, and the key under which a browser keeps the work."""
  results, suspects = artifacts.results, artifacts.results.get("suspects", {})
  is_in_sample = suspects.get("source") == TRAINED_NETWORKS
  key = [artifacts.config.get("hash") or "no config", results["data"].get("checksum") or "no data"]
  return {
    "title": f"{results['data']['name']}, {results['model']['name']}",
    "key": ":".join(["sdt-review", *key]),
    "classes": names,
    "seeds": artifacts.scores["seeds"].tolist() if "seeds" in artifacts.scores else [],
    **{"side": "training", "table": TABLE, "file": "corrections.csv"},
    "numAll": num_all,
    "source": suspects.get("source"),
    "numSuspects": suspects.get("num"),
    "saysLittle": bool(suspects.get("has_memorised")) and is_in_sample,
  }


def _images_of(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
  """Returns the arrays of review.npz: ids, labels, and images [n, h, w, C] uint8."""
  arrays = files.read_npz(path)
  images, ids = arrays.get("images"), arrays.get("example_id")
  if (
    images is None
    or ids is None
    or images.ndim != 4
    or images.dtype != np.uint8
    or ids.shape != images.shape[:1]
  ):
    raise DataError(
      f"{path}: expected example_id [n] and images [n, h, w, C] of uint8; remove the file and "
      f"{_REMEDY}"
    )
  return arrays


def _suspects(path: Path, ids: Sequence[int], *, images: str) -> tuple[list[dict[str, str]], int]:
  """Returns the rows of suspects.csv of the examples `ids`, in this order, and how many it has."""
  wanted = {str(number) for number in ids}
  rows = _rows(path, SUSPECT_COLUMNS)
  found = {row["example_id"]: row for row in rows if row["example_id"] in wanted}
  lacking = [number for number in ids if str(number) not in found]
  if lacking:
    raise DataError(
      f"{path}: no row for example {lacking[0]}, which {images} shows; remove both and {_REMEDY}"
    )
  return [found[str(number)] for number in ids], len(rows)


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
  """Returns the rows of a CSV file of the run, which must have these columns."""
  text = io.StringIO(read_bytes(path).decode(), newline="")
  rows = csv.DictReader(text, strict=True)
  if not set(columns) <= set(rows.fieldnames or ()):
    raise DataError(f"{path}: expected the columns {', '.join(columns)}; {_REMEDY}")
  return list(rows)


def _classes(
  rows: Iterable[Mapping[str, str]], column: str, names: Sequence[str], *, where: Path
) -> list[int]:
  """Returns the numbers of the classes that stand in a column as names."""
  numbers = {name: number for number, name in enumerate(names)}
  found = [row[column] for row in rows]
  strange = [name for name in found if name not in numbers]
  if strange:
    raise DataError(
      f"{where}: {column} {strange[0]!r} is no class of results.json; remove "
      f"{where.name} and {_REMEDY}"
    )
  return [numbers[name] for name in found]


def _subsets(path: Path, ids: Sequence[int]) -> list[str]:
  """Returns "A", "B" or "cut" of each example by the mean score; "" where no file tells."""
  if not path.exists():
    return [""] * len(ids)
  of = {row["example_id"]: row["subset"] for row in _rows(path, ("example_id", "subset"))}
  return [of.get(str(number), "") for number in ids]


def _scores(artifacts: Artifacts, ids: Sequence[int]) -> list[Json]:
  """Returns each score: name, direction, source, and of each example its mean and every seed's.

  The mean is over the seeds that did not diverge, or all where every seed did.
  """
  arrays = artifacts.scores
  if "example_id" not in arrays:
    return []
  at = _positions(arrays["example_id"], ids)
  entries = []
  for name, described in artifacts.score_info.get("scorers", {}).items():
    if name in arrays:
      values = arrays[name][:, at].astype(np.float64)
      columns = [_mean(values, arrays.get("sound")), *values]
      entries.append(
        {
          "name": name,
          "hardFirst": -1 if described["direction"] == "higher_is_harder" else 1,
          "source": described["source"],
          "values": [list(map(_short, row)) for row in zip(*columns, strict=True)],
        }
      )
  return entries


def _mean(
  values: Float[np.ndarray, "R n"], sound: Bool[np.ndarray, "R"] | None
) -> Float[np.ndarray, "n"]:
  counted = values[sound] if sound is not None and sound.any() else values
  with np.errstate(invalid="ignore", over="ignore"):  # a diverged network may give infinities
    return counted.mean(axis=0)


def _short(value: float) -> float | None:
  """Returns a score with few digits; None where it is not finite."""
  return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _other_classes(
  artifacts: Artifacts, ids: Sequence[int], names: Sequence[str]
) -> list[list[int]]:
  """Returns, of each example, every seed's most probable class but the given one; [] if unknown.

  A class is its number in `names`.
  """
  arrays = artifacts.scores
  if "other_class" not in arrays:
    return [[] for _ in ids]
  numbers = np.array([names.index(name) for name in class_names(artifacts.results)])
  return numbers[arrays["other_class"][:, _positions(arrays["example_id"], ids)].T].tolist()


def _course(
  arrays: Mapping[str, Shaped[np.ndarray, "..."]], ids: Sequence[int]
) -> tuple[Json, list[list[list[int]]]]:
  """Returns which rounds and seeds are drawn of the examples' course, and their values there."""
  at = _positions(arrays["example_id"], ids)
  return course.points(arrays[COURSE], at, sound=arrays.get("sound"), remedy=_REMEDY)


def _positions(example_ids: Shaped[np.ndarray, "N"], ids: Sequence[int]) -> list[int]:
  """Returns where the examples `ids` stand in scores.npz."""
  at = {number: position for position, number in enumerate(example_ids.tolist())}
  lacking = [number for number in ids if number not in at]
  if lacking:
    raise DataError(
      f"scores.npz: no example {lacking[0]}, which {IMAGES} shows; remove {IMAGES} and {_REMEDY}"
    )
  return [at[number] for number in ids]


def _within(images: UInt8[np.ndarray, "n h w C"], num_bytes: int) -> list[str]:
  """Returns the first images as addresses, as many as fit into `num_bytes` together."""
  kept: list[str] = []
  for image in images:
    source = address(image)
    num_bytes -= len(source) + 3  # quotes and a comma
    if num_bytes < 0:
      break
    kept.append(source)
  return kept
