"""TensorBoard: an event file for each training, in WORKDIR/tensorboard/ARM/seedK."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sdt.run.loggers.protocol import About, Curve, Final, Point

if TYPE_CHECKING:
  from tensorboardX.event_file_writer import EventsWriter
  from tensorboardX.proto.event_pb2 import Event

FOLDER, _SUFFIX = "tensorboard", ".sdt"


class TensorboardFiles:
  """Writes event files; those of an earlier process of the run are removed first.

  Not tensorboardX's SummaryWriter: its errors stay in a thread of its own, and it would wait for
  ever for one that a full disk has ended.
  """

  def __init__(self, about: About):
    self._folder = about.workdir / FOLDER
    self._writers: dict[Path, EventsWriter] = {}
    for path in self._folder.rglob(f"events.out.tfevents.*{_SUFFIX}"):
      path.unlink()

  def write(self, points: list[Point]) -> None:
    for point in points:
      self._add(self._of(point.curve), point)
    for writer in self._writers.values():
      writer.flush()

  def conclude(self, final: Final) -> None:
    from tensorboardX import summary

    for point in final.points:
      figures = {f"final/{name}": value for name, value in point.figures.items()}
      self._add(self._of(point.curve), Point(point.curve, point.round, figures))
    writer = self._writer(self._folder)
    for name, value in final.means.items():
      writer.write_event(_event(0, summary.scalar(f"final/{name}", value)))
    writer.write_event(_event(0, summary.text("sentence", final.sentence)))

  def close(self, *, is_complete: bool) -> None:
    del is_complete
    for writer in self._writers.values():
      writer.close()

  def _of(self, curve: Curve) -> EventsWriter:
    return self._writer(self._folder / curve.arm / f"seed{curve.seed}")

  def _writer(self, folder: Path) -> EventsWriter:
    from tensorboardX.event_file_writer import EventsWriter

    if folder not in self._writers:
      folder.mkdir(parents=True, exist_ok=True)
      self._writers[folder] = EventsWriter(str(folder / "events"), _SUFFIX)
    return self._writers[folder]

  def _add(self, writer: EventsWriter, point: Point) -> None:
    from tensorboardX import summary

    for name, value in point.figures.items():
      writer.write_event(_event(point.round, summary.scalar(name, value)))


def _event(step: int, content: object) -> Event:
  from tensorboardX.proto import event_pb2

  return event_pb2.Event(wall_time=time.time(), step=step, summary=content)
