"""The table of arms: what each is, as a line of text, and the question that it asks."""

from __future__ import annotations

from collections.abc import Mapping

from sdt.arms.language import ArmSpec, PhaseSpec, parse_own_arms, parse_phases
from sdt.config import Config


# ---- arms
def _arm(
  text: str, asks: str, *, start: str = "method", rounds_factor: int = 1, equal_work: bool = True
) -> ArmSpec:
  return ArmSpec(
    parse_phases(text, "arm"), asks, start, rounds_factor=rounds_factor, equal_work=equal_work
  )


def _easy(regulariser: str, asks: str) -> ArmSpec:
  """Returns the arm that goes through A and B at one decay, as its control does, with one
  regulariser more on A.
  """
  return ArmSpec(
    parse_phases(f"A@baseline[{regulariser}] + B@baseline", "arm"), asks, control="alternate_only"
  )


ARMS: Mapping[str, ArmSpec] = {
  "baseline": _arm("all@baseline", "the reference; its network scores", start="scratch"),
  "method": _arm("A@lambda_A + B@lambda_B", "the paper"),
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
  "warm_start": _arm(
    "A@lambda_A + B@lambda_B",
    "from the baseline's weights: as many rounds again",
    start="warm",
    equal_work=False,
  ),
  "long_baseline": _arm(
    "all@baseline", "is it only more training?", start="scratch", rounds_factor=2, equal_work=False
  ),
  "smooth_easy": _easy("label_smoothing", "smoothed labels on A alone?"),
  "augment_easy": _easy("augment_strength", "weaker augmentation on A alone?"),
  "mixup_easy": _easy("mixup_alpha", "mixup on A alone?"),
  "dropout_easy": _easy("dropout", "dropout on A alone?"),
  "depth_easy": _easy("stochastic_depth", "stochastic depth on A alone?"),
  "weight_easy": _easy("loss_weight", "a weaker loss on A alone?"),
  "floor_easy": _easy("loss_floor", "a floor under the loss on A alone?"),
  "less_data": _arm(
    "half@baseline:all",
    "positive control: must be worse, or the experiment has no power",
    start="scratch",
  ),
}
ARM_NAMES = tuple(ARMS)


def arm_specs(config: Config) -> dict[str, ArmSpec]:
  """Returns the arms that the config may name: the shipped ones and its own.

  Raises:
    ConfigError: an arm of `own_arms` is not in the language of sdt/arms/language.py.
  """
  return {**ARMS, **parse_own_arms(config.own_arms, (*ARMS, *fold_arms(config)))}


def fold_arms(config: Config) -> tuple[str, ...]:
  """Returns the names of the trainings that `score.folds` asks for: fold_1, ...; none where no arm
  needs scores.
  """
  return (
    tuple(f"fold_{number}" for number in range(1, (config.score.folds or 0) + 1))
    if len(config.arms) > 1
    else ()
  )


def scoring_arms(config: Config) -> tuple[str, ...]:
  """Returns the trainings that come before the scores: the baseline, and those on all but a fold.
  The latter have no results.
  """
  return ("baseline", *fold_arms(config))


def trainings(config: Config) -> tuple[str, ...]:
  """Returns every training of a run in its order, which is also that of the checkpoints."""
  return (*scoring_arms(config), *arm_order(config.arms)[1:])


def spec_of(arm: str, config: Config) -> ArmSpec:
  """Returns an arm of the config, or the training on all but a fold, which is the baseline's on
  fewer examples.
  """
  without = {
    name: ArmSpec(
      (PhaseSpec(f"but_fold{number}_all", "baseline"),),
      "scores of what it has not seen",
      "scratch",
      rounds_factor=1,
      equal_work=False,
    )
    for number, name in enumerate(fold_arms(config), start=1)
  }
  return without[arm] if arm in without else arm_specs(config)[arm]


def num_rounds_of(arm: str, config: Config) -> int:
  """Returns how many rounds `arm` trains; where they are twice as many, each learning rate holds
  for twice as long.
  """
  return config.rounds * spec_of(arm, config).rounds_factor


def arm_order(arms: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the arms in the order of training: the baseline first, since its network scores the
  examples for the others.
  """
  return ("baseline", *(arm for arm in arms if arm != "baseline"))


def num_phases(config: Config) -> int:
  """Returns the most phases that a round of any of the arms has."""
  specs = arm_specs(config)
  return max(len(specs[arm].phases) for arm in config.arms)
