"""What the config alone shows to be wrong: refused before any data are read.

Which arms a config may name and what they need; and whether network, regularisers and devices go
together.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from sdt.arms.catalogue import ARMS, arm_specs
from sdt.arms.class_checks import check_of_classes
from sdt.arms.class_shares import BY_CLASS
from sdt.arms.distil_checks import check_distil
from sdt.arms.language import BY_EXAMPLE, STRENGTHS, ArmSpec, PhaseSpec, parse_everywhere
from sdt.arms.planning import neutral_values, values_of
from sdt.arms.semi_checks import check_semi
from sdt.config import Config
from sdt.config.schema import SplitConfig
from sdt.config.search_space import space_of
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS, SMOTE
from sdt.config.toolbox.pipeline import Pipeline, pipeline_of
from sdt.devices.layout import check_replicas, make_layout
from sdt.engine.optim import is_body_frozen
from sdt.errors import ConfigError, did_you_mean
from sdt.models import make_model
from sdt.models.family import RATES
from sdt.models.registry import MODEL_NAMES, NETWORKS

# They leave examples out on purpose.
_APART = ("half", "kept", "clean", "under_all")


def check(config: Config) -> None:
  """Refuses what the config alone shows to be wrong, before any data are read.

  Raises:
    ConfigError: an arm or a network is unknown, a key or a regulariser does not go with the
      network, devices are missing, or the seeds do not divide among them.
  """
  check_arms(config)
  make_model(config.model, 2)
  check_overrides(config)
  check_semi(config)
  check_distil(config)
  num_replicas = {"seeds": len(config.seeds)}
  if config.select.num_seeds is not None:
    num_replicas["select.num_seeds"] = min(config.select.num_seeds, len(config.seeds))
  check_replicas(make_layout(config.parallel), num_replicas)


def check_arms(config: Config) -> None:
  """Raises a ConfigError if an arm is unknown or misses something, or the baseline is missing."""
  known = arm_specs(config)
  for arm in config.arms:
    _check_name(arm, known, "arms")
  if "baseline" not in config.arms:
    raise ConfigError(
      "arms: 'baseline' is missing; its network scores the training examples for all others, add it"
    )
  for arm in config.arms:
    if arm not in ARMS and known[arm].control is not None:
      _check_control(arm, known, config)
    for phase in known[arm].leaves:
      _check_subset(arm, phase.subset, config.split)
  decays = {arm: [phase.decay for phase in known[arm].phases] for arm in config.arms}
  _check_tuned(config, [arm for arm in config.arms if "tuned" in decays[arm]])


def _check_subset(arm: str, subset: str, rule: SplitConfig) -> None:
  """Raises a ConfigError if a subset is the same examples as another one, by another name."""
  kind, _, part = subset.rpartition("_")
  if kind == "hardest" and rule.policy == "bottom":
    raise ConfigError(
      f"arms: {arm!r} has the phase {subset}, which is the method's own {part} with split.policy = "
      "'bottom'; leave the arm out, or choose split.policy='top'"
    )
  if kind == "balanced" and rule.class_balanced and rule.policy in ("top", "mislabel_cut"):
    raise ConfigError(
      f"arms: {arm!r} has the phase {subset}, which is the method's own {part} with "
      f"split.class_balanced = True; write {part}, or choose split.class_balanced=False"
    )
  if subset == "kept" and rule.policy != "mislabel_cut":
    raise ConfigError(
      f"arms: {arm!r} has the phase kept, which is all examples with split.policy = "
      f"{rule.policy!r}; write all, or choose split.policy='mislabel_cut'"
    )


def _check_name(arm: str, known: Mapping[str, ArmSpec], where: str) -> None:
  if arm not in known:
    hint = did_you_mean(arm, known)
    more = "own_arms defines more, such as --config.own_arms='gentle = A@5e-4 + B@lambda_B'"
    raise ConfigError(f"{where}: {arm!r} is not an arm{hint} (arms: {', '.join(known)}; {more})")


def _check_control(arm: str, known: Mapping[str, ArmSpec], config: Config) -> None:
  """Raises a ConfigError if the control of an arm of `own_arms` is not trained.

  Also if a difference would be tested twice and could get two verdicts.
  """
  control = str(known[arm].control)
  where = f"own_arms: {arm!r} against {control!r}"
  _check_name(control, known, where)
  free = [
    other
    for other in config.arms
    if other not in (arm, "method", "less_data") and known[other].control != arm
  ]
  remedy = f"take another control ({', '.join(free)})"
  refused = {
    arm: "an arm is no control of itself",
    "method": f"'method' minus {arm!r} is in the results anyway",
    "less_data": "'less_data' is the positive control, which asks nothing about other arms",
  }
  if control in refused:
    raise ConfigError(f"{where}: {refused[control]}; leave 'against' out, or {remedy}")
  if known[control].control == arm:
    raise ConfigError(
      f"own_arms: {arm!r} and {control!r} are each against the other, which is one difference; "
      "leave one 'against' out"
    )
  if control not in config.arms:
    raise ConfigError(
      f"{where}: a control must be trained too; add {control!r} to arms, or {remedy}"
    )


def notes(config: Config) -> list[str]:
  """Returns notes for the user on arms that are not trained or lack what they are compared with."""
  known = arm_specs(config)
  idle = [arm for arm in known if arm not in ARMS and arm not in config.arms]
  of_idle = [f"own_arms defines {', '.join(idle)}, which arms does not name: not trained"]
  alone: dict[str, list[str]] = {}
  for arm in config.arms:
    control = known[arm].control
    if control is not None and control not in config.arms:
      alone.setdefault(control, []).append(arm)
  only_baseline = (
    "the baseline is the only arm, so no example is scored and there is no scores.csv; another "
    "arm scores them, as in --config.arms=baseline,method"
  )
  return (
    of_idle * bool(idle)
    + [only_baseline] * (set(config.arms) == {"baseline"})
    + [
      f"{', '.join(arms)}: no difference from the control {control}, which is not in arms"
      for control, arms in alone.items()
    ]
  )


def _check_tuned(config: Config, arms: Sequence[str]) -> None:
  """Raises a ConfigError if `arms`, those at the tuned decay, have none, or no arm reads it."""
  given = {
    "method.lambda_tuned": config.method.lambda_tuned,
    "select.weight_decay": config.select.weight_decay or None,
    "select.space": _searches_tuned(config) or None,
  }
  if arms and not any(value is not None for value in given.values()):
    raise ConfigError(
      f"arms: {arms[0]!r} needs its decay: give method.lambda_tuned, or candidates to choose "
      "among on a validation split, such as "
      "--config.select.weight_decay=1e-4,2e-4,3e-4,5e-4,1e-3"
    )
  for key, value in given.items():
    if value is not None and not arms:
      raise ConfigError(
        f"{key} = {value}: no arm reads it; add the arm 'uniform_tuned', or leave it out"
      )


def _searches_tuned(config: Config) -> bool:
  return any(one.key == "method.lambda_tuned" for one in space_of(config.select.space))


def check_overrides(config: Config) -> None:
  """Raises a ConfigError if a regulariser of an arm would do nothing, or no arm reads a value."""
  specs = arm_specs(config)
  phases = [(arm, phase) for arm in config.arms for phase in specs[arm].leaves]
  neutral = neutral_values(config)
  everywhere = parse_everywhere(config.everywhere)
  if config.score.folds and (neutral | everywhere).get(SMOTE):
    raise ConfigError(
      f"score.folds={config.score.folds} with {SMOTE} in all phases: a network would be trained on "
      "mixtures with the examples that it is to score unseen; leave one of the two out, or write "
      f"{SMOTE}(0, ...) in augment.ops and {SMOTE}=1 into phases of your own"
    )
  for name in everywhere:
    obstacle = _obstacle(config, name, everywhere, without=neutral)
    if obstacle is not None:
      raise ConfigError(f"everywhere asks for {name}, {obstacle.replace('the arm', 'it')}")
  for arm, phase in phases:
    own = phase.values(config.regularise)
    values = neutral | everywhere | own
    check_of_classes(config, arm, phase, values=everywhere | own)
    if values.get(SMOTE) and phase.subset in _APART:
      raise ConfigError(
        f"arms: {arm!r} trains on {phase.subset} with {SMOTE}, whose neighbours are of the whole "
        "training set: it would see examples that it is to go without; write "
        f"{phase.subset}@...[{SMOTE}=0] in an arm of your own, or leave {SMOTE} out"
      )
    for name in own:
      obstacle = _obstacle(config, name, everywhere | own, without=neutral | everywhere)
      if obstacle is not None:
        raise ConfigError(f"arms: {arm!r} asks for {name}, {obstacle}")
  for arm in config.arms:
    for mixed in (phase for phase in specs[arm].phases if phase.parts):
      _check_mixed(config, arm, mixed)
  for field in dataclasses.fields(config.regularise):
    if getattr(config.regularise, field.name) != field.default and (
      idle := _idle(config, field.name)
    ):
      raise ConfigError(f"{idle}, or leave it at its default, {field.default!r}")


def idle_of(config: Config, names: Iterable[str]) -> list[str]:
  """Returns what to tell of the regularisers among the given keys that no arm reads.

  At its default such a key is no mistake of the config, but whoever gives it expects it to act.
  """
  given = (name.removeprefix("regularise.") for name in names if name.startswith("regularise."))
  return [idle for idle in (_idle(config, name) for name in given) if idle is not None]


def _idle(config: Config, name: str) -> str | None:
  """Returns that no arm reads `regularise.NAME`, and what to do; None where one does."""
  specs = arm_specs(config)
  leaves = (phase for arm in config.arms if arm in specs for phase in specs[arm].leaves)
  if (name, None) in (override for phase in leaves for override in phase.overrides):
    return None
  value = getattr(config.regularise, name)
  return (
    f"regularise.{name} = {value!r}: no arm of the run reads it; name one in arms with a phase "
    f"such as A@baseline[{name}], give everywhere='{name}={value}' for all phases"
  )


def _check_mixed(config: Config, arm: str, phase: PhaseSpec) -> None:
  """Refuses parts that differ in nothing, or in what cannot differ between examples of a batch."""
  first, second = values_of(config, phase)
  differing = [name for name, value in first.items() if value != second[name]]
  shared = [name for name in differing if name not in BY_EXAMPLE]
  where = f"arms: {arm!r} has {' | '.join(part.subset for part in phase.parts)}"
  if not differing:
    raise ConfigError(f"{where}, whose parts have the same regularisers; write one phase")
  if shared:
    raise ConfigError(
      f"{where}, which differ in {', '.join(shared)}: it acts on whole batches, weights or "
      "classes; give both parts the same, or take what can differ: "
      f"{', '.join(name for name in BY_EXAMPLE if name not in OPS)}, strengths of operations"
    )
  pipeline = pipeline_of(config.augment)
  blends = [name for name in pipeline.names if name in (*MIXING, SMOTE)]
  blends += ["mixup_alpha"] if first.get("mixup_alpha") else []
  if blends:
    raise ConfigError(
      f"{where}, and {blends[0]} makes one example of several, which may be of both parts; leave "
      "one of the two out"
    )
  if "loss_weight" in differing and first.get("loss_floor"):
    raise ConfigError(
      f"{where} with a loss_weight each, and loss_floor is of the loss of whole batches without "
      "it; leave one of the two out"
    )


def _obstacle(
  config: Config, name: str, asked: Mapping[str, float], without: Mapping[str, float]
) -> str | None:
  """Returns why the regulariser `name` would do nothing, and what to do; None if it would act.

  Args:
    config: of the run.
    name: of the regulariser.
    asked: the regularisers of its phase, with their values.
    without: the value of each where the phase does not ask for it.
  """
  pipeline = pipeline_of(config.augment)
  if name in STRENGTHS and (text := _not_in_pipeline(pipeline, name, asked[name])):
    return text
  if name == "mixup_alpha" and pipeline.mixing not in (None, "mixup"):
    return f"and augment.ops mixes by {pipeline.mixing} already; leave one of the two out"
  if name in RATES and name not in NETWORKS[config.model.name].rates:
    others = ", ".join(other for other in MODEL_NAMES if name in NETWORKS[other].rates)
    return f"which model.name={config.model.name!r} has not; networks that have it: {others}"
  if name in RATES and is_body_frozen(config.optim):
    by_rate = config.optim.train_from is None
    remedy = "optim.body_rate_factor above 0" if by_rate else "an earlier optim.train_from"
    return f"which a frozen body has not; choose {remedy}, or leave the arm out"
  if name in ("label_smoothing", *BY_CLASS) and config.data.name == "curve":
    return "and the targets of data.name='curve' are numbers, not classes; leave the arm out"
  is_augmented = pipeline.calls or config.data.crop_size is not None
  if name == "augment_strength" and not is_augmented:
    return "and nothing is augmented; give augment.ops or augment.flip, or leave the arm out"
  if name != "loss_weight" and asked.get("loss_weight") == 0.0:
    return "and with loss_weight = 0 beside it no loss moves the weights; leave one of the two out"
  if asked[name] == without[name]:
    return (
      f"and {name} = {asked[name]!r} changes nothing; give it another value, or leave the arm out"
    )
  return None


def _not_in_pipeline(pipeline: Pipeline, name: str, strength: float) -> str | None:
  """Returns why no phase can have an operation at this strength; None if one can."""
  call = pipeline.find(name)
  if call is None:
    if name in CROPS:
      form, what = OPS[name].form(name), "largest" if name == "crop" else "strongest"
      return f"which augment.ops has not; write {form} there too, the {what} of all phases"
    place = "first " * (name == SMOTE)
    return f"which augment.ops has not; write {name}(0) {place}there, off in all other phases"
  if name == "crop" and strength > call.numbers[0]:
    return (
      f"and crop = {strength:g} is more than the crop({call.numbers[0]:g}) of augment.ops; write "
      "the largest there, and less into the phases"
    )
  return None
