"""What cannot be right about making up for rare classes, and what does nothing with these data."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

from sdt.arms.catalogue import arm_specs
from sdt.arms.class_shares import BY_CLASS
from sdt.arms.language import EQUAL, PhaseSpec, parse_everywhere
from sdt.config import Config
from sdt.errors import ConfigError

_OF_EQUAL = ("class_weight", "logit_adjustment")
# They are `all` where the classes are equally frequent; clusters within a class still differ.
_RESAMPLED = ("over_all", "under_all")


def check_of_classes(
  config: Config, arm: str, phase: PhaseSpec, values: Mapping[str, float]
) -> None:
  """Refuses regularisers of the classes that correct twice, or what needs no correction.

  Args:
    config: of the run.
    arm: its name.
    phase: of the arm.
    values: the regularisers that the phase names, itself or by `everywhere`.

  Raises:
    ConfigError: names the arm, and what to do.
  """
  asked = {name: value for name, value in values.items() if name in BY_CLASS and value}
  others = sorted(set(asked) - {"class_balance"})
  if "class_balance" in asked and others:
    raise ConfigError(
      f"arms: {arm!r} asks for class_balance beside {' and '.join(others)}: both make up for rare "
      "classes, and together they would do it twice; leave one of the two out"
    )
  if len(others) > 1 and sum(asked.values()) > 1.0:
    raise ConfigError(
      f"arms: {arm!r} asks for {' and '.join(f'{name}={asked[name]:g}' for name in others)}: both "
      "make up for rare classes, and beyond 1 in all they would do it more than once; lower one, "
      "or leave one of the two out"
    )
  if asked and phase.subset in EQUAL:
    raise ConfigError(
      f"arms: {arm!r} asks for {min(asked)} on {phase.subset}, whose classes are equally frequent: "
      "it changes nothing; take it on all@..., or leave it out"
    )
  if arm == "baseline" and "class_balance" in asked and config.score.dynamics:
    raise ConfigError(
      "everywhere asks for class_balance: an example that is not drawn has no training dynamics; "
      "give score.dynamics=False, or name class_balance in arms of your own instead"
    )


def idle_remedies(config: Config, labels: Shaped[np.ndarray, "N *rest"]) -> list[str]:
  """Returns notes on what makes up for rare classes where all classes are equally frequent.

  Nothing is said of `class_balance`, which draws examples anew in any case, and of phases whose
  examples the scores choose.

  Args:
    config: of the run.
    labels: of its training set; those of a regression are not looked at.
  """
  if labels.ndim != 1 or len(np.unique(np.unique(labels, return_counts=True)[1])) > 1:
    return []
  why = "all classes have equally many training examples, so it changes next to nothing"
  found = [f"evaluate.prior_shift: {why}"] if config.evaluate.prior_shift else []
  everywhere, specs = parse_everywhere(config.everywhere), arm_specs(config)
  for arm in config.arms:
    for phase in specs[arm].leaves:
      values = everywhere | phase.values(config.regularise)
      names = [name for name in _OF_EQUAL if values.get(name) and phase.subset == "all"]
      names += [phase.subset] if phase.subset in _RESAMPLED else []
      found += [f"arm {arm}, {name}: {why}" for name in names]
  return found
