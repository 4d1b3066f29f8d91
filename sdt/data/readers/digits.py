"""Scikit-learn's handwritten digits: 1,797 real images inside a dependency, without network."""

import dataclasses

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit

_DEFAULT_TEST_FRACTION = 0.2


def load_digits(config: DataConfig) -> Data:
  """Returns the digits: uint8 [N, 8, 8, 1], 10 classes.

  The test split is a stratified draw of `data.test_fraction`, 0.2 by default.

  Source: `sklearn.datasets.load_digits`, the test part of E. Alpaydin and C. Kaynak, Optical
  Recognition of Handwritten Digits, 1998.
  Differs from source: grey levels 0..16 are scaled to round(255 * grey / 16).
  """
  import sklearn.datasets  # here, because it takes over a second

  bunch = sklearn.datasets.load_digits()
  images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
  raw = Raw(
    train=RawSplit(images, bunch.target),
    test=None,
    class_names=tuple(str(digit) for digit in range(10)),
    where="digits",
    variant="canonical",
  )
  fraction = _DEFAULT_TEST_FRACTION if config.test_fraction is None else config.test_fraction
  return assemble(raw, dataclasses.replace(config, test_fraction=fraction))
