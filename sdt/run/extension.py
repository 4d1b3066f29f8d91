"""More seeds and more arms for a finished run: only what is missing is trained.

The missing seeds are a run of their own in extension/seeds. The whole run grows in extension/whole:
it takes the trainings of both over, trains the arms that are new, and judges all. Then its files
replace the old ones (docs/decisions/0022-more-seeds-later.md).
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from sdt import files
from sdt.arms.catalogue import num_phases, trainings
from sdt.arms.distil_checks import teachers_of
from sdt.arms.kept_rounds import kept_rounds
from sdt.config import Config, from_dict, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, diff, differences
from sdt.devices import processes
from sdt.devices.layout import make_layout
from sdt.engine.plan import Plan
from sdt.engine.state import Position, Snapshot
from sdt.errors import CheckpointError, ConfigError
from sdt.files.workdir import disk_errors
from sdt.run import environment, metrics, publishing, reused_baseline, selection
from sdt.run.context import Context, write_config
from sdt.run.identity import Identity
from sdt.run.programs import choose_replicas
from sdt.run.publishing import FOLDER, WHOLE
from sdt.run.saved_states import CheckpointKey, last_step, saved_like, step_after
from sdt.run.shared_checkpoints import SharedStore
from sdt.stats.look_record import made_before

SEEDS = "seeds"
_GROWS = ("seeds", "arms", "own_arms")
_OF_RUN = ("results.json", "config.json", "environment.json", "metrics.jsonl")
_ELSEWHERE = "choose another --workdir"


@dataclasses.dataclass(frozen=True)
class Extension:
  """What a config adds to the finished run in a workdir.

  Attributes:
    workdir: of the run.
    before: the config of the run.
    config: the same with more seeds, more arms or both.
    seeds, arms: those that are new, in the order of the config.
  """

  workdir: Path
  before: Config
  config: Config
  seeds: tuple[int, ...]
  arms: tuple[str, ...]

  @property
  def in_words(self) -> str:
    """Such as "2 more seeds (3, 4) and 1 more arm (random_subset)"."""
    parts = [
      f"{len(new)} more {what}{'s' if len(new) > 1 else ''} ({', '.join(map(str, new))})"
      for what, new in (("seed", self.seeds), ("arm", self.arms))
      if new
    ]
    return " and ".join(parts)

  @property
  def of_seeds(self) -> Config:
    """The config of the run of the missing seeds: with the arms that are there already."""
    return dataclasses.replace(self.config, seeds=self.seeds, arms=self.before.arms)

  @property
  def folder(self) -> Path:
    return self.workdir / FOLDER


@dataclasses.dataclass(frozen=True)
class _Refusal:
  """What cannot be extended: when, why, and what to do."""

  when: Callable[[Extension], object]
  reason: str
  way_out: str = _ELSEWHERE


_REFUSALS = (
  _Refusal(
    lambda of: processes.count() > 1,
    "an extension puts files together, which one process does",
    "run it on one process, or choose another --workdir",
  ),
  _Refusal(
    lambda of: selection.is_on(of.config),
    "a selection chose values with the seeds and arms that were there",
    f"{_ELSEWHERE} and give the chosen values",
  ),
  _Refusal(
    lambda of: of.seeds and len(of.before.arms) > 1 and of.config.split.source == "mean",
    "with split.source='mean' A is made from the scores of all seeds, so more seeds change every A",
    f"{_ELSEWHERE}, or split.source='seed' there",
  ),
  _Refusal(
    lambda of: of.seeds and set(teachers_of(of.config)["distil_mean"]) & set(of.before.arms),
    "with distil_mean the networks of all seeds teach, so more seeds change what an arm learns",
    f"{_ELSEWHERE}, or distil there",
  ),
  _Refusal(
    lambda of: of.seeds and of.config.stop.patience,
    "with stop.patience a training lasts until its last seed stops, so more seeds change its rows",
  ),
  _Refusal(
    lambda of: of.seeds and of.config.parallel.divide == "seeds",
    "with parallel.divide='seeds' the devices need equally many seeds of the new and the old",
    f"{_ELSEWHERE}, or parallel.divide='batch' there",
  ),
)


def settle(workdir: Path) -> None:
  """Completes an extension that a kill has cut off while its files were put in place.

  Raises:
    ConfigError: there are several processes. WorkdirError: any OSError.
  """
  if processes.count() == 1:
    publishing.finish(workdir)
  elif (workdir / FOLDER / publishing.READY).exists():
    raise ConfigError(
      f"{workdir}: the files of an extension were not all put in place; run the same command on "
      "one process first"
    )


def find(workdir: Path, identity: Identity, config: Config) -> Extension | None:
  """Returns what `config` adds to the run in a workdir; None if that is no question of more.

  Raises:
    ConfigError: it adds something to a run that cannot be extended, or is not finished, or was made
      on another kind of machine. DataError: that run was on other data.
  """
  if not files.is_intact(workdir / "config.json"):
    return None
  held = files.read_json(workdir / "config.json")["config"]
  names = [name for name, _ in differences(held, identity.config) if name not in SAFE_TO_CHANGE]
  before = None
  with contextlib.suppress(ConfigError):  # of another version of sdt
    before = from_dict(held)
  if before is None or not names or not set(names) <= set(_GROWS):
    return None
  pairs = [(getattr(before, name), getattr(config, name)) for name in _GROWS]
  if not all(set(old) <= set(new) for old, new in pairs):
    return None
  new_seeds, new_arms, _ = ([item for item in new if item not in old] for old, new in pairs)
  if not new_seeds and not new_arms:
    return None
  found = Extension(workdir, before, config, seeds=tuple(new_seeds), arms=tuple(new_arms))
  _refuse(found)
  described = files.read_json(workdir / "environment.json")
  reused_baseline.refuse_other_machine(
    described, config, f"{workdir}: {found.in_words} for the run there", way_out=_ELSEWHERE
  )
  same = dataclasses.replace(identity, config=held)  # but for the data and the files beside them
  checksum = described.get("data", {}).get("checksum")
  same.refuse_other(held, checksum, workdir, file_checksums=described.get("file_checksums", {}))
  return found


def _refuse(found: Extension) -> None:
  """Raises a ConfigError where the run cannot be extended, or is not finished."""
  what = f"{found.workdir}: {found.in_words} for the run there"
  old = trainings(found.before)
  if trainings(found.config)[: len(old)] != old or found.config.arms[0] != found.before.arms[0]:
    raise ConfigError(
      f"{what}: the arms that are there must come first, in their order; give "
      f"arms={','.join((*found.before.arms, *found.arms))}"
    )
  for refusal in _REFUSALS:
    if refusal.when(found):
      raise ConfigError(f"{what}: {refusal.reason}; {refusal.way_out}")
  lacking = [name for name in _OF_RUN if not files.is_intact(found.workdir / name)]
  if lacking:
    changes = "; ".join(diff(to_dict(found.before), to_dict(found.config), ignore=SAFE_TO_CHANGE))
    raise ConfigError(
      f"{what} ({changes}): it is not finished, {lacking[0]} is missing or damaged; finish it with "
      f"the command that began it, or {_ELSEWHERE}"
    )


@dataclasses.dataclass(frozen=True)
class _Part:
  """A finished run, all of whose trainings become part of another."""

  workdir: Path
  config: Config
  store: SharedStore

  @classmethod
  def of(cls, workdir: Path, config: Config) -> "_Part":
    return cls(workdir, config, SharedStore(workdir / "checkpoints", 2, read_only=True))

  def steps(self) -> list[int]:
    """Returns the checkpoints at the end of every training, and those of `kept_rounds`; ascending.

    Raises:
      CheckpointError: one is missing or damaged.
    """
    found = set()
    for index, arm in enumerate(trainings(self.config)):
      step = last_step(self.store, index)
      meta = self.store.read_meta(step)
      kept = {
        number: step_after(self.store, number, index) for number in kept_rounds(arm, self.config)
      }
      lost = [f"round {number}" for number, there in kept.items() if there is None]
      lost += ["the end"] if meta["round"] < meta.get("rounds", self.config.rounds) else []
      if lost:
        raise CheckpointError(
          f"{self.workdir}: the checkpoint of {lost[0]} of {arm} is missing, so the run cannot be "
          f"extended; use a copy, or {_ELSEWHERE}"
        )
      found |= {there for there in kept.values() if there is not None} | {step}
    return sorted(found)

  def rows(self) -> list[dict[str, Any]]:
    return files.read_rows(self.workdir / metrics.FILE)


@dataclasses.dataclass(frozen=True)
class Together:
  """The trainings of runs that differ in their seeds alone, as those of one run.

  Attributes:
    parts: the runs; each seed is in one.
  """

  parts: tuple[_Part, ...]
  what: ClassVar[str] = "trainings"

  def take_over(self, context: Context, plans: Mapping[str, Plan]) -> tuple[str, Snapshot]:
    """Copies all trainings, rows and scores of the parts into the run's workdir.

    Raises:
      CheckpointError, DataError: what is to be copied is damaged. WorkdirError: it cannot be
        written.
    """
    del plans
    setup, config = context.setup, context.config
    order = _order([part.config.seeds for part in self.parts], config.seeds)
    for part in self.parts:
      context.timing.add(files.read_json(part.workdir / "timing.json"))
    self._write_scores(context, order)
    files.append_rows(context.workdir / metrics.FILE, self._rows(config))
    arm, end = "", setup.fresh_start
    for step in self.parts[0].steps():
      like = saved_like(setup, CheckpointKey.of(step).arm, num_phases(self.parts[0].config))
      restored = [
        part.store.restore(step, _of_replicas(like, len(part.config.seeds))) for part in self.parts
      ]
      tree = _joined([tree for tree, _ in restored], order) | {"sums": setup.fresh_start.sums}
      meta = restored[0][1] | dataclasses.asdict(context.identity) | {"choices": setup.choices}
      context.store.save(step, tree, meta, pin=True)
      arm, end = meta["arm"], Snapshot(**tree, position=Position(meta["round"]))
    context.write_timing()
    seeds = ", ".join(str(seed) for part in self.parts for seed in part.config.seeds)
    context.display.log(f"the trainings of seeds {seeds} are taken over, none is trained again")
    return arm, end

  def _rows(self, config: Config) -> list[dict[str, Any]]:
    """Returns the rows of all parts in the order in which one run would have written them."""
    places = {name: place for place, name in enumerate(trainings(config))}
    seeds = {seed: place for place, seed in enumerate(config.seeds)}
    rows = [row for part in self.parts for row in part.rows()]
    return sorted(rows, key=lambda row: (places[row["arm"]], row["round"], seeds[row["seed"]]))

  def _write_scores(self, context: Context, order: Sequence[int]) -> None:
    """Writes the scores by which the parts made their A; nothing where they had none."""
    paths = [part.workdir / "scores.npz" for part in self.parts]
    if not all(files.is_intact(path) for path in paths):
      return
    stored = [files.read_npz(path) for path in paths]
    counts = [len(part.config.seeds) for part in self.parts]
    content = {}
    for name, first in stored[0].items():
      values = [one[name] for one in stored]
      is_by_seed = first.ndim >= 2 or name in ("seeds", "sound")
      if is_by_seed and [len(value) for value in values] == counts:
        content[name] = np.concatenate(values)[list(order)]
      else:
        content[name] = first
    files.write_npz(context.workdir / "scores.npz", **content)


def _order(parts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[int]:
  """Returns for each seed its place among those of all parts, one part after the other."""
  there = [seed for part in parts for seed in part]
  return [there.index(seed) for seed in seeds]


def _of_replicas(tree: Any, count: int) -> Any:
  """Returns the shapes of a tree whose leaves lead with [R], for another R."""
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), tree)


def _joined(trees: Sequence[Any], order: Sequence[int]) -> Any:
  return jax.tree.map(lambda *leaves: np.concatenate(leaves)[list(order)], *trees)


def prepare(found: Extension, log: Callable[[str], None]) -> None:
  """Makes extension/ ready: what belongs to another extension, or is incomplete, goes.

  Raises:
    CheckpointError: the run in the workdir has lost checkpoints that are needed.
    WorkdirError: any OSError.
  """
  _Part.of(found.workdir, found.before).steps()
  for folder, config in ((SEEDS, found.of_seeds), (WHOLE, found.config)):
    path = found.folder / folder
    if not path.exists():
      continue
    is_own = files.is_intact(path / "config.json") and not diff(
      files.read_json(path / "config.json")["config"], to_dict(config), ignore=SAFE_TO_CHANGE
    )
    if not is_own or (folder == WHOLE and not _has_taken_over(path, found)):
      if not is_own and any(path.iterdir()):
        log(f"{path}: of another extension that was not finished; it is removed")
      with disk_errors(path):
        shutil.rmtree(path)


def _has_taken_over(path: Path, found: Extension) -> bool:
  """Returns whether the trainings of all parts are there already: a kill may have come between."""
  needed = _Part.of(found.workdir, found.before).steps()
  return set(needed) <= set(SharedStore(path / "checkpoints", 2, read_only=True).steps())


def is_trained(found: Extension) -> bool:
  """Returns whether the run of the missing seeds is finished, or none is missing."""
  path = found.folder / SEEDS
  return not found.seeds or all(files.is_intact(path / name) for name in _OF_RUN)


def begin_whole(found: Extension) -> Together:
  """Writes what the whole run begins with: config and choices; returns what it takes over."""
  path = found.folder / WHOLE
  described = files.read_json(found.workdir / "environment.json")
  results = files.read_json(found.workdir / "results.json")
  choices = described["choices"] | {"looks": made_before(results)}
  if len(found.before.seeds) == 1:  # alone it was unrolled
    choices["replicas"] = choose_replicas(found.config, make_layout(found.config.parallel))
  if not (path / "checkpoints").exists():
    files.write_json(path / "environment.json", described | {"choices": choices})
    write_config(path, found.config)
  parts = [_Part.of(found.workdir, found.before)]
  parts += [_Part.of(found.folder / SEEDS, found.of_seeds)] if found.seeds else []
  return Together(tuple(parts))


def notes(found: Extension) -> Iterator[str]:
  """Yields what a user should know of the extension."""
  described = files.read_json(found.workdir / "environment.json")
  yield f"{found.workdir}: {found.in_words}; what is there is not trained again"
  if found.seeds and described["choices"]["replicas"] == "vmap":
    yield (
      "note: with parallel.replicas=vmap the last bits of a seed depend on how many are trained "
      "together: they may differ from those of one run of all"
    )
  changes = environment.changes(described, environment.describe())
  if changes:
    yield f"note: since the run was trained {'; '.join(changes)}"
