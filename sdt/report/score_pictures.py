"""The figures that the scores and the split of a run allow, each with what is said below it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sdt.report import class_figures, figures, fonts, score_figures
from sdt.report.picture import Picture
from sdt.report.read import Artifacts, cut, diverged
from sdt.report.score_figures import Agreement, MapPoints, MapWords
from sdt.report.wording import class_names, section, sentences, what_A

# Scorer -> what stands at the axis; others by their name.
_SCORE_LABELS = {
  "log_odds": "log-odds of the label, nats",
  "confidence": "softmax probability of the label",
  "loss": "cross-entropy of the label, nats",
  "margin": "margin of the label's logit",
  "normalized_margin": "normalised margin",
  "entropy": "entropy of the prediction, nats",
  "el2n": "EL2N, norm of the error",
  "grand_last_layer": "GraNd, gradient norm of the last layer",
}
_SCORE_TITLES = {"log_odds": "Log-odds", "confidence": "Confidence"}


class _Ranking(NamedTuple):
  """The score that ranks: its name, its values [R, N], and whether a higher one is easier."""

  name: str
  values: Float[np.ndarray, "R N"]
  is_higher_easier: bool


def histograms(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the histograms of the confidence and of the score that ranks, over all and by class."""
  ranking = _ranking(artifacts)
  names = dict.fromkeys([ranking.name if ranking else "log_odds", "confidence"])
  pictures = {}
  for name in names:
    scores = _score(artifacts, name)
    if scores is not None:
      pictures[f"histogram_{name}"] = _histogram(artifacts, name, scores)
  if ranking is not None:
    pictures["class_histograms"] = _class_histograms(artifacts, ranking)
  return pictures


def data_map(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the map of the training dynamics; of the spread over seeds where they are unknown."""
  known = [_score(artifacts, name) for name in ("variability", "mean_confidence", "correctness")]
  correctness: np.ndarray | None
  if all(one is not None for one in known):
    variability, confidence, correctness = (one.mean(axis=0) for one in known if one is not None)
    words = MapWords(
      "variability: sd of the confidence over the epochs",
      "mean confidence over the epochs",
      "epochs",
    )
    caption = (
      "Each dot is a training example. Its place shows how the baseline learnt it, mean over the "
      "seeds. Top left: learnt early and never forgotten. Right: learnt and forgotten again. "
      "Bottom left: never learnt; such an example often has a wrong label."
    )
  else:
    scores, margin = _score(artifacts, "confidence"), _score(artifacts, "margin")
    if scores is None or len(scores) < 2:
      return {}
    confidence, variability = scores.mean(axis=0), scores.std(axis=0, ddof=1)
    correctness = None if margin is None else np.mean(margin > 0, axis=0)
    words = MapWords(
      "sd of the confidence over the seeds", "mean confidence over the seeds", "seeds"
    )
    caption = (
      f"Each dot is a training example. Its place shows its final confidence over {len(scores)} "
      "seeds, because this run did not record the training dynamics. Top left: every seed fits it. "
      "Right: some seeds fit it. Bottom left: no seed fits it; it often has a wrong label."
    )
  shown = _score(artifacts, "confidence")
  in_A = None if shown is None else _subset_a(artifacts, shown.shape)
  points = MapPoints(
    variability, confidence, correctness, in_A=None if in_A is None else in_A.mean(0)
  )
  if points.correctness is None and points.in_A is None:
    return {}
  kind = "" if points.correctness is None or points.in_A is None else "wide"
  png = figures.render(score_figures.data_map, points, words)
  alt = "map of the training examples by confidence and its variability"
  text = sentences(caption, _without_diverged(artifacts))
  return {"data_map": Picture(png, alt, text, kind=kind)}


def classes(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns how many examples of each class are in A and in B."""
  if artifacts.split is None:
    return {}
  names = fonts.drawn(class_names(artifacts.results))
  png = figures.render(
    class_figures.class_counts,
    artifacts.split,
    names.texts,
    what_A(artifacts),
    families=names.families,
  )
  caption = (
    "Dashed line: what a draw that ignores the class would give. Where a bar is far from it, the "
    "score prefers or avoids this class."
  )
  return {"class_counts": Picture(png, "class counts of A and B", caption, kind="wide")}


def stability(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns how far the seeds agree, where there is more than one."""
  info, ranking = artifacts.score_info.get("stability"), _ranking(artifacts)
  if not info or ranking is None:
    return {}
  results, values = artifacts.results, artifacts.scores[ranking.name].astype(np.float64)
  seeds = artifacts.scores["seeds"].tolist()
  candidates = np.flatnonzero(_is_sound(artifacts)).tolist()
  sound = [index for index in candidates if np.isfinite(values[index]).all()]
  one, other = (sound if len(sound) > 1 else [0, 1])[:2]
  spearman, overlap = (np.array(info[key], np.float64) for key in ("spearman", "overlap_of_A"))
  chance = results["num_easy"] / results["data"]["num_train"]
  png = figures.render(
    score_figures.stability,
    values[[one, other]],
    (seeds[one], seeds[other]),
    Agreement(seeds, spearman, overlap, chance=chance),
    label=_label_of(ranking.name),
  )
  caption = "The score of each training example under two seeds. On the grey line both are equal."
  if len(seeds) > 2:
    caption = (
      f"Left: {caption[0].lower()}{caption[1:]} Right: the share of A that two seeds have in "
      f"common; it is {chance:.2f} by chance."
    )
  kind = "wide" if len(seeds) > 2 else ""
  alt = "agreement of the seeds about scores and about A"
  return {"stability": Picture(png, alt, caption, kind=kind)}


def _histogram(artifacts: Artifacts, name: str, scores: Float[np.ndarray, "R N"]) -> Picture:
  in_A, seeds = _subset_a(artifacts, scores.shape), _seeds(artifacts)
  png = figures.render(
    score_figures.histogram,
    scores,
    in_A,
    seeds,
    title=f"{_SCORE_TITLES.get(name, name.replace('_', ' '))} of the training examples",
    label=_label_of(name),
    log=name == "confidence",
  )
  border = "" if in_A is None else _border_words(artifacts, name, scores, in_A=in_A)
  caption = sentences("How many examples have each score. Outline: one seed.", border)
  text = sentences(caption, _without_diverged(artifacts))
  return Picture(png, f"histogram of {name}", text)


def _border_words(
  artifacts: Artifacts,
  name: str,
  scores: Float[np.ndarray, "R N"],
  in_A: Bool[np.ndarray, "R N"],
) -> str:
  """Returns the end of a histogram's caption: what is A, and why a seed's A has no border."""
  seeds = _seeds(artifacts)
  without = [
    seed for seed, row, chosen in zip(seeds, scores, in_A, strict=True) if cut(row, chosen) is None
  ]
  filled = "Filled: A." + (" Dashed: the border of A." if len(without) < len(seeds) else "")
  if not without:
    return filled
  rule, ranked_by = section(artifacts, "split"), artifacts.score_info.get("ranked_by", name)
  reasons = {
    "A is a random draw": rule.get("policy") == "random",
    "A leaves the very easiest examples to B": rule.get("policy") == "window",
    "each class has its own border": bool(rule.get("class_balanced")),
    "all seeds share the A of their mean score": rule.get("source") == "mean",
    f"A was chosen by {ranked_by}": name != ranked_by,
  }
  why = next((f": {reason}" for reason, holds in reasons.items() if holds), "")
  whose = "A" if len(without) == len(seeds) else f"The A of seed {', '.join(map(str, without))}"
  return f"{filled} {whose} is not one end of this score, so it has no border here{why}."


def _class_histograms(artifacts: Artifacts, ranking: _Ranking) -> Picture:
  name, values, is_higher_easier = ranking
  labels, names = artifacts.scores["label"], class_names(artifacts.results)
  drawn = fonts.drawn(names)
  shown = class_figures.shown_classes(values, labels, len(names), is_higher_easier=is_higher_easier)
  png = figures.render(
    class_figures.class_histograms,
    values,
    labels,
    _subset_a(artifacts, values.shape),
    classes=shown,
    names=drawn.texts,
    label=_label_of(name),
    families=drawn.families,
  )
  few = len(shown) < sum(np.bincount(labels, minlength=len(names)) > 0)
  which = f"The five easiest and the five hardest of {len(names)} classes" if few else "Every class"
  caption = (
    f"{which}, sorted by the median of {name}; {'larger' if is_higher_easier else 'smaller'} is "
    "easier. Each histogram fills its row: compare the shapes of classes, not their heights. Where "
    "a row has little colour, A has few examples of this class."
  )
  text = sentences(caption, _without_diverged(artifacts))
  return Picture(png, "histograms of the score by class", text, kind="wide")


def _is_sound(artifacts: Artifacts) -> Bool[np.ndarray, "R"]:
  """Returns whose scoring network did not diverge; all seeds where every one did."""
  lost = diverged(artifacts.metrics).get("baseline", [])
  sound = artifacts.scores.get("sound", True) & ~np.isin(artifacts.scores["seeds"], lost)
  return sound if sound.any() else np.ones_like(sound)


def _seeds(artifacts: Artifacts) -> list[int]:
  """Returns the seeds whose scores the figures show."""
  seeds: list[int] = artifacts.scores["seeds"][_is_sound(artifacts)].tolist()
  return seeds


def _without_diverged(artifacts: Artifacts) -> str:
  """Returns a sentence that names the seeds that figures of the scores leave out; "" for none."""
  lost = artifacts.scores["seeds"][~_is_sound(artifacts)].tolist()
  return f"Seeds whose baseline diverged are left out: {', '.join(map(str, lost))}." if lost else ""


def _score(artifacts: Artifacts, name: str) -> Float[np.ndarray, "R N"] | None:
  """Returns a score of the seeds that did not diverge, in float64; None without a finite value."""
  scores = artifacts.scores.get(name)
  if scores is None or scores.ndim != 2 or not np.isfinite(scores).any():
    return None
  sound: np.ndarray = scores[_is_sound(artifacts)].astype(np.float64)
  return sound if np.isfinite(sound).any() else None


def _ranking(artifacts: Artifacts) -> _Ranking | None:
  """Returns the score that ranks; None where scores.npz does not have it."""
  name = artifacts.score_info.get("ranked_by", "log_odds")
  values = _score(artifacts, name)
  scorer = artifacts.score_info.get("scorers", {}).get(name, {})
  is_higher_easier = scorer.get("direction", "higher_is_easier") == "higher_is_easier"
  return None if values is None else _Ranking(name, values, is_higher_easier)


def _subset_a(artifacts: Artifacts, shape: tuple[int, ...]) -> Bool[np.ndarray, "R N"] | None:
  """Returns A of the seeds that did not diverge; None where the split has not this shape [R, N]."""
  split = artifacts.split
  if split is None or len(split.in_A) != len(artifacts.scores["seeds"]):
    return None
  in_A: np.ndarray = split.in_A[_is_sound(artifacts)]
  return in_A if in_A.shape == shape else None


def _label_of(name: str) -> str:
  return _SCORE_LABELS.get(name, name.replace("_", " "))
