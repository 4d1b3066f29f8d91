"""Whether the run in a workdir can be continued, what it lacks, and how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sdt import files
from sdt.devices import processes
from sdt.errors import CheckpointError, ConfigError, DataError, DivergedError
from sdt.files import sealed
from sdt.report import review_page
from sdt.report.read import TEST_SUSPECTS, has_review
from sdt.run import environment
from sdt.run.identity import Identity
from sdt.run.programs import Setup, compute_dtype
from sdt.run.shared_checkpoints import SharedStore

_RESULTS = (
  "config.json",
  "environment.json",
  "timing.json",
  "metrics.jsonl",
  "results.json",
  "model.safetensors",
  "report.html",
)


def refuse_other_processes(identity: Identity) -> None:
  """Refuses processes that differ from the first in data, files, programs or kind of device.

  Their configs were compared when they came together (`processes.refuse_other_configs`).

  Raises:
    DataError: the data or a file differs. ConfigError: the machines do.
  """
  if processes.count() == 1:
    return
  here = environment.describe()
  mine = {
    "data": identity.data_checksum,
    "files": dict(identity.file_checksums),
    "machine": {**here, "cpus": None},
  }
  first, *others = processes.gather(mine)
  for other, theirs in enumerate(others, start=1):
    changes = environment.changes(first["machine"], theirs["machine"])
    if theirs["data"] != first["data"] or theirs["files"] != first["files"]:
      what = "data" if theirs["data"] != first["data"] else "files"
      raise DataError(
        f"process {other} has other {what} than process 0 ({theirs[what]}, there {first[what]}); "
        f"give all the same {what}"
      )
    if changes:
      raise ConfigError(
        f"process {other} runs otherwise than process 0 ({'; '.join(changes)}); give all the same "
        "program and devices"
      )


def check_same_run(
  identity: Identity, workdir: Path, store: SharedStore, log: Callable[[str], None]
) -> dict[str, Any] | None:
  """Returns the choices that the run in a workdir has made; None for a new run.

  Refuses to continue a run that another config or other data began.

  They stand in config.json and environment.json; where one of these is damaged or missing, the
  newest checkpoint tells.
  """
  content = {
    name: files.read_json(workdir / name)
    for name in ("config.json", "environment.json")
    if files.is_intact(workdir / name)
  }
  lacking = [name for name in ("config.json", "environment.json") if name not in content]
  if lacking and store.steps():
    meta = newest_meta(store)
    log(
      f"{' and '.join(lacking)}: damaged or missing; the checkpoint tells what stood there, and "
      "it is written again"
    )
    environment_then = {"data": {"checksum": meta["data_checksum"]}, "choices": meta["choices"]}
    environment_then["file_checksums"] = meta["file_checksums"]
    content = {
      "config.json": {"config": meta["config"]},
      "environment.json": environment_then,
    } | content
  elif "config.json" in lacking and (workdir / "metrics.jsonl").exists():
    raise ConfigError(
      f"{workdir} holds a run whose config.json is damaged or missing, and no checkpoint tells "
      "which it was; choose another --workdir"
    )
  environment_before = content.get("environment.json", {})
  if "config.json" in content:
    checksum, of_files = (
      environment_before.get("data", {}).get("checksum"),
      environment_before.get("file_checksums", {}),
    )
    identity.refuse_other(
      content["config.json"]["config"], checksum, workdir, file_checksums=of_files
    )
  return environment_before.get("choices")


def newest_meta(store: SharedStore) -> dict[str, Any]:
  """Returns what the newest checkpoint whose seal can be read says.

  Raises:
    CheckpointError: none can be read.
  """
  for step in reversed(store.steps()[1:]):
    with contextlib.suppress(CheckpointError):
      return store.read_meta(step)
  return store.read_meta(store.steps()[0])


def missing(workdir: Path, outputs: Iterable[str]) -> list[Path]:
  """Returns the files that are missing or damaged in a workdir.

  Looked at are the files of every run, its own `outputs`, and the figures that were made before.
  """
  seals = (workdir / "figures" / sealed.SEAL_DIR).glob("*")
  figures = sorted(
    f"figures/{path.name}" for path in seals if path.suffix in (".png", ".svg", ".npz")
  )
  if sealed.read_seal(workdir / TEST_SUSPECTS) is not None:  # of earlier versions there is none
    figures.append(TEST_SUSPECTS)
  lacking = [
    workdir / name
    for name in dict.fromkeys([*_RESULTS, *outputs, *figures])
    if not files.is_intact(workdir / name)
  ]
  return [path for path in lacking if not _is_excused(path, workdir)]


def _is_excused(path: Path, workdir: Path) -> bool:
  """Returns whether a finished run lacks a file by right.

  One without suspects or their images has no page to review them. One in which no network is fit
  recommends none. One of an earlier version has no models/ and no predictions: they are made from
  its checkpoints, and are no loss where these are gone.
  """
  if path.name == review_page.FILE:
    return not has_review(workdir)
  results = workdir / "results.json"
  is_of_models, is_of_predictions = path.parent.name == "models", path.stem == "predictions"
  is_known = is_of_models or is_of_predictions or path.suffix == ".safetensors"
  if not is_known or not files.is_intact(results):
    return False
  content = files.read_json(results)
  if is_of_predictions or is_of_models:
    is_earlier = ("predictions" if is_of_predictions else "recommended") not in content
    return is_earlier and not any((workdir / "checkpoints").glob("[0-9]*"))
  return "recommended" in content and content["recommended"]["file"] is None


def refuse_other_machine(setup: Setup, workdir: Path) -> None:
  """Raises a ConfigError if the run began with another precision or number of devices."""
  now = {"precision": compute_dtype(setup.config).name, "num_devices": setup.layout.num_devices}
  changed = [
    f"{name} {setup.choices[name]}, now {value}"
    for name, value in now.items()
    if setup.choices[name] != value
  ]
  if changed:
    raise ConfigError(
      f"{workdir} holds a run that began with {'; '.join(changed)}; continue it on such a machine "
      "or in a new --workdir"
    )


def exit_code(workdir: Path) -> int:
  """Returns 0.

  Raises:
    DivergedError: where a replica diverged; names each, and where.
  """
  rows = files.read_rows(workdir / "metrics.jsonl")
  lost = []
  for arm, seed in dict.fromkeys((row["arm"], row["seed"]) for row in rows if row.get("diverged")):
    own = [row for row in rows if (row["arm"], row["seed"]) == (arm, seed)]
    first = next(index for index, row in enumerate(own) if row.get("diverged"))
    losses = [row["train_loss"] for row in own[: first + 1] if row["train_loss"] is not None]
    row = own[first]
    earlier = max((one["round"] for one in own if one["round"] < row["round"]), default=0)
    place = (
      f"round {row['round']}, phase {row['phase']}"
      if earlier == row["round"] - 1
      else f"rounds {earlier + 1} to {row['round']}"
    )
    where = f"{place}, after step {row['step']}"
    rates = f"learning rate {row['learning_rate']:g}, weight decay {row['weight_decay']:g}"
    lost.append(
      f"arm {arm}, seed {seed}: {where}, {rates}, last finite loss "
      f"{f'{losses[-1]:.4g}' if losses else 'none'}"
    )
  if lost:
    what = f"{len(lost)} replica(s) diverged and were frozen, the others finished"
    raise DivergedError(
      f"{what} ({'; '.join(lost)}); try a lower optim.learning_rate in a new --workdir"
    )
  return 0
