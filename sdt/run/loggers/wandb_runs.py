"""Weights & Biases: a run for each training, in a group of the sdt run's name."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from sdt.run.loggers.protocol import About, Curve, Final, Point

if TYPE_CHECKING:
  import wandb

FOLDER = "wandb"


class WandbRuns:
  """Sends points to Weights & Biases, or keeps them in WORKDIR/wandb to be uploaded later.

  Their variables say where to: WANDB_PROJECT (by default sdt), WANDB_ENTITY, WANDB_MODE. Who has
  not logged in is never asked: the points stay in WORKDIR/wandb. The ids of the runs are the same
  in every process, and none is resumed: what an earlier process sent is written over.
  """

  def __init__(self, about: About):
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    self._about = about
    self._runs: dict[str, wandb.Run] = {}
    # Any: W&B itself says which modes there are, also to those who set another.
    self._mode: Any = os.environ.get("WANDB_MODE") or (
      "online" if wandb.login(prompt=False) else "offline"
    )
    for path in (about.workdir / FOLDER).glob(f"*run-*-{about.run_id}-*"):
      shutil.rmtree(path)

  def write(self, points: list[Point]) -> None:
    for point in points:
      self._of(point.curve).log(dict(point.figures), step=point.round)

  def conclude(self, final: Final) -> None:
    for point in final.points:
      figures = {f"final/{name}": value for name, value in point.figures.items()}
      self._of(point.curve).summary.update(figures)
    means = {f"final/{name}": value for name, value in final.means.items()}
    self._run("results", "results").summary.update({**means, "sentence": final.sentence})

  def close(self, *, is_complete: bool) -> None:
    for run in self._runs.values():
      run.finish(exit_code=0 if is_complete else 1)

  def _of(self, curve: Curve) -> wandb.Run:
    return self._run(f"{curve.arm}-seed{curve.seed}", curve.arm)

  def _run(self, name: str, kind: str) -> wandb.Run:
    """Returns the run of this name, which is begun when it is first asked for."""
    import wandb

    if name not in self._runs:
      about = self._about
      self._runs[name] = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "sdt"),
        dir=str(about.workdir),
        id=f"{about.run_id}-{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}",
        name=f"{about.name} {name}",
        group=about.name,
        job_type=kind,
        config=dict(about.config),
        mode=self._mode,
        reinit="create_new",
        # Nothing of the terminal, the code or the machine is sent.
        settings=wandb.Settings(
          console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
        ),
      )
    return self._runs[name]
