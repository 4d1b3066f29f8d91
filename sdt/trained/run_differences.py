"""How two finished runs differ in what they trained on, and in what they were told."""

import collections
from collections.abc import Mapping
from typing import Any

from sdt import files
from sdt.config import to_dict
from sdt.config.differences import ABOUT_LABELS, differences, may_be_cause
from sdt.errors import DataError
from sdt.trained import run_tables
from sdt.trained.load import Run
from sdt.trained.matching import Two

_SUSPECTS = "suspects.csv"


def of_config(runs: Two[Run]) -> list[dict[str, Any]]:
  """Returns each key that differs and may matter: `key`, `text`, and whether it is `about_labels`.

  Keys that name files differ where the files do, wherever these lie.
  """
  plain, sums = [to_dict(run.config) for run in runs], [_checksums(run) for run in runs]
  changed = dict(differences(*plain))
  lines = {key: text for key, text in changed.items() if may_be_cause(key)}
  for key in sorted(sums[0].keys() | sums[1].keys()):
    if sums[0].get(key, "none") != sums[1].get(key, "none"):
      lines[key] = changed.get(key, f"{key}: a file of other content")
  return [
    {"key": key, "text": text, "about_labels": key in ABOUT_LABELS}
    for key, text in sorted(lines.items())
  ]


def of_environment(runs: Two[Run]) -> list[str]:
  """Returns a line for each version, and for device, precision and commit, that differs."""
  return [text for _, text in differences(*(_machine(run) for run in runs))]


def of_training_labels(runs: Two[Run]) -> dict[str, Any]:
  """Returns how the training labels differ, by example id.

  `relabelled` in both runs with different labels, `pairs` of these, `only_before`, `only_after`,
  `num` [before, after], `known_wrong` [before, after]: the share of labels that are known to be
  wrong, None where nothing is known. Where the runs do not tell, `why` alone.
  """
  try:
    before, after = (_given(run) for run in runs)
  except FileNotFoundError as error:
    told = [
      f"{change['text']} (the run {name})"
      for name, run in zip(("before", "after"), runs, strict=True)
      for change in run.results["data"].get("label_changes", ())
      if not change["key"].endswith("_test")
    ]
    return {"why": "; ".join([f"{error.args[0]}: a run of one arm lists none", *told])}
  common = [number for number in before if number in after]
  moved = [number for number in common if before[number][0] != after[number][0]]
  if moved:
    first, second = before[moved[0]][0], after[moved[0]][0]
    return {"why": f"example {moved[0]} is {first!r} in one and {second!r} in the other"}
  changed = [number for number in common if before[number][1] != after[number][1]]
  pairs = collections.Counter((before[number][1], after[number][1]) for number in changed)
  return {
    "num": [len(before), len(after)],
    "relabelled": len(changed),
    "only_before": len(before) - len(common),
    "only_after": len(after) - len(common),
    "pairs": [
      {"before": pair[0], "after": pair[1], "num": count}
      for pair, count in sorted(pairs.items(), key=lambda one: (-one[1], one[0]))
    ],
    "known_wrong": [_share_wrong(run) for run in runs],
  }


def _given(run: Run) -> dict[int, tuple[str, str]]:
  """Returns source file and class name of every training example, by its id.

  Raises:
    FileNotFoundError: with the path of the table that the run does not have.
  """
  path = run.workdir / _SUSPECTS
  if len(run.arms) < 2:
    raise FileNotFoundError(path)
  rows = run_tables.texts(
    files.read_bytes_verified(path), str(path), columns=("example_id", "source_file", "given")
  )
  return {int(number): (file, name) for number, file, name in rows}


def _share_wrong(run: Run) -> float | None:
  """Returns which share of a run's training labels is known to be wrong."""
  scores = _object(run, "scores.json")
  share: float | None = scores.get("truth", {}).get("wrong_label_rate")
  return share


def _checksums(run: Run) -> Mapping[str, Any]:
  sums: Mapping[str, Any] = _object(run, "environment.json").get("file_checksums", {})
  return sums


def _machine(run: Run) -> dict[str, Any]:
  content = _object(run, "environment.json")
  known = {name: content.get(name) for name in ("commit", "device_kind", "versions")}
  precision = content.get("choices", {}).get("precision")
  return {name: value for name, value in (*known.items(), ("precision", precision)) if value}


def _object(run: Run, name: str) -> Mapping[str, Any]:
  content = files.read_json(run.workdir / name)
  if not isinstance(content, Mapping):
    raise DataError(f"{run.workdir / name}: expected a JSON object; restore it from a copy")
  return content
