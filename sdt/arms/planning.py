"""From an arm to its plan: which examples, how many steps, which weight decay."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from sdt.arms import resampling
from sdt.arms.catalogue import num_rounds_of, spec_of
from sdt.arms.class_shares import by_class
from sdt.arms.language import PhaseSpec, parse_everywhere
from sdt.config import Config
from sdt.config.schema import NEUTRAL, MethodConfig, SplitConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.data.dataset import Data
from sdt.engine.plan import Phase, Plan
from sdt.engine.schedule import falling, rates_of_arm
from sdt.errors import ConfigError
from sdt.inputs.order import num_batches
from sdt.models.registry import own_dropout
from sdt.scores.split import Partition, folds, random_scores, split


@dataclasses.dataclass(frozen=True)
class Setting:
  """What the arms of one run have in common.

  Attributes:
    config: of the run.
    labels: [N] int32 of the training set.
    example_ids: [N] int32.
    scores: [R, N] float, larger is easier: each seed splits by its own row. None before scoring,
      when only the baseline can be planned.
    partitions: of each seed, by `split.policy`.
    num_classes: K; 0 for as many as the labels name.
    inputs: [N, ...] of the training set, which only `cluster_all` reads.
    num_unlabelled: m, the training examples without a label, which are not among the N.
    wrong_label: [N] whether the label is not the true one; None where nobody knows.
  """

  config: Config
  labels: Shaped[np.ndarray, "N *D"]
  example_ids: Int[np.ndarray, "N"]
  scores: Float[np.ndarray, "R N"] | None = None
  partitions: tuple[Partition, ...] = ()
  num_classes: int = 0
  inputs: Shaped[np.ndarray, "N ..."] | None = None
  num_unlabelled: int = 0
  wrong_label: Bool[np.ndarray, "N"] | None = None

  @classmethod
  def of(cls, config: Config, data: Data) -> "Setting":
    """Returns the setting of a run on these data, before scoring."""
    train, num_classes = data.train, len(data.class_names)
    return cls(
      config,
      train.labels,
      train.example_ids,
      num_classes=num_classes,
      inputs=train.inputs,
      num_unlabelled=0 if data.unlabelled is None else len(data.unlabelled),
      wrong_label=train.wrong_label,
    )

  @functools.cached_property
  def clusters(self) -> Int[np.ndarray, "N"]:
    """The cluster of every example, the same for all seeds."""
    if self.inputs is None:
      raise ValueError("the clusters of the classes are made from the inputs, and there are none")
    seed = self.config.data.split_seed
    return resampling.clusters_of(self.inputs, self.labels, self.example_ids, seed=seed)

  @property
  def num_easy(self) -> int:
    """Size of A; 0 before there is one."""
    return len(self.partitions[0].easy) if self.partitions else 0

  def steps_of(self, num_examples: int) -> int:
    """Returns the optimiser steps of one pass over so many examples."""
    return num_batches(num_examples, self.config.batch_size)

  @property
  def steps_easy_rest(self) -> tuple[int, int]:
    """The optimiser steps of A and of B in a round of the method.

    Examples that are left out count as B's here, so that arms of equal work stay equal: B's own
    examples come round again for the difference.
    """
    return self.steps_of(self.num_easy), self.steps_of(len(self.labels) - self.num_easy)


# ---- subsets: [R, n] int32 positions
def _everything(setting: Setting) -> np.ndarray:
  return np.tile(np.arange(len(setting.labels), dtype=np.int32), (len(setting.config.seeds), 1))


def _half(setting: Setting) -> np.ndarray:
  orders = [
    np.argsort(random_scores(setting.example_ids, seed, "less_data"), kind="stable")
    for seed in setting.config.seeds
  ]
  return np.stack([np.sort(order[: max(1, len(order) // 2)]) for order in orders]).astype(np.int32)


def _over(setting: Setting) -> np.ndarray:
  seeds, ids = setting.config.seeds, setting.example_ids
  return np.stack([resampling.over_sampled(setting.labels, ids, seed) for seed in seeds])


def _under(setting: Setting) -> np.ndarray:
  seeds, ids = setting.config.seeds, setting.example_ids
  return np.stack([resampling.under_sampled(setting.labels, ids, seed) for seed in seeds])


def _by_clusters(setting: Setting) -> np.ndarray:
  labels, ids, of = setting.labels, setting.example_ids, setting.clusters
  seeds = setting.config.seeds
  return np.stack([resampling.cluster_sampled(labels, of, ids, seed=seed) for seed in seeds])


def _kept(setting: Setting) -> np.ndarray:
  return np.stack([np.union1d(part.easy, part.rest) for part in setting.partitions])


def _clean(setting: Setting) -> np.ndarray:
  if setting.wrong_label is None:
    raise ConfigError(
      "arms: an arm trains on the subset clean, and these data do not say which labels are right; "
      "data.wrong_label_fraction and data.labels_file give such data"
    )
  right = np.flatnonzero(~setting.wrong_label).astype(np.int32)
  if not len(right):
    raise ConfigError(
      "arms: an arm trains on the subset clean, and no label of these data is right; leave it out"
    )
  return np.tile(right, (len(setting.config.seeds), 1))


def _by_score(setting: Setting) -> tuple[Partition, ...]:
  return setting.partitions


def _random(setting: Setting) -> tuple[Partition, ...]:
  # Not split.policy "random": there the method's A is random too, and this arm must draw another.
  draws = [
    random_scores(setting.example_ids, seed, "random_subset") for seed in setting.config.seeds
  ]
  return _other_partitions(setting, draws, "top")


def _matched(setting: Setting) -> tuple[Partition, ...]:
  """Returns random partitions in which A has the class counts of the seed's A."""
  partitions = []
  for part, seed in zip(setting.partitions, setting.config.seeds, strict=True):
    draw = random_scores(setting.example_ids, seed, "class_matched_random")
    counts = np.bincount(setting.labels[part.easy], minlength=int(setting.labels.max()) + 1)
    used = np.union1d(part.easy, part.rest)
    is_easy = np.zeros(len(setting.labels), bool)
    for label, count in enumerate(counts):
      members = used[setting.labels[used] == label]
      is_easy[members[np.argsort(draw[members], kind="stable")][:count]] = True
    easy = np.flatnonzero(is_easy).astype(np.int32)
    rest = used[~is_easy[used]].astype(np.int32)
    partitions.append(Partition(easy, rest, 0, left_out=part.left_out))
  return tuple(partitions)


def _hardest(setting: Setting) -> tuple[Partition, ...]:
  return _other_partitions(setting, _scores(setting), "bottom")


def _balanced(setting: Setting) -> tuple[Partition, ...]:
  return _other_partitions(setting, _scores(setting), "top", class_balanced=True)


def _scores(setting: Setting) -> np.ndarray:
  """Returns the scores [R, N]; zeros for a plan for its sizes alone."""
  if setting.scores is None:
    return np.zeros((len(setting.config.seeds), len(setting.labels)))
  return setting.scores


def _other_partitions(
  setting: Setting,
  scores: Iterable[np.ndarray],
  policy: str,
  *,
  class_balanced: bool | None = None,
) -> tuple[Partition, ...]:
  """Returns the partitions of the same sizes by other scores [R, N] or another policy.

  What the method leaves out is left out here too. `class_balanced`: None for as the config says.
  """
  own = setting.config.split.class_balanced
  is_balanced = own if class_balanced is None else class_balanced
  rule = SplitConfig(policy=policy, class_balanced=is_balanced)
  return tuple(
    split(one, setting, setting.num_easy, seed=seed, rule=rule, left_out=part.left_out)
    for one, seed, part in zip(scores, setting.config.seeds, setting.partitions, strict=True)
  )


def _but_fold(setting: Setting, index: int) -> np.ndarray:
  """Returns the positions [R, n] of all examples but those of a fold, by its index from 0."""
  rows = [
    folds(setting.labels, setting.example_ids, setting.config.score.folds or 0, seed=seed)
    for seed in setting.config.seeds
  ]
  return np.stack([np.flatnonzero(row != index) for row in rows]).astype(np.int32)


_WHOLE: Mapping[str, Callable[[Setting], np.ndarray]] = {
  "all": _everything,
  "kept": _kept,
  "clean": _clean,
  "half": _half,
  "over_all": _over,
  "under_all": _under,
  "cluster_all": _by_clusters,
}
_PARTITIONS: Mapping[str, Callable[[Setting], tuple[Partition, ...]]] = {
  "": _by_score,
  "random": _random,
  "matched": _matched,
  "hardest": _hardest,
  "balanced": _balanced,
}


def _ids(setting: Setting, subset: str) -> np.ndarray:
  """Returns the positions [R, n] of a subset of `language.SUBSETS`."""
  if subset in _WHOLE:
    return _WHOLE[subset](setting)
  if match := re.fullmatch(r"but_fold(\d+)_all", subset):
    return _but_fold(setting, int(match[1]) - 1)
  kind, _, side = subset.rpartition("_")
  return np.stack([part.easy if side == "A" else part.rest for part in _PARTITIONS[kind](setting)])


# ---- decays: [R], or [R, num_steps]
def step_mean(steps_easy: int, steps_rest: int, method: MethodConfig) -> float:
  """Returns the mean decay over the steps of a round: (T_A lambda_A + T_B lambda_B) / (T_A + T_B).

  Uniform training at this decay has, to leading order in the decay, the method's objective summed
  over a round.

  Args:
    steps_easy: T_A, optimiser steps of A in a round.
    steps_rest: T_B, those of B.
    method: has lambda_A and lambda_B.
  """
  return (steps_easy * method.lambda_A + steps_rest * method.lambda_B) / (steps_easy + steps_rest)


def _scattered(setting: Setting, num_steps: int) -> np.ndarray:
  """Returns [R, num_steps]: lambda_A at T_A random steps of the round, lambda_B at the others.

  The steps are the same in every round; their examples are not.
  """
  method, rows = setting.config.method, []
  for seed in setting.config.seeds:
    draw = random_scores(np.arange(num_steps), seed, "random_batches")
    row = np.full(num_steps, method.lambda_B)
    row[np.argsort(draw, kind="stable")[: setting.steps_easy_rest[0]]] = method.lambda_A
    rows.append(row)
  return np.stack(rows)


def _lambda_tuned(config: Config) -> float:
  if config.method.lambda_tuned is None:
    raise ConfigError(
      "method.lambda_tuned is missing, and an arm is at the tuned decay; give a number, or "
      "candidates in select.weight_decay"
    )
  return config.method.lambda_tuned


def _decay(setting: Setting, decay: str | float, num_steps: int) -> np.ndarray:
  """Returns the decay of a phase, [R] or [R, num_steps]; `decay` is a number or in `DECAYS`."""
  if decay == "scattered":
    return _scattered(setting, num_steps)
  config = setting.config
  if isinstance(decay, str):
    named: Mapping[str, Callable[[], float]] = {
      "baseline": lambda: config.optim.weight_decay,
      "lambda_A": lambda: config.method.lambda_A,
      "lambda_B": lambda: config.method.lambda_B,
      "tuned": lambda: _lambda_tuned(config),
      "mean": lambda: step_mean(*setting.steps_easy_rest, config.method),
    }
    decay = named[decay]()
  return np.full(len(config.seeds), decay)


def neutral_values(config: Config) -> dict[str, float]:
  """Returns what a phase has of each regulariser that neither it nor `everywhere` names.

  Of dropout and of the operations of `augment.ops` that is what the config says elsewhere.
  """
  strengths = pipeline_of(config.augment).strengths
  return {**NEUTRAL, "dropout": own_dropout(config.model), **strengths}


def _make_phase(setting: Setting, spec: PhaseSpec) -> Phase:
  ids = _ids(setting, spec.subset)
  is_rest = spec.subset not in _WHOLE and spec.name == "B"
  lengths: Mapping[str, Callable[[], int]] = {
    "pass": lambda: setting.steps_easy_rest[1] if is_rest else setting.steps_of(ids.shape[1]),
    "all": lambda: setting.steps_of(len(setting.labels)),
    "round": lambda: sum(setting.steps_easy_rest),
  }
  num_steps = lengths[spec.steps]()
  overrides = parse_everywhere(setting.config.everywhere) | spec.values(setting.config.regularise)
  weight_decay = _decay(setting, spec.decay, num_steps)
  return Phase(
    spec.name,
    ids,
    num_steps,
    weight_decay=weight_decay,
    overrides=overrides,
    by_class=_of_classes(setting, ids, overrides),
    num_unlabelled=setting.num_unlabelled if spec.partner == "unlabelled" else 0,
  )


def _of_classes(
  setting: Setting, ids: np.ndarray, overrides: Mapping[str, float]
) -> dict[str, np.ndarray]:
  """Returns the numbers of the regularisers of the classes; none where labels are no classes."""
  if setting.labels.ndim != 1:
    return {}
  num_classes = setting.num_classes or int(setting.labels.max()) + 1
  return by_class(setting.labels[ids], num_classes, overrides)


def _named_apart(phases: Iterable[Phase]) -> tuple[Phase, ...]:
  """Returns the phases with distinct names: the second A of a round is A2."""
  named: list[Phase] = []
  for phase in phases:
    count = sum(other.name.rstrip("0123456789") == phase.name for other in named)
    name = phase.name if count == 0 else f"{phase.name}{count + 1}"
    named.append(dataclasses.replace(phase, name=name))
  return tuple(named)


def make_plan(arm: str, setting: Setting) -> Plan:
  """Returns the plan of `arm`; every arm but the baseline needs the setting's partitions.

  The method's controls start as the method does (`method.init`), so that no difference comes from
  the start. The baseline, and what is compared with it, start from scratch.
  """
  config, spec = setting.config, spec_of(arm, setting.config)
  phases = _named_apart(_make_phase(setting, phase) for phase in spec.phases)
  trends = [phase.trend for phase in spec.phases]
  if config.method.order == "hard_first":
    phases, trends = phases[::-1], trends[::-1]
  init = config.method.init if spec.start == "method" else spec.start
  plan = Plan(arm, phases, num_rounds_of(arm, config), init=init)
  return dataclasses.replace(plan, decay_factors=_factors(plan, trends, config))


_TRENDS: Mapping[str | None, Callable[[np.ndarray], np.ndarray]] = {
  None: np.ones_like,
  "falling": lambda falls: falls,
  "rising": lambda falls: 2.0 - falls,
}


def _factors(
  plan: Plan, trends: Sequence[str | None], config: Config
) -> Float[np.ndarray, "rounds P"] | None:
  """Returns what the decay of each phase is multiplied by in each round; None without a trend."""
  if not any(trends):
    return None
  rates = rates_of_arm(config, plan.rounds, plan.steps_per_round)
  ends = np.cumsum([phase.num_steps for phase in plan.phases])[:-1]
  # Each phase by the rates of its own steps: its sum of rate x decay stays what it is.
  of_phases = [rates] * len(trends) if rates.ndim == 1 else np.split(rates, ends, axis=1)
  return np.stack(
    [_TRENDS[trend](falling(own)) for trend, own in zip(trends, of_phases, strict=True)], axis=1
  )
