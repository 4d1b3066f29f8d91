"""Active learning: asks the network of a finished run which labels are to be known next."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data, Dataset
from sdt.data.hidden_labels import without_labels
from sdt.run import preprocessing_file
from sdt.run.programs import Setup
from sdt.scores import acquisition
from sdt.trained.model import file_of, read_model


@dataclasses.dataclass(frozen=True)
class Asked:
  """The examples whose labels are asked for together, the most wanted first.

  Attributes:
    example_ids: [m].
    worth: [m], see `acquisition.worth`; 0 at the start.
    predicted: [m], the class that the network says; -1 at the start, which has no network.
    probability: [m] of that class; NaN at the start.
  """

  example_ids: Int32[np.ndarray, "m"]
  worth: Float64[np.ndarray, "m"]
  predicted: Int32[np.ndarray, "m"]
  probability: Float32[np.ndarray, "m"]

  @classmethod
  def at_start(cls, example_ids: Int[np.ndarray, "N"], num: int, seed: int) -> "Asked":
    """Returns the examples whose labels are known at the start, see `acquisition.first_ids`."""
    drawn = acquisition.first_ids(example_ids, num, seed).astype(np.int32)
    nothing = np.full(num, np.nan, np.float32)
    return cls(drawn, np.zeros(num), np.full(num, -1, np.int32), probability=nothing)

  @classmethod
  def read(cls, path: Path) -> "Asked":
    """Returns what `write` wrote. Raises a DataError where the file is damaged."""
    stored = files.read_npz(path)
    return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls)})

  def write(self, path: Path) -> None:
    """Writes the arrays as an npz, sealed."""
    files.write_npz(path, **vars(self))


def probabilities(config: Config, pool: Data, workdir: Path, arm: str) -> Float[np.ndarray, "N K"]:
  """Returns the probabilities that the network of a finished run gives the examples of a pool.

  It is asked in the arithmetic of the run's own evaluation, about all N, so that one program does
  for all numbers of labels.

  Args:
    config: of the run, of one seed.
    pool: what its training examples were taken from; no label of it is read.
    workdir: of the run.
    arm: whose network.

  Raises:
    DataError: the file of weights is missing or damaged.
  """
  model = read_model(workdir / file_of(arm, config.seeds[0]))
  examples = without_labels(pool.train)
  begun = preprocessing_file.as_begun(workdir, pool)
  data = dataclasses.replace(begun, train=examples, test=examples, unlabelled=None)
  predictor = Setup.make(config, data).predictor("float32")
  variables = jax.tree.map(lambda leaf: np.asarray(leaf)[None], model.variables)
  return np.concatenate([said.probabilities[0] for *_, said in predictor.predictions(variables)])


def ask(
  strategy: str,
  given: Float[np.ndarray, "N K"],
  examples: Dataset,
  known: Int[np.ndarray, "n"],
  *,
  num: int,
  seed: int,
) -> Asked:
  """Returns the hidden examples that a strategy asks for: a function of its arguments alone.

  Args:
    strategy: a name of `acquisition.WORTHS`.
    given: the probabilities of the examples.
    examples: the whole pool; no label of it is read.
    known: the ids whose labels are known.
    num: how many are asked for.
    seed: of the hash that breaks ties.
  """
  hidden = np.flatnonzero(~np.isin(examples.example_ids, known))
  worth, ids = acquisition.worth(strategy, given[hidden]), examples.example_ids[hidden]
  places = acquisition.next_places(worth, ids, num, seed=seed)
  of_asked = given[hidden[places]]
  return Asked(
    ids[places],
    worth[places],
    of_asked.argmax(axis=1).astype(np.int32),
    probability=of_asked.max(axis=1).astype(np.float32),
  )
