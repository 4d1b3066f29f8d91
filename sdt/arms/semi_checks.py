"""What the config alone shows to be wrong about phases that see unlabelled examples."""

import dataclasses
from collections.abc import Mapping

from sdt.arms.catalogue import arm_specs
from sdt.arms.language import ArmSpec, PhaseSpec, parse_everywhere
from sdt.config import Config
from sdt.config.schema import SemiConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.config.toolbox.training_blocks import FULL_BATCH
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError

# Key of `semi` -> the regularisers that read it.
_READ_BY: Mapping[str, tuple[str, ...]] = {
  "ratio": ("fixmatch", "mixmatch"),
  "threshold": ("fixmatch",),
  "temperature": ("mixmatch",),
  "mixing_alpha": ("mixmatch",),
  "ramp_rounds": ("mixmatch",),
}
# Regularisers that read the label of an example.
_OF_HARD_LABELS = ("label_smoothing", "class_weight", "logit_adjustment")


def check_semi(config: Config) -> None:
  """Refuses phases that see unlabelled examples and learn nothing from them, and the reverse.

  Raises:
    ConfigError: names the arm, what was expected, and what to do.
  """
  everywhere = parse_everywhere(config.everywhere)
  for name in SEMI:
    if name in everywhere:
      raise ConfigError(
        f"everywhere asks for {name}, and the baseline sees no unlabelled examples; name it in an "
        f"arm of your own, such as all&unlabelled@baseline[{name}]"
      )
  specs = arm_specs(config)
  for arm in config.arms:
    for phase in specs[arm].leaves:
      _check_phase(config, arm, phase, values=everywhere | phase.values(config.regularise))
    phases = specs[arm].phases
    if any(phase.parts for phase in phases) and any(phase.partner for phase in phases):
      raise ConfigError(
        f"arms: {arm!r} has a mixed phase beside one with unlabelled examples, which belong to no "
        "part; make two arms of it"
      )
    names = _asked(specs[arm])
    if len(names) > 1:
      raise ConfigError(
        f"arms: {arm!r} asks for {' and '.join(sorted(names))}; an arm has one of them, make two "
        "arms"
      )
  _check_idle(config, set().union(*map(_asked, specs.values())))


def _asked(arm: ArmSpec) -> set[str]:
  """Returns the regularisers of an arm that learn from unlabelled examples."""
  return {name for phase in arm.leaves for name, _ in phase.overrides if name in SEMI}


def _check_phase(config: Config, arm: str, phase: PhaseSpec, values: Mapping[str, float]) -> None:
  names = [name for name in SEMI if name in values]
  if phase.partner is None:
    if names:
      raise ConfigError(
        f"arms: {arm!r} asks for {names[0]} in a phase that sees no unlabelled examples; write "
        f"{phase.subset}&unlabelled@..."
      )
    return
  if not names:
    raise ConfigError(
      f"arms: {arm!r} has {phase.subset}&{phase.partner}, and nothing learns from them; name "
      f"{' or '.join(SEMI)} in the phase, such as "
      f"{phase.subset}&{phase.partner}@baseline[{next(iter(SEMI))}]"
    )
  where = f"arms: {arm!r} asks for {names[0]}"
  if config.data.labelled is None:
    raise ConfigError(
      f"{where}, and all labels are known; hide some, such as --config.data.labelled=250"
    )
  if names[0] == "fixmatch" and not config.augment.strong:
    raise ConfigError(
      f"{where}, which needs a second, strong augmentation; give augment.strong, such as "
      "'crop(2) rotate(20) noise(0.1)'"
    )
  if pipeline_of(config.augment).mixing is not None or values.get("mixup_alpha"):
    raise ConfigError(
      f"{where} beside mixup, cutmix or ricap: a batch is mixed once; leave one of the two out"
    )
  clashing = [name for name in _OF_HARD_LABELS if values.get(name)]
  if names[0] == "mixmatch" and clashing:
    raise ConfigError(
      f"{where} beside {clashing[0]}: its labels are mixtures, and {clashing[0]} is of single "
      "ones; leave one of the two out"
    )
  if config.optim.name in FULL_BATCH:
    raise ConfigError(
      f"{where}, and optim.name={config.optim.name!r} wants a loss that is not drawn anew in every "
      "step; choose optim.name='sgd' or 'adam'"
    )
  if config.parallel.batch_norm == "device":
    raise ConfigError(
      f"{where}, and parallel.batch_norm='device' would cut [labelled; unlabelled] elsewhere than "
      "the devices do; leave it out"
    )


def _check_idle(config: Config, asked: set[str]) -> None:
  """Raises a ConfigError where a key is given that no arm of the config reads."""
  given = [
    (f"semi.{field.name}", _READ_BY[field.name])
    for field in dataclasses.fields(SemiConfig)
    if getattr(config.semi, field.name) != field.default
  ]
  given += [("augment.strong", ("fixmatch",))] if config.augment.strong else []
  for key, readers in given:
    if not asked.intersection(readers):
      raise ConfigError(
        f"{key}: no arm reads it; define one in own_arms such as "
        f"'mine = all&unlabelled@baseline[{readers[0]}]', or leave it out"
      )
