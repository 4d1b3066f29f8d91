"""A made-up set in the form of CUB-200-2011, and how tests load it."""

import dataclasses

from sdt.config.schema import DataConfig
from sdt.data.published import catalogue, registered

SMALL = dataclasses.replace(
  catalogue.CUB, sizes=registered.PublishedSizes(4, 2, 2, image_shape=None)
)


def config(path=None, **keys):
  return DataConfig(
    **(
      {"name": "cub", "path": None if path is None else str(path), "image_size": 16, "cache": False}
      | keys
    )
  )


def load(path=None, spec=SMALL, **keys):
  return registered.load_registered(config(path, **keys), spec, lambda line: None)
