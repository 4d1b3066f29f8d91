"""The report of a run, a toy or a sweep: figures, tables and HTML, pure functions of the artifacts
on disk.
"""

from __future__ import annotations

import logging
from pathlib import Path


def build_report(workdir: Path) -> Path:
  """Writes figures/*.png and the self-contained report.html of the run, the toy or the sweep in
  `workdir`; returns the path of the latter.

  Two builds from the same artifacts give the same bytes; timing.json and environment.json reach
  only the section with id "timing".

  Raises:
    DataError: no results.json and no sweep.json, or an artifact is damaged.
    WorkdirError: the workdir cannot be written.
  """
  # The first import on a machine builds a font cache and says so; a home that is read-only is no
  # matter either.
  logging.getLogger("matplotlib").setLevel(logging.ERROR)
  # Imported here: matplotlib takes most of a second, which a training that is refused or resumed
  # should not pay.
  from sdt.report import read, run_page, sweep_page, toy_page

  if (workdir / "sweep.json").exists():
    return sweep_page.write(workdir)
  if (workdir / "points.npz").exists():
    return toy_page.write(workdir)
  return run_page.write(workdir, read.load(workdir))
