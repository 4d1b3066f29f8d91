"""The order of an experiment: select, train, score, split, train again, evaluate, report. The only room that knows it.

Every stage leaves its artifacts behind before the next begins; a stage whose artifacts are intact is not done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import accept, artifacts, baseline, cam, continuation, environment, files, selection
from sdt.arms import Setting, arm_order, check_equal_work, make_plan, num_rounds_of
from sdt.checkpoint import CheckpointStore
from sdt.config import config_hash, to_dict
from sdt.data.dataset import Data
from sdt.errors import CheckpointError, ConfigError, DataError
from sdt.keys import Config
from sdt.models import count_params, make_model
from sdt.optim import is_body_frozen
from sdt.plan import Plan
from sdt.progress import Display, duration
from sdt.report import build_report
from sdt.report.tables import result_table_text
from sdt.scoring import score_and_split
from sdt.setup import Resume, Setup, compute_dtype
from sdt.split import Sizes, sizes
from sdt.step import TrainState
from sdt.training import Context, Identity, StopRequest, Timing, has_rows, restore_final, restore_newest, train_arm
from sdt.workdir import hold_workdir

_UNEQUAL = 1.1  # optimiser steps of arms that differ by more than this factor are worth a warning


def run(config: Config, workdir: Path, name: str, loaded: Data | None = None, stop: StopRequest | None = None) -> int:
  """Runs the experiment, or what is left of it, in `workdir`; returns the exit code.

  Args:
    config: `baseline_from` says how a part of the results comes about, not which they are: it is not written to the workdir.
    workdir: of the run.
    name: what the run is called on the screen.
    loaded: its data, where the caller has them already.
    stop: asked as well whether the run shall stop.

  Raises:
    SdtError: see sdt/errors.py; nothing is written before the data has been accepted.
  """
  is_new = complete(config, workdir, name, loaded, stop)
  print(result_table_text(files.read_json(workdir / "results.json")))
  print(f"report: {workdir / 'report.html'}" if is_new else f"complete: nothing to do; the report is {workdir / 'report.html'}")
  return continuation.exit_code(workdir)


def complete(config: Config, workdir: Path, name: str, loaded: Data | None = None, stop: StopRequest | None = None) -> bool:
  """Does what `run` does, but prints no results and takes no notice of replicas that diverged; returns whether anything was left to do."""
  display, start = Display(), time.perf_counter()
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  data = accept.load_data(config, display.log, loaded)
  if selection.is_on(config):
    selection.prepare(config, data)
  else:
    _sizes(config, data)
  beside = accept.load_beside(config, data)
  # Only now, so that a mistake is told in one line.
  for line in (f"sdt: {name}: {_machine(config)}", *(f"note: {note}" for note in accept.notes(config, data, beside))):
    display.log(line)
  identity = Identity.of(config, data, beside)
  data_secs = time.perf_counter() - start
  found = baseline.find(Path(origin), config, identity) if origin is not None and baseline.is_needed(workdir) else None
  with hold_workdir(workdir) as held:
    store = CheckpointStore(held / "checkpoints", config.checkpoint.keep, display.log)
    choices = continuation.check_same_run(identity, held, store, display.log)
    lacking = continuation.missing(config, data, held)
    if not lacking:
      return False
    if all(path.suffix in (".html", ".png") for path in lacking):
      display.log(f"only the report is missing ({lacking[0].name}): it is made again")
      build_report(held)
    else:
      stop = stop or StopRequest()
      with stop.listening(), device_memory_errors():
        timing = Timing.read(held / "timing.json", start)
        timing.stages["data"] = timing.stages.get("data", 0.0) + data_secs
        if config.compilation_cache:  # before anything is compiled
          environment.use_compilation_cache()
        chosen = _select(config, data, held, choices, timing, display, stop) if selection.is_on(config) else {}
        setup = Setup.make(selection.frozen(config, chosen), data, choices, pretrained=beside.pretrained)
        setup.choices.update({"selected": chosen} if chosen else {})
        context = Context(setup, beside, held, identity, store, display, stop, timing)
        _begin(context, config)
        _stages_and_report(context, _sizes(setup.config, data), found)
    return True


def _sizes(config: Config, data: Data) -> Sizes | None:
  """Returns the sizes of the split, None where no arm has one; raises a ConfigError where A or B would be empty."""
  return sizes(config.method, config.split, len(data.train)) if len(config.arms) > 1 else None


def _select(
  config: Config, data: Data, workdir: Path, choices: Mapping[str, Any] | None, timing: Timing, display: Display, stop: StopRequest
) -> dict[str, float]:
  """Returns what the selection chose, by dotted key; runs what is left of it.

  Raises:
    ConfigError: the run began with other values; its selection was lost, and this machine chooses differently.
  """
  if not files.is_intact(workdir / "config.json"):
    _write_config(workdir, config)  # the selection belongs to this config from its start

  def run_trials(own: Config, folder: Path, name: str, cut: Data) -> None:
    complete(own, folder, name, cut, stop)

  try:
    with timing.stage("select"):
      chosen: dict[str, float] = selection.choose(config, data, workdir, run_trials, display.log)["chosen"]
  finally:
    files.write_json(workdir / "timing.json", timing.to_dict())
  before = (choices or {}).get("selected", chosen)
  if before != chosen:
    raise ConfigError(
      f"{workdir / selection.FILE}: the selection comes to {chosen}, and the run there began with {before}; restore the file from a copy, "
      "or choose another --workdir"
    )
  return chosen


def _stages_and_report(context: Context, size: Sizes | None, found: baseline.Finished | None) -> None:
  """Runs what is left of the experiment, then builds its report; the account of time is written however this ends."""
  try:
    _stages(context, size, found)
    context.write_timing()
    with context.timing.stage("report"):
      build_report(context.workdir)
  finally:
    context.write_timing()
  context.display.log(f"done in {duration(time.perf_counter() - context.timing.since)}")


@contextlib.contextmanager
def device_memory_errors() -> Iterator[None]:
  """Turns a device that is out of memory into a ConfigError that names the keys to change."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ConfigError(
      f"the device is out of memory ({str(error).splitlines()[0][:200]}); lower batch_size or score.batch_size, run fewer seeds at once, "
      "or choose parallel.replicas=loop; --dry_run estimates the memory"
    ) from error


def _stages(context: Context, size: Sizes | None, found: baseline.Finished | None) -> None:
  """Runs the stages that are not done yet: the baseline (or takes `found`), scores and split, the other arms, the results."""
  arms = arm_order(context.setup.config.arms)
  with context.timing.stage("restore"):
    newest = restore_newest(context)
  reached = arms.index(newest[0]) if newest else 0
  _forget_rows_after(context, arms, reached, newest[1].position.round_index if newest else 0)
  setting = Setting(context.setup.config, context.setup.data.train.labels, context.setup.data.train.example_ids)
  plans = {"baseline": make_plan("baseline", setting)}
  if found is not None and newest is None:
    with context.timing.stage("take over baseline"):
      newest = "baseline", baseline.take_over(context, found, plans["baseline"])
      _write_environment(context)
  final = _train_or_skip(context, plans["baseline"], 0, reached, newest)
  if size is not None:
    was_trained_before = newest is not None and (reached > 0 or newest[1].position.round_index >= context.setup.config.rounds)
    setting = score_and_split(context, setting, size, was_trained_before)
    plans |= {arm: make_plan(arm, setting) for arm in arms[1:]}
    check_equal_work(plans.values(), context.setup.config)
    _write_plans(context, plans)
  model_state = final
  for index, arm in enumerate(arms[1:], start=1):
    final = _train_or_skip(context, plans[arm], index, reached, newest)
    model_state = final if arm == "method" else model_state
  with context.timing.stage("class activation maps"):
    _write_activation_maps(context, arms)
  with context.timing.stage("results"):
    chosen = "method" if "method" in arms else "baseline"
    state = restore_final(context, arms.index(chosen)) if model_state is None else model_state
    checksum = None if context.setup.pretrained is None else context.setup.pretrained.checksum
    artifacts.write_model(context.workdir, context.setup.data, context.setup.config, chosen, state.params, state.batch_stats, checksum)
    network = {"num_params": count_params(context.setup.model, context.setup.input_shape), "layers": context.setup.layer_names}
    accuracy, selected = _recalibrated(context, arms), context.setup.choices.get("selected")
    artifacts.write_results(context.workdir, context.setup.data, context.setup.config, network, setting.num_easy, plans, accuracy, selected)


def _write_activation_maps(context: Context, arms: tuple[str, ...]) -> None:
  """Writes figures/cam.npz from the final networks of baseline and method, of the first seed that diverged in neither; none of an MLP."""
  config, data = context.setup.config, context.setup.data
  shown = [arm for arm in ("baseline", "method") if arm in arms]
  rows = files.read_rows(context.workdir / "metrics.jsonl")
  lost = {seed for arm in shown for seed in artifacts.diverged_seeds(rows, arm)}
  replica = next((index for index, seed in enumerate(config.seeds) if seed not in lost), None)
  if replica is None or data.test.inputs.ndim != 4:
    return
  networks: dict[str, Any] = {}
  for arm in shown:
    state = restore_final(context, arms.index(arm))
    networks[arm] = jax.tree.map(lambda leaf: leaf[replica], {"params": state.params, "batch_stats": state.batch_stats})
  content = cam.maps_of_test_images(
    make_model(config.model, len(data.class_names)),
    networks,
    data,
    crop_size=config.data.crop_size,
    seed=config.seeds[replica],
    batch_size=min(64, context.setup.eval_batch_size),
    after_batch=lambda: context.raise_if_stopped("while drawing class activation maps"),
  )
  if content is not None:
    files.write_npz(context.workdir / "figures" / "cam.npz", **content)


def _train_or_skip(context: Context, plan: Plan, index: int, reached: int, newest: tuple[str, Resume] | None) -> TrainState | None:
  """Trains an arm from where its newest checkpoint stands; returns its final state, None where it was finished before."""
  if index < reached:
    return None
  start = newest[1] if newest and index == reached else None
  if start is not None and start.position.round_index >= plan.rounds:
    return start.state
  if start is None:
    start = context.setup.warm_start(restore_final(context, 0)) if plan.init == "warm" else context.setup.fresh_start
  trainer = context.setup.trainer(plan)
  _write_environment(context)  # how the arm is cut into dispatches is sealed before it trains
  with context.timing.stage(f"train {plan.arm}"):
    return train_arm(context, trainer, plan, index, start)


def _recalibrated(context: Context, arms: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns each arm's test accuracy [R] at its end with BatchNorm's statistics taken over the whole training set; {} without BatchNorm.

  Every arm ends on some part of the set, whose statistics its network has: with those of the whole set they are compared like with like.
  """
  setup = context.setup
  if not jax.tree.leaves(setup.fresh_start.state.batch_stats) or is_body_frozen(setup.config.optim):
    return {}
  accuracy = {}
  with context.display.task("recalibrated evaluation", len(arms), "arm") as task:

    def after_dispatch() -> None:
      context.raise_if_stopped("before the results")

    for index, arm in enumerate(arms):
      params = restore_final(context, index).params
      statistics = setup.recalibrator.statistics(params, setup.fresh_start.state.batch_stats, after_dispatch)
      accuracy[arm] = setup.recalibrator.evaluate(params, statistics, after_dispatch)[1]
      task.advance(index + 1)
  return accuracy


def _write_plans(context: Context, plans: dict[str, Plan]) -> None:
  """Writes every arm's ids, and says how many optimiser steps a round of each has."""
  for arm, plan in plans.items():
    if arm != "baseline":
      artifacts.write_arm_ids(context.workdir, context.setup.data, context.setup.config, plan)
  counts = ", ".join(f"{arm} {' + '.join(f'{phase.num_steps}{phase.note}' for phase in plan.phases)}" for arm, plan in plans.items())
  context.display.log(f"optimiser steps a round: {counts}")
  totals = {arm: plan.steps_per_round for arm, plan in plans.items()}
  if max(totals.values()) > _UNEQUAL * min(totals.values()):
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    context.display.log(
      f"note: a round of {most} has {totals[most]} optimiser steps and one of {least} {totals[least]}: not an equal comparison; a smaller "
      "batch_size brings them together"
    )
  _write_environment(context)


def _forget_rows_after(context: Context, arms: tuple[str, ...], reached: int, num_rounds: int) -> None:
  """Drops the rows of metrics.jsonl that the newest checkpoint does not cover: they will be made again, and each must stand once."""

  def is_covered(row: dict[str, Any]) -> bool:
    index = arms.index(row["arm"])
    return index < reached or (index == reached and row["round"] <= num_rounds)

  path = context.workdir / "metrics.jsonl"
  if not context.store.steps() and files.is_intact(context.workdir / "results.json"):
    raise CheckpointError(
      f"{context.workdir} holds a finished run whose checkpoints are gone, and some of its files are missing or damaged; restore the "
      "checkpoints, or choose another --workdir to train it anew"
    )
  dropped = files.truncate_rows(path, is_covered)
  if dropped:
    context.display.log(f"metrics.jsonl: dropped {dropped} row(s) that no checkpoint covers; they are made again")
  seeds, config = context.setup.config.seeds, context.setup.config
  there = sorted((arms.index(row["arm"]), row["round"], row["seed"]) for row in files.read_rows(path) if row["last_phase"])
  totals = [num_rounds_of(arm, config) for arm in arms[: reached + 1]]
  covered = [*zip(totals[:-1], totals[:-1], strict=True), (num_rounds, totals[-1])]
  ended = [(arm, number) for arm, (count, total) in enumerate(covered) for number in range(1, count + 1) if has_rows(number, total, config)]
  expected = [(arm, number, seed) for arm, number in ended for seed in sorted(seeds)]
  if there != expected:
    raise DataError(
      f"{path}: {len(there)} rows of ended rounds, the checkpoint covers {len(expected)}; restore the file from a copy or start again in a "
      "new workdir"
    )


def _machine(config: Config) -> str:
  devices = jax.devices()
  seeds = ", ".join(map(str, config.seeds))
  return f"{config.parallel.num_devices or len(devices)} {devices[0].device_kind} device(s), {compute_dtype(config).name}, seeds {seeds}"


def _begin(context: Context, config: Config) -> None:
  """Writes what the run is and on what it runs; says what has changed since its last start.

  Args:
    context: of the run.
    config: as the user gave it, before any selection.

  Raises:
    ConfigError: the machine cannot go on with what the run began with.
  """
  setup = context.setup
  continuation.refuse_other_machine(setup, context.workdir)
  before = context.workdir / "environment.json"
  if files.is_intact(before):
    changes = environment.changes(files.read_json(before), environment.describe())
    if changes:
      context.display.log(f"note: since the last start {'; '.join(changes)}: the last bits may differ from an uninterrupted run")
  _write_config(context.workdir, config)
  _write_environment(context)


def _write_config(workdir: Path, config: Config) -> None:
  files.write_json(workdir / "config.json", {"config": to_dict(config), "hash": config_hash(config)})


def _write_environment(context: Context) -> None:
  data = context.setup.data
  described = {"name": data.name, "variant": data.variant, "checksum": data.checksum, "notes": data.notes}
  run = {"data": described, "file_checksums": context.identity.file_checksums, "choices": context.setup.choices}
  files.write_json(context.workdir / "environment.json", {**environment.describe(), **run})
