"""Does beside a training what the run needs later: compiles programs, imports what draws."""

import contextlib
import copy
import functools
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax

from sdt.engine.plan import Plan
from sdt.engine.state import Snapshot
from sdt.run.programs import Setup
from sdt.run.rehearsal import rehearsal

type Task = Callable[[], object]

# Where XLA compiles on cores of the host and tries nothing on the device: a GPU is timed meanwhile.
_BACKENDS = ("cpu",)


@contextlib.contextmanager
def beside(tasks: Iterable[Task]) -> Iterator[None]:
  """Does the tasks one after the other in a thread, until the body of the `with` ends.

  A body that ends waits for the task under way; those behind it are left out. A task that fails
  ends the thread in silence: the run meets the same error where it needs the result.
  """
  has_ended = threading.Event()

  def work() -> None:
    with contextlib.suppress(Exception):
      for task in tasks:
        if has_ended.is_set():
          return
        task()

  thread = threading.Thread(target=work, name="sdt-ahead")
  thread.start()
  try:
    yield
  finally:
    has_ended.set()
    thread.join()


def programs(setup: Setup, plans: Sequence[Plan]) -> Iterator[Task]:
  """Yields a task for each plan, which compiles its program for shapes alone.

  `compile_program` keeps it for the trainer of the plan. Nothing on a device where XLA tries what
  is fastest, nor with several processes, which must compile in one order.
  """
  if jax.default_backend() not in _BACKENDS or jax.process_count() > 1:
    return
  shapes = Setup.make(
    setup.config,
    setup.data,
    copy.deepcopy(setup.choices),
    pretrained=setup.pretrained,
    is_abstract=True,
  )
  for plan in plans:
    yield functools.partial(_compile, shapes, plan)


def _compile(shapes: Setup, plan: Plan) -> None:
  trainer = rehearsal(shapes, plan)
  trainer.set_state(Snapshot(shapes.state_shapes, shapes.no_sums()))
  trainer.compile()


def imports(*modules: str) -> Iterator[Task]:
  """Yields a task for each module, which imports it."""
  for module in modules:
    yield functools.partial(importlib.import_module, module)
