"""Which pictures the artifacts of a run allow, and what is said below each: what it shows, and how
to read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdt.report import (
  curve_figures,
  figures,
  forest,
  image_figures,
  norm_figures,
  score_figures,
  tables,
)
from sdt.report.figures import Picture, render
from sdt.report.read import NORMS, Artifacts, Curve, curves, cut, diverged, learning_rate_drops

# Without a drop of the learning rate, the enlarged test curve begins at this share of the rounds.
_ZOOM_FROM = 0.5
# Measure -> title, and the caption of its curve.
MEASURES = {
  "test_accuracy": (
    "Test accuracy",
    "Share of the test set that is classified rightly, at the end of a round{after}.",
  ),
  "test_loss": (
    "Test cost",
    "Mean cross-entropy on the test set at the end of a round{after}; lower is better.",
  ),
  "train_accuracy": (
    "Training accuracy (in training mode)",
    (
      "Share of the phase's examples that was right while the network trained on them, with "
      "augmentation{phases}."
    ),
  ),
  "train_loss": (
    "Training cost (in training mode)",
    (
      "Mean cross-entropy of the phase's examples while the network trained on them, without the "
      "decay's part{phases}."
    ),
  ),
}
_NORM_TEXTS = {
  "weight_norm": (
    "Weight norm",
    (
      "Norm of all kernels together at the end of a phase{phases}. At equal steps a stronger "
      "decay makes it smaller."
    ),
  ),
  "effective_rate": (
    "Effective learning rate",
    "Learning rate over the squared weight norm{phases}: with BatchNorm the scale of the weights "
    "does not change the output, so this is "
    "how fast their direction moves. Decay acts on it through the norm.",
  ),
  "gradient_norm": (
    "Gradient norm",
    (
      "Norm of the gradient of the objective: of the loss with the phase's regularisers, without "
      "the decay; mean over the steps{phases}."
    ),
  ),
  "update_norm": (
    "Update norm",
    "Norm of what a step changes of all parameters, mean over the steps of the phase{phases}.",
  ),
}
# Scorer -> what stands at the axis; others by their name.
_SCORE_LABELS = {
  "log_odds": "log-odds of the own label, nats",
  "confidence": "softmax probability of the own label",
  "loss": "cross-entropy of the own label, nats",
  "margin": "margin of the own label's logit",
  "normalized_margin": "normalised margin",
  "entropy": "entropy of the prediction, nats",
  "el2n": "EL2N, norm of the error",
  "grand_last_layer": "GraNd, gradient norm of the last layer",
}
_SCORE_TITLES = {"log_odds": "Log-odds", "confidence": "Confidence"}
# split.policy -> what A is, and which of its examples the mosaic shows. Without config.json nobody
# knows.
_OF_A = {
  "": ("", "Examples of A"),
  "top": ("the easiest", "The examples of A with the highest scores"),
  "bottom": ("the hardest", "The examples of A with the lowest scores"),
  "random": ("a random draw", "The examples of the random A with the highest scores"),
  "window": ("the easiest after a share of them", "The examples of A with the highest scores"),
  "threshold": ("those easier than a threshold", "The examples of A with the highest scores"),
  "mislabel_cut": (
    "the easiest, where the hardest are left out of A and B",
    "The examples of A with the highest scores",
  ),
}
_CAM_ARMS = {1: "the {0}'s map", 2: "the {0}'s and the {1}'s map"}


def draw(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns name -> picture of every figure that the artifacts allow."""
  return (
    _forest(artifacts)
    | _curves(artifacts)
    | _examples(artifacts)
    | _scores(artifacts)
    | _norms(artifacts)
  )


def class_names(results: Mapping[str, Any]) -> list[str]:
  """Returns the class names, numbered where the results have none."""
  names = results["data"].get("class_names") or range(results["data"]["num_classes"])
  return [str(name) for name in names]


def what_A(artifacts: Artifacts) -> str:  # noqa: N802 - the paper's name
  """Returns "A" and what it is by split.policy; "A" alone where there is no config to tell it."""
  rule = _config(artifacts, "split")
  what = _OF_A.get(rule.get("policy", ""), _OF_A[""])[0]
  return f"A, {what}{' of each class' if rule.get('class_balanced') else ''}" if what else "A"


def mosaic_of_A(artifacts: Artifacts) -> str:  # noqa: N802
  """Returns which of A's examples its mosaic shows."""
  return _OF_A.get(_config(artifacts, "split").get("policy", ""), _OF_A[""])[1]


def left_out(artifacts: Artifacts) -> str:
  """Returns a sentence about the curves that lack seeds which diverged; nothing where none did."""
  lost = diverged(artifacts.metrics)
  named = "; ".join(
    f"{arm}, seed {', '.join(map(str, seeds))}"
    for arm, seeds in lost.items()
    if arm in artifacts.results["arms"]
  )
  return f"Without seeds that diverged, over all rounds: {named}." if named else ""


def _config(artifacts: Artifacts, section: str) -> dict[str, Any]:
  found: dict[str, Any] = artifacts.config.get("config", {}).get(section, {})
  return found


def _sentences(*parts: str) -> str:
  return " ".join(part for part in parts if part)


def _forest(artifacts: Artifacts) -> dict[str, Picture]:
  rows = tables.contrasts_of(artifacts.results)
  if not any(row["mean"] is not None for row in rows):
    return {}
  texts = tables.contrast_rows(artifacts.results)
  margin = _config(artifacts, "stats").get("margin")
  names, verdicts = ([text[key] for text in texts] for key in ("name", "verdict"))
  png = render(
    forest.contrasts, rows, names, verdicts, margin, tables.family_starts(artifacts.results)
  )
  has_interval = any(row["interval"] is not None for row in rows)
  caption = _sentences(
    "Each row is the first arm minus the second: right of zero the first is better.",
    "An interval that stays on one side of zero is a difference;" if has_interval else "",
    (
      "one that is not clear of zero resolves "
      f"nothing{', unless the shaded margin is shown to hold it' if margin else ''}."
    )
    if has_interval
    else "There are too few seeds for intervals.",
  )
  return {
    "forest": Picture(
      png,
      "differences between the method and every other arm, and of arms from their own controls, "
      "with intervals and verdicts",
      caption,
      kind="wide",
    )
  }


def _curves(artifacts: Artifacts) -> dict[str, Picture]:
  arms = list(artifacts.results["arms"])
  shown = figures.main_arms(arms)
  all_curves = curves(artifacts.metrics, arms)
  drops = learning_rate_drops(artifacts.metrics)
  pictures = {}
  last = max((int(one.rounds[-1]) for one in all_curves), default=0)
  first = drops[0] if drops and drops[0] < last else max(1, math.ceil(last * _ZOOM_FROM))
  if first > 1 and curve_figures.num_measured(all_curves, "test_accuracy", first) > 1:
    title = f"Test accuracy from round {first} on, every arm"
    png = render(
      curve_figures.curve,
      all_curves,
      "test_accuracy",
      arms,
      arms,
      drops,
      title,
      first,
      figures.WIDE,
    )
    caption = _sentences(
      "The later rounds of the curve below, larger. The verdict is about the last round alone.",
      left_out(artifacts),
    )
    pictures["test_accuracy_late"] = Picture(
      png, "test accuracy of every arm over the later rounds", caption, kind="wide"
    )
  for measure, (title, caption) in MEASURES.items():
    if curve_figures.num_measured(all_curves, measure):
      png = render(curve_figures.curve, all_curves, measure, arms, shown, drops, title)
      text = caption.format(**_phase_words([one for one in all_curves if one.arm in shown]))
      pictures[measure] = Picture(
        png, f"{measure.replace('_', ' ')} over the rounds", _sentences(text, left_out(artifacts))
      )
  return pictures


def _phase_words(shown: Sequence[Curve]) -> dict[str, str]:
  """Returns what captions say of rounds that have several phases."""
  first = list(dict.fromkeys(one.phase for one in shown if not one.last_phase))
  last = list(
    dict.fromkeys(
      one.phase
      for one in shown
      if one.last_phase and one.arm in {other.arm for other in shown if not other.last_phase}
    )
  )
  if not first:
    return {"after": "", "phases": ""}
  return {
    "after": f" (in rounds of several phases: after {' or '.join(last)})",
    "phases": (
      f" (thick: phase {' or '.join(last)}, which ends the round; dotted: phase "
      f"{' or '.join(first)})"
    ),
  }


def _examples(artifacts: Artifacts) -> dict[str, Picture]:
  names, pictures = class_names(artifacts.results), {}
  what = {"easiest": mosaic_of_A(artifacts), "other": "A random draw from B"}
  for kind, alt in what.items():
    parts = [artifacts.mosaics.get(f"{kind}_{part}") for part in ("images", "labels", "confidence")]
    if all(part is not None and len(part) for part in parts):
      png = render(image_figures.mosaic, *parts, names)
      end = "lowest" if _config(artifacts, "split").get("policy") == "bottom" else "highest"
      order = f"the {end} scores first" if kind == "easiest" else "in random order"
      caption = (
        "Below "
        "each image its label, and the confidence in it of the first seed's baseline; "
        f"{order}."
      )
      pictures[f"mosaic_{kind}"] = Picture(png, alt, caption, kind="wide mosaic")
  if artifacts.cam:
    png = render(image_figures.class_activation_maps, artifacts.cam, names)
    arms = [str(arm) for arm in artifacts.cam["arms"]]
    caption = (
      "Test images drawn at random within each group, each with "
      f"{_CAM_ARMS[len(arms)].format(*arms)} of its label's class (seed "
      f"{int(artifacts.cam['seed'])}): from dark, where a place speaks least for that class, to "
      "yellow, where it speaks most. Every map "
      "has its own scale, so places compare and strengths do not. Below a map what that network "
      "predicts, and its probability."
    )
    pictures["cam"] = Picture(
      png, "class activation maps of test images", caption, kind="wide mosaic"
    )
  return pictures


def _scores(artifacts: Artifacts) -> dict[str, Picture]:
  return _histograms(artifacts) | _data_map(artifacts) | _classes(artifacts) | _stability(artifacts)


def _is_sound(artifacts: Artifacts) -> np.ndarray:
  """Returns [R] which seeds' scoring networks did not diverge; all of them where none is left: then
  they are what there is.
  """
  lost = diverged(artifacts.metrics).get("baseline", [])
  sound = artifacts.scores.get("sound", True) & ~np.isin(artifacts.scores["seeds"], lost)
  return sound if sound.any() else np.ones_like(sound)


def _without_diverged(artifacts: Artifacts) -> str:
  """Returns a sentence about the seeds that pictures of the scores lack; nothing where they have
  all.
  """
  lost = artifacts.scores["seeds"][~_is_sound(artifacts)].tolist()
  return f"Without seeds whose baseline diverged: {', '.join(map(str, lost))}." if lost else ""


def _score(artifacts: Artifacts, name: str) -> np.ndarray | None:
  """Returns a score [R, N] of the seeds that did not diverge, in float64; None where it is not
  there, or no number.
  """
  scores = artifacts.scores.get(name)
  if scores is None or scores.ndim != 2 or not np.isfinite(scores).any():
    return None
  found: np.ndarray = scores[_is_sound(artifacts)].astype(np.float64)
  return found if np.isfinite(found).any() else None


def _ranking(artifacts: Artifacts) -> tuple[str, np.ndarray, bool] | None:
  """Returns name, values [R, N] and direction (larger is easier) of the score that ranks; None
  where it is not there.
  """
  name = artifacts.score_info.get("ranked_by", "log_odds")
  values = _score(artifacts, name)
  direction = (
    artifacts.score_info.get("scorers", {}).get(name, {}).get("direction", "higher_is_easier")
  )
  return None if values is None else (name, values, direction == "higher_is_easier")


def _in_A(artifacts: Artifacts, shape: tuple[int, ...]) -> np.ndarray | None:  # noqa: N802
  """Returns A [R, N] of the seeds that did not diverge; None where it is not known for scores of
  this shape.
  """
  split = artifacts.split
  if split is None or len(split.in_A) != len(artifacts.scores["seeds"]):
    return None
  found: np.ndarray = split.in_A[_is_sound(artifacts)]
  return found if found.shape == shape else None


def _label_of(name: str) -> str:
  return _SCORE_LABELS.get(name, name.replace("_", " "))


def _histograms(artifacts: Artifacts) -> dict[str, Picture]:
  pictures: dict[str, Picture] = {}
  ranking = _ranking(artifacts)
  for name in dict.fromkeys([ranking[0] if ranking else "log_odds", "confidence"]):
    scores = _score(artifacts, name)
    if scores is None:
      continue
    in_A, is_probability = _in_A(artifacts, scores.shape), name == "confidence"
    title = f"{_SCORE_TITLES.get(name, name.replace('_', ' '))} of the training examples"
    seeds = artifacts.scores["seeds"][_is_sound(artifacts)].tolist()
    png = render(
      score_figures.histogram, scores, in_A, seeds, title, _label_of(name), is_probability
    )
    caption = "How many examples have which score, each seed an outline" + _border_words(
      artifacts, name, scores, in_A=in_A, seeds=seeds
    )
    pictures[f"histogram_{name}"] = Picture(
      png, f"histogram of {name}", _sentences(caption, _without_diverged(artifacts))
    )
  if ranking is None:
    return pictures
  name, values, is_higher_easier = ranking
  labels, names = artifacts.scores["label"], class_names(artifacts.results)
  classes = score_figures.shown_classes(
    values, labels, len(names), is_higher_easier=is_higher_easier
  )
  png = render(
    score_figures.class_histograms,
    values,
    labels,
    _in_A(artifacts, values.shape),
    classes,
    names,
    _label_of(name),
  )
  few = len(classes) < sum(np.bincount(labels, minlength=len(names)) > 0)
  which = f"The five easiest and the five hardest of {len(names)} classes" if few else "Every class"
  caption = (
    f"{which}, by the median of {name}, {'larger' if is_higher_easier else 'smaller'} is easier. "
    "Every histogram fills its row, so shapes "
    "compare and heights of different classes do not. A class whose row has little colour gives A "
    "few examples."
  )
  pictures["class_histograms"] = Picture(
    png,
    "histograms of the score by class",
    _sentences(caption, _without_diverged(artifacts)),
    kind="wide",
  )
  return pictures


def _border_words(
  artifacts: Artifacts, name: str, scores: np.ndarray, in_A: np.ndarray | None, seeds: Sequence[int]
) -> str:
  """Returns the end of the caption of a histogram: what stands for A, and why a seed has no border,
  where one has none.
  """
  if in_A is None:
    return "."
  without = [
    seed for seed, row, chosen in zip(seeds, scores, in_A, strict=True) if cut(row, chosen) is None
  ]
  dashed = "; dashed: its border" if len(without) < len(seeds) else ""
  if not without:
    return f"; filled: A{dashed}."
  rule, ranked_by = _config(artifacts, "split"), artifacts.score_info.get("ranked_by", name)
  reasons = {
    "it is a random draw": rule.get("policy") == "random",
    "it leaves the very easiest to B": rule.get("policy") == "window",
    "every class has a border of its own": bool(rule.get("class_balanced")),
    "all seeds share the A of their mean score": rule.get("source") == "mean",
    f"it was chosen by {ranked_by}": name != ranked_by,
  }
  why = next((f", because {reason}" for reason, holds in reasons.items() if holds), "")
  whose = "A" if len(without) == len(seeds) else f"The A of seed {', '.join(map(str, without))}"
  return f"; filled: A{dashed}. {whose} has no border here: it is not one end of this score{why}."


def _data_map(artifacts: Artifacts) -> dict[str, Picture]:
  """Draws the training dynamics where they are known, else the spread over seeds."""
  correctness: np.ndarray | None
  known = [_score(artifacts, name) for name in ("variability", "mean_confidence", "correctness")]
  if all(one is not None for one in known):
    variability, confidence, correctness = (one.mean(axis=0) for one in known if one is not None)
    labels = (
      "variability: sd of the confidence over the epochs",
      "mean confidence over the epochs",
      "epochs",
    )
    caption = (
      "Every training example by the baseline's training dynamics, means over the seeds. Top "
      "left: learnt early and for good; right: "
      "undecided; bottom left: never learnt, often a wrong label."
    )
  else:
    scores, margin = _score(artifacts, "confidence"), _score(artifacts, "margin")
    if scores is None or len(scores) < 2:
      return {}
    confidence, variability = scores.mean(axis=0), scores.std(axis=0, ddof=1)
    correctness = None if margin is None else np.mean(margin > 0, axis=0)
    labels = ("sd of the confidence over the seeds", "mean confidence over the seeds", "seeds")
    caption = (
      f"Every training example by its final confidence under {len(scores)} seeds: a stand-in for "
      "the map of training dynamics, which this "
      "run did not record. Top left: fitted by every seed; right: by some; bottom left: by none, "
      "often a wrong label."
    )
  shown = _score(artifacts, "confidence")
  in_A = None if shown is None else _in_A(artifacts, shown.shape)
  in_A_share = None if in_A is None else in_A.mean(axis=0)
  if correctness is None and in_A_share is None:
    return {}
  kind = "" if correctness is None or in_A_share is None else "wide"
  png = render(score_figures.data_map, variability, confidence, correctness, in_A_share, *labels)
  return {
    "data_map": Picture(
      png,
      "map of the training examples by confidence and its variability",
      _sentences(caption, _without_diverged(artifacts)),
      kind=kind,
    )
  }


def _classes(artifacts: Artifacts) -> dict[str, Picture]:
  split = artifacts.split
  if split is None:
    return {}
  names = class_names(artifacts.results)
  png = render(
    score_figures.class_counts, split.labels, split.in_A, split.in_B, names, what_A(artifacts)
  )
  caption = (
    "Dashed: "
    "what a draw that ignores the class would give. A bar far from it is a class that the "
    "score favours or passes over."
  )
  return {"class_counts": Picture(png, "class counts of A and B", caption, kind="wide")}


def _stability(artifacts: Artifacts) -> dict[str, Picture]:
  info, ranking = artifacts.score_info.get("stability"), _ranking(artifacts)
  if not info or ranking is None:
    return {}
  results, values = artifacts.results, artifacts.scores[ranking[0]].astype(np.float64)
  seeds = artifacts.scores["seeds"].tolist()
  sound = [
    index
    for index in np.flatnonzero(_is_sound(artifacts)).tolist()
    if np.isfinite(values[index]).all()
  ]
  one, other = (sound if len(sound) > 1 else [0, 1])[:2]
  matrices = [np.array(info[key], np.float64) for key in ("spearman", "overlap_of_A")]
  chance = results["num_easy"] / results["data"]["num_train"]
  png = render(
    score_figures.stability,
    values[[one, other]],
    (seeds[one], seeds[other]),
    *matrices,
    chance,
    seeds,
    _label_of(ranking[0]),
  )
  caption = "Every training example under two seeds; on the grey line both say the same."
  if len(seeds) > 2:
    caption = (
      "Left: "
      f"{caption[0].lower()}{caption[1:]} Right: the share of A that two seeds have in "
      f"common, {chance:.2f} by chance."
    )
  kind = "wide" if len(seeds) > 2 else ""
  return {
    "stability": Picture(png, "agreement of the seeds about scores and about A", caption, kind=kind)
  }


def _norms(artifacts: Artifacts) -> dict[str, Picture]:
  arms = list(artifacts.results["arms"])
  shown = figures.main_arms(arms)
  rows = norm_figures.with_effective_rate(artifacts.metrics)
  all_curves, drops = curves(rows, arms, NORMS), learning_rate_drops(rows)
  words, pictures = _phase_words([one for one in all_curves if one.arm in shown]), {}
  for measure, (title, caption) in _NORM_TEXTS.items():
    if curve_figures.num_measured(all_curves, measure):
      png = render(
        curve_figures.curve,
        all_curves,
        measure,
        arms,
        arms if measure == "weight_norm" else shown,
        drops,
        title,
      )
      pictures[measure] = Picture(
        png,
        f"{title.lower()} over the rounds",
        _sentences(caption.format(**words), left_out(artifacts)),
      )
  layers = artifacts.results["model"].get("layers")
  found = norm_figures.last_layer_norms(artifacts.metrics, diverged(artifacts.metrics))
  last = {one.arm: one.phase for one in all_curves if one.last_phase}
  norms = {arm: found[arm, last[arm]] for arm in shown if arm in last and (arm, last[arm]) in found}
  if layers and norms and all(values.shape[1] == len(layers) for values in norms.values()):
    png = render(norm_figures.layer_norms, norms, arms, layers)
    caption = (
      "Where "
      "the arms lie apart, the decay has changed the weights most. Norms of layers of "
      "different sizes do not compare."
    )
    pictures["layer_norms"] = Picture(
      png, "weight norm of each layer, every arm", caption, kind="wide"
    )
  return pictures
