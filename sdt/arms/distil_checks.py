"""What the config alone shows to be wrong about phases that learn from the baseline's network."""

import dataclasses

from sdt.arms.catalogue import arm_specs
from sdt.arms.language import parse_everywhere
from sdt.config import Config
from sdt.config.schema import DistilConfig
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError

# What changes the loss of a label by its class, which the teacher's probabilities do not know.
_OF_LABELS = ("class_weight", "logit_adjustment")


def check_distil(config: Config) -> None:
  """Refuses phases that cannot learn from a teacher, and keys of a teacher that nobody has.

  Raises:
    ConfigError: names the arm, what was expected, and what to do.
  """
  everywhere = parse_everywhere(config.everywhere)
  if "distil" in everywhere:
    raise ConfigError(
      "everywhere asks for distil, and the baseline is the teacher, so it has none; name it in an "
      "arm of your own, such as 'taught = all@baseline[distil]'"
    )
  specs = arm_specs(config)
  of_arms = {
    arm: [everywhere | leaf.values(config.regularise) for leaf in spec.leaves]
    for arm, spec in specs.items()
  }
  taught = [arm for arm, values in of_arms.items() if any("distil" in one for one in values)]
  for arm in taught:
    others = [name for one in of_arms[arm] for name in (*_OF_LABELS, *SEMI) if one.get(name)]
    if others:
      raise ConfigError(
        f"arms: {arm!r} asks for distil beside {others[0]}, and a teacher's probabilities stand in "
        f"for plain labels of labelled examples; make two arms of it, or leave {others[0]} out"
      )
  for field in dataclasses.fields(DistilConfig):
    value = getattr(config.distil, field.name)
    if value != field.default and not taught:
      raise ConfigError(
        f"distil.{field.name} = {value!r}: no arm has a teacher; define one in own_arms "
        "such as 'taught = all@baseline[distil]', or leave it out"
      )
