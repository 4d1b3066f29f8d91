"""What a run can have from other runs instead of training it: the ends of its first trainings."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from sdt.engine.plan import Plan
from sdt.engine.state import Snapshot
from sdt.run.context import Context


class Taken(Protocol):
  """Finished trainings of other runs: a baseline (`baseline_from`), or all of a run that grows."""

  what: ClassVar[str]

  def take_over(self, context: Context, plans: Mapping[str, Plan]) -> tuple[str, Snapshot]:
    """Copies ends, rows and scores into the run's workdir; returns the last training, at its end.

    Args:
      context: of the run that takes them over.
      plans: of the arms whose networks score.

    Raises:
      CheckpointError, DataError: what is to be copied is damaged. WorkdirError: it cannot be
        written.
    """
    ...
