"""Where the inputs of a data set are: `Resident` on the devices, or `Streamed` from the host.

`make_source` is the only place that asks which of the two it is; all others use a `Source`.
"""

import abc
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Bool, Int, Int32

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.devices import processes
from sdt.devices.layout import Layout, place, place_replicas
from sdt.inputs.device_data import DeviceData, Feed, Split, Steps, WholeSplit
from sdt.inputs.operations.smote import Neighbours
from sdt.inputs.order import num_batches
from sdt.inputs.placement import Placement, most_batches
from sdt.inputs.preprocess import Preparation
from sdt.inputs.stream import HostInputs, read_ahead, rows_at

# Numbers of batches [G] -> [G, B] positions of their examples in a split.
type Positions = Callable[[Int[np.ndarray, "G"]], Int[np.ndarray, "G B"]]

# Ids [R, T, B] of the steps of a dispatch, and which of them count.
type StepIds = tuple[Int32[np.ndarray, "R T B"], Bool[np.ndarray, "R T B"]]

# Whether the next dispatch of a training trains, or else evaluates -> its feed.
type NextFeed = Callable[[bool], Feed]


@dataclasses.dataclass(frozen=True)
class Reads:
  """Which examples the dispatches to come use, for inputs that are read ahead.

  Attributes:
    num_train: dispatches that train.
    steps: number of such a dispatch -> ids and masks of its steps, [R, T, B] each.
    unlabelled: the same of the unlabelled examples; None where the steps see none.
    num_test: dispatches that evaluate.
    batches: number of such a dispatch -> positions [G, B] of its evaluation batches.
  """

  num_train: int
  steps: Callable[[int], StepIds]
  num_test: int
  batches: Callable[[int], Int[np.ndarray, "G B"]]
  unlabelled: Callable[[int], StepIds] | None = None


@dataclasses.dataclass(frozen=True)
class FeedShapes:
  """The shapes of what a dispatch is fed: [R, T, B] of its steps, [G, B] of its evaluation.

  `unlabelled` is [R, T, U] where the steps see unlabelled examples.
  """

  steps: tuple[int, int, int]
  batches: tuple[int, int]
  unlabelled: tuple[int, int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source(abc.ABC):
  """A data set that is ready for programs, in one of two forms.

  Attributes:
    data: what is on the devices.
    num_train: N, training examples.
    num_test: M, test examples.
  """

  data: DeviceData
  num_train: int
  num_test: int

  runs_whole_rounds: ClassVar[bool]  # whether one dispatch may train and evaluate
  device_name: ClassVar[str]  # of the data on a device, in the estimate of its memory

  @property
  @abc.abstractmethod
  def notes(self) -> tuple[str, ...]:
    """What the user is told about the inputs."""

  @abc.abstractmethod
  def most_batches(self, split: str, batch_size: int) -> int:
    """Returns how many batches of a split one dispatch may be given."""

  @abc.abstractmethod
  def pass_over(
    self, split: str, positions: Positions, num: int, group: int
  ) -> AbstractContextManager[Iterator[DeviceData]]:
    """Returns a context with an iterator over the data of each dispatch of one pass over a split.

    Args:
      split: train or test.
      positions: numbers of batches [G] -> [G, B] positions in the split.
      num: batches of the pass.
      group: batches of a dispatch. Where the pass ends within a dispatch, the last batch is
        repeated.
    """

  @abc.abstractmethod
  def feeds(self, reads: Reads) -> AbstractContextManager[NextFeed]:
    """Returns a context with a function: whether the next dispatch trains -> its feed."""

  @abc.abstractmethod
  def feed_shapes(self, shapes: FeedShapes) -> list[Feed]:
    """Returns one feed of each kind, of shapes and dtypes: each has a compiled program."""


def make_source(
  config: DataConfig,
  data: Data,
  layout: Layout,
  *,
  placement: Placement,
  neighbours: Neighbours | None = None,
) -> Source:
  """Returns the data set in the form that `placement` says, with the data on the devices.

  Args:
    config: the section `data`.
    data: the data set on the host.
    layout: of the devices.
    placement: where the inputs are.
    neighbours: of the training set, on the host; they are for inputs on the devices.
  """
  sizes = {"num_train": len(data.train), "num_test": len(data.test)}
  if placement.name == "device":
    return Resident(data=_placed(data, layout, neighbours, is_whole=True), **sizes)
  return Streamed(
    data=_placed(data, layout, None, is_whole=False),
    host=HostInputs(
      data.train.inputs,
      data.test.inputs,
      None if data.unlabelled is None else data.unlabelled.inputs,
    ),
    layout=layout,
    placement=placement,
    note=placement.note(config),
    **sizes,
  )


def _placed(
  data: Data, layout: Layout, neighbours: Neighbours | None, *, is_whole: bool
) -> DeviceData:
  def split(dataset: Dataset) -> Split:
    inputs = WholeSplit(dataset.inputs) if is_whole else None
    return Split(inputs, image_sizes(dataset), dataset.labels)

  by = Preparation.of(data.mean, data.std, data.steps, dtype=data.train.inputs.dtype)
  unlabelled = None if data.unlabelled is None else split(data.unlabelled)
  train = dataclasses.replace(split(data.train), neighbours=neighbours)
  return place(layout, DeviceData(train, split(data.test), by, unlabelled=unlabelled))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resident(Source):
  """The source whose inputs are on the devices: a dispatch needs nothing else."""

  runs_whole_rounds: ClassVar[bool] = True
  device_name: ClassVar[str] = "data"

  @property
  def notes(self) -> tuple[str, ...]:
    return ()

  def most_batches(self, split: str, batch_size: int) -> int:
    del batch_size
    return self.num_train if split == "train" else self.num_test

  @contextlib.contextmanager
  def pass_over(
    self, split: str, positions: Positions, num: int, group: int
  ) -> Iterator[Iterator[DeviceData]]:
    del split, positions, num, group
    yield itertools.repeat(self.data)

  @contextlib.contextmanager
  def feeds(self, reads: Reads) -> Iterator[NextFeed]:
    del reads
    yield lambda trains: Feed(self.data)

  def feed_shapes(self, shapes: FeedShapes) -> list[Feed]:
    del shapes
    return [Feed(self.data)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streamed(Source):
  """The source whose inputs stay on the host: threads read the batches of the dispatches ahead.

  Steps and evaluations are separate dispatches, so that a dispatch is given the inputs of one
  split only.
  """

  host: HostInputs
  layout: Layout
  placement: Placement
  note: str
  runs_whole_rounds: ClassVar[bool] = False
  device_name: ClassVar[str] = "data without inputs"

  @property
  def notes(self) -> tuple[str, ...]:
    return (self.note,)

  def most_batches(self, split: str, batch_size: int) -> int:
    return most_batches(self.placement, batch_size, getattr(self.host, split))

  @contextlib.contextmanager
  def pass_over(
    self, split: str, positions: Positions, num: int, group: int
  ) -> Iterator[Iterator[DeviceData]]:
    inputs: np.ndarray = getattr(self.host, split)
    num_dispatches, what = num_batches(num, group), f"the inputs of the {split} split"

    def read(dispatch: int) -> np.ndarray:
      numbers = np.minimum(dispatch * group + np.arange(group), num - 1)
      return rows_at(inputs, positions(numbers))

    put = functools.partial(place, self.layout)
    with read_ahead(read, num_dispatches, put, what=what) as groups:
      # `map` keeps no group, as a generator would.
      yield map(lambda _: self.data.with_inputs(split, _next(groups)), range(num_dispatches))

  @contextlib.contextmanager
  def feeds(self, reads: Reads) -> Iterator[NextFeed]:
    def read_steps(dispatch: int) -> Steps:
      ids, masks = reads.steps(dispatch)
      steps = Steps(ids, masks, rows_at(self.host.train, ids))
      if reads.unlabelled is None or self.host.unlabelled is None:
        return steps
      ids, masks = reads.unlabelled(dispatch)
      unlabelled = Steps(ids, masks, rows_at(self.host.unlabelled, ids))
      return dataclasses.replace(steps, unlabelled=unlabelled)

    def read_test(dispatch: int) -> np.ndarray:
      return rows_at(self.host.test, reads.batches(dispatch))

    def train_feed(steps: Steps) -> Feed:
      return Feed(self.data, place_replicas(self.layout, steps))

    def test_feed(inputs: np.ndarray) -> Feed:
      return Feed(self.data.with_inputs("test", place(self.layout, inputs)))

    with (
      read_ahead(read_steps, reads.num_train, train_feed, what="the training inputs") as train,
      read_ahead(read_test, reads.num_test, test_feed, what="the test inputs") as test,
    ):
      yield lambda trains: _next(train if trains else test)

  def feed_shapes(self, shapes: FeedShapes) -> list[Feed]:
    train, test = self.host.train, self.host.test
    layout = dataclasses.replace(self.layout, is_abstract=True)

    def steps_of(shape: tuple[int, int, int]) -> Steps:
      return Steps(
        jax.ShapeDtypeStruct(shape, np.int32),
        jax.ShapeDtypeStruct(shape, np.bool_),
        jax.ShapeDtypeStruct((*shape, *train.shape[1:]), train.dtype),
      )

    steps = steps_of(shapes.steps)
    if shapes.unlabelled is not None:
      steps = dataclasses.replace(steps, unlabelled=steps_of(shapes.unlabelled))
    inputs = jax.ShapeDtypeStruct((*shapes.batches, *test.shape[1:]), test.dtype)
    of_steps = Feed(self.data, place_replicas(layout, steps))
    return [of_steps, Feed(self.data.with_inputs("test", place(layout, inputs)))]


def _next[T](groups: Iterator[T]) -> T:
  """Returns the next group. A process that cannot read ends all processes.

  They end before any of them begins a dispatch in which it would wait for the others.
  """
  following: T = processes.on_all(functools.partial(next, groups))
  return following
