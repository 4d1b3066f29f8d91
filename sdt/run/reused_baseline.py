"""A baseline that is taken over from a finished run instead of being trained again
(`baseline_from`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax

from sdt import files, named_files
from sdt.arms.catalogue import num_phases, scoring_arms
from sdt.arms.kept_rounds import kept_rounds
from sdt.config import Config, from_dict, search_space, to_dict
from sdt.config.differences import changes_baseline, differences
from sdt.devices import processes
from sdt.devices.layout import make_layout
from sdt.engine.plan import Plan
from sdt.engine.state import Position, Snapshot
from sdt.errors import CheckpointError, ConfigError, DataError
from sdt.files.workdir import disk_errors
from sdt.run import environment, metrics, shared_workdir, stopping
from sdt.run.context import Context
from sdt.run.identity import Identity
from sdt.run.programs import compute_dtype
from sdt.run.saved_states import last_step, save_state, saved_like, step_after
from sdt.run.shared_checkpoints import SharedStore

_OF_RUN = ("results.json", "config.json", "environment.json", "metrics.jsonl")
_OF_SCORES = ("scores.npz", "scores.csv", "scores.json", "split.csv")
_WEIGHTS = "model.pretrained"  # the only file beside the data that a baseline reads


@dataclasses.dataclass(frozen=True)
class Finished:
  """The baseline of a finished run that another run may have.

  Attributes:
    steps: (place in `scoring_arms`, step) of the sealed checkpoints after the round that is scored,
      where that is not the last, and at the end, of the baseline and of the trainings without a
      fold that are there.
    num_phases: of the sums in that checkpoint.
    origin: what environment.json of the other run will say of it.
  """

  workdir: Path
  store: SharedStore
  steps: tuple[tuple[int, int], ...]
  num_phases: int
  environment: dict[str, Any]
  origin: dict[str, Any]
  what: ClassVar[str] = "baseline"

  def take_over(self, context: Context, plans: Mapping[str, Plan]) -> tuple[str, Snapshot]:
    """See `take_over`."""
    return take_over(context, self, plans)


def is_needed(workdir: Path) -> bool:
  """Returns whether the run in `workdir` has no baseline yet, not even a part of one."""

  def look() -> bool:
    with disk_errors(workdir):  # a name that is too long, a folder that may not be entered
      return not _has_steps(workdir) and not (workdir / "results.json").exists()

  return bool(processes.by_first(look))


def is_there(workdir: Path) -> bool:
  """Returns whether `workdir` holds a finished run and its checkpoints, as far as a look tells."""
  return bool(
    processes.by_first(lambda: (workdir / "results.json").exists() and _has_steps(workdir))
  )


def _has_steps(workdir: Path) -> bool:
  return any((workdir / "checkpoints").glob("[0-9]*"))


def find(workdir: Path, config: Config, identity: Identity) -> Finished:
  """Returns the baseline of the finished run in `workdir`, for a run of `config`. Writes nothing.

  Raises:
    ConfigError: no finished run there, its config differs in a key that the baseline reads, or it
      ran on another kind of machine.
    DataError: it ran on other data, started from other weights, or a file of it is damaged.
    CheckpointError: the end of its baseline, or what is scored of it, is missing or damaged.
  """
  where, workdir = f"baseline_from={named_files.shown(workdir)}", named_files.expanded(workdir)
  processes.by_first(lambda: _check_folder(workdir, where))
  workdir = shared_workdir.copied(workdir)
  _refuse_unfinished(workdir, where)
  content = files.read_json(workdir / "config.json")
  described = files.read_json(workdir / "environment.json")
  trained = to_dict(_as_trained(workdir, from_dict(content["config"])))
  _refuse_other_baseline(trained, described, identity, where=where)
  refuse_other_machine(described, config, where, way_out="leave baseline_from out")
  store = SharedStore(workdir / "checkpoints", 2, read_only=True)
  steps = _steps_of(store, 0, config, where=where)
  for index in range(1, len(scoring_arms(config))):  # a run without arms has no folds
    if last_step(store, index) not in store.steps():
      break
    steps += _steps_of(store, index, config, where=where)
  # A baseline that was itself taken over is still that of the run that trained it.
  origin = described["choices"].get("baseline_from") or {
    "workdir": str(workdir.absolute()),
    "config_hash": content["hash"],
    "commit": described["commit"],
  }
  return Finished(
    workdir,
    store,
    tuple(steps),
    num_phases=num_phases(from_dict(content["config"])),
    environment=described,
    origin=origin,
  )


def _check_folder(workdir: Path, where: str) -> None:
  advice = "name the workdir of a finished run"
  if not named_files.is_folder("baseline_from", workdir, advice, error=ConfigError):
    raise ConfigError(f"{where}: no finished run there, it is no folder; {advice}")


def _refuse_unfinished(workdir: Path, where: str) -> None:
  lacking = [name for name in _OF_RUN if not files.is_intact(workdir / name)]
  if lacking:
    hint = "name a run's workdir"
    if (workdir / "sweep.json").exists():
      hint = "it is the folder of a sweep, name that of one of its values"
    elif (workdir / "acquire.json").exists():
      hint = "it is the folder of active learning, name that of one of its runs"
    raise ConfigError(f"{where}: no finished run there, {lacking[0]} is missing or damaged; {hint}")


def _as_trained(workdir: Path, config: Config) -> Config:
  """Returns the config with what a search of that run chose, and the baseline read."""
  found = files.read_json(workdir / "results.json").get("selection", {}).get("chosen", {})
  chosen = {key: value for key, value in found.items() if changes_baseline(key)}
  return search_space.with_values(config, chosen) if chosen else config


def _refuse_other_baseline(
  config: dict[str, Any], described: dict[str, Any], identity: Identity, *, where: str
) -> None:
  """Refuses a run whose baseline was trained by another config, on other data or other weights.

  `config` and `described` are what its config.json and environment.json hold.
  """
  lines = differences(config, identity.config)
  changes = [line for name, line in lines if changes_baseline(name)]
  if changes:
    raise ConfigError(
      f"{where}: another baseline ({'; '.join(changes)}); use that run's values, or leave "
      "baseline_from out"
    )
  checksum = described["data"]["checksum"]
  if identity.is_other_data(checksum):
    raise DataError(
      f"{where}: that run was on other data (checksum {checksum}, now {identity.data_checksum}); "
      "leave baseline_from out"
    )
  checksums = described["file_checksums"]
  other = identity.other_files({key: checksums[key] for key in checksums if key == _WEIGHTS})
  if other:
    raise DataError(f"{where}: that run started from {other[0]}; leave baseline_from out")


def refuse_other_machine(
  described: dict[str, Any], config: Config, where: str, *, way_out: str
) -> None:
  """Refuses a run on another kind of device, with another number of them or another precision."""
  before = described["choices"] | {"platform": described["platform"]}
  now = {
    "platform": jax.default_backend(),
    "precision": compute_dtype(config).name,
    "num_devices": make_layout(config.parallel).num_devices,
  }
  others = [f"{key} {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
  if others:
    raise ConfigError(
      f"{where}: that run had {'; '.join(others)}; run on such a machine, or {way_out}"
    )


def _steps_of(store: SharedStore, index: int, config: Config, where: str) -> list[tuple[int, int]]:
  """Returns (index, step) of a training that scores: after the rounds that are kept, and at its
  end.
  """
  step = last_step(store, index)
  meta = store.read_meta(step)
  if meta["round"] < config.rounds:
    raise CheckpointError(
      f"{where}: the checkpoint of the end of {meta['arm']} is missing, the last is of round "
      f"{meta['round']}; leave baseline_from out"
    )
  found = {step}
  for number in kept_rounds(meta["arm"], config):
    kept = step_after(store, number, index)
    if kept is None:
      raise CheckpointError(
        f"{where}: the checkpoint of {meta['arm']} after round {number}, which is needed later, is "
        "missing; leave baseline_from out"
      )
    found.add(kept)
  return [(index, one) for one in sorted(found)]


def take_over(
  context: Context, finished: Finished, plans: Mapping[str, Plan]
) -> tuple[str, Snapshot]:
  """Copies the baseline's end, its rows and its scores from another run into this one's workdir.

  The same is done for the trainings without a fold. Returns the last training that was taken over,
  and where it stands: at its end. The sealed checkpoints come last: a kill before them leaves a run
  that has no baseline yet, a kill between them a run that trains the rest.

  Raises:
    CheckpointError, DataError: what is to be copied is damaged. WorkdirError: it cannot be written.
  """
  setup, config, workdir = context.setup, context.config, context.workdir
  restored = [
    (index, *finished.store.restore(step, saved_like(setup, index, finished.num_phases)))
    for index, step in finished.steps
  ]
  arms = scoring_arms(config)[: finished.steps[-1][0] + 1]
  rows = _rows_of(finished.workdir, arms, config)
  for name in _OF_SCORES:  # of an earlier start, whose checkpoints are gone
    with disk_errors(workdir / name):
      if files.keep_if_not_ours(workdir / name) is not None:
        (workdir / name).unlink()
  scores = finished.workdir / "scores.npz"
  has_scores = len(config.arms) > 1 and files.is_intact(scores)
  if has_scores:
    files.write_bytes(workdir / "scores.npz", files.read_bytes_verified(scores))
  files.append_rows(workdir / metrics.FILE, rows)
  setup.choices["baseline_from"] = finished.origin
  for index, tree, meta in restored:
    own = tree | {"sums": setup.fresh_start.sums}
    end = Snapshot(**own, position=Position(meta["round"]))
    save_state(context, plans[arms[index]], index, reached=end, pin=True)
  context.display.log(
    f"baseline: taken over{' with its scores' if has_scores else ''} from {finished.workdir}; it "
    "is not trained again"
  )
  changes = environment.changes(finished.environment, environment.describe())
  if changes:
    context.display.log(f"note: since that baseline was trained {'; '.join(changes)}")
  return arms[-1], end


def _rows_of(workdir: Path, arms: Sequence[str], config: Config) -> Sequence[metrics.Row]:
  """Returns the rows of these arms in the finished run; refuses it if there are not all of them."""
  rows = [row for row in files.read_rows(workdir / metrics.FILE) if row["arm"] in arms]
  expected = 0
  for arm in arms:
    own = [row for row in rows if row["arm"] == arm]
    numbers = range(1, stopping.num_rounds(own, config.rounds, config) + 1)
    has_rows = [metrics.has_rows(number, config.rounds, config) for number in numbers]
    expected += sum(has_rows) * len(config.seeds)
  if len(rows) != expected:
    raise DataError(
      f"baseline_from={workdir}: metrics.jsonl has {len(rows)} rows of the baseline, expected "
      f"{expected}; use a copy"
    )
  return rows
