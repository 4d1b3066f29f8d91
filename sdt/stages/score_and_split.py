"""The stages between the trainings: scores every example, and splits the set by the scores."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from sdt import files
from sdt.arms.catalogue import fold_arms, scoring_arms
from sdt.arms.setting import Setting
from sdt.config import Config
from sdt.config.schema import SplitConfig
from sdt.config.score_names import COURSE, ON_REQUEST, OTHER_CLASS, PROBABILITIES, SCORES, Score
from sdt.data.dataset import Data
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import TrainState
from sdt.errors import ConfigError
from sdt.run import metrics
from sdt.run.context import Context
from sdt.run.saved_states import restore_round
from sdt.run.stopping import read_judged
from sdt.scores import agreement, cleanlab_issues
from sdt.scores.dynamics import dynamics_scores
from sdt.scores.split import Partition, Sizes, folds, sizes
from sdt.scores.split import split as split_by_score
from sdt.scores.suspects import Suspects
from sdt.scores.suspects import find as find_suspects
from sdt.stages import score_files, suspect_files


@dataclasses.dataclass(frozen=True)
class Scores:
  """The scores of the training set.

  Attributes:
    values: by name, [R, N] in the order of the data set.
    other_class: int32 [R, N], the most probable class but the label's.
    probabilities: float32 [R, N, K] of all classes; None unless they are asked for.
    course: uint8 [R, N, rounds], as in `Dynamics`; None unless it is asked for.
    were_stored: whether they were read from scores.npz.
  """

  values: Mapping[str, Shaped[np.ndarray, "R N"]]
  other_class: Int[np.ndarray, "R N"]
  probabilities: Float[np.ndarray, "R N K"] | None
  course: UInt8[np.ndarray, "R N rounds"] | None
  were_stored: bool


def score(context: Context, may_read: bool) -> Scores:
  """Scores every training example under the networks of the scoring arms, or reads the scores.

  Args:
    context: of the run.
    may_read: scores on disk may be read, because their networks were trained before this start.
      A network that has just been trained is scored itself.
  """
  path = context.workdir / "scores.npz"
  with context.timing.stage("score"):
    stored = files.read_npz(path) if may_read and files.is_intact(path) else {}
    asked = (name for name, key in ON_REQUEST.items() if getattr(context.config.score, key))
    # Those of an older version have no `other_class`.
    were_stored = all(name in stored for name in (OTHER_CLASS, *asked))
    if were_stored:
      context.display.log("scores: there already, read from scores.npz")
    found = stored if were_stored else _scores(context)
    values = {key: value for key, value in found.items() if key in SCORES and key != "file"}
    # Always the file's own: those on disk may be of a run that this one has its baseline from.
    if context.beside.scores is not None:
      values["file"] = np.tile(context.beside.scores.values, (len(context.config.seeds), 1))
  return Scores(
    values,
    found[OTHER_CLASS],
    found.get(PROBABILITIES),
    course=found.get(COURSE),
    were_stored=were_stored,
  )


def split(context: Context, setting: Setting, scores: Scores) -> Setting:
  """Splits the training set by the scores, for every seed: A, the easiest, and B, the rest.

  Returns the setting with the rankings [R, N] and the partitions; writes what is missing of the
  files of scores and split.

  Raises:
    ConfigError: with `split.policy=threshold`, A or B would be empty.
  """
  config, values = context.config, scores.values
  with context.timing.stage("split"):
    ranks, ranking = score_files.described(config)[config.score.name], values[config.score.name]
    sound = _sound_networks(context, ranking)
    by_seed = agreement.easiness(ranks, ranking)
    by_mean = agreement.easiness(ranks, agreement.mean_score(ranks, ranking, sound))
    is_mean = config.split.source == "mean"
    rankings = np.tile(by_mean, (len(config.seeds), 1)) if is_mean else by_seed
    cut = _Cutter.of(context, ranks)
    partitions = cut.each(rankings, config.seeds)
    _check_sizes(config, partitions[0], ranking)
    _tell_ties(context, partitions)
    # Where the mean splits for all, only the seeds' own partitions tell how steady the scores are.
    steady = cut.of_size(partitions[0]).each(by_seed, config.seeds) if is_mean else partitions
    stability = agreement.score_stability(by_seed, steady, config.split, sound=sound)
    if stability is not None and stability["warning"]:
      context.display.log(f"warning: {stability['warning']}")
    suspects = _suspects(context, scores, sound)
    scored = score_files.Scored(
      values,
      scores.other_class,
      sound,
      partitions=partitions,
      suspects=suspects,
      stability=stability,
      probabilities=scores.probabilities,
      course=scores.course,
    )
    _tell_suspects(context, suspects)
    _write(context, scored, easiness=by_mean, were_stored=scores.were_stored)
    by_mean_parts = cut(by_mean, config.seeds[0])
    score_files.write_split(
      context.workdir, context.data, config, partitions=partitions, by_mean=by_mean_parts
    )
  return dataclasses.replace(setting, scores=rankings, partitions=partitions)


def _suspects(context: Context, scores: Scores, sound: Bool[np.ndarray, "R"]) -> Suspects:
  """Returns the training examples as suspects, with what cleanlab says of them if it is asked."""
  config = context.config.score
  found = find_suspects(
    scores.values, scores.other_class, sound, has_folds=config.folds is not None
  )
  if not config.cleanlab or scores.probabilities is None:
    return found
  issues = cleanlab_issues.find(context.data.train.labels, scores.probabilities, sound)
  return dataclasses.replace(found, cleanlab=issues)


def _write(
  context: Context, scored: score_files.Scored, *, easiness: np.ndarray, were_stored: bool
) -> None:
  """Writes the files of scores, unless they are the stored ones, and what is made of them.

  easiness: [N], the mean over the seeds of the score that ranks.
  """
  workdir, data, config = context.workdir, context.data, context.config
  names = ("scores.csv", "scores.json", "scores.npz")
  if not (were_stored and all(files.is_intact(workdir / name) for name in names)):
    score_files.write_scores(workdir, data, config, scored=scored)
  confidence = agreement.mean_score(SCORES["confidence"], scored.values["confidence"], scored.sound)
  score_files.write_mosaics(workdir, data, config, confidence=confidence, easiness=easiness)
  suspect_files.write_suspects(workdir, data, config, suspects=scored.suspects)


def _tell_suspects(context: Context, suspects: Suspects) -> None:
  num, total = int(suspects.is_flagged.sum()), len(suspects.suspicion)
  known = "; the networks know the set by heart" if suspects.has_memorised else ""
  context.display.log(
    f"suspects: {num:,} of {total:,} training labels are suspect, at odds of 12 to 1 or more "
    f"({suspects.source.words}{known}): {suspect_files.TABLE}"
  )
  if suspects.cleanlab is not None:
    theirs = suspects.cleanlab.is_flagged
    context.display.log(
      f"suspects: cleanlab {suspects.cleanlab.version} calls {int(theirs.sum()):,} wrong by every "
      f"seed; {int((theirs & suspects.is_flagged).sum()):,} of them are among ours"
    )


def _tell_ties(context: Context, partitions: Sequence[Partition]) -> None:
  for seed, part in zip(context.config.seeds, partitions, strict=True):
    if part.ties_at_cut:
      context.display.log(
        f"split: seed {seed}: {part.ties_at_cut} examples tie at the cut; a seeded hash of "
        "their ids decided"
      )


@dataclasses.dataclass(frozen=True)
class _Cutter:
  """Cuts the training set by an easiness [N], as the config asks."""

  data: Data
  size: Sizes
  rule: SplitConfig

  @classmethod
  def of(cls, context: Context, ranks: Score) -> "_Cutter":
    config, rule = context.config, context.config.split
    size = sizes(config.method, rule, len(context.data.train))
    if rule.threshold is not None and not ranks.is_higher_easier:
      rule = dataclasses.replace(rule, threshold=-rule.threshold)
    return cls(context.data, size, rule)

  def __call__(self, easiness: np.ndarray, seed: int) -> Partition:
    return split_by_score(easiness, self.data.train, self.size, seed=seed, rule=self.rule)

  def each(self, easiness: np.ndarray, seeds: Sequence[int]) -> tuple[Partition, ...]:
    """Returns the partitions by easiness [R, N], one for each seed."""
    return tuple(self(one, seed) for one, seed in zip(easiness, seeds, strict=True))

  def of_size(self, partition: Partition) -> "_Cutter":
    """Returns the cutter to parts of the sizes that a partition by a threshold has."""
    if self.rule.policy != "threshold":
      return self
    rule = dataclasses.replace(self.rule, policy="top")
    return dataclasses.replace(self, size=Sizes(len(partition.easy)), rule=rule)


def _check_sizes(config: Config, part: Partition, values: np.ndarray) -> None:
  """Raises a ConfigError if a threshold leaves A or B empty, and tells the range of the scores."""
  if len(part.easy) and len(part.rest):
    return
  quantiles = ", ".join(
    f"{value:.4g}" for value in np.quantile(values[np.isfinite(values)], (0.0, 0.1, 0.5, 0.9, 1.0))
  )
  raise ConfigError(
    f"split.threshold={config.split.threshold}: of {values.shape[1]} training examples A would "
    f"get {len(part.easy)}; the least, the 10, 50 and 90 % quantiles and the largest of "
    f"{config.score.name} are {quantiles}; A is strictly on the easy side, without what is at the "
    "threshold itself; choose another threshold in a new --workdir"
  )


def _sound_networks(context: Context, ranking: np.ndarray) -> np.ndarray:
  """Returns [R] which seeds' networks did not diverge, and says what becomes of the others.

  A network that diverged is scored as it was at its last finite step. Its scores that are no
  numbers rank as the hardest.
  """
  rows = read_judged(context.workdir, context.config)
  lost: dict[int, list[str]] = {}
  for arm in scoring_arms(context.config):
    for seed in metrics.diverged_seeds(rows, arm):
      lost.setdefault(seed, []).append(arm)
  sound = np.array([seed not in lost for seed in context.config.seeds]) & np.isfinite(ranking).all(
    axis=1
  )
  for seed, row, is_sound in zip(context.config.seeds, ranking, sound, strict=True):
    if not is_sound:
      bad, networks = int(np.isnan(row).sum()), " and ".join(lost.get(seed, ["baseline"]))
      context.display.log(
        f"score: the {networks} of seed {seed} diverged: "
        f"{_what_is_scored(rows, seed, context.config)}, {bad} scores that are no "
        "numbers rank as the hardest, means over seeds leave it out"
      )
  return sound


def _what_is_scored(rows: Sequence[metrics.Row], seed: int, config: Config) -> str:
  """Returns in words which network of a seed that diverged is scored, from its metrics rows."""
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
  """Returns the scores [R, N] of a single pass, and those of the baseline's training dynamics."""
  config, train = context.config, context.data.train
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
    f"{chosen}{' at most, the best of each' if config.stop.patience else ''}{without}"
  )
  note = score_files.described(config)[config.score.name].note
  if note is not None:
    context.display.log(f"note: score.name={config.score.name}: {note}")
  if end.dynamics is None:
    return scores
  course = {} if end.dynamics.course is None else {COURSE: end.dynamics.course}
  return scores | dynamics_scores(end.dynamics, config.rounds) | course


def _out_of_fold(context: Context, runner: ScoreRunner, chosen: int) -> dict[str, np.ndarray]:
  """Returns the scores of a single pass, [R, N], by networks that have not seen the example's fold.

  They are the networks of round `chosen`. `probabilities` are [R, N, K].
  """
  config, train = context.config, context.data.train
  arms = fold_arms(config)
  fold_of = np.stack(
    [folds(train.labels, train.example_ids, len(arms), seed=seed) for seed in config.seeds]
  )
  scores: dict[str, np.ndarray] = {}
  for index in range(len(arms)):
    of_fold = _of_networks(context, runner, restore_round(context, chosen, index + 1).state)
    scores = {
      name: np.where(_widened(fold_of == index, values.ndim), values, scores.get(name, values))
      for name, values in of_fold.items()
    }
  return scores


def _widened(mask: np.ndarray, ndim: int) -> np.ndarray:
  """Returns a mask with axes of length 1 after its own, `ndim` in all."""
  return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))


def _of_networks(context: Context, runner: ScoreRunner, state: TrainState) -> dict[str, np.ndarray]:
  """Returns the scores of a single pass, [R, N] each."""
  with context.display.task("score", runner.num_batches, "batch") as task:

    def after_dispatch(done: int, total: int) -> None:
      task.advance(done if done == total else done + 0.5)
      context.raise_if_stopped("while scoring")

    return runner.scores(state.variables, after_dispatch)
