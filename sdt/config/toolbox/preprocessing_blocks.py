"""What becomes of the inputs before the network sees them, by name, in order."""

import types

from sdt.config.toolbox.block import Block, Number, Table

_EPSILON = Number("epsilon", default=0.1, low=0.0)
_UNIT = "images count in pixel / 255, vectors as they are"

# The functions are in `FITS` of sdt/data/preprocess.py and `APPLY` of sdt/inputs/preprocess.py.
NORMALISERS: Table = types.MappingProxyType(
  {
    "channel": Block(
      "(x - mean) / sd of each channel, or of each column of vectors",
      "He et al. 2016; documents 002 and 004",
      keys=("data.statistics",),
    ),
    "unit": Block("x alone: pixel / 255 of images", "documents 003 and 004"),
    "mean": Block(
      "x - mean of each channel, or of each column of vectors",
      "Simonyan and Zisserman 2015; document 002",
      keys=("data.statistics",),
    ),
    "image_mean": Block(
      "x - the mean image of the training set", "Krizhevsky et al. 2012; document 002"
    ),
    "min_max": Block(
      "(x - min) / (max - min) of each channel, or of each column of vectors", "document 004"
    ),
    "pixel": Block(
      "(x - mean) / sd of each value of an image at its place", "documents 002 and 004"
    ),
    "image": Block(
      "(x - mean) / max(sd, 1/sqrt(n)) of the n values of each image",
      "document 003 (tf.image.per_image_standardization)",
      differs=_UNIT + ", where the document counts pixels as they are given",
    ),
    "dc": Block("x - the mean of all values of each image", "document 004"),
    "pca": Block(
      "U^T (x - mean) / sqrt(s + epsilon), largest s first, with the covariance U diag(s) U^T",
      "documents 002, 003 and 004",
      numbers=(_EPSILON,),
    ),
    "zca": Block(
      "U diag(1/sqrt(s + epsilon)) U^T (x - mean), with the covariance U diag(s) U^T",
      "Krizhevsky 2009; document 004",
      numbers=(_EPSILON,),
    ),
  }
)
