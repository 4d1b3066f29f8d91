"""MLflow: a run for each training, nested in one of the sdt run."""

from __future__ import annotations

import itertools
import operator
import os
import time
from collections.abc import Mapping
from typing import Any

from sdt.config.differences import leaves
from sdt.run.loggers.protocol import About, Curve, Final, Point

FOLDER = "mlruns"
_TAG = "sdt.run"
# A request may hold so many.
_MOST_METRICS, _MOST_PARAMS, _LONGEST_PARAM = 1000, 100, 500


class MlflowRuns:
  """Sends points to MLflow, where MLFLOW_TRACKING_URI says, by default to WORKDIR/mlruns.

  MLFLOW_EXPERIMENT_NAME names the experiment, by default sdt. MLflow cannot take a point back: the
  runs of an earlier process are deleted, as its user interface would, and written anew.
  """

  def __init__(self, about: About):
    # Files on this machine are asked for by name, and nobody else is told of it.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    self._about, self._runs = about, dict[Curve, str]()
    place = os.environ.get("MLFLOW_TRACKING_URI") or (about.workdir / FOLDER).as_uri()
    self._client = MlflowClient(tracking_uri=place)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "sdt")
    found = self._client.get_experiment_by_name(name)
    self._experiment = found.experiment_id if found else self._client.create_experiment(name)
    earlier = f"tags.`{_TAG}` = '{about.run_id}'"
    while runs := self._client.search_runs([self._experiment], earlier):
      for run in runs:
        self._client.delete_run(run.info.run_id)
    self._whole = self._begin(about.name, {})
    self._log_config(about.config)

  def write(self, points: list[Point]) -> None:
    by_curve = operator.attrgetter("curve")
    for curve, own in itertools.groupby(sorted(points, key=by_curve), by_curve):
      self._log(self._of(curve), [(one.round, one.figures) for one in own])

  def conclude(self, final: Final) -> None:
    for point in final.points:
      figures = {f"final/{name}": value for name, value in point.figures.items()}
      self._log(self._of(point.curve), [(point.round, figures)])
    self._log(self._whole, [(0, {f"final/{name}": value for name, value in final.means.items()})])
    self._client.set_tag(self._whole, "mlflow.note.content", final.sentence)

  def close(self, *, is_complete: bool) -> None:
    for run in (*self._runs.values(), self._whole):
      self._client.set_terminated(run, status="FINISHED" if is_complete else "KILLED")

  def _of(self, curve: Curve) -> str:
    """Returns the id of the run of a training, which is begun when it is first asked for."""
    if curve not in self._runs:
      tags = {"mlflow.parentRunId": self._whole, "arm": curve.arm, "seed": str(curve.seed)}
      self._runs[curve] = self._begin(f"{curve.arm} seed {curve.seed}", tags)
    return self._runs[curve]

  def _begin(self, name: str, tags: Mapping[str, str]) -> str:
    tags = {_TAG: self._about.run_id, **tags}
    return self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id

  def _log(self, run: str, figures: list[tuple[int, Mapping[str, float]]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
      Metric(name, value, now, step) for step, own in figures for name, value in own.items()
    ]
    for some in itertools.batched(metrics, _MOST_METRICS):
      self._client.log_batch(run, metrics=some)

  def _log_config(self, config: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    params = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in leaves(config)]
    for some in itertools.batched(params, _MOST_PARAMS):
      self._client.log_batch(self._whole, params=some)
