"""What the design of a run keeps it from showing: told before it trains, after the baseline, and in
results.json.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sdt import files
from sdt.arms import design
from sdt.engine.plan import Plan
from sdt.run import metrics, stopping
from sdt.run.context import Context


def tell(context: Context, plans: Sequence[Plan]) -> None:
  """Logs what the plans of a run keep it from showing; their sizes matter, not their examples."""
  for text in design.described(plans, context.config)["warnings"]:
    context.display.log(f"warning: {text}")


def tell_of_baseline(context: Context) -> None:
  """Logs what a baseline that does not fit its training set keeps the run from showing."""
  text = design.underfit_warning(_train_accuracy(context), context.config)
  if text is not None:
    context.display.log(f"warning: {text}")


def described(context: Context, plans: Mapping[str, Plan]) -> dict[str, Any]:
  """Returns the `design` entry of results.json; `plans` are those of the arms that are compared."""
  content = design.described(list(plans.values()), context.config)
  underfit = None
  if len(plans) > 1:
    underfit = design.underfit_warning(_train_accuracy(context), context.config)
  content["warnings"] += [] if underfit is None else [underfit]
  return content


def _train_accuracy(context: Context) -> float | None:
  """Returns the accuracy in training of the baseline's last round, mean over the sound seeds."""
  rows = stopping.judged(files.read_rows(context.workdir / metrics.FILE), context.config)
  own = [row for row in rows if row["arm"] == "baseline"]
  last = {row["seed"]: row.get("train_accuracy") for row in own}  # later rows replace earlier ones
  for seed in metrics.diverged_seeds(own, "baseline"):
    del last[seed]
  known = [value for value in last.values() if value is not None]
  return math.fsum(known) / len(known) if known else None
