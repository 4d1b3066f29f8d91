"""The stage between the trainings: scores the training set with the baseline's networks, and splits it for every seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from sdt import files, score_artifacts
from sdt.arms import Setting
from sdt.artifacts import diverged_seeds
from sdt.data.batches import num_batches
from sdt.parallel import padded_batch_size, place
from sdt.score import score
from sdt.score_table import SCORES
from sdt.split import Partition, split
from sdt.step import TrainState
from sdt.training import Context, restore_final


def score_and_split(context: Context, setting: Setting, size: int, trained: TrainState | None, may_read: bool) -> Setting:
  """Scores the training set with the baseline's networks, or reads the scores; splits it for every seed; writes what is missing.

  Scores on disk are read only if the baseline was there before (`may_read`): one that has just been trained shall be scored itself.
  """
  config, data, workdir = context.setup.config, context.setup.data, context.workdir
  with context.timing.stage("score"):
    if may_read and files.is_intact(workdir / "scores.npz"):
      stored = files.read_npz(workdir / "scores.npz")
      scores = {key: value for key, value in stored.items() if key in SCORES and key != "file"}
    else:
      scores = _scores(context, restore_final(context, 0) if trained is None else trained)
    if context.beside.scores is not None:  # always the file's own: those on disk may be of a run that this one has its baseline from
      scores["file"] = np.tile(context.beside.scores.values, (len(config.seeds), 1))
  with context.timing.stage("split"):
    ranks, values = score_artifacts.described(config.score)[config.score.name], scores[config.score.name]
    sound = _sound_networks(context, values)
    ranking = score_artifacts.easiness(ranks, values)
    mean = score_artifacts.easiness(ranks, score_artifacts.mean_score(ranks, values, sound))
    rankings = np.tile(mean, (len(config.seeds), 1)) if config.split.source == "mean" else ranking

    def cut(one: np.ndarray, seed: int) -> Partition:
      rule = config.split
      return split(one, data.train.labels, data.train.example_ids, size, seed, policy=rule.policy, class_balanced=rule.class_balanced)

    partitions = tuple(cut(one, seed) for one, seed in zip(rankings, config.seeds, strict=True))
    for seed, part in zip(config.seeds, partitions, strict=True):
      if part.ties_at_cut:
        context.display.log(f"split: seed {seed}: {part.ties_at_cut} examples tie at the cut; a seeded hash of their ids decided")
    if not all(files.is_intact(workdir / name) for name in ("scores.csv", "scores.json", "scores.npz")) or not may_read:
      score_artifacts.write_scores(workdir, data, config, scores, partitions, sound)
    score_artifacts.write_split(workdir, data, config, partitions, cut(mean, config.seeds[0]))
    score_artifacts.write_mosaics(workdir, data, config, scores["confidence"][0], rankings[0], partitions[0])
  return dataclasses.replace(setting, scores=rankings, partitions=partitions)


def _sound_networks(context: Context, ranking: np.ndarray) -> np.ndarray:
  """Returns [R] which seeds' networks did not diverge, and says what becomes of the others.

  A network that diverged is scored as it was at its last finite step; scores of it that are no numbers rank as the hardest.
  """
  lost = diverged_seeds(files.read_rows(context.workdir / "metrics.jsonl"), "baseline")
  sound = np.array([seed not in lost for seed in context.setup.config.seeds]) & np.isfinite(ranking).all(axis=1)
  for seed, row, is_sound in zip(context.setup.config.seeds, ranking, sound, strict=True):
    if not is_sound:
      bad = int(np.isnan(row).sum())
      context.display.log(
        f"score: the baseline of seed {seed} diverged: scored as it was at its last finite step, {bad} scores that are no numbers rank as "
        "the hardest, means over seeds leave it out"
      )
  return sound


def _scores(context: Context, state: TrainState) -> dict[str, np.ndarray]:
  """Returns the scores [R, N] of every training example under every seed's network."""
  setup, data = context.setup, context.setup.data
  program = setup.score_program()
  total = num_batches(len(data.train), padded_batch_size(program.batch_size, program.layout))
  variables = place(setup.layout, {"params": state.params, "batch_stats": state.batch_stats})
  with context.display.task("score", total, "batch") as task:

    def after_dispatch(done: int, total: int) -> None:
      task.advance(done if done == total else done + 0.5)
      context.raise_if_stopped("while scoring")

    scores = score(program, variables, setup.device_data, len(data.train), after_dispatch)
  context.display.log(f"score: {len(data.train)} training examples under {len(setup.config.seeds)} network(s)")
  return scores
