"""The weights of every seed before the first step: drawn, prepared on data, or from a file."""

import numpy as np
from jaxtyping import Float

from sdt.config import Config
from sdt.config.schema import ModelConfig
from sdt.data.dataset import Data, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.inputs.preprocess import Preparation, prepare
from sdt.models import init_variables
from sdt.models.init import Initial
from sdt.models.pretrained import Pretrained
from sdt.models.starts import STARTS
from sdt.types import Model, Variables

# A start looks at so many training examples, drawn by the seed.
_NUM_EXAMPLES = 256
_STREAM = 0x57A


def initial_of(config: ModelConfig) -> Initial:
  """Returns which initial values a config asks for."""
  own_biases = config.initialisation is None and config.start is None
  return Initial(config.initialisation, bias=config.bias_start, own_biases=own_biases)


def initial_weights(
  config: Config,
  data: Data,
  model: Model,
  *,
  input_shape: tuple[int, ...],
  pretrained: Pretrained | None,
) -> list[Variables]:
  """Returns the variables of every seed, on the host; seeds are independent.

  Weights that `pretrained` has are the same for all seeds.
  """
  initial, start = initial_of(config.model), config.model.start
  drawn = [init_variables(model, input_shape, seed, initial=initial) for seed in config.seeds]
  if pretrained is not None:
    return [pretrained.put_into(one) for one in drawn]
  if start is None:
    return drawn
  return [
    STARTS[start](model, variables, _examples(config, data, seed))
    for variables, seed in zip(drawn, config.seeds, strict=True)
  ]


def _examples(config: Config, data: Data, seed: int) -> Float[np.ndarray, "B ..."]:
  """Returns training examples drawn by the seed as the network sees them, without augmentation."""
  train, crop_size = data.train, config.data.crop_size
  order = np.random.default_rng([seed, _STREAM]).permutation(len(train))[:_NUM_EXAMPLES]
  inputs, sizes = train.inputs[order], image_sizes(train)[order]
  if crop_size is not None:
    inputs = np.asarray(centre_crop(inputs, sizes, crop_size))
  by = Preparation.of(data.mean, data.std, data.steps, dtype=inputs.dtype)
  return np.asarray(prepare(inputs, by))
