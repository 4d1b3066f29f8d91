"""Building blocks that cannot stand together: one table, with the reason and the way out."""

from collections.abc import Mapping
from typing import Any

from sdt.config.acquire_conflicts import ACQUIRE
from sdt.config.answer_conflicts import ANSWERS
from sdt.config.batch_conflicts import BATCH
from sdt.config.conflict import Conflict
from sdt.config.imbalance_conflicts import IMBALANCE
from sdt.config.score_conflicts import SCORES
from sdt.config.semi_conflicts import SEMI
from sdt.config.stopping_conflicts import STOPPING
from sdt.config.toolbox.block import Call
from sdt.config.toolbox.network_blocks import INITS
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS, SMOTE
from sdt.config.toolbox.parse import parse_call, parse_calls
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.config.toolbox.training_blocks import CLIPS, FULL_BATCH, SCHEDULES
from sdt.config.transfer_conflicts import TRANSFER
from sdt.errors import ConfigError

_NETWORK: tuple[Conflict, ...] = (
  Conflict(
    ("model.start", "model.norm"),
    lambda of: of["model.start"] == "fixup" and of["model.norm"] != "none",
    "Fixup is for residual networks without norm",
    way_out="give model.norm=none too, or leave model.start out",
  ),
  Conflict(
    ("model.start", "model.pretrained"),
    lambda of: of["model.start"] is not None and of["model.pretrained"] is not None,
    "the weights of a file are trained, and a start would change them",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.bias_start", "model.pretrained"),
    lambda of: of["model.bias_start"] != 0.0 and of["model.pretrained"] is not None,
    "the biases are those of the file",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.initialisation", "model.pretrained_head"),
    lambda of: of["model.initialisation"] is not None and of["model.pretrained_head"],
    "all weights are those of the file",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.start", "model.initialisation"),
    lambda of: (
      of["model.start"] in ("lsuv", "data")
      and (of["model.initialisation"] or "").startswith("constant")
    ),
    "the outputs of a layer would all be alike, and no factor gives them a spread",
    way_out="choose another model.initialisation, such as orthogonal",
  ),
  Conflict(
    ("model.initialisation", "model.norm"),
    lambda of: (
      of["model.norm"] == "weight"
      and parse_calls(of["model.initialisation"] or "", INITS) == (Call("constant", (0.0,)),)
    ),
    "weight normalisation divides by the norm of the weights, which is 0",
    way_out="choose another model.initialisation, such as orthogonal",
  ),
  Conflict(
    ("model.groups", "model.norm"),
    lambda of: of["model.groups"] is not None and of["model.norm"] != "group",
    "no other norm reads the groups",
    way_out="give model.norm=group, or leave model.groups out",
  ),
  Conflict(
    ("parallel.batch_norm", "model.norm"),
    lambda of: of["parallel.batch_norm"] == "device" and of["model.norm"] not in (None, "batch"),
    "no other norm mixes the examples of a device",
    way_out="choose model.norm=batch, or leave parallel.batch_norm out",
  ),
)


def _schedule(values: Mapping[str, Any]) -> Call:
  return parse_call(values["optim.schedule"], SCHEDULES)


def _clips_twice(values: Mapping[str, Any]) -> bool:
  names = [call.name for call in parse_calls(values["optim.clip"], CLIPS)]
  return len(set(names)) < len(names)


def _beside_full_batch(key: str, only: object, reason: str, way_out: str) -> Conflict:
  """Returns the conflict of L-BFGS and Newton's method with all values of a key but one."""

  def when(values: Mapping[str, Any]) -> bool:
    return values["optim.name"] in FULL_BATCH and values[key] != only

  return Conflict(("optim.name", key), when, reason=reason, way_out=way_out)


_DRAWN = "a loss that is drawn anew in every step has no curvature"
# Of L-BFGS and Newton's method: a key, the one value that it may have, why, and what to do.
_OF_FULL_BATCH = (
  (
    "optim.decay_form",
    "decoupled",
    "the curvature would be that of a loss which the phase's decay changes",
    "give optim.decay_form='decoupled'",
  ),
  ("optim.clip", "", "a clipped gradient is no gradient of a loss", "leave optim.clip out"),
  ("optim.l1", 0.0, "the derivative of |w| has no curvature", "leave optim.l1 at 0"),
  (
    "optim.body_rate_factor",
    1.0,
    "the curvature is that of all parameters together",
    "leave optim.body_rate_factor at 1",
  ),
  (
    "optim.train_from",
    None,
    "the curvature is that of all parameters together",
    "leave optim.train_from out",
  ),
  ("augment.ops", None, _DRAWN, "leave augmentation out"),
  ("augment.flip", False, _DRAWN, "leave augmentation out"),
  ("augment.pad_crop", 0, _DRAWN, "leave augmentation out"),
  ("augment.resized_crop_area", None, _DRAWN, "leave augmentation out"),
  ("data.crop_size", None, _DRAWN, "leave data.crop_size out"),
  ("model.dropout", None, _DRAWN, "leave dropout out"),
)

_OPTIMISER: tuple[Conflict, ...] = (
  *(_beside_full_batch(*row) for row in _OF_FULL_BATCH),
  Conflict(
    ("optim.name", "optim.decay_form"),
    lambda values: values["optim.name"] == "adamw" and values["optim.decay_form"] == "penalty",
    reason="the decay of adamw is decoupled",
    way_out="choose optim.name='adam', or leave optim.decay_form out",
  ),
  Conflict(
    ("optim.name", "optim.betas"),
    lambda values: (
      values["optim.betas"] is not None
      and len(values["optim.betas"]) != (1 if values["optim.name"] == "rmsprop" else 2)
    ),
    reason="rmsprop has one number, adam and adamw have two",
    way_out="give as many, such as 0.9,0.999",
  ),
  Conflict(
    ("optim.clip",),
    _clips_twice,
    reason="the second of two clips of one kind does what the smaller does alone",
    way_out="name it once",
  ),
  Conflict(
    ("optim.schedule", "optim.floor"),
    lambda values: values["optim.floor"] > 0 and _schedule(values).name in ("step", "constant"),
    reason="this schedule falls to no floor",
    way_out="leave optim.floor at 0, or choose another schedule, such as cosine",
  ),
  Conflict(
    ("optim.floor", "optim.learning_rate"),
    lambda values: 0 < values["optim.learning_rate"] <= values["optim.floor"],
    reason="the lowest rate is not below the highest",
    way_out="lower optim.floor",
  ),
  Conflict(
    ("optim.schedule", "optim.floor"),
    lambda values: (
      _schedule(values).name == "triangular"
      and values["optim.floor"] == 0
      and values["optim.clock"] == "round"
    ),
    reason="every cycle would begin with a round at rate 0, in which nothing is learnt",
    way_out="give optim.floor, such as a tenth of optim.learning_rate, or optim.clock='step'",
  ),
  Conflict(
    ("optim.schedule", "optim.cycle_rounds"),
    lambda values: (
      values["optim.cycle_rounds"] is None
      and "optim.cycle_rounds" in SCHEDULES[_schedule(values).name].keys
    ),
    reason="how long a cycle is must be said",
    way_out="give optim.cycle_rounds, such as a quarter of rounds",
  ),
  Conflict(
    ("optim.schedule", "optim.cycle_rounds"),
    lambda values: (
      values["optim.cycle_rounds"] is not None
      and "optim.cycle_rounds" not in SCHEDULES[_schedule(values).name].keys
    ),
    reason="this schedule has no cycles",
    way_out="leave optim.cycle_rounds out, or choose triangular or warm_restarts",
  ),
  Conflict(
    ("optim.warmup_rounds", "rounds"),
    lambda values: values["optim.warmup_rounds"] >= values["rounds"],
    reason="no round is left after the warm-up",
    way_out="lower optim.warmup_rounds",
  ),
)


def _operations(values: Mapping[str, Any]) -> tuple[Call, ...]:
  return parse_calls(values["augment.ops"] or "", OPS)


def _names(values: Mapping[str, Any]) -> list[str]:
  return [call.name for call in _operations(values)]


def _with_ops(key: str, written: str, off: str) -> Conflict:
  return Conflict(
    ("augment.ops", key),
    lambda values: values["augment.ops"] is not None and bool(values[key]),
    "both say what becomes of the images",
    way_out=f"write {written} into augment.ops, and give {key}={off} where the config file sets it",
  )


_AUGMENTATION: tuple[Conflict, ...] = (
  _with_ops("augment.pad_crop", "crop(pixels)", "0"),
  _with_ops("augment.flip", "flip", "False"),
  _with_ops("augment.resized_crop_area", "resized_crop(area)", "None"),
  Conflict(
    ("augment.fill", "augment.ops"),
    lambda values: values["augment.fill"] != "black" and values["augment.ops"] is None,
    "no operation is named that fills anything",
    way_out="name one in augment.ops, such as 'crop(4) flip', or leave augment.fill out",
  ),
  Conflict(
    ("augment.fill", "data.normalise"),
    lambda values: (
      values["augment.fill"] == "mean" and _prepares(values)[:1] not in (["channel"], ["mean"])
    ),
    "the mean that fills is the one of each channel, which only the blocks channel and mean take",
    way_out="choose augment.fill=black, or begin data.normalise with channel or mean",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: set(CROPS) <= set(_names(values)),
    "crop and resized_crop each choose the part of the image that is seen",
    way_out="keep one of them",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: len([name for name in _names(values) if name in MIXING]) > 1,
    "a batch is mixed once, by one of " + ", ".join(MIXING),
    way_out="keep one of them",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: len(set(_names(values))) < len(_names(values)),
    "an operation stands in it twice, and its strength has one name",
    way_out="name every operation once",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: any(name in CROPS for name in [n for n in _names(values) if n != SMOTE][1:]),
    "a crop sets the size of the images for what follows",
    way_out="write it first",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: SMOTE in _names(values)[1:],
    "it reads images as they are stored, before anything changes them",
    way_out=f"write {SMOTE} first",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: any(name in MIXING for name in _names(values)[:-1]),
    "whole batches are mixed after every example has been changed by itself",
    way_out="write " + " or ".join(MIXING) + " last",
  ),
)


def _prepares(values: Mapping[str, Any]) -> list[str]:
  """Returns the names of the blocks of `data.normalise`."""
  return [call.name for call in parse_calls(values["data.normalise"], NORMALISERS)]


# Blocks with a number for every place of an image.
_OF_PLACE = frozenset({"image_mean", "pixel", "pca", "zca"})

_PREPROCESSING: tuple[Conflict, ...] = (
  Conflict(
    ("data.labels_file", "data.wrong_label_fraction"),
    lambda values: values["data.labels_file"] is not None and values["data.wrong_label_fraction"],
    "nobody could tell the mistakes of the file from those that are made on purpose",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: not _prepares(values),
    "it names nothing",
    way_out="choose unit for pixel / 255 alone",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: len(set(_prepares(values))) < len(_prepares(values)),
    "a block stands twice, and the second time it changes nothing",
    way_out="name it once",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: "unit" in _prepares(values) and len(_prepares(values)) > 1,
    "every block begins with pixel / 255, so unit changes nothing beside another",
    way_out="leave unit out",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: {"pca", "zca"} <= set(_prepares(values)),
    "white inputs stay what they are if they are whitened again",
    way_out="choose one of pca and zca",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: "pca" in _prepares(values)[:-1],
    "after pca the numbers are components, and no pixels of an image",
    way_out="name pca last",
  ),
  Conflict(
    ("data.normalise", "model.name"),
    lambda values: "pca" in _prepares(values) and values["model.name"] != "mlp",
    "components have no places, and a convolution sees places",
    way_out="choose zca, or model.name=mlp",
  ),
  Conflict(
    ("data.normalise", "data.crop_size"),
    lambda values: values["data.crop_size"] is not None and _OF_PLACE & set(_prepares(values)),
    "a block has a number for every place of an image, and a crop comes from any place",
    way_out="choose channel or mean, or leave data.crop_size out",
  ),
  Conflict(
    ("data.normalise", "data.statistics"),
    lambda values: (
      values["data.statistics"] != "own" and _prepares(values) not in (["channel"], ["mean"])
    ),
    "these statistics are a mean and a spread of each channel, and no more",
    way_out="choose data.normalise=channel or mean, or data.statistics=own",
  ),
)

CONFLICTS = (
  *(*_NETWORK, *_OPTIMISER, *_AUGMENTATION, *_PREPROCESSING),
  *(*IMBALANCE, *SCORES, *ANSWERS, *TRANSFER, *SEMI, *ACQUIRE, *STOPPING, *BATCH),
)


def check_conflicts(values: Mapping[str, Any]) -> None:
  """Refuses the first conflict of the table.

  Args:
    values: of every key, by its dotted name.

  Raises:
    ConfigError: names the keys and their values, the reason and the way out.
  """
  for conflict in CONFLICTS:
    if conflict.when(values):
      first, *others = (f"{key} = {values[key]!r}" for key in conflict.keys)
      shown = f"{first} with {' and '.join(others)}" if others else first
      raise ConfigError(f"{shown}: {conflict.reason}; {conflict.way_out}")
