"""The report.html of a run: one file, images inside, no network, every value escaped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sdt.report import (
  curve_figures,
  curve_pictures,
  drawing,
  figures,
  fonts,
  gallery,
  imbalance_section,
  monitor_pictures,
  page,
  prediction_section,
  selection_section,
  tables,
)
from sdt.report.picture import Picture
from sdt.report.read import NORMS, Artifacts, curves
from sdt.report.wording import class_names, of_test_set, of_use, what_A


def write(workdir: Path, artifacts: Artifacts) -> Path:
  """Writes figures/*.png and report.html; returns the path of the report."""
  pictures = drawing.draw(artifacts)
  return page.write(workdir, pictures, html(artifacts, pictures))


def html(artifacts: Artifacts, pictures: Mapping[str, Picture]) -> str:
  """Returns the HTML; timing and environment stand only in the section with id "timing"."""
  results = artifacts.results
  return page.render(
    "report.html",
    results=results,
    data=results["data"],
    title=f"{results['data']['name']}, {results['model']['name']}",
    page_kind="report",
    has_review=artifacts.has_review,
    has_test_review=artifacts.has_test_review,
    sentence=_sentence(results).replace("+-", "\u00b1"),
    power=results.get("power"),
    leakage=results["data"].get("duplicates", {}).get("warning"),
    diverged=page.diverged(results["arms"]),
    of_test_set=of_test_set(results),
    of_use=of_use(results),
    gallery=gallery.describe(artifacts),
    selection=selection_section.describe(artifacts.selection),
    predictions=prediction_section.describe(artifacts),
    **_imbalance(results),
    pictures=pictures,
    percent=tables.percent,
    **_arms_and_differences(artifacts),
    **_curves(artifacts, pictures),
    **_examples_and_scores(artifacts, pictures),
    **_origin(artifacts),
  )


def _imbalance(results: Mapping[str, Any]) -> dict[str, object]:
  """Returns what the page says of frequent and rare classes; nothing of a balanced set."""
  described = imbalance_section.describe(results)
  rows = tables.contrast_rows(described["results"]) if described else []
  return {"imbalance": described, "imbalance_rows": rows}


def _arms_and_differences(artifacts: Artifacts) -> dict[str, object]:
  """Returns what the tables of the arms and of their differences show."""
  results = artifacts.results
  differences = tables.contrasts_of(results)
  arms = figures.main_arms(list(results["arms"]))
  return {
    "accuracy_rows": tables.accuracy_rows(results),
    "class_arms": arms,
    "class_rows": tables.class_rows(results, arms),
    "recommended": results.get("recommended"),
    "has_collapsed": "collapse" in results,
    "own_arms": [
      line
      for line in artifacts.config.get("config", {}).get("own_arms", ())
      if line.partition("=")[0].strip() in results["arms"]
    ],
    "stops": tables.stop_rows(results),
    "everywhere": artifacts.config.get("config", {}).get("everywhere", ()),
    "has_recalibrated": any("recalibrated" in entry for entry in results["arms"].values()),
    "contrast_rows": tables.contrast_rows(results),
    "has_own_controls": "against_control" in results,
    "has_few_seeds": len(results["seeds"]) <= tables.MAX_SEEDS_PER_BLOCK,
    "has_unequal": any(not one.get("equal_work", True) for one in differences),
    "has_shown": any(
      one.get("wilcoxon") or one.get("correlation") is not None for one in differences
    ),
    "has_bootstrap": any(one.get("bootstrap") for one in differences),
    "phases": _phases(results),
    "design": results.get("design"),
  }


def _phases(results: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
  """Returns a row for each arm: steps by phase, smallest batch, time constants of the decay."""
  of_arms = results.get("design", {}).get("arms", {})
  rows = []
  for arm, plan in results["steps_per_round"].items():
    known = of_arms.get(arm, {})
    constants = known.get("decay_constants")
    rows.append(
      (
        arm,
        ", ".join(f"{phase} {steps}" for phase, steps in plan.items()),
        str(known.get("smallest_batch", "-")),
        "-" if constants is None else f"{constants:.3g}",
      )
    )
  return rows


def _curves(artifacts: Artifacts, pictures: Mapping[str, Picture]) -> dict[str, object]:
  """Returns which curves there are, and what their bands are."""
  arms = list(artifacts.results["arms"])
  num_seeds = curve_figures.most_seeds(curves(artifacts.metrics, arms))
  spread = "their range" if num_seeds < figures.MIN_SEEDS_FOR_SD else "one sd above and below it"
  return {
    "curves": [name for name in (*curve_pictures.MEASURES, "step_losses") if name in pictures],
    "unit_rows": monitor_pictures.unit_rows(artifacts),
    "norms": [name for name in NORMS if name in pictures],
    "has_many_arms": len(arms) > figures.MAX_ARMS,
    "has_metrics": bool(artifacts.metrics),
    "band": "" if num_seeds < 2 else spread,
  }


def _examples_and_scores(
  artifacts: Artifacts, pictures: Mapping[str, Picture]
) -> dict[str, object]:
  """Returns what the page says of A, of its examples and of the scores."""
  results, info = artifacts.results, artifacts.score_info
  return {
    "has_split": len(results["arms"]) > 1,  # the baseline alone is neither scored nor split
    "what_A": what_A(artifacts),
    "by_number": fonts.drawn(class_names(results)).by_number,
    "truth": tables.truth_text(info.get("truth", {}), info.get("ranked_by", "")),
    "histograms": [name for name in pictures if name.startswith("histogram_")],
    "score_info": info,
    "score_rows": tables.score_rows(info),
    "stability": info.get("stability"),
    "chance_overlap": results["num_easy"] / results["data"]["num_train"],
    "class_table": _class_table(artifacts),
  }


def _origin(artifacts: Artifacts) -> dict[str, object]:
  """Returns the config, the environment and the timing as pairs of texts."""
  return {
    "config": page.pairs(artifacts.config.get("config", {})),
    "config_hash": artifacts.config.get("hash"),
    "environment": page.pairs(artifacts.environment),
    "taken_over": artifacts.environment.get("choices", {}).get("baseline_from"),
    "timing": page.pairs(artifacts.timing),
  }


def _sentence(results: Mapping[str, Any]) -> str:
  """Returns the verdict, without the positive control where that is shown as a warning below."""
  power = results.get("power")
  sentence = results.get("sentence", "")
  return (
    sentence.replace(f" Positive control: {power['says']}.", "")
    if power and power["called_worse"] is False
    else sentence
  )


def _class_table(artifacts: Artifacts) -> list[tuple[str, int, str, str]]:
  """Returns a row for each class: name, examples, how many in A (mean over seeds), in percent."""
  if artifacts.split is None:
    return []
  labels, in_A = artifacts.split.labels, artifacts.split.in_A
  names = class_names(artifacts.results)
  totals = np.bincount(labels, minlength=len(names))
  easy = np.mean([np.bincount(labels[chosen], minlength=len(names)) for chosen in in_A], axis=0)
  return [
    (name, int(total), f"{count:.1f}", f"{100 * count / total:.1f} %" if total else "-")
    for name, total, count in zip(names, totals, easy, strict=True)
  ]
