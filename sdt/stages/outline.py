"""What an experiment will do, before anything is trained: its plans, its files, its sizes."""

import dataclasses

import numpy as np

from sdt.arms.catalogue import trainings
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config import Config
from sdt.data import duplicates
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.report import review_page
from sdt.run import preprocessing_file, selection
from sdt.scores.split import Partition, Sizes, sizes
from sdt.stages import contact_sheet, prediction_files, suspect_files
from sdt.stages.model_file import file_of
from sdt.stages.ways import further_ways

_OF_SCORES = ("scores.npz", "scores.csv", "scores.json", "split.csv", suspect_files.TABLE)


def has_split(config: Config) -> bool:
  """Returns whether an arm needs A and B; the baseline alone does not."""
  return len(config.arms) > 1


def kept_arm(config: Config) -> str:
  """Returns the arm whose final networks stay in memory: the method, or else the baseline."""
  return "method" if "method" in config.arms else "baseline"


def check(config: Config, data: Data) -> None:
  """Refuses what these data show to be wrong, before anything is written.

  Raises:
    ConfigError, DataError: A or B would be empty, or the validation split of a selection.
  """
  if selection.is_on(config):
    selection.prepare(config, data)
  elif has_split(config):
    sizes(config.method, config.split, len(data.train))


def outputs(config: Config, data: Data) -> list[str]:
  """Returns the names of the files that an experiment leaves beside those of every run."""
  names = [selection.FILE] if selection.is_on(config) else []
  names += [duplicates.FILE] if data.duplicates.copies else []
  names += [preprocessing_file.FILE] if preprocessing_file.is_written(data) else []
  names += [file_of(arm, seed) for arm in config.arms for seed in config.seeds]
  names += [prediction_files.FILE, prediction_files.TABLE]
  names += [way.file for way in further_ways(config)]
  names += [contact_sheet.FILE] if contact_sheet.is_drawn(config, data) else []
  if has_split(config):
    names += [*_OF_SCORES, *(f"arms/{arm}.npz" for arm in config.arms if arm != "baseline")]
    of_images = ["figures/mosaics.npz", suspect_files.IMAGES, review_page.FILE]
    names += of_images if data.train.inputs.ndim == 4 else []
  return names


def plans(config: Config, data: Data) -> tuple[int, list[Plan]]:
  """Returns the size of A and every arm's plan in the order of training.

  Which examples are A is not known yet: the plans have the right sizes and arbitrary examples. The
  size of A is 0 where no arm has one. Where a selection is to choose, the sizes are those of its
  first candidates.

  Raises:
    ConfigError, DataError: A or B would be empty.
  """
  config, train = selection.provisional(config), data.train
  size = sizes(config.method, config.split, len(train)) if has_split(config) else Sizes(0)
  positions = np.arange(len(train), dtype=np.int32)
  easy, rest, out = np.split(positions, (size.easy, len(train) - size.left_out))
  partitions = (Partition(easy, rest, 0, left_out=out),) * len(config.seeds)
  setting = dataclasses.replace(Setting.of(config, data), partitions=partitions)
  return size.easy, [make_plan(arm, setting) for arm in trainings(config)]
