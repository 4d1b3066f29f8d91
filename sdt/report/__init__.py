"""The reports: figures, tables and HTML, from the artifacts of a workdir alone."""

import logging
from pathlib import Path


def build_report(workdir: Path) -> Path:
  """Writes figures/ and report.html of what is in `workdir`; returns its path.

  A run with suspects and their images gets review.html beside it. Each page is one file. The same
  artifacts give the same bytes; timing.json and environment.json reach only the section of
  report.html with id "timing".

  Raises:
    DataError: no results.json, sweep.json or acquire.json, or an artifact is damaged.
    WorkdirError: the workdir cannot be written.
  """
  # On a new machine matplotlib logs that it builds a font cache, or that it cannot write one. Both
  # are harmless.
  logging.getLogger("matplotlib").setLevel(logging.ERROR)
  # Imported here: matplotlib takes most of a second, too long for a command that only reports an
  # error.
  from sdt.report import acquire_page, read, review_page, run_page, sweep_page, toy_page

  if (workdir / "acquire.json").exists():
    return acquire_page.write(workdir)
  if (workdir / "sweep.json").exists():
    return sweep_page.write(workdir)
  if (workdir / "points.npz").exists():
    return toy_page.write(workdir)
  artifacts = read.load(workdir)
  review_page.write(workdir, artifacts)
  return run_page.write(workdir, artifacts)
