"""One run in one workdir. The package can be called: `sdt.run(config, workdir)` is a run.

The function stands in sdt/api/running.py. It cannot be an attribute `run` of sdt beside this
package, which has the name as soon as any of its modules is imported.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
  def __call__(self, *args: Any, **options: Any) -> Any:
    return importlib.import_module("sdt.api.running").run(*args, **options)


sys.modules[__name__].__class__ = _Callable
