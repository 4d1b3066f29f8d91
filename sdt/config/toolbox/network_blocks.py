"""What networks are made of, by name."""

import types

from sdt.config.toolbox.block import Block, Number, Table

# The functions are in `ACTIVATIONS` of sdt/models/activations.py.
ACTIVATIONS: Table = types.MappingProxyType(
  {
    "relu": Block("max(0, x)", "Nair and Hinton 2010; documents 002 and 004"),
    "tanh": Block("tanh(x)", "documents 002 and 004"),
    "gelu": Block("x times the normal distribution function of x", "Hendrycks and Gimpel 2016"),
    "silu": Block(
      "x times the logistic function of x (Swish)", "Ramachandran et al. 2017", also=("swish",)
    ),
    "leaky_relu": Block(
      "x above 0, 0.01 x below", "Maas et al. 2013; documents 002 and 004", also=("lrelu",)
    ),
    "elu": Block("x above 0, exp(x) - 1 below", "Clevert et al. 2016; documents 002 and 004"),
    "sigmoid": Block("1 / (1 + exp(-x))", "documents 002, 003 and 004", also=("logistic",)),
    "selu": Block(
      "1.0507 x above 0, 1.7581 (exp(x) - 1) below", "Klambauer et al. 2017; document 002"
    ),
    "prelu": Block(
      "x above 0, a x below; a is learned for each channel and starts at 0.25",
      "He et al. 2015, equation 1; document 002",
      differs="a decays like every parameter where optim.decay_what is all",
    ),
    "maxout": Block(
      "the largest of so many linear pieces, each a layer's output; in networks whose activations "
      "each have a layer of their own: mlp, lenet, alexnet, vgg16 and vgg19, ViT and CaiT",
      "Goodfellow et al. 2013, equation 1; document 002",
      numbers=(Number("pieces", 2, low=2, high=16, whole=True),),
    ),
  }
)

# The layers are in `NORMS` of sdt/models/norms.py.
NORMS: Table = types.MappingProxyType(
  {
    "batch": Block(
      "each channel by its mean and spread in the batch; in evaluation by running ones",
      "Ioffe and Szegedy 2015; documents 002, 003 and 004",
      keys=("parallel.batch_norm",),
      also=("bn", "batch_norm", "batchnorm"),
    ),
    "layer": Block(
      "each example by its mean and spread over all channels and pixels; in transformers each "
      "token over its channels",
      "Ba et al. 2016; documents 002, 003 and 004",
      differs="in convolutional networks one factor and bias a channel, as in GroupNorm",
      also=("ln", "layer_norm", "layernorm"),
    ),
    "instance": Block(
      "each channel of an example by its mean and spread over the pixels",
      "Ulyanov et al. 2016; documents 002 and 003",
      also=("instance_norm", "instancenorm"),
    ),
    "group": Block(
      "each group of channels of an example by its mean and spread; the number of groups is the "
      "largest up to model.groups that divides the channels",
      "Wu and He 2018; documents 002 and 003",
      keys=("model.groups",),
      also=("gn", "group_norm", "groupnorm"),
    ),
    "weight": Block(
      "each kernel of a hidden layer as a learned length times a direction; a bias takes the place "
      "of the norm",
      "Salimans and Kingma 2016, equation 2; document 004",
      differs="the head is left as it is; the length starts as that of the drawn kernel",
      also=("weight_norm", "weightnorm"),
    ),
    "none": Block("nothing but a bias for each channel", "documents 002 and 004"),
  }
)

# The functions are in `POOLS` of sdt/models/pools.py.
POOLS: Table = types.MappingProxyType(
  {
    "max": Block("the largest value of a window", "documents 002 and 003"),
    "average": Block("the mean of a window", "documents 002 and 003", also=("avg", "mean")),
    "fractional_max": Block(
      "the largest value of overlapping 2x2 windows, as many as the size / ratio, whose places are "
      "drawn",
      "Graham 2014, section 2; document 002",
      numbers=(Number("ratio", 1.4142, above=1.0, high=2.0),),
      differs="one drawing for all examples of a batch; in evaluation the places are fixed (u = "
      "1/2), where the source takes the mean of several drawings",
    ),
  }
)

# The functions are in `INITS` of sdt/models/initialisation.py.
INITS: Table = types.MappingProxyType(
  {
    "constant": Block(
      "all weights the same", "documents 002 and 004", numbers=(Number("value", 0.0),)
    ),
    "normal": Block(
      "N(0, sd^2)", "documents 002 and 004", numbers=(Number("sd", 0.01, low=0.0, high=100.0),)
    ),
    "uniform": Block(
      "uniform on +-bound", "document 004", numbers=(Number("bound", above=0.0, high=100.0),)
    ),
    "he_fan_in": Block(
      "N(0, 2 / fan_in)",
      "He et al. 2015, equation 10; documents 002 and 004",
      also=("he", "he_normal", "kaiming", "kaiming_normal"),
    ),
    "he_fan_out": Block("N(0, 2 / fan_out)", "He et al. 2015, equation 14; document 004"),
    "xavier_lecun": Block(
      "N(0, 1 / fan_in): what document 002 calls Xavier",
      "LeCun et al. 1998; document 002",
      also=("lecun", "lecun_normal"),
    ),
    "xavier_glorot": Block(
      "N(0, factor * 2 / (fan_in + fan_out)): what document 004 calls Xavier, with the factor 16 "
      "for the logistic function",
      "Glorot and Bengio 2010, equation 16; document 004",
      numbers=(Number("factor", 1.0, above=0.0, high=1000.0),),
      differs="normal, where the source's is uniform",
      also=("xavier", "glorot", "glorot_normal", "xavier_normal"),
    ),
    "orthogonal": Block(
      "gain times a matrix of orthonormal rows or columns: all weights of an output are one column",
      "Saxe et al. 2014; documents 002 and 004",
      numbers=(Number("gain", 1.0, above=0.0, high=100.0),),
    ),
  }
)

# The functions are in `STARTS` of sdt/models/starts.py.
STARTS: Table = types.MappingProxyType(
  {
    "lsuv": Block(
      "divides the weights of every layer by the spread of its outputs on a training batch",
      "Mishkin and Matas 2016, algorithm 1; document 002",
      keys=("model.initialisation",),
      differs="exact in one pass, as a layer is linear in its weights; the orthonormal weights of "
      "the source are model.initialisation=orthogonal; biases start at model.bias_start",
    ),
    "data": Block(
      "gives every output of every layer mean 0 and spread 1 on a training batch",
      "Kraehenbuehl et al. 2016, algorithm 1; Salimans and Kingma 2016, equation 5; document 002",
      keys=("model.initialisation",),
      differs="without the source's second step, which balances the rates of change of the layers",
    ),
    "fixup": Block(
      "for residual networks without norm: small weights within the branches, the last of each 0, "
      "the head 0, scalar biases and multipliers",
      "Zhang et al. 2019, section 3; document 002",
      keys=("model.norm",),
      differs="scalars learn at the rate of all; the multiplier stands behind the last bias",
    ),
  }
)
