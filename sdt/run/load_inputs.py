"""Loads the inputs of a run, checks them against its config, and says what the user must know.

It writes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from sdt.arms import checks, design
from sdt.arms.checks import check
from sdt.arms.class_checks import idle_remedies
from sdt.arms.strengths import strongest
from sdt.config import Config
from sdt.config.toolbox.operation_blocks import SMOTE, THREE_CHANNELS
from sdt.config.toolbox.pipeline import Pipeline, strong_pipeline_of
from sdt.config.toolbox.training_blocks import USUAL_RATES
from sdt.config.toolbox.view_blocks import CENTRE, views_of
from sdt.data import sources
from sdt.data.dataset import Data, image_sizes
from sdt.data.validation_split import with_validation
from sdt.devices import processes
from sdt.engine.optim import first_trained
from sdt.engine.plan import Plan
from sdt.errors import ConfigError
from sdt.inputs.augment import input_shape, output_size
from sdt.inputs.views import farthest
from sdt.models import make_model, pretrained
from sdt.models.namings import NAMINGS
from sdt.models.pretrained import Pretrained
from sdt.models.registry import NETWORKS, variable_shapes
from sdt.models.stages import check_stage, frozen_modules, stages_of
from sdt.run import full_batch, recorded
from sdt.scores import from_file
from sdt.scores.from_file import FileScores


@dataclasses.dataclass(frozen=True)
class Beside:
  """The content of the files beside the data that a config names; None if it names none."""

  pretrained: Pretrained | None = None
  scores: FileScores | None = None

  @property
  def checksums(self) -> dict[str, str]:
    """The SHA-256 of each, "none" without one, by the config key that names it."""
    found = {"model.pretrained": self.pretrained, "score.path": self.scores}
    return {key: "none" if one is None else one.checksum for key, one in found.items()}


def load_data(config: Config, log: Callable[[str], None], loaded: Data | None = None) -> Data:
  """Returns the data of a config, checked against it; `log` gets lines of progress.

  Nothing is read where the caller has them already (`loaded`): those are checked against the
  config.

  Raises:
    ConfigError, DataError: the config is wrong, alone or for this data, or the data is.
  """
  check(config)
  if config.model.pretrained is not None:
    pretrained.find(config.model.pretrained)  # before the data are read, which may take minutes
  if config.score.path is not None:
    from_file.find(config.score.path)
  data = (
    processes.in_turn(lambda: sources.load(config.data, log, config.seeds))
    if loaded is None
    else loaded
  )
  _check_network_takes(config, data)
  _check_stage(config, data)
  needs_validation = config.stop.patience or config.evaluate.prior_shift
  if needs_validation and data.validation is None:
    data = with_validation(data, config.data)
  return data


def settle(
  config: Config, data: Data, plans_of: Callable[[Config, Data], tuple[int, list[Plan]]]
) -> tuple[Config, list[str]]:
  """Returns the config with what its data decide, the batch size where it is "auto", and notes.

  Refuses what config and data show to be wrong together, before anything is written.

  Args:
    config: of the run.
    data: of the run.
    plans_of: `Experiment.plans`.

  Raises:
    ConfigError: see `check_equal_work`, `full_batch.check` and `recorded.check`.
  """
  plans, notes = plans_of(config, data)[1], []
  if config.fit_batch:
    config, note = design.fitted(config, plans)
    plans, notes = plans_of(config, data)[1], [note]
  if config.split.policy != "threshold":  # which gives A its size later
    design.check_equal_work(design.compared(plans, config), config)
  full_batch.check(config, data, plans)
  recorded.check(config, data)
  return config, notes


def _check_network_takes(config: Config, data: Data) -> None:
  """Refuses a network, a crop or an augmentation that these examples cannot have."""
  shape, crop_size = data.train.inputs.shape[1:], config.data.crop_size
  pipeline = strongest(config)
  if len(shape) == 1:
    if config.model.name != "mlp":
      raise ConfigError(
        f"model.name={config.model.name!r}: the data are vectors of {shape[0]} numbers, this "
        "network wants images; use 'mlp'"
      )
    if (pipeline.calls and not set(pipeline.names) <= {"mixup", SMOTE}) or crop_size is not None:
      raise ConfigError(
        "augment: the data are vectors, which can be neither cropped nor mirrored, only mixed by "
        "mixup and smote; leave augment.ops, augment.flip, augment.pad_crop, "
        "augment.resized_crop_area and data.crop_size off"
      )
    if views_of(config.evaluate.views) != (CENTRE,):
      raise ConfigError(
        f"evaluate.views={config.evaluate.views!r}: the data are vectors, which can be neither "
        "moved nor mirrored; leave it out"
      )
    return
  least = [int(image_sizes(split).min()) for split in (data.train, data.test)]
  if crop_size is not None and crop_size > min(least):
    split = data.train if least[0] < crop_size else data.test
    first = int(np.argmax((image_sizes(split) < crop_size).any(axis=1)))
    file = "" if split.source_files is None else f", {split.source_files[first]}"
    raise ConfigError(
      f"data.crop_size={crop_size}: expected at most {min(least)}, the shortest side of an image "
      f"of data.name={config.data.name!r}; "
      f"the first that is too small is example {split.example_ids[first]} of the "
      f"{'training' if split is data.train else 'test'} set{file}"
    )
  size = output_size(shape, crop_size)
  strong = strong_pipeline_of(config.augment)
  for key, one in (("augment.ops", pipeline), ("augment.strong", strong)):
    _check_operations_take(config, key, one, shape=(*size, shape[2]))
  _check_views_show(config, size)
  _check_patches(config, size)


def _check_views_show(config: Config, size: tuple[int, int]) -> None:
  """Refuses views that could miss the image."""
  moved = farthest(views_of(config.evaluate.views))
  if moved >= min(size):
    raise ConfigError(
      f"evaluate.views={config.evaluate.views!r}: a view is moved by {moved} pixels, and the "
      f"network sees {size[0]} x {size[1]}, so it would miss the image; give shifts fewer pixels"
    )


def _check_patches(config: Config, size: tuple[int, int]) -> None:
  """Refuses a transformer that would see an image as one patch, and have nothing to attend to."""
  patch_size = getattr(make_model(config.model, 2), "patch_size", None)
  if patch_size is not None and patch_size >= max(size):
    raise ConfigError(
      f"model.patch_size={patch_size} of model.name={config.model.name!r}: the network sees "
      f"{size[0]} x {size[1]} pixels, which are one patch; expected less than {max(size)}, such as "
      f"model.patch_size={max(1, max(size) // 8)}"
    )


def _check_stage(config: Config, data: Data) -> None:
  """Refuses a stage to train from that the network has not."""
  if config.optim.train_from is not None:
    model = make_model(config.model, len(data.class_names))
    modules = variable_shapes(model, input_shape(config, data))["params"]
    check_stage(config.optim.train_from, modules, config.model.name)


def _check_operations_take(
  config: Config, key: str, pipeline: Pipeline, *, shape: tuple[int, int, int]
) -> None:
  """Refuses operations that could leave nothing of an image, and colours where there are none.

  `key` names the operations; the strengths of `augment.ops` may be those of an arm.
  """
  height, width, channels = shape
  crop, of_colour = pipeline.find("crop"), [n for n in pipeline.names if n in THREE_CHANNELS]
  if crop is not None and crop.numbers[0] >= min(height, width):
    is_older = key == "augment.ops" and config.augment.ops is None
    where = f"augment.pad_crop={crop.numbers[0]:g}" if is_older else f"{key}: {crop}"
    raise ConfigError(
      f"{where}: the images of data.name={config.data.name!r} are "
      f"{height} x {width} pixels, so some crops "
      f"would hold nothing of them; expected less than {min(height, width)}"
    )
  for name, most in (("cutout", max(height, width) - 1), ("translate", min(height, width))):
    call = pipeline.find(name)
    if call is not None and round(call.numbers[0]) > most:
      where = key if key == "augment.strong" else f"{key} or an arm"
      raise ConfigError(
        f"{where}: {call}: the images of data.name={config.data.name!r} are {height} x {width} "
        f"pixels, so nothing would be left of some; expected at most {most}"
      )
  if of_colour and channels != 3:
    raise ConfigError(
      f"{key}: {of_colour[0]} changes colours, and the images of data.name="
      f"{config.data.name!r} have {channels} channel{'s' * (channels > 1)}; leave "
      f"{', '.join(of_colour)} out (brightness and contrast take any image)"
    )


def load_weights(config: Config, data: Data) -> Pretrained | None:
  """Returns the pretrained weights that the config names; None if it names none.

  They fit its network on these data.

  Raises:
    ConfigError, DataError: see `sdt.models.pretrained.load`.
  """
  if config.model.pretrained is None:
    return None
  network = NETWORKS[config.model.name]
  has_own_stem = config.model.stem in (None, network.arguments.get("stem"))
  variables = variable_shapes(
    make_model(config.model, len(data.class_names)), input_shape(config, data)
  )
  naming = network.weights_from if has_own_stem else None
  return pretrained.load(
    config.model.pretrained,
    naming,
    variables,
    with_head=config.model.pretrained_head,
    class_names=data.class_names if data.checksum else (),  # a stand-in has made-up names
  )


def load_beside(config: Config, data: Data) -> Beside:
  """Returns the content of the other files that the config names, each checked against the data.

  Where the data are not there (a stand-in has no checksum), scores cannot be joined with them.

  Raises:
    ConfigError, DataError: see `sdt.models.pretrained.load` and `sdt.scores.from_file.load`.
  """
  weights, score, scores = load_weights(config, data), config.score, None
  if score.path is not None:
    scores = from_file.load(
      score.path,
      score.column,
      data.train.example_ids if data.checksum else None,
      labels=data.train.labels,
      names=data.class_names,
    )
  return Beside(weights, scores)


def _of_frozen(config: Config, data: Data) -> list[str]:
  """Returns which stages learn and which are frozen, and whether those are as they were drawn."""
  first = first_trained(config.optim)
  if first is None:
    return []
  by_rate = config.optim.train_from is None
  what = "the body" if by_rate else f"all before {first}"
  key = "body_rate_factor=0" if by_rate else f"train_from={first}"
  model = make_model(config.model, len(data.class_names))
  shapes = variable_shapes(model, input_shape(config, data))["params"]
  frozen = frozen_modules(shapes, first)
  if not frozen:
    return [f"optim.{key}: no stage comes before it, so none is frozen"]
  learn = [module for module in shapes if module not in frozen]
  count = f"{_size(shapes, learn):,} of {_size(shapes, shapes):,} parameters"
  found = [
    f"optim.{key}: {', '.join(stages_of(learn))} learn, {count}; frozen: "
    f"{', '.join(stages_of(frozen))}"
  ]
  if config.model.pretrained is None:
    found.append(
      f"{what} is frozen as it was drawn (optim.{key}): only what follows learns; model.pretrained "
      "gives weights"
    )
  return found


def _size(shapes: Mapping[str, Any], modules: Iterable[str]) -> int:
  """Returns how many parameters these modules have."""
  return sum(math.prod(leaf.shape) for name in modules for leaf in jax.tree.leaves(shapes[name]))


def _other_statistics(config: Config) -> list[str]:
  """Returns what the user must be told where public weights expect another normalisation."""
  naming = NETWORKS[config.model.name].weights_from
  expected = {} if naming is None else NAMINGS[naming].statistics
  if not expected or config.data.statistics in expected:
    return []
  ways = (f"{whose} by data.statistics={name}" for name, whose in expected.items())
  return [f"the weights expect images that are normalised otherwise: {', '.join(ways)}"]


def notes(config: Config, data: Data, beside: Beside = Beside()) -> list[str]:
  """Returns what the user must be told before a run: of the data, the files, and idle arms."""
  found, weights = [*data.notes, *checks.notes(config)], beside.pretrained
  if weights is not None:
    found.append(
      f"weights from {config.model.pretrained} (SHA-256 {weights.checksum}), {weights.head}"
      f"{weights.positions}"
    )
    found += _other_statistics(config) if weights.is_public else []
  found += _of_frozen(config, data)
  found += idle_remedies(config, data.train.labels) if data.checksum else []  # not of a stand-in
  if beside.scores is not None:
    unused = (
      f"; {beside.scores.num_unused} of its rows are of other ids and not used"
      if beside.scores.num_unused
      else ""
    )
    end = f"higher is {config.score.file_direction}"
    found.append(
      f"scores from {config.score.path} (SHA-256 {beside.scores.checksum}), column "
      f"{config.score.column}, {end}{unused}"
    )
  late = tuple(milestone for milestone in config.optim.milestones if milestone >= config.rounds)
  if config.optim.schedule == "step" and late:
    where = f"round {late[0]}" if len(late) == 1 else f"rounds {late}"
    found.append(f"the learning rate never drops at {where}: the run has {config.rounds}")
  rate, usual = config.optim.learning_rate, USUAL_RATES.get(config.optim.name)
  if usual is not None and rate > 10 * usual:
    found.append(
      f"optim.learning_rate = {rate:g} is high for {config.optim.name}, whose steps do not shrink "
      f"with the gradient; {usual:g} is usual, so try that"
    )
  return found
