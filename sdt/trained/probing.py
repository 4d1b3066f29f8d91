"""Linear classifiers on the stages of a network whose weights are in a file, on other data."""

import dataclasses

import numpy as np

from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine.stage_features import View, features_by_stage
from sdt.errors import DataError
from sdt.inputs.augment import input_shape
from sdt.models import init_variables, make_model
from sdt.models.pretrained import Pretrained
from sdt.run import load_inputs
from sdt.scores.split import folds
from sdt.stats.linear_probe import Examples, Probe, probe
from sdt.types import Log

NUM_PARTS = 5


@dataclasses.dataclass(frozen=True)
class Task:
  """A network whose weights are in a file, and data that it is tried on.

  Attributes:
    config: its data, its network, `score.batch_size` and its first seed count.
    data: of the config.
    weights: of the network; the head of the file is not used.
  """

  config: Config
  data: Data
  weights: Pretrained


@dataclasses.dataclass(frozen=True)
class Probed:
  """What a stage of a network tells apart.

  Attributes:
    num_features: that it hands on.
    probe: what a linear classifier on them reaches.
  """

  num_features: int
  probe: Probe


def load_task(config: Config, log: Log) -> Task:
  """Returns the data and the weights that a config names, `model.pretrained` among them.

  Raises:
    ConfigError, DataError: see `load_data` and `load_weights`; a class with a single training
      image.
  """
  model = dataclasses.replace(config.model, pretrained_head=False)
  config = dataclasses.replace(config, model=model)
  data = load_inputs.load_data(config, log)
  _refuse_single_examples(data)
  weights = load_inputs.load_weights(config, data)
  if weights is None:
    raise ValueError("model.pretrained names no file")
  return Task(config, data, weights)


def probe_stages(task: Task, log: Log) -> dict[str, Probed]:
  """Returns what a linear classifier reaches on every stage, in the order of the forward pass.

  Everything is float32. The parts of the training set that are held out depend on the first seed
  and the ids of the examples.

  Args:
    task: see there.
    log: gets lines of progress.
  """
  config, data, seed = task.config, task.data, task.config.seeds[0]
  model = make_model(config.model, len(data.class_names))
  variables = task.weights.put_into(init_variables(model, input_shape(config, data), seed))
  view = View.of(data, config.data.crop_size, config.score.batch_size)
  train, test = (
    features_by_stage(model, variables, split, view=view) for split in (data.train, data.test)
  )
  parts = folds(data.train.labels, data.train.example_ids, NUM_PARTS, seed=seed)
  found = {}
  for stage, features in train.items():
    log(f"probe: {stage}, {features.shape[1]:,} features")
    mine = Examples(features, data.train.labels)
    one = probe(mine, Examples(test[stage], data.test.labels), parts)
    found[stage] = Probed(features.shape[1], one)
  return found


def _refuse_single_examples(data: Data) -> None:
  """Refuses a training set too small to hold a part out of it."""
  counts = np.bincount(data.train.labels, minlength=len(data.class_names))
  single = np.flatnonzero(counts == 1)
  if len(single) or len(data.train) < NUM_PARTS:
    where = f"class {data.class_names[single[0]]} has 1" if len(single) else "it has too few"
    raise DataError(
      f"data.name={data.name!r}: the penalty of a linear classifier is chosen on held-out training "
      f"examples, which needs 2 of every class and {NUM_PARTS} in all; {where}: give more examples"
    )
