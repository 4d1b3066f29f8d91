r"""Measures how well each score finds wrong labels, where it is known which labels are wrong.

    .venv/bin/python benchmarks/label_noise.py --config=configs/noise/shapes.py [--workdir=DIR] \
      [--config.KEY=VALUE ...]

The script trains the baseline of the config, scores the training set, and stops. `run.py` with the
same config and --workdir continues with the other arms. With a workdir that already has scores, the
script only prints, from scores.npz and scores.json:

- of each score, of means of ranks and, with probabilities, of cleanlab's quality scores: the area
  under the ROC curve and the average precision (a suspicious label is a sign of a wrong one), as
  mean and standard deviation over the seeds;
- the same of the rankings of all seeds together, and the share of wrong labels among the first k;
- our rankings minus the best of cleanlab's, paired over the seeds;
- of rules that call labels wrong: how many, precision and recall;
- the share of wrong labels in A and in the whole set.

Chance is 0.5, and the share of wrong labels. The rows of the seeds that diverged are left out.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import label_grades
import numpy as np

from sdt import experiment, files
from sdt.config import resolve
from sdt.config.command_line import help_asked, parse_arguments
from sdt.config.config_file import load_config_file
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


def report(workdir: Path) -> str:
  """Returns the grades of a workdir as tables in Markdown."""
  scored = label_grades.Scored.read(workdir)
  ours, cuts = label_grades.rankings(scored), [*label_grades.cuts_of_odds(scored)]
  for rule, called in label_grades.votes(scored).items():
    cuts += label_grades.cuts(rule, called)
  default = label_grades.DEFAULT
  theirs, lacking = {}, label_grades.why_no_cleanlab(scored)
  if lacking is None:
    theirs = label_grades.rankings_of_cleanlab(scored)
    cuts += label_grades.cuts_of_cleanlab(scored)
  both = {**ours, **theirs}
  num = len(scored.seeds)
  lines = [f"By seed, n = {num}:", "", *label_grades.ranking_table(scored.wrong, both)]
  if num > 1:
    lines += ["", "All seeds together, mean rank or odds (cleanlab: its own rule for networks):"]
    lines += ["", *label_grades.together_table(scored.wrong, both)]
  if theirs and num > 1:
    names = (default, *map(" + ".join, label_grades.COMBINED))
    compared = {name: ours[name] for name in names if name in ours}
    lines += [
      "",
      f"Paired with the best of cleanlab's, n = {num}; our default is `{default}`, of "
      f"{' and '.join(scored.default().source.scores)}:",
    ]
    lines += ["", *label_grades.difference_table(scored, compared, theirs)]
  lines += ["", "What is called wrong:", "", *label_grades.cut_table(scored.wrong, cuts)]
  lines += ["", *([lacking, ""] if lacking else []), in_easy(workdir, float(scored.wrong.mean()))]
  return "\n".join(lines)


def in_easy(workdir: Path, rate: float) -> str:
  """Returns a line about the wrong labels in A, and in the whole set."""
  info: Any = files.read_json(workdir / "scores.json")
  shares = 100 * np.array(list(info["truth"]["wrong_labels_in_A"].values()))
  return (
    f"Wrong labels in A, ranked by {info['ranked_by']}: {label_grades.shown(shares, 2)} %; in the "
    f"training set {100 * rate:.2f} %. Chance is 0.5 and {rate:.3f}."
  )


def main(arguments: list[str]) -> int:
  if help_asked(arguments) is not None:
    print(__doc__)
    return 0
  request = parse_arguments(arguments)
  config, workdir = (
    resolve(load_config_file(request.config_path, request.argument), request.overrides),
    request.workdir,
  )
  if not files.is_intact(workdir / "scores.npz"):
    with contextlib.suppress(Interrupted):
      experiment.run(config, workdir, request.name, stop=UntilScored(workdir))
  print(report(workdir))
  return 0


if __name__ == "__main__":
  try:
    sys.exit(main(sys.argv[1:]))
  except SdtError as error:
    sys.exit(f"sdt: error: {error}")
