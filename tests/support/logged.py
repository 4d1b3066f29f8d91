"""What TensorBoard, Weights & Biases and MLflow hold of a run, read by their own programs."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# By name: the (round, value) of every point that is there, twice where it stands there twice.
Points = dict[str, list[tuple[int, float]]]


class Logged(NamedTuple):
  """What a logger holds: the points of every training, by (arm, seed), and the sentence."""

  points: dict[tuple[str, int], Points]
  sentence: str


def expected(workdir: Path) -> dict[tuple[str, int], Points]:
  """Returns the points of every training, from metrics.jsonl and results.json themselves."""
  found: dict[tuple[str, int], Points] = {}
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    row = json.loads(line)
    own = found.setdefault((row["arm"], row["seed"]), {})
    for name in ("step", "learning_rate", "weight_decay", "train_loss", "train_accuracy"):
      own.setdefault(f"{name}/{row['phase']}", []).append((row["round"], row[name]))
    for name in ("gradient_norm", "update_norm", "weight_norm"):
      own.setdefault(f"{name}/{row['phase']}", []).append((row["round"], row[name]))
    if row["last_phase"]:
      for name in ("test_loss", "test_accuracy"):
        own.setdefault(name, []).append((row["round"], row[name]))
  return found


def tensorboard(workdir: Path) -> Logged:
  """Reads the event files with TensorBoard's reader, which is told to forget nothing."""
  from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

  def read(folder: Path) -> EventAccumulator:
    sizes = {"scalars": 0, "tensors": 0}
    return EventAccumulator(str(folder), sizes, purge_orphaned_data=False).Reload()

  points = {}
  for folder in sorted((workdir / "tensorboard").glob("*/seed*")):
    events = read(folder)
    points[folder.parent.name, int(folder.name.removeprefix("seed"))] = {
      tag: [(event.step, event.value) for event in events.Scalars(tag)]
      for tag in events.Tags()["scalars"]
    }
  whole = read(workdir / "tensorboard")
  tags = [tag for tag in whole.Tags()["tensors"] if tag.startswith("sentence")]
  said = [one.tensor_proto.string_val[0].decode() for tag in tags for one in whole.Tensors(tag)]
  return Logged(points, "".join(said))


def wandb(workdir: Path) -> Logged:
  """Reads the files that `wandb sync` would upload, one for each run."""
  points, sentence, ids = {}, "", list[str]()
  for path in sorted((workdir / "wandb").glob("offline-run-*/*.wandb")):
    own, summary = dict[str, list[tuple[int, float]]](), dict[str, Any]()
    kind = name = ""
    for record in _records(path):
      if record.HasField("run"):
        kind, name = record.run.job_type, record.run.display_name
        ids.append(record.run.run_id)
      row = {".".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
      for key, text in row.items():
        if not key.startswith("_"):
          own.setdefault(key, []).append((record.history.step.num, json.loads(text)))
      for item in record.summary.update:
        summary[".".join(item.nested_key) or item.key] = json.loads(item.value_json)
    if kind == "results":
      sentence = summary["sentence"]
    else:
      own |= {
        key: [(own["step/" + _last_phase(own)][-1][0], value)]
        for key, value in summary.items()
        if key.startswith("final/")
      }
      points[kind, int(name.rpartition("seed")[2])] = own
  assert len(set(ids)) == len(ids), "a run is there twice"
  return Logged(points, sentence)


def _last_phase(own: Points) -> str:
  return next(name for name in own if name.startswith("step/")).partition("/")[2]


def _records(path: Path) -> Iterator[Any]:
  """Yields the records of a .wandb file: a header of seven bytes, then LevelDB's log format."""
  from wandb.proto.wandb_internal_pb2 import Record

  content, at, parts = path.read_bytes(), 7, []
  while at + 7 <= len(content):
    if 2**15 - at % 2**15 < 7:  # the rest of a block
      at += 2**15 - at % 2**15
      continue
    _, size, kind = struct.unpack_from("<IHB", content, at)
    parts.append(content[at + 7 : at + 7 + size])
    at += 7 + size
    if kind in (1, 4):  # the whole of a record, or its last part
      yield Record.FromString(b"".join(parts))
      parts = []


def mlflow(workdir: Path) -> Logged:
  """Reads the local file store with MLflow's client."""
  from mlflow import MlflowClient

  os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
  client = MlflowClient(tracking_uri=(workdir / "mlruns").as_uri())
  experiment = client.get_experiment_by_name("sdt").experiment_id
  points, sentence = {}, ""
  for run in client.search_runs([experiment]):
    tags = run.data.tags
    if "mlflow.parentRunId" not in tags:
      assert not sentence, "two runs are there"
      sentence = tags.get("mlflow.note.content", "")
      continue
    place = (tags["arm"], int(tags["seed"]))
    assert place not in points, "a run is there twice"
    points[place] = {
      name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
      for name in run.data.metrics
    }
  return Logged(points, sentence)


READERS: dict[str, Callable[[Path], Logged]] = {
  "tensorboard": tensorboard,
  "wandb": wandb,
  "mlflow": mlflow,
}
