"""Data sets as verified arrays; `sdt.data.sources.load` reads them."""

from sdt.data.dataset import Data, Dataset

# `load` is not offered here: the engine imports this package, and must not reach files.
__all__ = ["Data", "Dataset"]
