"""Which network of a run is recommended: model.safetensors is a copy of its file."""

from collections.abc import Iterable, Mapping
from typing import Any

from sdt.stages.model_file import file_of
from sdt.stats.comparison import ArmContrast, briefly

_BY_VALIDATION = (
  "the arm with the highest mean accuracy on the validation split of the selection, of equal ones "
  "the first; never a network that diverged or collapsed in training"
)
_BY_VERDICT = (
  "of the arms that are called 'better' than the baseline, the one with the largest mean "
  "difference; the baseline where there is none; never a network that diverged or collapsed"
)


def recommend(
  arms: Mapping[str, Mapping[str, Any]],
  against_baseline: Mapping[str, ArmContrast],
  validation: Mapping[str, float],
) -> dict[str, Any]:
  """Returns the entry `recommended` of results.json: arm, seed and file, the rule, and why.

  Of the arm it is the first seed that is fit. If no network of the arm is, the next arm takes its
  place: without a selection the next best of those called better, then the baseline. If none of any
  arm is, arm, seed and file are None, and `why` names the file of models/ that comes nearest.

  Args:
    arms: entries of results.json; `fit` says which seeds are.
    against_baseline: by arm, its contrast with the baseline, of the method and of each arm whose
      control the baseline is.
    validation: mean validation accuracy by arm; {} without a selection.
  """
  of_arms = {arm: mean for arm, mean in validation.items() if arm in arms}
  by_validation = len(of_arms) > 1
  if by_validation:
    best = [max(of_arms, key=of_arms.__getitem__)]
    why = ", ".join(f"{arm} {100 * mean:.2f} %" for arm, mean in of_arms.items())
    why = f"mean validation accuracy: {why}"
  else:
    best, why = _by_verdict(against_baseline)
  first, *_ = order = list(dict.fromkeys((*best, "baseline", *arms)))
  arm = next((arm for arm in order if arms[arm]["fit"]), None)
  seed = None if arm is None else arms[arm]["fit"][0]
  if arm is None:
    why = f"all networks diverged or collapsed. {_nearest(arms, order)}"
  elif arm != first:
    why += f"; but no network of {first} is fit, all diverged or collapsed"
  file = None if arm is None or seed is None else file_of(arm, seed)
  rule = _BY_VALIDATION if by_validation else _BY_VERDICT
  return {"arm": arm, "seed": seed, "file": file, "rule": rule, "why": why}


def _nearest(arms: Mapping[str, Mapping[str, Any]], order: Iterable[str]) -> str:
  """Returns where the weights are of which none is fit, and which of them may be of use."""
  for arm in order:
    for seed, how in (arms[arm]["collapse"] or {"seeds": {}})["seeds"].items():
      if not how["ended_at_chance"]:
        first, last = how["stuck_in_rounds"]
        return (
          f"All weights are in models/; {file_of(arm, seed)} was at chance in rounds {first} to "
          f"{last} and is not at its end: {100 * arms[arm]['accuracy'][seed]:.2f} % on the test set"
        )
  return "All weights are in models/, but each network diverged or is at chance at its end"


def _by_verdict(against_baseline: Mapping[str, ArmContrast]) -> tuple[list[str], str]:
  """Returns the arms that are called better than the baseline, the best first, and why."""
  if not against_baseline:
    return [], "no arm was compared with it"
  better = [arm for arm, entry in against_baseline.items() if entry["verdict"] == "better"]
  better.sort(key=lambda arm: -(against_baseline[arm]["mean"] or 0.0))
  said = ", ".join(briefly(arm, against_baseline[arm]) for arm in better or against_baseline)
  return better, f"minus the baseline, in points: {said}"
