"""A classifier in a given time: halving over a ready-made space, and the mean of the best."""

import contextlib
import dataclasses
import math
import numbers
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from sdt import experiment, files, named_files
from sdt.api.labelled import as_trained, names_of
from sdt.api.running import NoSignals
from sdt.config import Config, config_hash, from_dict, ready_spaces, to_dict
from sdt.config.dependent import without_dependent
from sdt.config.resolve import resolve
from sdt.config.schema import DataConfig
from sdt.config.search_space import values_text
from sdt.data import sources
from sdt.data.dataset import Data
from sdt.data.readers.arrays import load_arrays
from sdt.data.readers.folder_layout import images_below
from sdt.devices.start import find_devices
from sdt.errors import ConfigError, DataError, Interrupted
from sdt.run import lifecycle
from sdt.run.context import Paused
from sdt.run.progress import Display, duration
from sdt.run.search import timed
from sdt.run.search.budget import MEMBERS, MOST_TRIALS, Plan, Repeat
from sdt.run.search.timed import Task, Trials
from sdt.run.search.trials import BASELINE, Ask
from sdt.run.signals import StopRequest
from sdt.trained.fitted import FILE, Fitted, record_of
from sdt.trained.model import file_of

_SHARE, _MOST_SHARE, _LEAST_HELD_OUT = 0.15, 1 / 3, 20
_TRIALS, _MINUTES = "trials", 10.0
_SIDES = (64, 32, 16, 8)  # of the images of a folder: the largest that half of them fill
_MOST_OPENED = 64


def fit(
  images: ArrayLike | str | os.PathLike[str],
  labels: ArrayLike | None = None,
  *,
  minutes: float | None = None,
  plan: Mapping[str, Any] | None = None,
  workdir: str | os.PathLike[str] | None = None,
  seed: int = 0,
) -> Fitted:
  """Returns the best classifier that it finds in a given time: AutoML.

  It holds 15 % of the examples out, measures what a recipe costs, and tries as many recipes as the
  time allows (networks, rates, decays, augmentation: sdt/config/ready_spaces.py has a space for
  each kind of data), by synchronous halving on the held-out examples. The answer is the mean
  probability of the best three networks; they are not trained again on the held-out examples.
  Progress goes to stderr.

  Which recipes come, and what each reaches, depends on `seed` and the data alone. How many are
  trained, and for how long, depends on the clock, and is written down as `Fitted.plan`. A fit that
  is given this `plan` reads no clock: on the same data and machine it comes to the same bytes.

  Args:
    images: uint8 images [N, H, W, C] or [N, H, W], or numbers [N, D]; or the path of a folder that
      has a folder of images for each class (of one with `train/` that part alone), which are made
      squares of 8, 16, 32 or 64 pixels, the largest that half of the images fill.
    labels: [N], of any kind; None for a folder.
    minutes: of wall time, above 0, by default 10. One trial comes to its end in any case.
    plan: of an earlier fit; it stands in place of the time.
    workdir: a new or empty folder, which keeps the trials and fit.json. The same fit there again
      returns what it keeps; one with a plan that was stopped goes on. None: nothing is kept.
    seed: of the held-out examples, the recipes and their networks. Not read with a plan.

  Raises:
    ConfigError: an argument is wrong, the time is too short for one trial or stands beside a plan,
      or the workdir holds something else. DataError: the examples cannot be learned from, or are
      too few to hold some out. DivergedError: no recipe came to a sound network. Interrupted: by a
      signal.
  """
  if minutes is not None and plan is not None:
    raise ConfigError(
      f"minutes={minutes!r} beside a plan, which says itself what is trained and reads no clock; "
      "give one of the two"
    )
  asked = _MINUTES if minutes is None else minutes
  return fit_by(
    Request(images, labels, minutes=asked, plan=plan, workdir=workdir, seed=seed),
    clock=time.perf_counter,
  )


@dataclasses.dataclass(frozen=True)
class Request:
  """What a fit is asked for, see `fit`."""

  images: ArrayLike | str | os.PathLike[str]
  labels: ArrayLike | None
  minutes: float
  plan: Mapping[str, Any] | None = None
  workdir: str | os.PathLike[str] | None = None
  seed: int = 0

  def checked_plan(self) -> Plan | None:
    """Returns the plan that is given; None without one.

    Raises:
      ConfigError: no plan, no time or no seed.
    """
    if self.plan is not None:
      return Plan.read(self.plan)
    is_number = isinstance(self.minutes, numbers.Real) and not isinstance(self.minutes, bool)
    if not is_number or not 0 < self.minutes < math.inf:
      raise ConfigError(f"minutes={self.minutes!r}: expected a number above 0, such as 10")
    is_whole = isinstance(self.seed, int | np.integer) and not isinstance(self.seed, bool)
    if not is_whole or not 0 <= self.seed < 2**31:
      raise ConfigError(f"seed={self.seed!r}: expected a whole number from 0 on")
    return None


@dataclasses.dataclass(frozen=True)
class _Examples:
  """The training set cut in two, the labels of its classes, and the keys of `data`."""

  cut: Data
  classes: np.ndarray
  config: DataConfig


def fit_by(request: Request, clock: Callable[[], float]) -> Fitted:
  """Returns what `fit` does; `clock` returns seconds, such as those of the processor."""
  start, plan, log = clock(), request.checked_plan(), Display().log
  examples = _examples(request, seed=int(request.seed) if plan is None else plan.seed)
  kind = _kind(request, examples.cut, plan)
  config = _config(kind, examples)
  identity: dict[str, Any] = {"config": config_hash(config), "data": examples.cut.checksum}
  identity |= {"minutes": float(request.minutes)} if plan is None else {"plan": plan.to_dict()}
  with contextlib.ExitStack() as stack:
    if request.workdir is None:
      place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sdt-")))
    else:
      place = named_files.expanded(request.workdir)
      kept = _kept(place, identity, may_continue=plan is not None)
      if kept is not None:
        log(f"fit: {place} keeps it; nothing to do")
        return kept
    find_devices()
    network = file_of(BASELINE, config.seeds[0])
    task = Task(kind, config, examples.cut, folder=place / _TRIALS, network=network)
    trials = Trials(task, _train, clock)
    end = start + (0.0 if plan is not None else 60 * float(request.minutes))
    done, entries = _searched(trials, plan, secs_left=lambda: end - clock())
    record = {"identity": identity, "plan": done.to_dict(), "trials": entries}
    fitted = _finished(examples, place, record)
    text = [*_text(fitted, kind, examples.cut), *_not_reached(done, task)]
    files.write_json(place / FILE, {**fitted.record, "text": text})
    for line in [*text, f"took {duration(clock() - start)}"]:
      log(f"fit: {line}")
    return Fitted.load(place)


def _searched(
  trials: Trials, plan: Plan | None, secs_left: Callable[[], float]
) -> tuple[Plan, list[dict[str, Any]]]:
  """Returns the plan that was trained, by the clock or as given, and what its trials reached."""
  log = Display().log
  if plan is not None:
    return timed.search(trials, Repeat(plan.rungs), log)
  try:
    try:
      watch = timed.forecast(trials, secs_left, log)
    except ConfigError:  # the time is too short, and what was measured is of no use
      shutil.rmtree(trials.task.folder, ignore_errors=True)
      with contextlib.suppress(OSError):  # of a folder that is not empty
        trials.task.folder.parent.rmdir()
      raise
    return timed.search(trials, watch, log)
  except Interrupted as error:
    told = str(error).partition(";")[0]
    raise Interrupted(f"{told}; a fit by the clock does not go on, so begin again") from None


def _examples(request: Request, seed: int) -> _Examples:
  """Returns the examples, cut in two.

  Raises:
    ConfigError: labels beside a folder, or none beside arrays. DataError: see `fit`.
  """
  given, labels = request.images, request.labels
  if isinstance(given, str | os.PathLike):
    if labels is not None:
      raise ConfigError("labels: a folder has its labels in the names of its folders; leave it out")
    folder = _training_folder(named_files.expanded(given))
    files_of = list(images_below(folder))
    config = DataConfig(name="folder", path=str(folder), image_size=_side(files_of))
    config = _held_out(config, len(files_of), seed)
    cut = sources.load(config, Display().log)
    return _Examples(cut, np.array(cut.class_names), config)
  if labels is None:
    raise ConfigError("labels: expected one for each of the images, [N]")
  inputs, targets = np.asarray(given), np.asarray(labels)
  if targets.ndim != 1 or inputs.ndim not in (2, 3, 4) or len(targets) != len(inputs):
    raise DataError(
      f"images have shape {list(inputs.shape)} and labels {list(targets.shape)}; expected images "
      "[N, H, W, C] or [N, H, W], or numbers [N, D], and labels [N]"
    )
  classes, numbers_of = np.unique(targets, return_inverse=True)
  arrays = {
    "train_x": as_trained(inputs if inputs.ndim > 2 else inputs.astype(np.float32)),
    "train_y": numbers_of,
    "class_names": names_of(classes),
  }
  config = _held_out(DataConfig(name="arrays"), len(inputs), seed)
  return _Examples(load_arrays(arrays, config), classes, config)


def _held_out(config: DataConfig, number: int, seed: int) -> DataConfig:
  """Returns the keys of `data` with the share that is held out of so many examples.

  Raises:
    DataError: they are too few.
  """
  share = max(_SHARE, _LEAST_HELD_OUT / max(1, number))
  if share > _MOST_SHARE:
    raise DataError(
      f"{number} examples are too few to hold {_LEAST_HELD_OUT} of them out, by which recipes are "
      f"compared; at least {math.ceil(_LEAST_HELD_OUT / _MOST_SHARE)} are needed. SdtClassifier "
      "trains a recipe of yours on any number"
    )
  return dataclasses.replace(config, test_fraction=share, split_seed=seed)


def _training_folder(folder: Path) -> Path:
  """Returns the folder of the class folders: `train/` where there is one.

  Raises:
    DataError: there is no such folder.
  """
  advice = "name a folder with a folder for each class"
  if not named_files.is_folder("images", folder, advice):
    raise DataError(f"images={named_files.shown(folder)}: no such folder; {advice}")
  parts = sorted(one for one in folder.iterdir() if one.name.lower() in ("train", "training"))
  return parts[0] if parts and parts[0].is_dir() else folder


def _side(paths: Sequence[Path]) -> int:
  """Returns the size to which images are resized, pixels: the largest that half of them fill."""
  sides = []
  for path in paths[:: max(1, len(paths) // _MOST_OPENED)]:
    with contextlib.suppress(OSError, ValueError, Image.DecompressionBombError):
      with Image.open(path) as image:  # the reader tells what is wrong with a file
        sides.append(min(image.size))
  middle = float(np.median(sides)) if sides else _SIDES[0]
  return next((side for side in _SIDES if side <= middle), _SIDES[-1])


def _kind(request: Request, cut: Data, plan: Plan | None) -> str:
  """Returns the kind of the data.

  Raises:
    ConfigError: the time is too short for it, or the plan is of another kind.
  """
  kind = ready_spaces.kind_of(cut.train.inputs.shape[1:])
  row = ready_spaces.KINDS[kind]
  if plan is not None and plan.kind != kind:
    raise ConfigError(
      f"plan: its kind is {plan.kind!r}, and these are {row.what} ({kind}); give the data that it "
      "was made with"
    )
  if plan is None and 60 * request.minutes < row.least_secs:
    raise ConfigError(
      f"minutes={request.minutes!r}: too short to try anything on {row.what}; the least is "
      f"{row.least_secs / 60:.2g}, and what one recipe takes on this machine is measured then"
    )
  return kind


def _config(kind: str, examples: _Examples) -> Config:
  """Returns what all trials have in common."""
  config = resolve(ready_spaces.recipe(ready_spaces.KINDS[kind], len(examples.cut.train)))
  plain = without_dependent(to_dict(config))
  seed = examples.config.split_seed
  return from_dict({**plain, "data": dataclasses.asdict(examples.config), "seeds": [seed]})


def _kept(place: Path, identity: Mapping[str, Any], *, may_continue: bool) -> Fitted | None:
  """Returns the same fit that a workdir keeps; None where there is something left to do.

  Raises:
    ConfigError: the workdir holds another fit, one that was stopped, or something else.
  """
  if (place / FILE).exists():
    fitted = Fitted.load(place)
    if fitted.record["identity"] != identity:
      raise ConfigError(
        f"{place} holds a fit of other data, or with another time, plan or seed; choose another "
        "workdir"
      )
    return fitted
  if place.exists() and (not place.is_dir() or any(place.iterdir())):
    known = {_TRIALS, ".sha256"}
    if not (may_continue and {one.name for one in place.iterdir()} <= known):
      raise ConfigError(
        f"{place}: not an empty folder; a fit that was stopped cannot know how much of its time "
        "was left, so begin again in another workdir"
      )
  return None


def _train(asked: Ask) -> None:
  """Trains a trial up to where it pauses.

  Raises:
    Interrupted: by a signal, also one that came too late for this trial.
  """
  is_main = threading.current_thread() is threading.main_thread()
  stop = StopRequest() if is_main else NoSignals()
  job = lifecycle.Job(asked.config, asked.folder, asked.name, loaded=asked.data, is_quiet=True)
  job = dataclasses.replace(job, stop=stop, pause=asked.pause)
  with contextlib.suppress(Paused):
    lifecycle.complete(experiment.NETWORKS, job)
  stop.raise_if_asked("after a trial", again="the same")


def _finished(examples: _Examples, place: Path, record: Mapping[str, Any]) -> Fitted:
  """Returns the mean of the best three, with its accuracy on what was held out."""
  members = timed.best_of(record["trials"])
  environment = files.read_json(place / Path(members[0]["file"]).parents[1] / "environment.json")
  told = {**record, "precision": environment["choices"]["precision"], "text": []}
  weights = tuple(files.read_bytes_verified(place / one["file"]) for one in members)
  fitted = Fitted(record_of(examples.classes, members, **told), weights)
  held_out = examples.cut.test
  right = fitted.predict_proba(held_out.inputs).argmax(axis=1) == held_out.labels
  return dataclasses.replace(fitted, record={**fitted.record, "accuracy": float(np.mean(right))})


def _text(fitted: Fitted, kind: str, cut: Data) -> list[str]:
  """Returns in words what was done and what was chosen."""
  rungs = ", ".join(f"{number} up to round {end}" for number, end in fitted.plan["rungs"])
  members = fitted.record["members"]
  singles = ", ".join(f"{100 * one['mean']:.2f}" for one in members)
  who, they = f"the mean of the best {len(members)}", f" (each alone: {singles}); they were"
  if len(members) == 1:
    who, they = "the best network", "; it was"
  best = values_text(members[0]["values"])
  chance = float(np.bincount(cut.test.labels).max()) / len(cut.test)
  lines = [
    f"{ready_spaces.KINDS[kind].what}: {len(cut.train)} examples to train on, {len(cut.test)} held "
    "out to choose on",
    f"recipes tried: {rungs}; the best: {best}",
    f"{who} has {100 * fitted.validation_accuracy:.2f} % of the held-out examples right{they} "
    "chosen by these examples, so expect somewhat less on new ones",
  ]
  if fitted.validation_accuracy <= chance:
    lines.append(f"that is no better than always the most frequent class ({100 * chance:.2f} %)")
  return lines


def _not_reached(plan: Plan, task: Task) -> list[str]:
  """Returns in words what a longer time would have reached."""
  lengths = ready_spaces.lengths(task.steps_per_round)
  longer = [rounds for rounds in lengths if rounds > plan.rungs[-1].round]
  tried = plan.rungs[0].num_trials
  left = [f"more than {tried} recipe{'s' * (tried > 1)} (up to {MOST_TRIALS})"]
  if tried >= MOST_TRIALS:
    left = []
  if plan.rungs[-1].num_trials < MEMBERS:
    left.append(f"{MEMBERS} networks that are trained to the end")
  if longer:
    left.append(f"trainings of {' or '.join(map(str, longer))} rounds")
  return [f"not reached: {'; '.join(left)}"] if left else []
