r"""Measures how well each score finds wrong labels, on a set whose labels are wrong on purpose.

    .venv/bin/python benchmarks/label_noise.py --config=configs/noise/shapes.py [--workdir=DIR] \
      [--config.KEY=VALUE ...]

The script trains the baseline of the config, scores the training set, and stops. `run.py` with the
same config and --workdir continues with the other arms. With a workdir that already has scores, the
script only prints. It prints mean and standard deviation over the seeds of: the area under the ROC
curve and the average precision of each score (the hard end predicts a wrong label; chance is 0.5,
and the share of wrong labels); and the share of wrong labels in A and in the whole set.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from sdt import experiment, files
from sdt.config import resolve
from sdt.config.command_line import help_asked, load_config_file, parse_arguments
from sdt.errors import Interrupted, SdtError
from sdt.run.signals import StopRequest


class UntilScored(StopRequest):
  """Stops a run as soon as its scores are written; a signal stops it earlier."""

  def __init__(self, workdir: Path) -> None:
    super().__init__()
    self._workdir, self._signal = workdir, None

  @property
  def name(self) -> str | None:  # type: ignore[override]
    return self._signal or (
      "label_noise.py" if files.is_intact(self._workdir / "scores.npz") else None
    )

  @name.setter
  def name(self, signal: str | None) -> None:
    self._signal = signal


def grades(
  workdir: Path,
) -> tuple[list[tuple[str, str, np.ndarray, np.ndarray]], np.ndarray, float]:
  """Returns (score, source, AUROC [R], average precision [R]) of each score, and wrong labels.

  The best score comes first. Wrong labels: their share in A [R], and in the whole set.
  """
  scores, info = files.read_npz(workdir / "scores.npz"), files.read_json(workdir / "scores.json")
  if "wrong_label" not in scores or not scores["wrong_label"].any():
    raise SystemExit(
      f"{workdir}: no label is known to be wrong; choose a config with data.wrong_label_fraction"
    )
  wrong, rows = scores["wrong_label"], []
  for name, entry in info["scorers"].items():
    hardness = scores[name] if entry["direction"] == "higher_is_harder" else -scores[name]
    ranks = rankdata(hardness, axis=1)  # also infinities have a rank
    by_seed = [(roc_auc_score(wrong, row), average_precision_score(wrong, row)) for row in ranks]
    rows.append((name, entry["source"], *np.array(by_seed).T))
  in_easy = np.array(list(info["truth"]["wrong_labels_in_A"].values()))
  return sorted(rows, key=lambda row: -row[3].mean()), in_easy, float(wrong.mean())


def shown(values: np.ndarray) -> str:
  """Returns "mean +- sd" over the seeds (n - 1); of one seed, the value alone."""
  return f"{values.mean():.3f}" + (f" +- {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def table(workdir: Path) -> str:
  """Returns the grades of a workdir as a table in Markdown, and a line about A."""
  rows, in_easy, rate = grades(workdir)
  lines = ["| score | from | AUROC | average precision |", "|---|---|---|---|"]
  lines += [
    f"| `{name}` | {source} | {shown(area)} | {shown(precision)} |"
    for name, source, area, precision in rows
  ]
  spread = f" +- {100 * in_easy.std(ddof=1):.2f}" if len(in_easy) > 1 else ""
  ranked_by: Any = files.read_json(workdir / "scores.json")["ranked_by"]
  end = (
    f"Wrong labels in A, ranked by {ranked_by}: {100 * in_easy.mean():.2f}{spread} %; in the "
    f"training set {100 * rate:.2f} %."
  )
  return "\n".join([*lines, "", f"{end} n = {len(in_easy)} seeds; chance is 0.5 and {rate:.3f}."])


def main(arguments: list[str]) -> int:
  if help_asked(arguments) is not None:
    print(__doc__)
    return 0
  request = parse_arguments(arguments)
  config, workdir = (
    resolve(load_config_file(request.config_path), request.overrides),
    request.workdir,
  )
  if not files.is_intact(workdir / "scores.npz"):
    with contextlib.suppress(Interrupted):
      experiment.run(config, workdir, request.name, stop=UntilScored(workdir))
  print(table(workdir))
  return 0


if __name__ == "__main__":
  try:
    sys.exit(main(sys.argv[1:]))
  except SdtError as error:
    sys.exit(f"sdt: error: {error}")
