"""Training dynamics: running summaries of every training example, and the scores made of them.

Where it is asked for, the course is kept beside them: the label's probability in every round.

The logits are those of the training step itself, before its update: augmented inputs, batch
statistics, dropout. They cost no extra pass and are never stored. An example is presented once in a
round if the plan passes through it once; every further pass counts as a presentation.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sdt.arrays import AnyArray
from sdt.losses import is_correct
from sdt.scores.formulas import Outputs, log_odds, margin
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dynamics:
  """The summaries, leaves [R, N], or [N] of one replica.

  Attributes:
    num_seen: int32, presentations so far.
    num_right: int32, presentations at which the largest logit was the label's.
    num_forgotten: int32, times that it was right at one presentation and wrong at the next.
    is_right: bool, at the latest presentation.
    first_right: int32, the round (from 1) of the first right one, 0 before.
    mean_doubt: float32, mean of 1 - p, p the label's probability.
    sum_squares: float32, sum of the squared deviations of 1 - p from its mean.
    mean_margin: float32, mean of the label's logit less the largest other.
    course: uint8 [R, N, rounds], the label's probability at the latest presentation of each round,
      255 p rounded; 0 where the example was not presented. None where no course is kept.
  """

  num_seen: Leaf
  num_right: Leaf
  num_forgotten: Leaf
  is_right: Leaf
  first_right: Leaf
  mean_doubt: Leaf
  sum_squares: Leaf
  mean_margin: Leaf
  course: Leaf = None


class Seen(NamedTuple):
  """What one presentation shows of the examples of a batch.

  Attributes:
    right: [B] bool, whether the largest logit is the label's.
    doubt: [B] float, 1 - p, p the label's probability.
    margin: [B] float, the label's logit less the largest other.
  """

  right: Leaf
  doubt: Leaf
  margin: Leaf


def no_dynamics(num_replicas: int, num_examples: int, course_rounds: int = 0) -> Dynamics:
  """Returns the summaries before the first presentation: zeros, [R, N], on the host.

  With a course of so many rounds, unless they are 0.
  """
  types: dict[str, type] = {"is_right": np.bool_}
  types |= dict.fromkeys(("mean_doubt", "sum_squares", "mean_margin"), np.float32)
  names = [field.name for field in dataclasses.fields(Dynamics) if field.name != "course"]
  shape = (num_replicas, num_examples)
  course = np.zeros((*shape, course_rounds), np.uint8) if course_rounds else None
  leaves: dict[str, Leaf] = {name: np.zeros(shape, types.get(name, np.int32)) for name in names}
  return Dynamics(**leaves, course=course)


def see(logits: Float[AnyArray, "B K"], labels: Int[AnyArray, "B"]) -> Seen:
  """Returns what logits [B, K] show of examples with these labels [B].

  The doubt 1 - p is kept, not p: most examples end near certainty, where 1 - p keeps all its digits
  and p has none left.
  """
  outputs = Outputs(logits, None)
  return Seen(
    is_correct(logits, labels), jax.nn.sigmoid(-log_odds(outputs, labels)), margin(outputs, labels)
  )


def record(
  dynamics: Dynamics,
  round_number: Int[Array, ""],
  ids: Int[AnyArray, "B"],
  counts: Bool[AnyArray, "B"],
  seen: Seen,
) -> Dynamics:
  """Returns the summaries after one more presentation of some examples, for one replica.

  Args:
    dynamics: leaves [N], and [N, rounds] of the course.
    round_number: [] int32, from 1.
    ids: [B] int32 positions in the training set. Those that count are distinct.
    counts: [B] bool; examples that do not count change nothing.
    seen: what the presentation shows, [B] each.
  Source: Welford 1962, "Note on a method for calculating corrected sums of squares and products",
  for means and sums of squares.
  """
  course, summaries = dynamics.course, dataclasses.replace(dynamics, course=None)
  before = jax.tree.map(lambda leaf: leaf[ids], summaries)
  num_seen = before.num_seen + 1
  per_seen = 1.0 / num_seen.astype(seen.doubt.dtype)
  deviation = seen.doubt - before.mean_doubt
  mean_doubt = before.mean_doubt + deviation * per_seen
  after = Dynamics(
    num_seen=num_seen,
    num_right=before.num_right + seen.right.astype(jnp.int32),
    num_forgotten=before.num_forgotten + (before.is_right & ~seen.right).astype(jnp.int32),
    is_right=seen.right,
    first_right=jnp.where((before.first_right == 0) & seen.right, round_number, before.first_right),
    mean_doubt=mean_doubt,
    sum_squares=before.sum_squares + deviation * (seen.doubt - mean_doubt),
    mean_margin=before.mean_margin + (seen.margin - before.mean_margin) * per_seen,
  )
  num_examples = dynamics.num_seen.shape[0]
  places = jnp.where(counts, ids, num_examples)  # past the end: dropped
  recorded = jax.tree.map(
    lambda leaf, values: leaf.at[places].set(values, mode="drop"), summaries, after
  )
  if course is None:
    return recorded
  now = jnp.round(255.0 * (1.0 - seen.doubt)).astype(jnp.uint8)
  course = course.at[places, round_number - 1].set(now, mode="drop")
  return dataclasses.replace(recorded, course=course)


def dynamics_scores(dynamics: Dynamics, rounds: int) -> dict[str, Float[np.ndarray, "R N"]]:
  """Returns the scores of the training dynamics by name, float32 [R, N] each.

  A score is NaN where it is not defined: for an example never presented.

  forgetting: times that the example went from right at one presentation to wrong at the next. It is
    `rounds` for an example that was never right, more than any other can have.
    Source: Toneva et al. 2019, "An Empirical Study of Example Forgetting", section 3, and what the
    authors' code does with examples never learned. Differs from source: none.
  first_learned: the first round, from 1, in which it was right; rounds + 1 if it never was.
    Source: the same, section 4. Differs from source: one network instead of several.
  mean_confidence, variability, correctness: mean and standard deviation (dividing by n) of the
    label's probability, and the share of presentations that were right.
    Source: Swayamdipta et al. 2020, "Dataset Cartography", section 2. Differs from source: none to
    the authors' code; the paper's text takes the network at the end of each epoch.
  aum: mean of the label's logit less the largest other.
    Source: Pleiss et al. 2020, "Identifying Mislabeled Data using the Area Under the Margin
    Ranking", equation 2. Differs from source: over all rounds; the paper stops at the first drop
    of the learning rate.

  Args:
    dynamics: leaves [R, N], on the host.
    rounds: of the training.
  """
  count = dynamics.num_seen.astype(np.float64)
  with np.errstate(invalid="ignore", divide="ignore"):
    defined = np.where(count > 0, 1.0, np.nan)
    scores = {
      "forgetting": np.where(dynamics.num_right == 0, rounds, dynamics.num_forgotten),
      "first_learned": np.where(dynamics.first_right == 0, rounds + 1, dynamics.first_right),
      "mean_confidence": defined - dynamics.mean_doubt.astype(np.float64),
      "variability": np.sqrt(dynamics.sum_squares / count),
      "correctness": dynamics.num_right / count,
      "aum": defined * dynamics.mean_margin,
    }
  return {name: values.astype(np.float32) for name, values in scores.items()}
