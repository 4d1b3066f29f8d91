"""Configs: the keys, and how a config file and overrides become a `Config`; no JAX, no NumPy."""

from sdt.config.resolve import config_hash, from_dict, resolve, to_dict
from sdt.config.schema import Config

__all__ = ["Config", "config_hash", "from_dict", "resolve", "to_dict"]
