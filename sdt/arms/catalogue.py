"""The table of arms: each is a line of text, and the question that it asks.

A phase is SUBSET@DECAY: "A@lambda_A" is one pass over A at weight decay lambda_A.
"A@lambda_A + B@lambda_B" is a round of two phases. [REGULARISER] adds one to a phase.
":all" or ":round" sets the number of steps. docs/method.md, "Arms of your own", has all words.
"""

from collections.abc import Mapping

from sdt.arms.language import ArmSpec, PhaseSpec, parse_own_arms, parse_phases
from sdt.config import Config


def _arm(
  text: str, asks: str, *, start: str = "method", rounds_factor: int = 1, equal_work: bool = True
) -> ArmSpec:
  phases = parse_phases(text, "arm")
  return ArmSpec(phases, asks, start, rounds_factor=rounds_factor, equal_work=equal_work)


def _on_easy(regulariser: str, asks: str) -> ArmSpec:
  """Returns the arm that differs from `alternate_only`, its control, by one regulariser on A."""
  phases = parse_phases(f"A@baseline[{regulariser}] + B@baseline", "arm")
  return ArmSpec(phases, asks, control="alternate_only")


ARMS: Mapping[str, ArmSpec] = {
  # Name: a round in the language of arms, and the question.
  "baseline": _arm("all@baseline", "the reference; its network scores", start="scratch"),
  "method": _arm("A@lambda_A + B@lambda_B", "the paper"),
  # The controls, each without one part of the method.
  "alternate_mean": _arm("A@mean + B@mean", "does the placing of the decay matter?"),
  "uniform_mean": _arm("all@mean", "is it only more decay?"),
  "random_subset": _arm("random_A@lambda_A + random_B@lambda_B", "is the scoring needed?"),
  "alternate_only": _arm("A@baseline + B@baseline", "what does the grouping do alone?"),
  "uniform_tuned": _arm("all@tuned", "is it better than tuning one number?"),
  "class_matched_random": _arm(
    "matched_A@lambda_A + matched_B@lambda_B", "easiness, or the balance of the classes?"
  ),
  "hardest_subset": _arm("hardest_A@lambda_A + hardest_B@lambda_B", "the polarity"),
  "decay_steps_only": _arm("A@lambda_A[loss_weight=0] + B@lambda_B", "is the data of A needed?"),
  "drop_subset": _arm("B@lambda_B:round", "are the easy examples needed?"),
  "random_batches": _arm("all@scattered", "is the grouping by phase needed?"),
  "swap_order": _arm("B@lambda_B + A@lambda_A", "does it matter which part ends a round?"),
  # Of unequal work: their results say so.
  "warm_start": _arm(
    "A@lambda_A + B@lambda_B",
    "from the baseline's weights: as many rounds again",
    start="warm",
    equal_work=False,
  ),
  "long_baseline": _arm(
    "all@baseline", "is it only more training?", start="scratch", rounds_factor=2, equal_work=False
  ),
  # One regulariser on A instead of the decay.
  "smooth_easy": _on_easy("label_smoothing", "smoothed labels on A alone?"),
  "augment_easy": _on_easy("augment_strength", "weaker augmentation on A alone?"),
  "mixup_easy": _on_easy("mixup_alpha", "mixup on A alone?"),
  "dropout_easy": _on_easy("dropout", "dropout on A alone?"),
  "connect_easy": _on_easy("drop_connect", "DropConnect on A alone?"),
  "depth_easy": _on_easy("stochastic_depth", "stochastic depth on A alone?"),
  "weight_easy": _on_easy("loss_weight", "a weaker loss on A alone?"),
  "floor_easy": _on_easy("loss_floor", "a floor under the loss on A alone?"),
  # The positive control.
  "less_data": _arm(
    "half@baseline:all",
    "positive control: must be worse, or the experiment has no power",
    start="scratch",
  ),
}
ARM_NAMES = tuple(ARMS)


def arm_specs(config: Config) -> dict[str, ArmSpec]:
  """Returns the arms that the config may name: those of `ARMS` and those it defines in `own_arms`.

  Raises:
    ConfigError: an arm of `own_arms` is not in the language of sdt/arms/language.py.
  """
  return {**ARMS, **parse_own_arms(config.own_arms, (*ARMS, *fold_arms(config)))}


def fold_arms(config: Config) -> tuple[str, ...]:
  """Returns the names of the trainings for `score.folds`: fold_1, ...; none if no arm needs scores.

  Each trains on all examples but a fold.
  """
  num_folds = (config.score.folds or 0) if len(config.arms) > 1 else 0
  return tuple(f"fold_{number}" for number in range(1, num_folds + 1))


def scoring_arms(config: Config) -> tuple[str, ...]:
  """Returns the trainings before the scores: the baseline and the folds, which have no results."""
  return ("baseline", *fold_arms(config))


def trainings(config: Config) -> tuple[str, ...]:
  """Returns every training of a run in order, which is also the order of the checkpoints."""
  return (*scoring_arms(config), *arm_order(config.arms)[1:])


def spec_of(arm: str, config: Config) -> ArmSpec:
  """Returns an arm of the config, or the training of a fold: the baseline on all other examples."""
  if arm not in fold_arms(config):
    return arm_specs(config)[arm]
  number = fold_arms(config).index(arm) + 1
  phase = PhaseSpec(f"but_fold{number}_all", "baseline")
  return ArmSpec((phase,), "scores of what it has not seen", "scratch", equal_work=False)


def num_rounds_of(arm: str, config: Config) -> int:
  """Returns how many rounds `arm` trains.

  Of twice as many rounds, each learning rate holds twice as long.
  """
  return config.rounds * spec_of(arm, config).rounds_factor


def arm_order(arms: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the arms in order of training: the baseline first, because its network scores."""
  return ("baseline", *(arm for arm in arms if arm != "baseline"))


def num_phases(config: Config) -> int:
  """Returns the largest number of phases in a round, over the arms of the run."""
  specs = arm_specs(config)
  return max(len(specs[arm].phases) for arm in config.arms)
