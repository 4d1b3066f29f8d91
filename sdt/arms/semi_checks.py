"""What the config alone shows to be wrong about phases that see unlabelled examples."""

import dataclasses
from collections.abc import Mapping

from sdt.arms.catalogue import arm_specs
from sdt.arms.language import PhaseSpec, parse_everywhere
from sdt.config import Config
from sdt.config.schema import SemiConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.config.toolbox.training_blocks import FULL_BATCH
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError


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
  is_read, has_fixmatch = False, False
  for arm in config.arms:
    names: set[str] = set()
    for phase in arm_specs(config)[arm].phases:
      asked = phase.values(config.regularise)
      _check_phase(config, arm, phase, everywhere | asked)
      names |= SEMI.keys() & asked.keys()
    if len(names) > 1:
      raise ConfigError(
        f"arms: {arm!r} asks for {' and '.join(sorted(names))}; an arm has one of them, make two "
        "arms"
      )
    is_read, has_fixmatch = is_read or bool(names), has_fixmatch or "fixmatch" in names
  _check_idle(config, is_read=is_read, has_fixmatch=has_fixmatch)


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
      "'crop(4) rand_augment(10) cutout(16)'"
    )
  if pipeline_of(config.augment).mixing is not None or values.get("mixup_alpha"):
    raise ConfigError(
      f"{where} beside mixup, cutmix or ricap: a batch is mixed once; leave one of the two out"
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


def _check_idle(config: Config, *, is_read: bool, has_fixmatch: bool) -> None:
  """Raises a ConfigError where a key is given that no arm reads."""
  given = [
    f"semi.{field.name}"
    for field in dataclasses.fields(SemiConfig)
    if getattr(config.semi, field.name) != field.default
  ]
  if given and not is_read:
    raise ConfigError(
      f"{given[0]}: no arm of the run sees unlabelled examples; add one such as "
      "all&unlabelled@baseline[fixmatch], or leave it out"
    )
  if config.augment.strong and not has_fixmatch:
    raise ConfigError(
      "augment.strong: no arm of the run reads it; add one such as "
      "all&unlabelled@baseline[fixmatch], or leave it out"
    )
