"""The figures that the predictions of a run allow, each with what is said below it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from sdt.report import figures, fonts, prediction_figures, tables
from sdt.report.picture import Picture
from sdt.report.prediction_figures import COLOURS, FEW_CLASSES, MAX_CLASSES, OTHERS, ArmBins, Bins
from sdt.report.read import Artifacts
from sdt.report.wording import class_names, sentences
from sdt.stats.classification import most_confused_classes


def pictures(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the confusion matrix and the reliability diagrams that the predictions allow."""
  content = artifacts.results.get("predictions")
  return _confusion(artifacts, content) | _reliability(content) if content else {}


def _confusion(artifacts: Artifacts, content: Mapping[str, Any]) -> dict[str, Picture]:
  names, arm = class_names(artifacts.results), content["table"]["arm"]
  of_arm = content["arms"][arm]
  counts = mean_confusion(of_arm)
  if counts is None or len(names) < 2:
    return {}
  classes = np.array(of_arm["confusion_classes"] or range(len(names)))
  totals = np.array(content["class_counts"])[classes]
  is_whole = len(names) <= MAX_CLASSES
  if not is_whole:
    chosen = most_confused_classes(counts, MAX_CLASSES)
    classes, totals, counts = classes[chosen], totals[chosen], counts[np.ix_(chosen, chosen)]
    counts = np.column_stack([counts, totals - counts.sum(axis=1)])
  drawn = fonts.drawn(names)
  shown = [drawn.texts[index] for index in classes]
  png = figures.render(prediction_figures.confusion, counts, totals, shown, families=drawn.families)
  number = sum(one is not None for one in of_arm["per_seed"].values())
  which = (
    ""
    if is_whole
    else f"Shown are those {MAX_CLASSES} of the {len(names)} classes that are confused most often; "
    f'"{OTHERS}", in grey, are the classes that are not shown.'
  )
  caption = sentences(
    f"{arm}: each row has the test examples of one label, and says how many of them are predicted "
    f"as each class{', mean over the seeds' if number > 1 else ''}. Blue is right, orange is "
    "wrong; darker is a larger share of the row. Each colour has its own scale.",
    which,
  )
  alt = f"confusion matrix of {arm} on the test set"
  # A small one shrinks with the page, as its letters stay legible.
  kind = "wide mosaic" if len(classes) > FEW_CLASSES else ""
  return {"confusion": Picture(png, alt, caption, kind=kind)}


def _reliability(content: Mapping[str, Any]) -> dict[str, Picture]:
  arms = figures.main_arms(list(content["arms"]))
  drawn = [one for arm in arms if (one := _arm_bins(arm, content["arms"][arm])) is not None]
  if not drawn:
    return {}
  png = figures.render(prediction_figures.reliability, drawn, COLOURS)
  caption = (
    "A dot is a bin of the confidence: how sure the answers in it are, and how many of them are "
    "right. Larger dots have more answers, hollow ones fewer than ten. Below the grey line a "
    "network is surer than it is right. Bars: how many answers are so sure. ECE: the mean distance "
    "of a seed's dots from the grey line, weighted by their answers; mean over the seeds."
  )
  kind = "wide" if len(drawn) > 1 else ""
  return {"reliability": Picture(png, "reliability diagrams", caption, kind=kind)}


def _arm_bins(arm: str, of_arm: Mapping[str, Any]) -> ArmBins | None:
  sound = [one for one in of_arm["per_seed"].values() if one]
  if not sound:
    return None
  eces = [one["ece"] for one in sound]
  title = f"{figures.shortened(arm, 34)}\nECE {tables.percent(sum(eces) / len(eces))} %"
  together = of_arm["ensemble"]
  if together:
    title += f", ensemble {tables.percent(together['ece'])} %"
  parts = [_bins(one["reliability"]) for one in sound]
  count = np.sum([part.count for part in parts], axis=0)
  means = {}
  for name in ("confidence", "accuracy"):
    total = np.sum([part.count * np.nan_to_num(getattr(part, name)) for part in parts], axis=0)
    means[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
  ensemble = _bins(together["reliability"]) if together else None
  return ArmBins(Bins(count, **means), ensemble, title)


def _bins(plain: Mapping[str, Any]) -> Bins:
  return Bins(**{name: np.array(values, np.float64) for name, values in plain.items()})


def mean_confusion(of_arm: Mapping[str, Any]) -> Float[np.ndarray, "k k"] | None:
  """Returns the confusions of an arm, mean over the seeds that did not diverge; None for none."""
  sound = [one["confusion"] for one in of_arm["per_seed"].values() if one]
  return np.mean(sound, axis=0) if sound else None
