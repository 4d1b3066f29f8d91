"""Every key of the configuration: its type, default, range and meaning, as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from sdt.config.score_names import SCORES


def _key(default: Any, help: str, **rule: Any) -> Any:  # noqa: A002 - the field's own word
  """A config key: its default, its help text, and its rule.

  Rules: `low`/`high` inclusive bounds, `above`/`below` exclusive bounds, `choices`, `min_length`
  and `unique` for tuples, `as_text` for texts that a config file may write as numbers, `neutral`
  the value of a regulariser that changes nothing. Bounds of a tuple hold for each of its items.
  """
  return dataclasses.field(default=default, metadata={"help": help, **rule})


@dataclasses.dataclass(frozen=True)
class ShapesConfig:
  """The procedural set: any size, known difficulty."""

  num_train: int = _key(2000, "training examples", low=1)
  num_test: int = _key(500, "test examples", low=1)
  num_classes: int = _key(4, "classes", low=2, high=1000)
  image_size: int = _key(16, "height and width, pixels", low=4, high=1024)


@dataclasses.dataclass(frozen=True)
class CurveConfig:
  """The toy's points: y = x^2 with noise, drawn for every seed."""

  num_points: int = _key(40, "training points of each seed", low=2, high=100_000)
  num_validation: int = _key(
    40, "further noisy points of each seed, on which the toy's decay is chosen", low=1, high=100_000
  )
  noise: float = _key(0.5, "the noise is uniform between minus and plus this", above=0.0, high=1e3)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  name: str = _key(
    "digits",
    "data set",
    choices=(
      "digits",
      "cifar10",
      "cifar100",
      "svhn",
      "tiny_imagenet",
      "cub",
      "folder",
      "csv",
      "npz",
      "shapes",
      "curve",
    ),
  )
  path: str | None = _key(
    None, "where the set lies: archive, folder, npz file or prepared tfds directory"
  )
  verify: str = _key(
    "strict",
    "strict: registered checksums only; known: listed variants too, named in every result",
    choices=("strict", "known"),
  )
  download: bool = _key(True, "fetch a missing registered set if there is a network")
  download_timeout_secs: float = _key(
    30.0, "seconds without a byte after which a download fails", above=0.0, high=86_400.0
  )
  on_bad_image: str = _key(
    "refuse",
    "a damaged image: refuse the set, or skip the image and count it",
    choices=("refuse", "skip"),
  )
  allow_empty_class: bool = _key(False, "accept a class without training examples")
  test_fraction: float | None = _key(
    None,
    "share held out for the test where the set has no test split (stratified)",
    above=0.0,
    below=1.0,
  )
  split_seed: int = _key(
    0, "seed of that split, of the procedural sets, and of the wrong labels", low=0
  )
  wrong_label_fraction: float = _key(
    0.0,
    "share of the training labels that are replaced by a wrong one, to see which scores find them",
    low=0.0,
    below=1.0,
  )
  image_size: int | None = _key(
    None, "size to which image files are brought, pixels; see data.resize", low=4, high=4096
  )
  resize: str = _key(
    "stretch",
    "stretch: height and width become image_size; short_side: the shorter one does, the shape "
    "stays",
    choices=("stretch", "short_side"),
  )
  crop_size: int | None = _key(
    None,
    "the network sees so many pixels a side: a random crop in training, the centre in scoring and "
    "evaluation",
    low=4,
    high=4096,
  )
  labels: str = _key(
    "fine", "cifar100: its 100 classes, or its 20 coarse ones", choices=("fine", "coarse")
  )
  statistics: str = _key(
    "own",
    "normalise by the set's own mean and spread (published, or of its training split), or by "
    "ImageNet's, for pretrained weights",
    choices=("own", "imagenet"),
  )
  cache: bool = _key(
    True, "keep decoded image files as uint8 in the data directory, and reuse them"
  )
  placement: str = _key(
    "auto",
    "where the inputs live: device: in its memory; stream: on the host, read ahead of every "
    "dispatch; auto: on the device if they fit",
    choices=("auto", "device", "stream"),
  )
  num_train: int | None = _key(
    None, "use only the first so many training examples of a seeded stratified draw", low=1
  )
  num_test: int | None = _key(None, "the same for the test set", low=1)
  validation_fraction: float = _key(
    0.1,
    "share of the training set that a selection holds out to choose on (stratified); see select",
    above=0.0,
    below=1.0,
  )
  shapes: ShapesConfig = dataclasses.field(default_factory=ShapesConfig)
  curve: CurveConfig = dataclasses.field(default_factory=CurveConfig)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A network by its registry name; `None` keeps the registry's own value."""

  name: str = _key("resnet20", "the network; a wrong name is answered with all")
  blocks: tuple[int, ...] | None = _key(None, "blocks per stage", low=1, min_length=1)
  widths: tuple[int, ...] | None = _key(None, "channels per stage", low=1, min_length=1)
  shortcut: str | None = _key(None, "where shapes change", choices=("projection", "zero_pad"))
  hidden_sizes: tuple[int, ...] | None = _key(None, "MLP: hidden layer sizes", low=1, min_length=1)
  activation: str | None = _key(
    None, "activation function", choices=("relu", "tanh", "gelu", "silu", "leaky_relu", "elu")
  )
  stem: str | None = _key(
    None, "imagenet: 7x7 stride 2 and max-pool; small: 3x3 stride 1", choices=("imagenet", "small")
  )
  depth: int | None = _key(None, "wide ResNets and DenseNets: layers", low=1, high=10_000)
  widen_factor: int | None = _key(
    None, "wide ResNets: times the channels of an ordinary ResNet", low=1, high=1000
  )
  dropout: float | None = _key(
    None, "wide ResNets: share of values dropped between a block's convolutions", low=0.0, below=1.0
  )
  growth_rate: int | None = _key(None, "DenseNets: channels that a layer adds", low=1, high=1000)
  pretrained: str | None = _key(
    None, "safetensors file of weights to start from, in timm's or torchvision's names"
  )
  pretrained_head: bool = _key(False, "take the file's head too; otherwise the head starts afresh")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """Training-time augmentation; scoring and evaluation never augment."""

  pad_crop: int = _key(
    0, "zero-pad each side by so many pixels, then crop back at random; 0 is off", low=0, high=64
  )
  flip: bool = _key(False, "mirror left-right with probability 1/2")
  resized_crop_area: float | None = _key(
    None,
    "random-resized-crop: the least share of the image's area, such as 0.08; None is off",
    above=0.0,
    high=1.0,
  )
  resized_crop_aspect: float = _key(
    4 / 3, "random-resized-crop: the largest ratio of the crop's sides", low=1.0, high=16.0
  )


@dataclasses.dataclass(frozen=True)
class OptimConfig:
  name: str = _key("sgd", "optimiser", choices=("sgd", "adam"))
  learning_rate: float = _key(0.1, "initial learning rate", above=0.0, high=1e6)
  momentum: float = _key(0.9, "sgd: momentum", low=0.0, below=1.0)
  nesterov: bool = _key(False, "sgd: Nesterov's form of momentum")
  schedule: str = _key(
    "step", "learning rate over the rounds", choices=("step", "constant", "cosine")
  )
  milestones: tuple[int, ...] = _key(
    (150, 225),
    "step: rounds after which the rate is multiplied by `decay_factor`",
    low=1,
    unique=True,
  )
  decay_factor: float = _key(0.1, "step: the factor", above=0.0, high=1.0)
  weight_decay: float = _key(1e-4, "decay of the baseline", low=0.0, high=1e3)
  decay_form: str = _key(
    "coupled",
    "coupled: decay * w is added to the gradient before momentum; decoupled: after it; penalty: "
    "decay * sum(w^2) is added to the loss",
    choices=("coupled", "decoupled", "penalty"),
  )
  body_rate_factor: float = _key(
    1.0,
    "times the learning rate for all but the head; 0 freezes them and their running statistics",
    low=0.0,
    high=1.0,
  )
  decay_what: str = _key(
    "all", "all parameters, or only weights (no BatchNorm, no bias)", choices=("all", "weights")
  )


@dataclasses.dataclass(frozen=True)
class MethodConfig:
  fraction: float = _key(
    0.1, "share of the training set that A gets: exactly floor(fraction * N)", above=0.0, below=1.0
  )
  num_easy: int | None = _key(None, "size of A; where it is given, the fraction is not used", low=1)
  lambda_A: float = _key(1e-3, "weight decay on A", low=0.0, high=1e3)  # noqa: N815 - the paper's name
  lambda_B: float = _key(1e-4, "weight decay on B", low=0.0, high=1e3)  # noqa: N815
  lambda_tuned: float | None = _key(
    None,
    "weight decay of uniform_tuned; chosen where select.weight_decay has candidates",
    low=0.0,
    high=1e3,
  )
  init: str = _key(
    "scratch", "weights at the start of the second training", choices=("scratch", "warm")
  )
  order: str = _key(
    "easy_first", "order of the phases in a round", choices=("easy_first", "hard_first")
  )


@dataclasses.dataclass(frozen=True)
class SelectConfig:
  """Candidates among which a selection chooses before the run, on a held-out part of the training
  set; without any there is none.
  """

  lambda_A: tuple[float, ...] = _key(  # noqa: N815
    (), "candidates for method.lambda_A", low=0.0, high=1e3, unique=True
  )
  fraction: tuple[float, ...] = _key(
    (),
    "candidates for method.fraction, each tried with every lambda_A",
    above=0.0,
    below=1.0,
    unique=True,
  )
  weight_decay: tuple[float, ...] = _key(
    (),
    "candidates for the decay of uniform_tuned, such as 1e-4, 2e-4, 3e-4, 5e-4, 1e-3",
    low=0.0,
    high=1e3,
    unique=True,
  )
  num_seeds: int | None = _key(
    None, "how many of the seeds the selection trains, the first of them; all by default", low=1
  )


@dataclasses.dataclass(frozen=True)
class RegulariseConfig:
  """The value of each regulariser in the phases that name it, as in A@baseline[label_smoothing];
  all other phases have the neutral one.
  """

  label_smoothing: float = _key(
    0.1,
    "s of the loss (1 - s) * cross-entropy + s * its mean over all classes as labels",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  augment_strength: float = _key(
    0.5,
    "how far augmentation departs from the centre, unflipped: 0 not at all, 1 as `augment` says",
    low=0.0,
    high=1.0,
    neutral=1.0,
  )
  mixup_alpha: float = _key(
    0.2,
    "examples are mixed in pairs with a weight drawn from Beta(alpha, alpha)",
    low=0.0,
    high=1e3,
    neutral=0.0,
  )
  dropout: float = _key(
    0.3,
    "share of values dropped, in networks that have dropout; in place of model.dropout",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  stochastic_depth: float = _key(
    0.2,
    "share of examples that skip the last residual block; of earlier ones proportionally less",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  loss_weight: float = _key(
    0.5,
    "factor of the loss; at 0 decay and momentum alone move the weights",
    low=0.0,
    high=1e3,
    neutral=1.0,
  )
  loss_floor: float = _key(
    0.05,
    "where a batch's mean loss is below, the step goes uphill (flooding); nats",
    low=0.0,
    high=1e3,
    neutral=0.0,
  )


# By name, the values that change nothing.
NEUTRAL: Mapping[str, float] = types.MappingProxyType(
  {field.name: field.metadata["neutral"] for field in dataclasses.fields(RegulariseConfig)}
)


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
  name: str = _key("log_odds", "the score that ranks", choices=tuple(SCORES))
  grand: bool = _key(
    False,
    "score by the gradient of the whole network too, GraNd: as many products as a round of "
    "training, and slower",
  )
  dynamics: bool = _key(
    True, "record how every example fares in the baseline's training steps, and score by that too"
  )
  at_round: int | None = _key(
    None,
    "the round of the baseline whose network gives the scores of a single pass; the last by "
    "default",
    low=1,
  )
  path: str | None = _key(
    None,
    "file: a CSV table with a header, or an npz, with a score for every training example by its "
    "example_id",
  )
  column: str = _key("score", "file: the column, or array, that holds the scores")
  higher_is: str = _key(
    "easier", "file: which end of these scores is easy", choices=("easier", "harder")
  )
  folds: int | None = _key(
    None,
    "score every example by a network that has not seen it: so many more trainings, each on all "
    "but one of as many folds",
    low=2,
  )
  batch_size: int = _key(512, "examples per scoring and evaluation batch", low=1, high=2**17)


@dataclasses.dataclass(frozen=True)
class SplitConfig:
  policy: str = _key(
    "top",
    "which examples are A; window: the easiest after a share of them; threshold: all that are "
    "easier; mislabel_cut: the easiest, and the "
    "hardest are in neither A nor B",
    choices=("top", "bottom", "random", "window", "threshold", "mislabel_cut"),
  )
  window_start: float | None = _key(
    None, "window: share of the training set that is easier than A", low=0.0, below=1.0
  )
  threshold: float | None = _key(
    None,
    "threshold: the score, as scores.csv has it, that A is strictly on the easy side of (one "
    "equal to it is not in A)",
  )
  cut: float | None = _key(
    None,
    "mislabel_cut: share of the training set that is left out, as its labels may be wrong",
    above=0.0,
    below=1.0,
  )
  source: str = _key(
    "seed",
    "every seed splits by its own scores, or all by the mean over seeds",
    choices=("seed", "mean"),
  )
  class_balanced: bool = _key(
    False, "A has every class's share of the training set (largest remainder)"
  )


@dataclasses.dataclass(frozen=True)
class ToyConfig:
  """The experiment on data.name='curve', in which A is the noisiest points."""

  lambdas: tuple[float, ...] = _key(
    (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "decays of all points to choose from, on the validation points",
    low=0.0,
    high=1e3,
    min_length=1,
    unique=True,
  )
  lambda_ratio: float = _key(50.0, "times the chosen decay: that on A", above=0.0, high=1e6)
  num_noisy: int = _key(8, "size of A: so many points with the largest noise", low=1)


@dataclasses.dataclass(frozen=True)
class ParallelConfig:
  mode: str = _key("jit", "data parallelism", choices=("jit", "pmap"))
  num_devices: int | None = _key(None, "devices to use; all of them by default", low=1)
  batch_norm: str = _key(
    "global",
    "BatchNorm's statistics in training: of the whole batch, or of each device's part of it (the "
    "results then depend on num_devices)",
    choices=("global", "device"),
  )
  divide: str = _key(
    "batch",
    "what several devices share: every batch, or the seeds, each device some of them",
    choices=("batch", "seeds"),
  )
  replicas: str = _key(
    "auto", "how the seeds share a program", choices=("auto", "unroll", "loop", "vmap")
  )
  steps_per_dispatch: int | None = _key(
    None, "optimiser steps per call into the compiled program; chosen by default", low=1
  )
  compiler_options: str | None = _key(
    None,
    "options of XLA for the programs of this run, NAME=VALUE with spaces between; they can change "
    "bits",
  )


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
  """Several processes of one run, docs/clusters.md."""

  join: str = _key(
    "auto",
    "whether this is one of several processes; auto: where it was started as one",
    choices=("auto", "on", "off"),
  )
  connect_timeout_secs: int = _key(
    300, "how long to wait for all of them at the start", low=1, high=86_400
  )
  heartbeat_timeout_secs: int = _key(
    100, "after so much silence of one the others end too", low=1, high=86_400
  )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  every_secs: float | None = _key(
    None, "seconds between saves; from the measured save cost by default", above=0.0, high=604_800.0
  )
  keep: int = _key(2, "newest steps to keep", low=2)


@dataclasses.dataclass(frozen=True)
class StatsConfig:
  margin: float = _key(
    0.0025, "differences within this are called equal, a fraction", above=0.0, below=1.0
  )


@dataclasses.dataclass(frozen=True)
class SweepConfig:
  """One experiment per value of a key; every one has a folder in the workdir."""

  key: str | None = _key(None, "the key that takes several values, such as method.lambda_A")
  values: tuple[str, ...] = _key(
    (),
    "its values, as on the command line; in config files numbers will do",
    as_text=True,
    unique=True,
  )
  also_key: str | None = _key(None, "a second key that changes with it")
  also_values: tuple[str, ...] = _key((), "its value for each of sweep.values", as_text=True)


@dataclasses.dataclass(frozen=True)
class Config:
  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  seeds: tuple[int, ...] = _key(
    (0, 1), "one whole pipeline per seed", low=0, high=2**31 - 1, min_length=1, unique=True
  )
  rounds: int = _key(300, "rounds of every training", low=1)
  batch_size: int = _key(128, "examples per optimiser step", low=1, high=2**17)
  eval_every_rounds: int = _key(
    1, "rounds between test evaluations; the last round is always evaluated", low=1
  )
  log_every_rounds: int = _key(
    1,
    "rounds between rows of metrics.jsonl; evaluated rounds and the last always have theirs",
    low=1,
  )
  augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
  optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
  method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
  select: SelectConfig = dataclasses.field(default_factory=SelectConfig)
  regularise: RegulariseConfig = dataclasses.field(default_factory=RegulariseConfig)
  score: ScoreConfig = dataclasses.field(default_factory=ScoreConfig)
  split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
  toy: ToyConfig = dataclasses.field(default_factory=ToyConfig)
  arms: tuple[str, ...] = _key(
    ("baseline", "method"),
    "the trainings to compare; a wrong name is answered with all",
    min_length=1,
    unique=True,
  )
  own_arms: tuple[str, ...] = _key(
    (),
    "further arms that `arms` may name: 'NAME = SUBSET@DECAY + SUBSET@DECAY [against ARM]', such "
    "as 'gentle = A@5e-4 + B@lambda_B'",
    unique=True,
  )
  precision: str = _key(
    "auto",
    "auto: float32 on CPU, bfloat16 compute elsewhere",
    choices=("auto", "float32", "bfloat16"),
  )
  compilation_cache: bool = _key(True, "keep compiled programs in the user's cache directory")
  parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig)
  distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)
  checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
  stats: StatsConfig = dataclasses.field(default_factory=StatsConfig)
  sweep: SweepConfig = dataclasses.field(default_factory=SweepConfig)
  baseline_from: str | None = _key(
    None,
    "workdir of a finished run whose baseline and scores are taken over instead of training them "
    "again",
  )
