"""Compares two finished runs on one test set, paired by seed: did what was changed help?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from sdt.stats import paired
from sdt.stats.classification import confusion_matrix, of_classes
from sdt.stats.look_record import Standing, made_before
from sdt.trained import run_differences
from sdt.trained.load import Run, load
from sdt.trained.matching import Matched, Two, match

# What the accuracies are, by whether a training set is imbalanced.
ACCURACY, BALANCED = "accuracy", "balanced_accuracy"
BEFORE, AFTER, BOTH = "before", "after", "both"


def compare(
  before: str | Path | Run, after: str | Path | Run, arms: Sequence[str] | None = None
) -> dict[str, Any]:
  """Returns what the second of two finished runs has and the first has not, in JSON's types.

  Both are asked about the same test images by the predictions that they kept; nothing is trained.
  Differences are after minus before, fractions, paired by seed; the arms are one family of tests,
  as the contrasts of a run are. docs/review.md has every field.

  Args:
    before, after: workdirs, or runs that are loaded.
    arms: to compare; by default all that both have. Fewer are a smaller family: name them before
      you look.

  Raises:
    ConfigError: no finished runs, or not of one test set. DataError: a file of a run is damaged.
  """
  runs = (_run(before), _run(after))
  matched = match(runs, arms)
  is_balanced = any("imbalance" in run.results for run in runs)
  graded = {BOTH: matched.labels[0]}
  if matched.num_relabelled:
    graded = dict(zip((BEFORE, AFTER), matched.labels, strict=True))
  config = run_differences.of_config(runs)
  content: dict[str, Any] = {
    "before": str(runs[0].workdir),
    "after": str(runs[1].workdir),
    "data": runs[1].results["data"]["name"],
    "seeds": list(matched.seeds),
    "num_test": len(matched.example_ids),
    "test_labels": {"differ": matched.num_relabelled, "left_out": list(matched.num_only)},
    "measure": BALANCED if is_balanced else ACCURACY,
    "graded": {
      by: _graded(matched, labels, is_balanced=is_balanced) for by, labels in graded.items()
    },
    "training_labels": run_differences.of_training_labels(runs),
    "config": config,
    "environment": run_differences.of_environment(runs),
  }
  return content | {"notes": _notes(matched, content)}


def _run(one: str | Path | Run) -> Run:
  return one if isinstance(one, Run) else load(one)


def _graded(
  matched: Matched, labels: Int[np.ndarray, "n"], *, is_balanced: bool
) -> dict[str, dict[str, Any]]:
  """Returns by arm what both runs reach where these are the labels of the test set."""
  num_classes = len(matched.runs[0].class_names)
  recalls = {
    arm: tuple(_recalls(said, labels, num_classes) for said in both)
    for arm, both in matched.predicted.items()
  }
  reached = {
    arm: tuple(
      _by_seed(matched.seeds, _balanced(of_run) if is_balanced else _accuracy(said, labels))
      for of_run, said in zip(recalls[arm], both, strict=True)
    )
    for arm, both in matched.predicted.items()
  }
  contrasts = _contrasts(matched, reached)
  counts = np.bincount(labels, minlength=num_classes)
  return {
    arm: {
      BEFORE: paired.per_seed(reached[arm][0]),
      AFTER: paired.per_seed(reached[arm][1]),
      "difference": contrasts[arm],
      "classes": _classes(matched, recalls[arm], counts),
      "images": _images(matched, both, labels),
    }
    for arm, both in matched.predicted.items()
  }


def _contrasts(
  matched: Matched, reached: Mapping[str, Sequence[Mapping[int, float | None]]]
) -> dict[str, dict[str, Any]]:
  """Returns after minus before of every arm, as one family, at the look that both runs are."""
  before, after = matched.runs
  plans = {run.config.stats.looks for run in matched.runs}
  earlier = max((made_before(run.results)[:-1] for run in matched.runs), key=len)
  standing = Standing(
    plans.pop() if len(plans) == 1 else (), matched.seeds, matched.arms, earlier=earlier
  )
  pairs = {
    arm: paired.Pair("after", "before", of_second=values[0], of_first=values[1])
    for arm, values in reached.items()
  }
  margin = max(before.config.stats.margin, after.config.stats.margin)
  found = paired.contrasts(pairs, margin, look=standing.look)
  return {arm: {**one, "planned": standing.is_planned(arm)} for arm, one in found.items()}


def _by_seed(seeds: Sequence[int], values: Float64[np.ndarray, "R"]) -> dict[int, float | None]:
  """Returns the values by seed; None of one that diverged."""
  of = zip(seeds, values.tolist(), strict=True)
  return {seed: None if np.isnan(value) else value for seed, value in of}


def _accuracy(
  predicted: Int[np.ndarray, "R n"], labels: Int[np.ndarray, "n"]
) -> Float64[np.ndarray, "R"]:
  """Returns the accuracy of each seed; NaN of one that diverged."""
  right = np.count_nonzero(predicted == labels, axis=1) / len(labels)
  return np.where(_is_sound(predicted), right, np.nan)


def _balanced(recalls: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, "R"]:
  """Returns the mean recall of the classes with test images, of each seed; NaN if it diverged."""
  known = ~np.isnan(recalls)
  count = known.sum(axis=1)
  total = np.where(known, recalls, 0.0).sum(axis=1)
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _is_sound(predicted: Int[np.ndarray, "R n"]) -> Bool[np.ndarray, "R"]:
  return (predicted >= 0).all(axis=1)


def _recalls(
  predicted: Int[np.ndarray, "R n"], labels: Int[np.ndarray, "n"], num_classes: int
) -> Float64[np.ndarray, "R K"]:
  """Returns the share of each class that is right; NaN without test images, or diverged."""
  nothing = np.full(num_classes, np.nan)
  return np.stack(
    [
      of_classes(confusion_matrix(labels, said, num_classes))[0] if sound else nothing
      for said, sound in zip(predicted, _is_sound(predicted), strict=True)
    ]
  )


def _classes(
  matched: Matched,
  recalls: Sequence[Float64[np.ndarray, "R K"]],
  counts: Int[np.ndarray, "K"],
) -> list[dict[str, Any]]:
  """Returns what each class with test images gained, a mean over the seeds; the most first."""
  both = [~np.isnan(one).all(axis=1) for one in recalls]
  before, after = (one[both[0] & both[1]] for one in recalls)
  if not len(before):
    return []
  gained = after - before
  rows = [
    {
      "class": name,
      "num_test": int(counts[at]),
      BEFORE: float(before[:, at].mean()),
      AFTER: float(after[:, at].mean()),
      "difference": float(gained[:, at].mean()),
      "seeds_up": int((gained[:, at] > 0).sum()),
      "seeds_down": int((gained[:, at] < 0).sum()),
    }
    for at, name in enumerate(matched.runs[0].class_names)
    if counts[at]
  ]
  return sorted(rows, key=lambda row: -row["difference"])


def _images(
  matched: Matched, both: Two[Int[np.ndarray, "R n"]], labels: Int[np.ndarray, "n"]
) -> dict[str, Any]:
  """Returns how many test images went from wrong to right and back, by seed and in all seeds."""
  sound = _is_sound(both[0]) & _is_sound(both[1])
  right_before, right_after = (said[sound] == labels for said in both)
  seeds = [seed for seed, one in zip(matched.seeds, sound, strict=True) if one]
  found: dict[str, Any] = {}
  for name, changed in (
    ("to_right", ~right_before & right_after),
    ("to_wrong", right_before & ~right_after),
  ):
    found[name] = paired.per_seed(dict(zip(seeds, changed.sum(axis=1).tolist(), strict=True)))
    always = changed.all(axis=0) if seeds else np.zeros(len(labels), bool)
    found[f"{name}_in_every_seed"] = matched.example_ids[always].tolist()
  return found


def _notes(matched: Matched, content: Mapping[str, Any]) -> list[str]:
  """Returns what a reader of the differences must know, as sentences."""
  differences = [
    of_arm["difference"] for graded in content["graded"].values() for of_arm in graded.values()
  ]
  has_few = any(one["n"] < paired.MIN_PAIRS for one in differences)
  notes = [
    _on_test_labels(matched),
    _on_seeds(matched),
    _on_causes(matched, content),
    paired.MORE_SEEDS.replace("the same command", "both commands") if has_few else "",
    "Exploratory: a run was looked at with other seeds or arms before, and this look was not "
    "planned: such verdicts find differences that are not there in more than 5 % of the cases."
    if not all(one["planned"] for one in differences)
    else "",
    *(
      f"{name}: {run.results['collapse']}"
      for name, run in zip(("Before", "After"), matched.runs, strict=True)
      if "collapse" in run.results
    ),
  ]
  return [note for note in notes if note]


def _on_test_labels(matched: Matched) -> str:
  num = sum(matched.num_only)
  left = f" {_test_images(num)} that one run dropped {'are' if num > 1 else 'is'} left out."
  left = left if num else ""
  if not matched.num_relabelled:
    return left.strip()
  return (
    f"The labels of {_test_images(matched.num_relabelled)} differ (data.corrections_test): the "
    "same answers are graded by the labels of each run. Labels that were mended after a look at "
    f"the predictions favour the networks that pointed at them.{left}"
  )


def _test_images(num: int) -> str:
  return f"{num} test image{'s' if num > 1 else ''}"


def _on_seeds(matched: Matched) -> str:
  lacking = [
    f"{name} also has {', '.join(map(str, others))}"
    for name, run in zip(("the run before", "the one after"), matched.runs, strict=True)
    if (others := [seed for seed in run.config.seeds if seed not in matched.seeds])
  ]
  if not lacking:
    return ""
  seeds = ", ".join(map(str, matched.seeds))
  return f"Only the seeds that both have are compared ({seeds}): {' and '.join(lacking)}."


def _on_causes(matched: Matched, content: Mapping[str, Any]) -> str:
  if len(matched.same_networks) == len(matched.arms):
    return "The networks of both runs are the same to the last bit: nothing was changed for them."
  others = [one["key"] for one in content["config"] if not one["about_labels"]]
  others += ["the machine or its software"] if content["environment"] else []
  if not others:
    return ""
  return (
    f"More than labels differs ({', '.join(others)}): the differences are those of all of it "
    "together."
  )
