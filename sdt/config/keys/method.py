"""The keys of the method: scores, split, decays, and the selection and the toy beside them."""

import dataclasses

from sdt.config.keys.declare import config_key
from sdt.config.score_names import SCORES, direction_of_column


@dataclasses.dataclass(frozen=True)
class MethodConfig:
  """The second training: the size of A and the two weight decays."""

  fraction: float = config_key(
    0.1, "share of the training set that A gets: exactly floor(fraction * N)", above=0.0, below=1.0
  )
  num_easy: int | None = config_key(None, "size of A, in place of the fraction", low=1)
  lambda_A: float = config_key(1e-3, "weight decay on A", low=0.0, high=1e3)  # noqa: N815
  lambda_B: float = config_key(1e-4, "weight decay on B", low=0.0, high=1e3)  # noqa: N815
  lambda_tuned: float | None = config_key(
    None,
    "weight decay of uniform_tuned; chosen where select.weight_decay has candidates",
    low=0.0,
    high=1e3,
  )
  init: str = config_key(
    "scratch", "weights at the start of the second training", choices=("scratch", "warm")
  )
  order: str = config_key(
    "easy_first", "order of the phases in a round", choices=("easy_first", "hard_first")
  )


@dataclasses.dataclass(frozen=True)
class SelectConfig:
  """The candidates of a selection, which chooses on a held-out part of the training set.

  Without candidates there is no selection.
  """

  lambda_A: tuple[float, ...] = config_key(  # noqa: N815
    (), "candidates for method.lambda_A", low=0.0, high=1e3, unique=True
  )
  fraction: tuple[float, ...] = config_key(
    (),
    "candidates for method.fraction, each tried with every lambda_A",
    above=0.0,
    below=1.0,
    unique=True,
  )
  weight_decay: tuple[float, ...] = config_key(
    (),
    "candidates for the decay of uniform_tuned, such as 1e-4, 2e-4, 3e-4, 5e-4, 1e-3",
    low=0.0,
    high=1e3,
    unique=True,
  )
  num_seeds: int | None = config_key(
    None, "how many of the seeds the selection trains, the first ones; all by default", low=1
  )
  space: tuple[str, ...] = config_key(
    (),
    "keys to search, in place of the candidates above: 'optim.learning_rate = log(1e-3, 1)', "
    "'model.widths = choice((8, 16), (16, 32))', 'optim.momentum = uniform(0.8, 0.99)'",
    unique=True,
    is_later=True,
  )
  method: str = config_key(
    "random",
    "how space is searched: every point, drawn at random, by expected improvement, or at random "
    "with most trials stopped early",
    choices=("grid", "random", "bayes", "halving"),
    is_later=True,
  )
  trials: int = config_key(
    20,
    "trials of each arm that is searched for; a grid has as many as points",
    low=2,
    is_later=True,
  )
  factor: int = config_key(
    3, "halving: one of so many trials goes on, to so many times the rounds", low=2, is_later=True
  )
  min_rounds: int = config_key(1, "halving: no trial is judged before", low=1, is_later=True)


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
  """The score that ranks the training examples."""

  name: str = config_key("log_odds", "the score that ranks", choices=tuple(SCORES))
  grand: bool = config_key(
    False,
    "also score by the gradient of the whole network (GraNd): as many products as a round of "
    "training, and slower",
  )
  dynamics: bool = config_key(
    True,
    "record how every example fares in the training steps of the baseline, and score by that too",
  )
  at_round: int | None = config_key(
    None,
    "the baseline's round whose network gives the scores of a single pass; the last by default",
    low=1,
  )
  path: str | None = config_key(
    None,
    "file: a CSV table with a header, or an npz, with a score for every training example by its "
    "example_id",
  )
  column: str = config_key("score", "file: the column, or array, that holds the scores")
  higher_is: str | None = config_key(
    None,
    "file: which end of these scores is easy; by default the end that is easy in the score of sdt "
    "of the column's name, and the higher end in a column of another name",
    choices=("easier", "harder"),
  )
  folds: int | None = config_key(
    None,
    "score every example by a network that has not seen it: this many more trainings, each on all "
    "folds but one",
    low=2,
  )
  probabilities: bool = config_key(
    False,
    "also keep every class's probability for every training example, in scores.npz; with folds by "
    "networks that have not seen it",
    is_later=True,
  )
  cleanlab: bool = config_key(
    False,
    "also ask cleanlab which labels are wrong, by those probabilities, which are kept then; needs "
    "score.folds and the extra cleanlab",
    is_later=True,
  )
  course: bool = config_key(
    False,
    "also keep every training example's probability of its label in every round of the baseline, "
    "in scores.npz; review.html draws it",
    is_later=True,
  )
  batch_size: int = config_key(512, "examples per scoring and evaluation batch", low=1, high=2**17)

  @property
  def has_probabilities(self) -> bool:
    """Whether scores.npz keeps the probabilities of all classes."""
    return self.probabilities or self.cleanlab

  @property
  def file_direction(self) -> str:
    """What a higher score of the file means: "easier" or "harder"."""
    return self.higher_is or direction_of_column(self.column) or "easier"


@dataclasses.dataclass(frozen=True)
class SplitConfig:
  """Which examples are A."""

  policy: str = config_key(
    "top",
    "which examples are A; window: the easiest ones after window_start; threshold: all that are "
    "easier; mislabel_cut: the easiest, while the hardest are in neither A nor B",
    choices=("top", "bottom", "random", "window", "threshold", "mislabel_cut"),
  )
  window_start: float | None = config_key(
    None, "window: share of the training set that is easier than A", low=0.0, below=1.0
  )
  threshold: float | None = config_key(
    None,
    "threshold: A is all examples strictly on the easy side of this score, as scores.csv has it",
  )
  cut: float | None = config_key(
    None,
    "mislabel_cut: share of the training set that is left out, as its labels may be wrong",
    above=0.0,
    below=1.0,
  )
  source: str = config_key(
    "seed",
    "seed: every seed splits by its own scores; mean: all by the mean over seeds",
    choices=("seed", "mean"),
  )
  class_balanced: bool | None = config_key(
    None,
    "A has every class's share of the training set (largest remainder); by default for folder, "
    "csv, npz, digits and shapes, and not for the published sets, where A is the paper's",
  )


@dataclasses.dataclass(frozen=True)
class ToyConfig:
  """The experiment on data.name='curve', in which A is the noisiest points."""

  lambdas: tuple[float, ...] = config_key(
    (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "candidates for the decay of all points, chosen on the validation points",
    low=0.0,
    high=1e3,
    min_length=1,
    unique=True,
  )
  lambda_ratio: float = config_key(
    50.0, "the decay on A, as a multiple of the chosen decay", above=0.0, high=1e6
  )
  num_noisy: int = config_key(8, "size of A: the points with the largest noise", low=1)


@dataclasses.dataclass(frozen=True)
class StatsConfig:
  """How differences are judged."""

  margin: float = config_key(
    0.0025, "differences within this are called equal, a fraction", above=0.0, below=1.0
  )
  looks: tuple[int, ...] = config_key(
    (),
    "numbers of seeds at which the results will be looked at, such as 5,10,20: all looks together "
    "keep the 5 %",
    low=3,
    high=1000,
    unique=True,
    is_later=True,
  )


@dataclasses.dataclass(frozen=True)
class SweepConfig:
  """One experiment for each value of a key; each has a folder in the workdir."""

  key: str | None = config_key(None, "the key that takes several values, such as method.lambda_A")
  values: tuple[str, ...] = config_key(
    (),
    "its values, as on the command line; in config files numbers will do",
    as_text=True,
    unique=True,
  )
  also_key: str | None = config_key(None, "a second key that changes with it")
  also_values: tuple[str, ...] = config_key((), "its value for each of sweep.values", as_text=True)
