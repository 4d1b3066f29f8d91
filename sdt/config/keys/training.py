"""The keys of one training: the network, the augmentation, the optimiser and the regularisers."""

import dataclasses
import types
from collections.abc import Mapping

from sdt.config.keys.declare import config_key
from sdt.config.toolbox.network_blocks import ACTIVATIONS, INITS, NORMS, POOLS, STARTS
from sdt.config.toolbox.operation_blocks import FILLS, OPS
from sdt.config.toolbox.training_blocks import CLIPS, OPTIMISERS, SCHEDULES


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A network by its registry name; `None` keeps the registry's own value."""

  name: str = config_key(
    "resnet20", "the network; the message about a wrong name lists all networks"
  )
  blocks: tuple[int, ...] | None = config_key(None, "blocks per stage", low=1, min_length=1)
  widths: tuple[int, ...] | None = config_key(
    None, "channels per stage, or per convolution", low=1, min_length=1
  )
  shortcut: str | None = config_key(
    None, "shortcut where the shape changes", choices=("projection", "zero_pad")
  )
  hidden_sizes: tuple[int, ...] | None = config_key(
    None, "MLP, LeNet, AlexNet: hidden layer sizes", low=1, min_length=1
  )
  activation: str | None = config_key(None, "activation function", call=ACTIVATIONS)
  norm: str | None = config_key(None, "normalisation", call=NORMS)
  groups: int | None = config_key(
    None, "norm=group: the most groups of channels, 32 by default", low=1, high=10_000
  )
  pool: str | None = config_key(None, "how an image is made smaller, where it is", call=POOLS)
  initialisation: str | None = config_key(
    None, "distribution of the initial weights; None is the network's own", call=INITS
  )
  start: str | None = config_key(
    None, "what becomes of the drawn weights before the first step", call=STARTS
  )
  bias_start: float = config_key(
    0.0, "where the biases of hidden layers and norms start, such as 0.01", low=-100.0, high=100.0
  )
  stem: str | None = config_key(
    None, "imagenet: 7x7 stride 2 and max-pool; small: 3x3 stride 1", choices=("imagenet", "small")
  )
  depth: int | None = config_key(
    None, "wide ResNets and DenseNets: layers; ViT and CaiT: blocks", low=1, high=10_000
  )
  widen_factor: int | None = config_key(
    None, "wide ResNets: factor on the channels of an ordinary ResNet", low=1, high=1000
  )
  dropout: float | None = config_key(
    None,
    "share of values dropped in training: within residual blocks and dense layers, before linear "
    "layers",
    low=0.0,
    below=1.0,
  )
  growth_rate: int | None = config_key(
    None, "DenseNets: channels that a layer adds", low=1, high=1000
  )
  patch_size: int | None = config_key(
    None, "ViT, CaiT: pixels a side of a patch", low=1, high=1000, is_later=True
  )
  width: int | None = config_key(
    None, "ViT, CaiT: channels of every token", low=1, high=100_000, is_later=True
  )
  heads: int | None = config_key(
    None, "ViT, CaiT: heads of the attention", low=1, high=10_000, is_later=True
  )
  mlp_ratio: float | None = config_key(
    None,
    "ViT, CaiT: hidden units of a block's two layers, in widths",
    above=0.0,
    high=100.0,
    is_later=True,
  )
  pretrained: str | None = config_key(
    None, "safetensors file of weights to start from, in timm's or torchvision's names"
  )
  pretrained_head: bool = config_key(
    False, "start from the head in that file too; otherwise the head is initialised at random"
  )


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """Training-time augmentation; scoring and evaluation never augment."""

  ops: str | None = config_key(
    None, "operations in order, such as 'crop(4) flip rotate(15) cutout(8)'", calls=OPS
  )
  strong: str = config_key(
    "",
    "fixmatch: what becomes of the unlabelled images that are to follow a guess, in full, such as "
    "'crop(4) flip rand_augment(10, 2) cutout(16)'; the guess is made under augment.ops",
    calls=OPS,
    is_later=True,
  )
  fill: str = config_key(
    "black", "what augment.ops shows where no image is; mean: that of the data", choices=FILLS
  )
  pad_crop: int = config_key(
    0,
    "zero-pad each side by this many pixels, then crop at random to the old size; 0 is off",
    low=0,
    high=64,
  )
  flip: bool = config_key(False, "mirror left-right with probability 1/2")
  resized_crop_area: float | None = config_key(
    None,
    "random-resized-crop: the least share of the image's area, such as 0.08; None is off",
    above=0.0,
    high=1.0,
  )
  resized_crop_aspect: float = config_key(
    4 / 3, "random-resized-crop: the largest ratio of the crop's sides", low=1.0, high=16.0
  )


@dataclasses.dataclass(frozen=True)
class OptimConfig:
  """The optimiser and its schedule."""

  name: str = config_key("sgd", "optimiser", choices=tuple(OPTIMISERS))
  learning_rate: float = config_key(0.1, "initial learning rate", above=0.0, high=1e6)
  momentum: float = config_key(0.9, "sgd, rmsprop: momentum", low=0.0, below=1.0)
  nesterov: bool = config_key(False, "sgd: Nesterov's form of momentum")
  betas: tuple[float, ...] | None = config_key(
    None,
    "adam, adamw: how much of the mean gradient and of its mean square a step keeps; rmsprop: of "
    "the mean square; None is the optimiser's own",
    low=0.0,
    below=1.0,
    min_length=1,
  )
  epsilon: float | None = config_key(
    None,
    "adagrad, rmsprop, adam, adamw: what is added to the root; newton: to the eigenvalues; None is "
    "the optimiser's own",
    above=0.0,
    high=1e6,
  )
  clip: str = config_key(
    "", "clips the gradient, such as global_norm(1); empty is off", calls=CLIPS
  )
  l1: float = config_key(
    0.0,
    "l1 * sum |w| is added to the loss of every arm, its derivative to the gradient after clipping",
    low=0.0,
    high=1e3,
  )
  schedule: str = config_key("step", "learning rate over the rounds", call=SCHEDULES)
  milestones: tuple[int, ...] = config_key(
    (150, 225),
    "step: rounds after which the rate is multiplied by `decay_factor`",
    low=1,
    unique=True,
  )
  decay_factor: float = config_key(0.1, "step: the factor", above=0.0, high=1.0)
  warmup_rounds: int = config_key(
    0, "rounds in which the rate grows to `learning_rate`, before the schedule", low=0
  )
  floor: float = config_key(0.0, "the lowest learning rate of a schedule", low=0.0, high=1e6)
  cycle_rounds: int | None = config_key(None, "triangular, warm_restarts: rounds of a cycle", low=1)
  clock: str = config_key(
    "round", "when the rate changes: every round, or every step", choices=("round", "step")
  )
  reference_batch: int | None = config_key(
    None, "the rates are times batch_size over this number; None: as they are", low=1
  )
  average: float = config_key(
    0.0,
    "share of its old value that an exponential average of the weights keeps in a step, such as "
    "0.999; it is evaluated beside the weights; 0 is off",
    low=0.0,
    below=1.0,
  )
  weight_decay: float = config_key(1e-4, "weight decay of the baseline", low=0.0, high=1e3)
  decay_form: str = config_key(
    "coupled",
    "coupled: decay * w is added to the gradient before momentum; decoupled: after it; penalty: "
    "decay * sum(w^2) is added to the loss",
    choices=("coupled", "decoupled", "penalty"),
  )
  body_rate_factor: float = config_key(
    1.0,
    "factor on the learning rate of everything but the head; 0 freezes it and its running "
    "statistics",
    low=0.0,
    high=1.0,
  )
  train_from: str | None = config_key(
    None,
    "the first stage of the network that is trained, such as stage3 or head; those before it are "
    "frozen with their running statistics; None trains all",
    is_later=True,
  )
  decay_what: str = config_key(
    "all",
    "which parameters decay: all, or only weights (no BatchNorm, no bias)",
    choices=("all", "weights"),
  )


@dataclasses.dataclass(frozen=True)
class StopConfig:
  """Early stopping, on a part of the training set that is held out: data.validation_fraction."""

  patience: int = config_key(
    0,
    "a seed of an arm ends after so many rounds without a higher validation accuracy, and its best "
    "network counts; 0 is off",
    low=0,
  )


@dataclasses.dataclass(frozen=True)
class MonitorConfig:
  """What else is measured while the networks train."""

  steps: bool = config_key(
    False, "keep the loss of every optimiser step, at most 20,000 of a training, and draw them"
  )
  units: bool = config_key(
    False,
    "dead and saturated units and the spread of activations by layer, after the first and the last "
    "round",
  )


def _taught(by: str) -> float:
  """Returns the field of a regulariser whose teacher is named."""
  meaning = f"share of the loss that is against the probabilities of a teacher, not the label: {by}"
  return config_key(0.5, meaning, low=0.0, high=1.0, neutral=0.0, is_later=True)


@dataclasses.dataclass(frozen=True)
class RegulariseConfig:
  """The value of each regulariser in the phases that name it, as in A@baseline[label_smoothing].

  All other phases have the neutral value.
  """

  label_smoothing: float = config_key(
    0.1,
    "s of the loss (1 - s) * cross-entropy + s * its mean over all classes as labels",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  augment_strength: float = config_key(
    0.5,
    "factor of the strength of every augmentation: 0 none (the centre, unflipped), 1 as `augment` "
    "says",
    low=0.0,
    high=1.0,
    neutral=1.0,
  )
  mixup_alpha: float = config_key(
    0.2,
    "examples are mixed in pairs with a weight drawn from Beta(alpha, alpha)",
    low=0.0,
    high=1e3,
    neutral=0.0,
  )
  dropout: float = config_key(
    0.3,
    "share of values dropped, in place of model.dropout",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  drop_connect: float = config_key(
    0.3,
    "share of the weights set to 0 in a step, in all layers but the head",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  stochastic_depth: float = config_key(
    0.2,
    "share of examples that skip the last residual block; earlier blocks are skipped less, in "
    "proportion to their depth",
    low=0.0,
    below=1.0,
    neutral=0.0,
  )
  loss_weight: float = config_key(
    0.5,
    "factor of the loss; at 0 decay and momentum alone move the weights",
    low=0.0,
    high=1e3,
    neutral=1.0,
  )
  loss_floor: float = config_key(
    0.05,
    "nats: where a batch's mean loss is below this, the step goes uphill (flooding)",
    low=0.0,
    high=1e3,
    neutral=0.0,
  )
  class_balance: float = config_key(
    1.0,
    "t: examples are drawn with replacement, those of a class of n with weights n^-t; 1: all "
    "classes equally often",
    low=0.0,
    high=1.0,
    neutral=0.0,
    is_later=True,
  )
  class_weight: float = config_key(
    1.0,
    "t: the loss of a class of n examples has a factor in proportion to n^-t, 1 on average",
    low=0.0,
    high=1.0,
    neutral=0.0,
    is_later=True,
  )
  logit_adjustment: float = config_key(
    1.0,
    "t: the loss adds t log(share of the class) to every logit; evaluation does not",
    low=0.0,
    high=10.0,
    neutral=0.0,
    is_later=True,
  )
  fixmatch: float = config_key(
    1.0,
    "factor of the loss of unlabelled examples: of their strongly augmented images, against what "
    "the network is sure of under weak augmentation",
    low=0.0,
    high=1e3,
    neutral=0.0,
    is_later=True,
  )
  mixmatch: float = config_key(
    75.0,
    "factor of the loss of unlabelled examples: the squared error of sharpened guesses, in a batch "
    "that mixes them with the labelled ones",
    low=0.0,
    high=1e6,
    neutral=0.0,
    is_later=True,
  )
  distil: float = _taught("the seed's own network that scored")
  distil_mean: float = _taught("the mean of all seeds' networks that scored")
  distil_classes: float = _taught(
    "the mean of the label's class under the seed's own network, a control that knows no single "
    "image"
  )


# The value of each regulariser, by name, that changes nothing.
NEUTRAL: Mapping[str, float] = types.MappingProxyType(
  {field.name: field.metadata["neutral"] for field in dataclasses.fields(RegulariseConfig)}
)
