"""report.html: one file, images inside, no script and no network. Everything that a user can name is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from sdt import files
from sdt.report import figures, tables
from sdt.report.artifacts import Artifacts, Curve, curves, diverged, flat, learning_rate_drops

_HERE = Path(__file__).parent
# Without a drop of the learning rate, the enlarged test curve begins at this share of the rounds.
_ZOOM_FROM = 0.5
_MEASURES = (
  ("test_accuracy", "Test accuracy"),
  ("test_loss", "Test cost"),
  ("train_accuracy", "Training accuracy (in training mode)"),
  ("train_loss", "Training cost (in training mode)"),
)
_SCORES = (("log_odds", "log-odds of the own label, nats", False), ("confidence", "softmax probability of the own label", True))
# split.policy -> what A is, and which of its examples the mosaic shows. Without config.json nobody knows.
_OF_A = {
  "": ("", "Examples of A"),
  "top": ("the easiest", "The examples of A with the highest scores"),
  "bottom": ("the hardest", "The examples of A with the lowest scores"),
  "random": ("a random draw", "The examples of the random A with the highest scores"),
}


def write(workdir: Path, artifacts: Artifacts) -> Path:
  """Writes figures/*.png and report.html; returns the path of the report."""
  images = draw(artifacts)
  for name, png in images.items():
    files.write_bytes(workdir / "figures" / f"{name}.png", png)
  path = workdir / "report.html"
  files.write_text(path, page(artifacts, images))
  return path


def draw(artifacts: Artifacts) -> dict[str, bytes]:
  """Returns name -> PNG of every figure that the artifacts allow."""
  images = _draw_curves(artifacts) | _draw_scores(artifacts)
  names = class_names(artifacts.results)
  split = artifacts.split
  if split is not None:
    images["class_counts"] = figures.render(figures.class_counts, split.labels, split.in_A, names, _what_A(artifacts))
  stability = artifacts.score_info.get("stability")
  if stability:
    matrices = [np.array(stability[key], np.float64) for key in ("spearman", "overlap_of_A")]
    images["agreement"] = figures.render(figures.agreement, *matrices, artifacts.results["seeds"])
  for kind in ("easiest", "other"):
    parts = [artifacts.mosaics.get(f"{kind}_{part}") for part in ("images", "labels", "confidence")]
    if all(part is not None and len(part) for part in parts):
      images[f"mosaic_{kind}"] = figures.render(figures.mosaic, *parts, names)
  return images


def page(artifacts: Artifacts, images: Mapping[str, bytes]) -> str:
  """Returns the HTML; timing and environment stand only in the section with id "timing"."""
  results = artifacts.results
  data = results["data"]
  lost = diverged(artifacts.metrics)
  num_seeds = figures.most_seeds(curves(artifacts.metrics, list(results["arms"])))
  differences = tables.contrasts_of(results)
  return render_template(
    "report.html",
    results=results,
    data=data,
    title=f"{data['name']}, {results['model']['name']}",
    sentence=_sentence(results).replace("+-", "\u00b1"),
    diverged=[(arm, entry["diverged"]) for arm, entry in results["arms"].items() if entry.get("diverged")],
    accuracy_rows=tables.accuracy_rows(results),
    contrast_rows=tables.contrast_rows(results),
    power=results.get("power"),
    has_few_seeds=len(results["seeds"]) <= tables.MAX_SEEDS_PER_BLOCK,
    has_unequal=any(not one.get("equal_work", True) for one in differences),
    has_shown=any(one.get("wilcoxon") or one.get("correlation") is not None for one in differences),
    has_bootstrap=any(one.get("bootstrap") for one in differences),
    images={name: "data:image/png;base64," + base64.b64encode(png).decode("ascii") for name, png in images.items()},
    curves=[name for name, _ in _MEASURES if name in images],
    has_metrics=bool(artifacts.metrics),
    has_test_curve="test_accuracy" in images,
    band="" if num_seeds < 2 else "the range" if num_seeds < figures.MIN_SEEDS_FOR_SD else "one sd",
    left_out=_left_out({arm: seeds for arm, seeds in lost.items() if arm in results["arms"]}),
    what_A=_what_A(artifacts),
    mosaic_of_A=_OF_A[_split_rule(artifacts).get("policy", "")][1],
    truth=tables.truth_text(artifacts.score_info.get("truth", {}), artifacts.score_info.get("ranked_by", "")),
    histograms=[name for name, _, _ in _SCORES if f"histogram_{name}" in images],
    score_info=artifacts.score_info,
    stability=artifacts.score_info.get("stability"),
    chance_overlap=results["num_easy"] / data["num_train"],
    class_table=_class_table(artifacts),
    num_mosaic={kind: len(artifacts.mosaics.get(f"{kind}_images", ())) for kind in ("easiest", "other")},
    phases=[(arm, ", ".join(f"{phase} {steps}" for phase, steps in plan.items())) for arm, plan in results["steps_per_round"].items()],
    config=[(key, text(value)) for key, value in flat(artifacts.config.get("config", {}))],
    config_hash=artifacts.config.get("hash"),
    environment=[(key, text(value)) for key, value in flat(artifacts.environment)],
    taken_over=artifacts.environment.get("choices", {}).get("baseline_from"),
    timing=[(key, text(value)) for key, value in flat(artifacts.timing)],
    percent=tables.percent,
  )


def render_template(name: str, **values: Any) -> str:
  """Returns the HTML of a template in this folder; every value is escaped, and one that is missing is an error."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
  )
  return environment.get_template(name).render(**values)


def _sentence(results: Mapping[str, Any]) -> str:
  """Returns the sentence; without its end about an experiment without power, which stands below it as a warning."""
  power = results.get("power")
  sentence = results.get("sentence", "")
  return sentence.removesuffix(f" Positive control: {power['says']}.") if power and power["called_worse"] is False else sentence


def class_names(results: Mapping[str, Any]) -> list[str]:
  """Returns the class names, numbered where the results have none."""
  names = results["data"].get("class_names") or range(results["data"]["num_classes"])
  return [str(name) for name in names]


def _what_A(artifacts: Artifacts) -> str:  # noqa: N802 - the paper's name
  """Returns "A" and what it is by split.policy; "A" alone where there is no config to tell it."""
  rule = _split_rule(artifacts)
  what = _OF_A[rule.get("policy", "")][0]
  return f"A, {what}{' of each class' if rule.get('class_balanced') else ''}" if what else "A"


def _split_rule(artifacts: Artifacts) -> dict[str, Any]:
  return artifacts.config.get("config", {}).get("split", {})


def _left_out(lost: Mapping[str, Sequence[int]]) -> str:
  """Returns the caption of curves that lack the seeds `lost`."""
  named = "; ".join(f"{arm}, seed {', '.join(map(str, seeds))}" for arm, seeds in lost.items())
  return f"Without seeds that diverged, over all rounds: {named}." if named else ""


def _draw_curves(artifacts: Artifacts) -> dict[str, bytes]:
  arms = list(artifacts.results["arms"])
  all_curves = curves(artifacts.metrics, arms)
  drops = learning_rate_drops(artifacts.metrics)
  images = {
    measure: figures.render(figures.curve, all_curves, measure, arms, drops, title)
    for measure, title in _MEASURES
    if _num_measured(all_curves, measure, 1)
  }
  last = max((int(one.rounds[-1]) for one in all_curves), default=0)
  first = drops[0] if drops and drops[0] < last else max(1, math.ceil(last * _ZOOM_FROM))
  if first > 1 and _num_measured(all_curves, "test_accuracy", first) > 1:
    title = f"Test accuracy from round {first} on"
    images["test_accuracy_late"] = figures.render(figures.curve, all_curves, "test_accuracy", arms, drops, title, first, figures.WIDE)
  return images


def _num_measured(all_curves: list[Curve], measure: str, first_round: int) -> int:
  """Returns the largest number of rounds, from `first_round` on, for which some arm has a value."""
  return max((int(np.isfinite(one.values[measure][:, one.rounds >= first_round]).any(axis=0).sum()) for one in all_curves), default=0)


def _draw_scores(artifacts: Artifacts) -> dict[str, bytes]:
  split, images = artifacts.split, {}
  for name, label, log in _SCORES:
    scores = artifacts.scores.get(name)
    if scores is None or not np.isfinite(scores).any():
      continue
    in_A = None if split is None or split.in_A.shape != scores.shape else split.in_A
    title = "Log-odds" if name == "log_odds" else "Confidence"
    images[f"histogram_{name}"] = figures.render(
      figures.histogram,
      scores.astype(np.float64),
      in_A,
      artifacts.scores["seeds"].tolist(),
      f"{title} of the training examples",
      label,
      log,
    )
  return images


def _class_table(artifacts: Artifacts) -> list[tuple[str, int, str, str]]:
  """Returns class, training examples, count in A (mean over seeds) and its share of the class."""
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


def text(value: Any) -> str:
  """Returns a leaf of a JSON tree as text."""
  if value is None:
    return "-"
  if isinstance(value, float):
    return f"{value:.6g}"
  if isinstance(value, list):
    return ", ".join(text(item) for item in value) or "-"
  return str(value)
