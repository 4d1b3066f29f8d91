"""What the config alone shows to be wrong about phases that learn from the baseline's network."""

from sdt.arms.catalogue import arm_specs
from sdt.arms.language import parse_everywhere
from sdt.config import Config
from sdt.config.schema import DISTIL, DistilConfig
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError

# What changes the loss of a label by its class, which a teacher's probabilities do not know, and
# what has no labels.
_OTHERS = ("class_weight", "logit_adjustment", *SEMI)


def check_distil(config: Config) -> None:
  """Refuses phases that cannot learn from a teacher, and keys of a teacher that nobody has.

  Raises:
    ConfigError: names the arm, what was expected, and what to do.
  """
  everywhere = parse_everywhere(config.everywhere)
  for name in DISTIL:
    if name in everywhere:
      raise ConfigError(
        f"everywhere asks for {name}, and the baseline is the teacher, so it has none; name it in "
        f"an arm of your own, such as 'taught = all@baseline[{name}]'"
      )
  named = _named(config)
  for arm in config.arms:
    values = [everywhere | leaf.values(config.regularise) for leaf in arm_specs(config)[arm].leaves]
    own = [name for name in DISTIL if name in named[arm]]
    others = [name for name in _OTHERS if any(one.get(name) for one in values)]
    if own and (own[1:] or others):
      other = (own[1:] + others)[0]
      raise ConfigError(
        f"arms: {arm!r} asks for {own[0]} beside {other}: an arm has one teacher, whose "
        f"probabilities stand in for plain labels; make two arms of it, or leave {other} out"
      )
  is_asked = any(names.intersection(DISTIL) for names in named.values())
  if config.distil != DistilConfig() and not is_asked:
    raise ConfigError(
      f"distil.temperature = {config.distil.temperature!r}: no arm has a teacher; define one in "
      "own_arms such as 'taught = all@baseline[distil]', or leave it out"
    )


def teachers_of(config: Config) -> dict[str, list[str]]:
  """Returns by regulariser of `DISTIL` which of the arms to train name it."""
  named = _named(config)
  return {name: [arm for arm in config.arms if name in named[arm]] for name in DISTIL}


def _named(config: Config) -> dict[str, set[str]]:
  """Returns the regularisers that the phases of every arm name, of those not trained too."""
  return {
    arm: {name for leaf in spec.leaves for name in leaf.values(config.regularise)}
    for arm, spec in arm_specs(config).items()
  }
