"""Training dynamics: how every training example fares in the steps that train on it, as running
summaries; and the scores made of them.

The logits are those of the training step itself, before its update: augmented inputs, batch
statistics, dropout. They cost nothing more, and they are never kept. An example is presented once
in a round where the plan passes once through it; where it passes more often, every pass counts as a
presentation.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sdt.losses import is_correct
from sdt.scores.formulas import Outputs, log_odds, margin


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dynamics:
  """The summaries, leaves [R, N], or [N] of one replica.

  Attributes:
    num_seen: int32, presentations so far.
    num_right: int32, those at which the largest logit was the label's.
    num_forgotten: int32, times that it was right at one presentation and wrong at the next.
    is_right: bool, at the latest presentation.
    first_right: int32, the round (from 1) of the first right one, 0 before.
    mean_doubt: float32, mean of 1 - p of the own label.
    sum_squares: float32, of the deviations of 1 - p from its mean.
    mean_margin: float32, mean of the own logit less the largest other.
  """

  num_seen: Any
  num_right: Any
  num_forgotten: Any
  is_right: Any
  first_right: Any
  mean_doubt: Any
  sum_squares: Any
  mean_margin: Any


class Seen(NamedTuple):
  """What one presentation shows of the examples of a batch, [B] each: bool, 1 - p of the own label,
  own logit less the largest other.
  """

  right: Any
  doubt: Any
  margin: Any


def no_dynamics(num_replicas: int, num_examples: int) -> Dynamics:
  """Returns the summaries before the first presentation, on the host."""
  shape, types = (
    (num_replicas, num_examples),
    {"is_right": np.bool_, "mean_doubt": np.float32, "sum_squares": np.float32},
  )
  types["mean_margin"] = np.float32
  return Dynamics(
    **{
      field.name: np.zeros(shape, types.get(field.name, np.int32))
      for field in dataclasses.fields(Dynamics)
    }
  )


def see(logits: jax.Array, labels: jax.Array) -> Seen:
  """Returns what logits [B, K] show of examples with these labels [B].

  The doubt is kept instead of the probability: close to certainty, where most examples end, 1 - p
  has all its digits and p has none left.
  """
  outputs = Outputs(logits, None)
  return Seen(
    is_correct(logits, labels), jax.nn.sigmoid(-log_odds(outputs, labels)), margin(outputs, labels)
  )


def record(
  dynamics: Dynamics, round_number: jax.Array, ids: jax.Array, counts: jax.Array, seen: Seen
) -> Dynamics:
  """Returns the summaries after one more presentation of some examples, of one replica.

  Args:
    dynamics: leaves [N].
    round_number: [] int32, from 1.
    ids: [B] int32 places in the training set; those that count are different.
    counts: [B] bool; the others change nothing.
    seen: [B] each.
  Source: Welford 1962, "Note on a method for calculating corrected sums of squares and products",
  for means and sums of squares.
  """
  before = jax.tree.map(lambda leaf: leaf[ids], dynamics)
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
  return jax.tree.map(
    lambda leaf, values: leaf.at[places].set(values, mode="drop"), dynamics, after
  )


def dynamics_scores(dynamics: Dynamics, rounds: int) -> dict[str, np.ndarray]:
  """Returns the scores of the training dynamics, float32 [R, N] each; NaN where they are not
  defined, for an example never presented.

  forgetting: times that the example went from right at one presentation to wrong at the next;
  `rounds` for one that was never right, which
    is more than any other can have. Source: Toneva et al. 2019, "An Empirical Study of Example
    Forgetting", section 3, and what the authors' code does with examples never learned. Differs
    from source: none.
  first_learned: the first round, from 1, in which it was right; rounds + 1 if it never was. Source:
  the same, section 4. Differs from
    source: one network instead of several.
  mean_confidence, variability, correctness: mean and standard deviation (dividing by n) of the own
  label's probability, and the share of
    presentations that were right. Source: Swayamdipta et al. 2020, "Dataset Cartography", section
    2. Differs from source: none to the authors' code; the paper's text has the network as it is at
       the end of each epoch.
  aum: mean of the own logit less the largest other. Source: Pleiss et al. 2020, "Identifying
  Mislabeled Data using the Area Under the
    Margin Ranking", equation 2. Differs from source: over all rounds, where the paper stops at the
    first drop of the learning rate.

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
