"""The stage between the trainings: scores the training set with the baseline's networks, and splits
it for every seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sdt import files
from sdt.arms.catalogue import fold_arms, scoring_arms
from sdt.arms.planning import Setting
from sdt.config import Config
from sdt.config.score_names import SCORES, Score
from sdt.data.dataset import Data
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import TrainState
from sdt.errors import ConfigError
from sdt.run.context import Context
from sdt.run.saved_states import restore_round
from sdt.scores import agreement
from sdt.scores.dynamics import dynamics_scores
from sdt.scores.split import Partition, Sizes, folds, split
from sdt.stages import score_files
from sdt.stages.results import diverged_seeds


def score_and_split(context: Context, setting: Setting, size: Sizes, may_read: bool) -> Setting:
  """Scores the training set with the baseline, or reads the scores; splits it for every seed;
  writes what is missing.

  Scores on disk are read only if the baseline was there before (`may_read`): one that has just been
  trained shall be scored itself.

  Raises:
    ConfigError: with `split.policy=threshold`, A or B would be empty.
  """
  config, data, workdir = context.setup.config, context.setup.data, context.workdir
  with context.timing.stage("score"):
    if may_read and files.is_intact(workdir / "scores.npz"):
      context.display.log("scores: there already, read from scores.npz")
      stored = files.read_npz(workdir / "scores.npz")
      scores = {key: value for key, value in stored.items() if key in SCORES and key != "file"}
    else:
      scores = _scores(context)
    if (
      context.beside.scores is not None
    ):  # always the file's own: those on disk may be of a run that this one has its baseline from
      scores["file"] = np.tile(context.beside.scores.values, (len(config.seeds), 1))
  with context.timing.stage("split"):
    ranks, values = score_files.described(config)[config.score.name], scores[config.score.name]
    sound = _sound_networks(context, values)
    own = agreement.easiness(ranks, values)
    mean = agreement.easiness(ranks, agreement.mean_score(ranks, values, sound))
    rankings = np.tile(mean, (len(config.seeds), 1)) if config.split.source == "mean" else own
    cut = _cutter(config, data, size, ranks=ranks)
    partitions = tuple(cut(one, seed) for one, seed in zip(rankings, config.seeds, strict=True))
    _check_sizes(config, partitions[0], values)
    for seed, part in zip(config.seeds, partitions, strict=True):
      if part.ties_at_cut:
        context.display.log(
          f"split: seed {seed}: {part.ties_at_cut} examples tie at the cut; a seeded hash of "
          "their ids decided"
        )
    by_seed = (
      partitions
      if config.split.source == "seed"
      else _by_own_scores(config, data, size, ranks=ranks, own=own, partitions=partitions)
    )
    stability = agreement.score_stability(own, by_seed, config.split, sound=sound)
    if stability is not None and stability["warning"]:
      context.display.log(f"warning: {stability['warning']}")
    if (
      not all(
        files.is_intact(workdir / name) for name in ("scores.csv", "scores.json", "scores.npz")
      )
      or not may_read
    ):
      score_files.write_scores(
        workdir,
        data,
        config,
        scores=scores,
        partitions=partitions,
        sound=sound,
        stability=stability,
      )
    score_files.write_split(
      workdir, data, config, partitions=partitions, by_mean=cut(mean, config.seeds[0])
    )
    score_files.write_mosaics(
      workdir,
      data,
      config,
      confidence=scores["confidence"][0],
      ranking=rankings[0],
      partition=partitions[0],
    )
  return dataclasses.replace(setting, scores=rankings, partitions=partitions)


def _cutter(
  config: Config, data: Data, size: Sizes, ranks: Score
) -> Callable[[np.ndarray, int], Partition]:
  """Returns the function from an easiness [N] and a seed to the partition that the config
  asks for.
  """
  rule, threshold = config.split, config.split.threshold
  if threshold is not None and not ranks.is_higher_easier:
    threshold = -threshold

  def cut(one: np.ndarray, seed: int) -> Partition:
    train, balanced = data.train, rule.class_balanced
    return split(
      one,
      train.labels,
      train.example_ids,
      size=size,
      seed=seed,
      policy=rule.policy,
      class_balanced=balanced,
      threshold=threshold,
    )

  return cut


def _by_own_scores(
  config: Config,
  data: Data,
  size: Sizes,
  ranks: Score,
  own: np.ndarray,
  partitions: Sequence[Partition],
) -> tuple[Partition, ...]:
  """Returns the partitions that the seeds' own scores [R, N] would give, of the sizes of the real
  ones: where the mean splits for all, only they tell how steady the scores are.
  """
  if config.split.policy == "threshold":
    top = dataclasses.replace(config, split=dataclasses.replace(config.split, policy="top"))
    config, size = top, Sizes(len(partitions[0].easy))
  cut = _cutter(config, data, size, ranks=ranks)
  return tuple(cut(one, seed) for one, seed in zip(own, config.seeds, strict=True))


def _check_sizes(config: Config, part: Partition, values: np.ndarray) -> None:
  """Raises a ConfigError where a threshold leaves A or B empty, with the scores between which there
  are some of both.
  """
  if len(part.easy) and len(part.rest):
    return
  quantiles = ", ".join(
    f"{value:.4g}" for value in np.quantile(values[np.isfinite(values)], (0.0, 0.1, 0.5, 0.9, 1.0))
  )
  raise ConfigError(
    f"split.threshold={config.split.threshold}: of {values.shape[1]} training examples A would "
    f"get {len(part.easy)}; the least, the 10, 50 "
    f"and 90 % quantiles and the largest of {config.score.name} are {quantiles}; A is strictly on "
    "the "
    "easy side, without what is at the threshold itself; choose another threshold in a new "
    "--workdir"
  )


def _sound_networks(context: Context, ranking: np.ndarray) -> np.ndarray:
  """Returns [R] which seeds' networks did not diverge, and says what becomes of the others.

  A network that diverged is scored as it was at its last finite step; scores of it that are no
  numbers rank as the hardest.
  """
  rows = files.read_rows(context.workdir / "metrics.jsonl")
  lost: dict[int, list[str]] = {}
  for arm in scoring_arms(context.setup.config):
    for seed in diverged_seeds(rows, arm):
      lost.setdefault(seed, []).append(arm)
  sound = np.array([seed not in lost for seed in context.setup.config.seeds]) & np.isfinite(
    ranking
  ).all(axis=1)
  for seed, row, is_sound in zip(context.setup.config.seeds, ranking, sound, strict=True):
    if not is_sound:
      bad, networks = int(np.isnan(row).sum()), " and ".join(lost.get(seed, ["baseline"]))
      context.display.log(
        f"score: the {networks} of seed {seed} diverged: "
        f"{_what_is_scored(rows, seed, context.setup.config)}, {bad} scores that are no "
        "numbers rank as the hardest, means over seeds leave it out"
      )
  return sound


def _what_is_scored(rows: Sequence[Mapping[str, Any]], seed: int, config: Config) -> str:
  """Returns which network of a seed that diverged the scores of a single pass are of, in words;
  `rows` are those of metrics.jsonl.
  """
  chosen, arms = config.score.at_round or config.rounds, scoring_arms(config)
  first = min(
    (
      row["round"]
      for row in rows
      if row["arm"] in arms and row["seed"] == seed and row.get("diverged")
    ),
    default=0,
  )
  return (
    f"in round {first}, after round {chosen} that is scored"
    if first > chosen
    else "scored as it was at its last finite step"
  )


def _scores(context: Context) -> dict[str, np.ndarray]:
  """Returns the scores [R, N] of every training example: of a single pass, and of the baseline's
  training dynamics.
  """
  config, train = context.setup.config, context.setup.data.train
  runner = context.setup.scorer()
  end, chosen = restore_round(context, config.rounds), config.score.at_round or config.rounds
  scores = _of_networks(
    context, runner, end.state if chosen == config.rounds else restore_round(context, chosen).state
  )
  arms = fold_arms(config)
  if arms:
    scores = _out_of_fold(context, runner, chosen) | {"confidence_in_sample": scores["confidence"]}
  without = f", each by one of {len(arms)} that has not seen it" if arms else ""
  context.display.log(
    f"score: {len(train)} training examples under {len(config.seeds)} network(s) of round "
    f"{chosen}{without}"
  )
  note = score_files.described(config)[config.score.name].note
  if note is not None:
    context.display.log(f"note: score.name={config.score.name}: {note}")
  return scores | ({} if end.dynamics is None else dynamics_scores(end.dynamics, config.rounds))


def _out_of_fold(context: Context, runner: ScoreRunner, chosen: int) -> dict[str, np.ndarray]:
  """Returns the scores of a single pass, [R, N] each, by the seed's network of round `chosen` that
  has not seen the example's fold.
  """
  config, train = context.setup.config, context.setup.data.train
  arms = fold_arms(config)
  fold_of = np.stack(
    [folds(train.labels, train.example_ids, len(arms), seed=seed) for seed in config.seeds]
  )
  found: dict[str, np.ndarray] = {}
  for index in range(len(arms)):
    scores = _of_networks(context, runner, restore_round(context, chosen, index + 1).state)
    found = {
      name: np.where(fold_of == index, values, found.get(name, values))
      for name, values in scores.items()
    }
  return found


def _of_networks(context: Context, runner: ScoreRunner, state: TrainState) -> dict[str, np.ndarray]:
  """Returns the scores of a single pass, [R, N] each."""
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  with context.display.task("score", runner.num_batches, "batch") as task:

    def after_dispatch(done: int, total: int) -> None:
      task.advance(done if done == total else done + 0.5)
      context.raise_if_stopped("while scoring")

    return runner.scores(variables, after_dispatch)
