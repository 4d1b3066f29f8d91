"""report.html: one file, images inside, no script and no network. Everything that a user can name
is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from sdt import files
from sdt.report import curve_figures, drawing, figures, selection_section, tables
from sdt.report.figures import Picture
from sdt.report.read import NORMS, Artifacts, curves, flat

_HERE = Path(__file__).parent


def write(workdir: Path, artifacts: Artifacts) -> Path:
  """Writes figures/*.png and report.html; returns the path of the report."""
  pictures = drawing.draw(artifacts)
  for name, picture in pictures.items():
    files.write_bytes(workdir / "figures" / f"{name}.png", picture.png)
  path = workdir / "report.html"
  files.write_text(path, page(artifacts, pictures))
  return path


def page(artifacts: Artifacts, pictures: Mapping[str, Picture]) -> str:
  """Returns the HTML; timing and environment stand only in the section with id "timing"."""
  results = artifacts.results
  data = results["data"]
  num_seeds = curve_figures.most_seeds(curves(artifacts.metrics, list(results["arms"])))
  differences = tables.contrasts_of(results)
  return render_template(
    "report.html",
    results=results,
    data=data,
    title=f"{data['name']}, {results['model']['name']}",
    page_kind="report",
    sentence=_sentence(results).replace("+-", "\u00b1"),
    diverged=[
      (arm, entry["diverged"]) for arm, entry in results["arms"].items() if entry.get("diverged")
    ],
    accuracy_rows=tables.accuracy_rows(results),
    own_arms=[
      line
      for line in artifacts.config.get("config", {}).get("own_arms", ())
      if line.partition("=")[0].strip() in results["arms"]
    ],
    has_recalibrated=any("recalibrated" in entry for entry in results["arms"].values()),
    contrast_rows=tables.contrast_rows(results),
    power=results.get("power"),
    selection=selection_section.describe(artifacts.selection),
    has_own_controls="against_control" in results,
    has_few_seeds=len(results["seeds"]) <= tables.MAX_SEEDS_PER_BLOCK,
    has_unequal=any(not one.get("equal_work", True) for one in differences),
    has_shown=any(one.get("wilcoxon") or one.get("correlation") is not None for one in differences),
    has_bootstrap=any(one.get("bootstrap") for one in differences),
    pictures=pictures,
    curves=[name for name in drawing.MEASURES if name in pictures],
    norms=[name for name in NORMS if name in pictures],
    has_many_arms=len(results["arms"]) > figures.MAX_ARMS,
    has_metrics=bool(artifacts.metrics),
    band="" if num_seeds < 2 else "the range" if num_seeds < figures.MIN_SEEDS_FOR_SD else "one sd",
    what_A=drawing.what_A(artifacts),
    mosaic_of_A=drawing.mosaic_of_A(artifacts),
    truth=tables.truth_text(
      artifacts.score_info.get("truth", {}), artifacts.score_info.get("ranked_by", "")
    ),
    histograms=[name for name in pictures if name.startswith("histogram_")],
    score_info=artifacts.score_info,
    score_rows=tables.score_rows(artifacts.score_info),
    stability=artifacts.score_info.get("stability"),
    chance_overlap=results["num_easy"] / data["num_train"],
    class_table=_class_table(artifacts),
    num_mosaic={
      kind: len(artifacts.mosaics.get(f"{kind}_images", ())) for kind in ("easiest", "other")
    },
    phases=[
      (arm, ", ".join(f"{phase} {steps}" for phase, steps in plan.items()))
      for arm, plan in results["steps_per_round"].items()
    ],
    config=[(key, text(value)) for key, value in flat(artifacts.config.get("config", {}))],
    config_hash=artifacts.config.get("hash"),
    environment=[(key, text(value)) for key, value in flat(artifacts.environment)],
    taken_over=artifacts.environment.get("choices", {}).get("baseline_from"),
    timing=[(key, text(value)) for key, value in flat(artifacts.timing)],
    percent=tables.percent,
  )


def render_template(name: str, **values: Any) -> str:
  """Returns the HTML of a template in this folder; every value is escaped, and one that is missing
  is an error.
  """
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.get_template(name).render(**values)


def _sentence(results: Mapping[str, Any]) -> str:
  """Returns the sentence; without its end about an experiment without power, which stands below it
  as a warning.
  """
  power = results.get("power")
  sentence = results.get("sentence", "")
  return (
    sentence.removesuffix(f" Positive control: {power['says']}.")
    if power and power["called_worse"] is False
    else sentence
  )


def _class_table(artifacts: Artifacts) -> list[tuple[str, int, str, str]]:
  """Returns class, training examples, count in A (mean over seeds) and its share of the class."""
  if artifacts.split is None:
    return []
  labels, in_A = artifacts.split.labels, artifacts.split.in_A
  names = drawing.class_names(artifacts.results)
  totals = np.bincount(labels, minlength=len(names))
  easy = np.mean([np.bincount(labels[chosen], minlength=len(names)) for chosen in in_A], axis=0)
  return [
    (name, int(total), f"{count:.1f}", f"{100 * count / total:.1f} %" if total else "-")
    for name, total, count in zip(names, totals, easy, strict=True)
  ]


def text(value: Any) -> str:
  """Returns a leaf of a JSON tree as text."""
  if value is None:
    return "-"
  if isinstance(value, float):
    return f"{value:.6g}"
  if isinstance(value, list):
    return ", ".join(text(item) for item in value) or "-"
  return str(value)
