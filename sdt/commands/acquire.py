"""Active learning: ordinary runs with more and more labels, each asking for those of the next."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from sdt import files
from sdt.commands import dry_run
from sdt.config import Config, config_hash, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, differences
from sdt.config.schema import AcquireConfig
from sdt.data import cache, sources
from sdt.data.dataset import Data
from sdt.data.hidden_labels import revealed
from sdt.devices import processes
from sdt.errors import ConfigError, DivergedError
from sdt.experiment import EXPERIMENT
from sdt.report import build_report
from sdt.report.acquire_page import FIGURE, table_text
from sdt.run import lifecycle, load_inputs, shared_workdir
from sdt.run.identity import Identity
from sdt.run.progress import Display
from sdt.run.search.trials import Ask
from sdt.run.signals import StopRequest
from sdt.stages.asking import Asked, ask, probabilities
from sdt.stats import learning_curve, paired

FILE, TABLE, START = "acquire.json", "acquired.csv", "start"
# What another start may have otherwise: the runs that are there guard their own configs.
_MAY_DIFFER = (*SAFE_TO_CHANGE, "seeds", "acquire.strategies", "acquire.times", "stats.margin")
_COLUMNS = (
  *("strategy", "seed", "acquisition", "rank", "example_id", "source_file", "label"),
  *("predicted", "probability", "worth"),
)
_OF_DATA = ("name", "variant", "num_test", "num_classes")


def labels_of(rule: AcquireConfig) -> list[int]:
  """Returns how many labels are known at the start and after each acquisition."""
  return [rule.start + number * rule.add for number in range(rule.times + 1)]


def run_config(config: Config, seed: int, num_labels: int) -> Config:
  """Returns the config of the ordinary run of one seed with so many labels."""
  return dataclasses.replace(
    config,
    acquire=AcquireConfig(),
    seeds=(seed,),
    data=dataclasses.replace(config.data, labelled=num_labels),
  )


@dataclasses.dataclass
class Course:
  """The way of one strategy and one seed: what it has asked for, and how accurate it became.

  Attributes:
    asked: of the start and each acquisition so far.
    accuracies: likewise; None where the network diverged, and after that.
    last: the workdir of the newest run.
  """

  strategy: str
  seed: int
  asked: list[Asked] = dataclasses.field(default_factory=list)
  accuracies: list[float | None] = dataclasses.field(default_factory=list)
  last: Path | None = None

  @property
  def is_lost(self) -> bool:
    """Whether its newest network diverged, so that it can ask for nothing."""
    return None in self.accuracies

  @property
  def known(self) -> Int32[np.ndarray, "n"]:
    """The ids whose labels are known."""
    return np.concatenate([one.example_ids for one in self.asked])


def run(config: Config, workdir: Path, name: str) -> int:
  """Runs active learning, or what is left of it, in `workdir`; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py. Nothing is written before config and data have been accepted.
      DivergedError: only after everything else.
  """
  if processes.count() > 1:
    raise ConfigError(
      "acquire.strategies: active learning runs in one process; start one, or give each process a "
      "seed and a --workdir of its own"
    )
  display, stop = Display(), StopRequest()
  pool = _accepted(config, display.log)
  display.log(f"sdt: {name}: {_headline(config, pool)}")
  with shared_workdir.hold(workdir) as held, stop.listening(display.log):
    _check_same(config, held)
    recorded = dataclasses.replace(config, baseline_from=None)
    files.write_json(
      held / "config.json", {"config": to_dict(recorded), "hash": config_hash(recorded)}
    )
    courses = _Loop(config, pool, held, stop=stop, log=display.log).courses()
    is_new = _write_outputs(config, pool, courses, held=held)
    report = workdir / "report.html"
    print(table_text(files.read_json(held / FILE)))
    print(f"\nthe examples that were asked for: {workdir / TABLE}")
    print(f"report: {report}" if is_new else f"complete: nothing to do; the report is {report}")
  lost = [f"{one.strategy}, seed {one.seed}" for one in courses if one.is_lost]
  if lost:
    raise DivergedError(
      f"{len(lost)} of {len(courses)} learning curves end early, because a network diverged "
      f"({'; '.join(lost)}), the others finished; try a lower optim.learning_rate in a new "
      "--workdir"
    )
  return 0


def describe(
  config: Config, workdir: Path, *, detail: dry_run.Detail = dry_run.DEFAULT
) -> Iterator[str]:
  """Yields what active learning would do, line by line, then its first run as
  `dry_run.describe` has it, and writes what that writes.

  Raises:
    ConfigError, DataError: before the first line, as the run would. MissingDataError among them: a
      set that is not on this machine has no stand-in here.
  """
  log = Display().log
  offline = dataclasses.replace(config, data=dataclasses.replace(config.data, download=False))
  with cache.reading_only():
    pool = _accepted(offline, log)
  yield _headline(config, pool)
  seed, num = config.seeds[0], config.acquire.start
  first = revealed(pool, Asked.at_start(pool.train.example_ids, num, seed).example_ids)
  folder = workdir / START / f"seed_{seed}"
  yield from ("", f"the first, {folder.relative_to(workdir)}:", "")
  own, all_runs = run_config(config, seed, num), dataclasses.replace(detail, num_runs=_num(config))
  yield from dry_run.describe(own, folder, dry_run.Found(first), log=log, detail=all_runs)


def _accepted(config: Config, log: Callable[[str], None]) -> Data:
  """Returns the set with all its labels, after the checks of the first run.

  Raises:
    ConfigError, DataError: the config is wrong, alone or for these data, or the data are.
  """
  rule, seed = config.acquire, config.seeds[0]
  pool = processes.in_turn(lambda: sources.load(config.data, log, config.seeds))
  most, total = labels_of(rule)[-1], len(pool.train)
  if most >= total:
    raise ConfigError(
      f"acquire: {rule.start} labels at the start and {rule.times} times {rule.add} more are "
      f"{most}, of {total} training examples; expected fewer, so that some stay hidden: lower "
      "acquire.start, acquire.add or acquire.times"
    )
  num_classes = len(np.unique(pool.train.labels))
  if rule.start < num_classes and not config.data.allow_empty_class:
    raise ConfigError(
      f"acquire.start={rule.start} leaves classes without a label; expected one for each of the "
      f"{num_classes} classes, so {num_classes} or more, or data.allow_empty_class=True"
    )
  first = revealed(pool, Asked.at_start(pool.train.example_ids, rule.start, seed).example_ids)
  own = run_config(config, seed, rule.start)
  load_inputs.load_data(own, log, first)
  EXPERIMENT.check(own, first)
  load_inputs.settle(own, first, EXPERIMENT.plans)
  for note in pool.notes:
    log(f"note: {note}")
  return pool


def _num(config: Config) -> int:
  """Returns how many runs there are in all."""
  return len(config.seeds) * (1 + config.acquire.times * len(config.acquire.strategies))


def _headline(config: Config, pool: Data) -> str:
  rule, labels = config.acquire, labels_of(config.acquire)
  return (
    f"active learning by {', '.join(rule.strategies)}: {_num(config)} runs with {labels[0]} to "
    f"{labels[-1]} labels of {len(pool.train)} training examples, {rule.add} more each time, "
    f"n = {len(config.seeds)}"
  )


def _check_same(config: Config, held: Path) -> None:
  """Refuses a workdir that holds a run, a sweep, or active learning of another config.

  More strategies, seeds or acquisitions are fine; fewer than a finished one has are not, as what
  they have told would be lost.
  """
  if files.is_intact(held / "config.json"):
    before = files.read_json(held / "config.json")["config"]
    now = to_dict(dataclasses.replace(config, baseline_from=None))
    changes = [line for name, line in differences(before, now) if name not in _MAY_DIFFER]
    if changes or "acquire" not in before:
      what = "active learning" if "acquire" in before else "a run or a sweep"
      raise ConfigError(
        f"{held} holds {what} of another config ({'; '.join(changes)}); use that config again or "
        "choose another --workdir"
      )
  # Unlike pathlib's, os.path's exists() says False of a path that is too long.
  elif any(os.path.exists(held / name) for name in ("metrics.jsonl", "checkpoints")):
    raise ConfigError(f"{held} holds a run; choose another --workdir for active learning")
  if files.is_intact(held / FILE):
    _refuse_fewer(config, files.read_json(held / FILE), held)


def _refuse_fewer(config: Config, told: Mapping[str, Any], held: Path) -> None:
  """Refuses fewer acquisitions, strategies or seeds than `told`, the content of acquire.json."""
  rule, times = config.acquire, len(told["labels"]) - 1
  lacking = []
  if rule.times < times:
    lacking.append((f"{times} acquisitions", f"acquire.times={times} or more"))
  for key, before, now in (
    ("acquire.strategies", told["strategies"], rule.strategies),
    ("seeds", told["seeds"], config.seeds),
  ):
    if set(before) - set(now):
      listed = ",".join(map(str, before))
      lacking.append((f"the {key.rpartition('.')[2]} {listed}", f"all of {key}={listed}"))
  if lacking:
    has, give = (" and ".join(texts) for texts in zip(*lacking, strict=True))
    raise ConfigError(f"{held} has {has}; give {give}, or another --workdir")


class _Loop:
  """Trains what is left of all runs, in the order of their numbers of labels.

  So the runs of equal shapes follow each other, and share their compiled programs.
  """

  def __init__(
    self,
    config: Config,
    pool: Data,
    held: Path,
    *,
    stop: StopRequest,
    log: Callable[[str], None],
  ):
    self._config, self._pool, self._held = config, pool, held
    self._stop, self._log = stop, log

  def courses(self) -> list[Course]:
    """Returns the courses of every strategy and seed, to their ends.

    Raises:
      SdtError: as `lifecycle.complete`. Interrupted: a signal came between two runs.
    """
    rule = self._config.acquire
    courses = [Course(name, seed) for name in rule.strategies for seed in self._config.seeds]
    for number, num_labels in enumerate(labels_of(rule)):
      is_new = False
      for course in courses:
        if course.is_lost:
          course.accuracies.append(None)
        else:
          is_new |= self._advance(course, number)
      if is_new:
        self._tell(courses, number, num_labels)
    return courses

  def _advance(self, course: Course, number: int) -> bool:
    """Takes a course to its next number of labels; returns whether a run was left to do."""
    course.asked.append(self._asked(course, number))
    own = run_config(self._config, course.seed, len(course.known))
    data = revealed(self._pool, course.known)
    folder = self._folder(course, number) / f"seed_{course.seed}"
    is_done = files.is_intact(folder / "results.json")
    if is_done:
      _refuse_other(own, data, folder)
    else:
      self._raise_if_stopped(folder)
      name = f"{folder.relative_to(self._held)}, {len(course.known)} labels"
      asked = Ask(own, folder, name, data=data, is_trial=True)
      lifecycle.answer(EXPERIMENT, asked, self._stop)
    arms = files.read_json(folder / "results.json")["arms"]
    course.accuracies.append(arms[self._config.acquire.arm]["accuracy"][str(course.seed)])
    course.last = folder
    return not is_done

  def _folder(self, course: Course, number: int) -> Path:
    """Returns where the runs of an acquisition are; all strategies have the start in common."""
    if number == 0:
      return self._held / START
    return self._held / course.strategy / f"acquisition_{number:02d}"

  def _asked(self, course: Course, number: int) -> Asked:
    """Returns what is asked for: as an earlier start had it, else by the network before."""
    rule, examples = self._config.acquire, self._pool.train
    if course.last is None:
      return Asked.at_start(examples.example_ids, rule.start, course.seed)
    path = self._folder(course, number) / f"asked_seed_{course.seed}.npz"
    if files.is_intact(path):
      return Asked.read(path)
    self._raise_if_stopped(path)
    before = run_config(self._config, course.seed, len(course.known))
    given = probabilities(before, self._pool, course.last, arm=rule.arm)
    asked = ask(
      course.strategy, given, examples, known=course.known, num=rule.add, seed=course.seed
    )
    asked.write(path)
    return asked

  def _raise_if_stopped(self, before: Path) -> None:
    self._stop.raise_if_asked(f"before {before.relative_to(self._held)}")

  def _tell(self, courses: Sequence[Course], number: int, num_labels: int) -> None:
    """Logs the mean accuracy of every strategy after an acquisition."""
    parts = []
    for strategy in self._config.acquire.strategies:
      mean = paired.summary(one.accuracies[-1] for one in courses if one.strategy == strategy)
      text = "diverged" if mean["mean"] is None else f"{100 * mean['mean']:.2f} %"
      parts.append(f"{strategy} {text}")
    times = self._config.acquire.times
    what = "start" if number == 0 else f"acquisition {number} of {times}"
    shown = parts[0].partition(" ")[2] if number == 0 else ", ".join(parts)
    self._log(f"{what}, {num_labels} labels: test accuracy {shown}")


def _refuse_other(own: Config, data: Data, folder: Path) -> None:
  """Refuses a finished run of another config or of other data."""
  environment = files.read_json(folder / "environment.json")
  Identity.of(own, data, load_inputs.load_beside(own, data)).refuse_other(
    files.read_json(folder / "config.json")["config"],
    environment["data"]["checksum"],
    folder,
    file_checksums=environment["file_checksums"],
  )


def _rows(pool: Data, courses: Sequence[Course]) -> Iterator[Sequence[object]]:
  """Yields the rows of acquired.csv; those of the start once for each seed."""
  names, train = pool.class_names, pool.train
  place = {example_id: at for at, example_id in enumerate(train.example_ids.tolist())}
  started: set[int] = set()
  for course in courses:
    for number, asked in enumerate(course.asked):
      if number == 0 and course.seed in started:
        continue
      started.add(course.seed)
      strategy = START if number == 0 else course.strategy
      for rank, example_id in enumerate(asked.example_ids.tolist()):
        at, said = place[example_id], int(asked.predicted[rank])
        file = "" if train.source_files is None else train.source_files[at]
        guess: tuple[object, ...] = (None, None, None)
        if said >= 0:
          guess = (names[said], asked.probability[rank], asked.worth[rank])
        yield (
          *(strategy, course.seed, number, rank + 1, example_id, file),
          *(names[int(train.labels[at])], *guess),
        )


def _content(
  config: Config, num_pool: int, courses: Sequence[Course], *, held: Path
) -> dict[str, Any]:
  """Returns the content of acquire.json (docs/artifacts.md); no hidden label has a part in it."""
  rule, labels = config.acquire, labels_of(config.acquire)
  first = files.read_json(held / START / f"seed_{config.seeds[0]}" / "results.json")
  accuracies = {
    name: {one.seed: one.accuracies for one in courses if one.strategy == name}
    for name in rule.strategies
  }
  return {
    "strategies": rule.strategies,
    "arm": rule.arm,
    "seeds": config.seeds,
    "labels": labels,
    "data": {name: first["data"][name] for name in _OF_DATA} | {"num_pool": num_pool},
    "model": first["model"],
    "rounds": first["rounds"],
    "margin": config.stats.margin,
    **learning_curve.summarised(labels, accuracies, config.stats.margin),
    "diverged": [[one.strategy, one.seed] for one in courses if one.is_lost],
  }


def _write_outputs(config: Config, pool: Data, courses: Sequence[Course], *, held: Path) -> bool:
  """Writes the tables and the report, unless they are there; returns whether it wrote anything."""
  path = held / FILE
  text = files.json_text(_content(config, len(pool.train), courses, held=held)) + "\n"
  is_same = files.is_intact(path) and path.read_text(encoding="utf-8") == text
  if is_same and all(files.is_intact(held / name) for name in (TABLE, "report.html", FIGURE)):
    return False
  files.write_csv(held / TABLE, _COLUMNS, _rows(pool, courses))
  files.write_text(path, text)
  build_report(held)
  return True
