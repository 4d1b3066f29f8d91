"""What networks are made of, by name."""

import types

from sdt.config.toolbox.block import Block, Table

# The functions are in `ACTIVATIONS` of sdt/models/layers.py.
ACTIVATIONS: Table = types.MappingProxyType(
  {
    "relu": Block("max(0, x)", "Nair and Hinton 2010; documents 002 and 004"),
    "tanh": Block("tanh(x)", "documents 002 and 004"),
    "gelu": Block("x times the normal distribution function of x", "Hendrycks and Gimpel 2016"),
    "silu": Block("x times the logistic function of x (Swish)", "Ramachandran et al. 2017"),
    "leaky_relu": Block("x above 0, 0.01 x below", "Maas et al. 2013; documents 002 and 004"),
    "elu": Block("x above 0, exp(x) - 1 below", "Clevert et al. 2016; documents 002 and 004"),
  }
)
