"""Configs: the keys, how a config file becomes a `Config`, and how two configs differ.
Free of JAX.
"""

from sdt.config.resolve import config_hash, from_dict, resolve, to_dict
from sdt.config.schema import Config

__all__ = ["Config", "config_hash", "from_dict", "resolve", "to_dict"]
