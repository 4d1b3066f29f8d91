"""A made-up set in the form of CUB-200-2011, and how tests load it."""

import dataclasses
from pathlib import Path
from typing import Any

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data
from sdt.data.published import catalogue, registered

SMALL = dataclasses.replace(
  catalogue.CUB, sizes=registered.PublishedSizes(4, 2, 2, image_shape=None)
)


def config(path: Path | None = None, **keys: Any) -> DataConfig:
  base = {"name": "cub", "path": path and str(path), "image_size": 16, "cache": False}
  return DataConfig(**(base | keys))


def load(path: Path | None = None, spec: registered.RegisteredSet = SMALL, **keys: Any) -> Data:
  return registered.load_registered(config(path, **keys), spec, lambda line: None)
