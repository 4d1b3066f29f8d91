"""Which network a run recommends."""

import pytest

from sdt.run.collapse import Collapse, Stuck, fit_seeds
from sdt.stages.recommended import recommend
from sdt.stats.comparison import against_baseline, compare


def arm(*seeds, diverged=(), stuck=(), ended=(), by_training_alone=False):
  """Returns an entry of results.json with what the rule reads."""
  found = {seed: Collapse(Stuck(1, 9, 0.1), ended_at_chance=False) for seed in stuck}
  found |= {seed: Collapse(None, ended_at_chance=True) for seed in ended}
  how = {seed: one.to_dict() for seed, one in found.items()}
  return {
    "accuracy": dict.fromkeys(seeds, 0.5),
    "diverged": list(diverged),
    "collapse": {"seeds": how} if how else None,
    "fit": fit_seeds(seeds, diverged, found, by_training_alone=by_training_alone),
  }


def against(verdict, mean=0.0, **more):
  """Returns what the rule reads of an arm's contrast with the baseline."""
  return {"verdict": verdict, "mean": mean, "equal_work": True} | more


def recommended(arms, verdict=None, validation=()):
  contrasts = {"method": against(verdict)} if verdict else {}
  return recommend(arms, contrasts, dict(validation))


SOUND = {"baseline": arm(3, 4), "method": arm(3, 4)}
OWN = SOUND | {"weighted": arm(3, 4), "over": arm(3, 4)}


@pytest.mark.parametrize(
  ("verdict", "expected"),
  [
    ("better", "method"),
    ("worse", "baseline"),
    ("not resolved", "baseline"),
    ("equal within +-0.25 points", "baseline"),
    ("two seeds: no verdict", "baseline"),
    (None, "baseline"),
  ],
)
def test_the_method_is_recommended_only_where_it_is_called_better(verdict, expected):
  entry = recommended(SOUND, verdict)
  assert entry["arm"] == expected
  assert entry["seed"] == 3
  assert entry["file"] == f"models/{expected}-seed3.safetensors"
  assert "called 'better' than the baseline" in entry["rule"]
  assert (verdict or "no arm was compared with it") in entry["why"]


def test_of_all_arms_called_better_the_one_with_the_largest_difference_is_recommended():
  contrasts = {
    "method": against("worse", -0.005),
    "weighted": against("better", 0.1748),
    "over": against("better", 0.1790, planned=False),
  }
  entry = recommend(OWN, contrasts, {})
  assert (entry["arm"], entry["file"]) == ("over", "models/over-seed3.safetensors")
  assert entry["why"] == (
    "minus the baseline, in points: over (+17.90, better, exploratory), weighted (+17.48, better)"
  )
  stuck = recommend(OWN | {"over": arm(3, stuck=[3])}, contrasts, {})
  assert stuck["arm"] == "weighted"
  assert stuck["why"].endswith("but no network of over is fit, all diverged or collapsed")
  contrasts["weighted"] = contrasts["over"] = against("not resolved", 0.3)
  entry = recommend(OWN, contrasts, {})
  assert entry["arm"] == "baseline"
  assert "method (-0.50, worse), weighted (+30.00, not resolved)" in entry["why"]


def test_only_contrasts_with_the_baseline_say_what_is_recommended():
  seeds = (0, 1, 2)
  accuracy = {
    name: {seed: mean + 0.001 * seed * spread for seed in seeds}
    for name, mean, spread in (
      ("baseline", 0.5, 1),
      ("method", 0.6, 2),
      ("own", 0.7, 3),
      ("other", 0.9, 2),
    )
  }
  controls = {"own": "baseline", "other": "own"}
  comparison = compare(accuracy, 0.0025, controls=controls)
  found = against_baseline(comparison, controls)
  assert {name: entry["difference"] for name, entry in found.items()} == {
    "method": "method - baseline",
    "own": "own - baseline",
  }
  del accuracy["method"], accuracy["own"]
  assert against_baseline(compare(accuracy, 0.0025, controls=controls), controls) == {}


@pytest.mark.parametrize(
  ("validation", "expected"),
  [
    ({"baseline": 0.90, "method": 0.91, "uniform_tuned": 0.89}, "method"),
    ({"baseline": 0.90, "method": 0.88, "uniform_tuned": 0.92}, "uniform_tuned"),
    ({"baseline": 0.90, "method": 0.90}, "baseline"),
    ({"baseline": 0.80, "unknown": 0.99}, "baseline"),  # an arm that was not trained
  ],
)
def test_after_a_selection_the_validation_split_decides_and_not_the_verdict(validation, expected):
  arms = SOUND | {"uniform_tuned": arm(3, 4)}
  assert recommended(arms, "worse", validation)["arm"] == expected


def test_a_network_that_collapsed_or_diverged_is_never_recommended():
  other = recommended({"baseline": arm(3, 4, diverged=[3]), "method": arm(3, 4)})
  assert (other["arm"], other["seed"]) == ("baseline", 4)
  other = recommended({"baseline": arm(3, 4), "method": arm(3, 4, stuck=[3, 4])}, "better")
  assert (other["arm"], other["seed"]) == ("baseline", 3)
  assert "no network of method is fit" in other["why"]
  bad = arm(3, 4, stuck=[3], ended=[4])
  other = recommended({"baseline": bad, "method": arm(3, 4, diverged=[3])})
  assert (other["arm"], other["seed"]) == ("method", 4)


def test_where_no_network_is_fit_none_is_recommended_and_the_nearest_is_named():
  bad = arm(3, 4, diverged=[3], ended=[4])
  none = recommended({"baseline": bad, "method": arm(3, diverged=[3])})
  assert (none["arm"], none["seed"], none["file"]) == (None, None, None)
  assert none["why"] == (
    "all networks diverged or collapsed. All weights are in models/, but each network diverged "
    "or is at chance at its end"
  )
  recovered = recommended({"baseline": bad, "method": arm(3, 4, diverged=[3], stuck=[4])})
  assert recovered["file"] is None
  assert recovered["why"].endswith(
    "models/method-seed4.safetensors was at chance in rounds 1 to 9 and is not at its end: 50.00 % "
    "on the test set"
  )
  both = {"baseline": arm(3, stuck=[3]), "method": arm(3, stuck=[3])}
  assert "models/method-seed3" in recommended(both, "better")["why"]
  assert "models/baseline-seed3" in recommended(both, "worse")["why"]


def test_after_a_selection_the_test_set_does_not_say_what_collapsed():
  validation = {"baseline": 0.7, "method": 0.9}
  at_the_end = {"baseline": arm(3), "method": arm(3, ended=[3], by_training_alone=True)}
  assert recommended(at_the_end, "worse", validation)["arm"] == "method"
  in_training = {"baseline": arm(3), "method": arm(3, stuck=[3], by_training_alone=True)}
  assert recommended(in_training, "worse", validation)["arm"] == "baseline"
