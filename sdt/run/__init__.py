"""Trains what a config asks for in a workdir: `sdt.run(config, workdir, data=None)` is a `sdt.Run`.

The package has the parts of one run in one workdir, and can be called. The function stands in
sdt/api/running.py, with what it takes and raises. It cannot be an attribute `run` of sdt beside
this package, which has the name as soon as any of its modules is imported.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
  def __call__(self, config: object, workdir: object, data: object = None) -> Any:
    """Runs `config` in `workdir`, on arrays in memory if they are given; returns the `sdt.Run`."""
    return importlib.import_module("sdt.api.running").run(config, workdir, data)


sys.modules[__name__].__class__ = _Callable
