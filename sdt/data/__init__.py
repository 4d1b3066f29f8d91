"""Data sets: verified arrays and the function that loads them, without JAX."""

from sdt.data.dataset import Data, Dataset
from sdt.data.sources import load

__all__ = ["Data", "Dataset", "load"]
