"""The order of an experiment: train, score, split, train again, evaluate, report. The only room that knows it.

Every stage leaves its artifacts behind before the next begins; a stage whose artifacts are intact is not done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import artifacts, environment, files
from sdt.arms import Setting, arm_order, make_plan
from sdt.checkpoint import CheckpointStore
from sdt.config import SAFE_TO_CHANGE, Config, config_hash, diff, to_dict
from sdt.data import sources
from sdt.data.batches import num_batches
from sdt.data.dataset import Data
from sdt.errors import ConfigError, DataError, DivergedError
from sdt.models import count_params
from sdt.parallel import padded_batch_size, place
from sdt.plan import Plan
from sdt.progress import Display, duration
from sdt.report import build_report
from sdt.report.tables import result_table_text
from sdt.score import score
from sdt.setup import Resume, Setup, check, compute_dtype
from sdt.split import Partition, num_easy, split
from sdt.train import TrainState
from sdt.training import Context, StopRequest, Timing, restore_final, restore_newest, train_arm
from sdt.workdir import hold_workdir

_OUTPUTS = ("config.json", "scores.npz", "scores.csv", "scores.json", "split.csv", "results.json", "model.safetensors", "report.html")


def run(config: Config, workdir: Path, name: str) -> int:
  """Runs the experiment, or what is left of it, in `workdir`; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py; nothing is written before the data has been accepted.
  """
  display, start = Display(), time.perf_counter()
  check(config)
  display.log(f"sdt: {name}: {_machine(config)}")
  data = sources.load(config.data, display.log)
  for note in data.notes:
    display.log(f"note: {note}")
  size = num_easy(config.method.fraction, len(data.train), config.method.num_easy)
  with hold_workdir(workdir) as held:
    _check_same_run(config, data, held)
    if _is_complete(config, held):
      print(result_table_text(files.read_json(held / "results.json")))
      print(f"complete: nothing to do; the report is {workdir / 'report.html'}")
      return _exit_code(held)
    stop = StopRequest()
    with stop.listening():
      context = _context(config, data, held, display, stop)
      try:
        _stages(context, size)
        _write_timing(context, start)
        with context.timing.stage("report"):
          build_report(held)
      finally:
        _write_timing(context, start)
      display.log(f"done in {duration(time.perf_counter() - start)}")
    print(result_table_text(files.read_json(held / "results.json")))
    print(f"report: {workdir / 'report.html'}")
    return _exit_code(held)


def _stages(context: Context, size: int) -> None:
  """Runs the stages that are not done yet: the baseline, scores and split, the other arms, the results."""
  arms = arm_order(context.setup.config.arms)
  newest = restore_newest(context)
  reached = arms.index(newest[0]) if newest else 0
  _forget_rows_after(context, arms, reached, newest[1].position.round_index if newest else 0)
  setting = Setting(context.setup.config, context.setup.data.train.labels, context.setup.data.train.example_ids)
  plans = {"baseline": make_plan("baseline", setting)}
  final = _train_or_skip(context, plans["baseline"], 0, reached, newest)
  if len(arms) > 1:
    setting = _score_and_split(context, setting, size, final)
    plans |= {arm: make_plan(arm, setting) for arm in arms[1:]}
    _write_plans(context, plans)
  model_state = final
  for index, arm in enumerate(arms[1:], start=1):
    final = _train_or_skip(context, plans[arm], index, reached, newest)
    model_state = final if arm == "method" else model_state
  with context.timing.stage("results"):
    chosen = "method" if "method" in arms else "baseline"
    state = restore_final(context, arms.index(chosen)) if model_state is None else model_state
    first = jax.tree.map(lambda leaf: leaf[0], (state.params, state.batch_stats))
    artifacts.write_model(context.workdir, context.setup.data, context.setup.config, *first)
    num_params = count_params(context.setup.model, context.setup.data.train.inputs.shape[1:])
    steps = {arm: {phase.name: phase.num_steps for phase in plan.phases} for arm, plan in plans.items()}
    artifacts.write_results(context.workdir, context.setup.data, context.setup.config, num_params, size, steps)


def _train_or_skip(context: Context, plan: Plan, index: int, reached: int, newest: tuple[str, Resume] | None) -> TrainState | None:
  """Trains an arm from where its newest checkpoint stands; returns its final state, None where it was finished before."""
  if index < reached:
    return None
  start = newest[1] if newest and index == reached else None
  if start is not None and start.position.round_index >= plan.rounds:
    return start.state
  if start is None:
    start = context.setup.warm_start(restore_final(context, 0)) if plan.init == "warm" else context.setup.fresh_start()
  with context.timing.stage(f"train {plan.arm}"):
    return train_arm(context, plan, index, start)


def _score_and_split(context: Context, setting: Setting, size: int, baseline: TrainState | None) -> Setting:
  """Scores the training set with the baseline's networks, or reads the scores; splits it for every seed; writes what is missing."""
  config, data, workdir = context.setup.config, context.setup.data, context.workdir
  with context.timing.stage("score"):
    done = all(files.is_intact(workdir / name) for name in ("scores.csv", "scores.json", "scores.npz"))
    if done:
      stored = files.read_npz(workdir / "scores.npz")
      scores = {key: value for key, value in stored.items() if key not in ("example_id", "label", "seeds")}
    else:
      scores = _scores(context, restore_final(context, 0) if baseline is None else baseline)
  with context.timing.stage("split"):
    ranking = scores[config.score.name]
    mean = ranking.mean(axis=0)
    rankings = np.tile(mean, (len(config.seeds), 1)) if config.split.source == "mean" else ranking

    def cut(one: np.ndarray, seed: int) -> Partition:
      rule = config.split
      return split(one, data.train.labels, data.train.example_ids, size, seed, policy=rule.policy, class_balanced=rule.class_balanced)

    partitions = tuple(cut(one, seed) for one, seed in zip(rankings, config.seeds, strict=True))
    for seed, part in zip(config.seeds, partitions, strict=True):
      if part.ties_at_cut:
        context.display.log(f"split: seed {seed}: {part.ties_at_cut} examples tie at the cut; a seeded hash of their ids decided")
    if not done:
      artifacts.write_scores(workdir, data, config, scores, partitions)
    artifacts.write_split(workdir, data, config, partitions, cut(mean, config.seeds[0]))
    artifacts.write_mosaics(workdir, data, config, scores, partitions[0])
  return dataclasses.replace(setting, scores=rankings, partitions=partitions)


def _scores(context: Context, state: TrainState) -> dict[str, np.ndarray]:
  """Returns the scores [R, N] of every training example under every seed's network."""
  setup, data = context.setup, context.setup.data
  program = setup.score_program()
  total = num_batches(len(data.train), padded_batch_size(program.batch_size, program.layout))
  variables = place(setup.layout, {"params": state.params, "batch_stats": state.batch_stats})
  with context.display.task("score", total, "batch") as task:

    def after_dispatch(done: int, total: int) -> None:
      task.advance(done if done == total else done + 0.5)
      context.raise_if_stopped("while scoring")

    scores = score(program, variables, setup.device_data, len(data.train), after_dispatch)
  context.display.log(f"score: {len(data.train)} training examples under {len(setup.config.seeds)} network(s)")
  return scores


def _write_plans(context: Context, plans: dict[str, Plan]) -> None:
  """Writes every arm's ids, and says how many optimiser steps a round of each has."""
  for arm, plan in plans.items():
    if arm != "baseline":
      artifacts.write_arm_ids(context.workdir, context.setup.data, context.setup.config, plan)
  counts = ", ".join(f"{arm} {' + '.join(str(phase.num_steps) for phase in plan.phases)}" for arm, plan in plans.items())
  context.display.log(f"optimiser steps a round: {counts}")
  _write_environment(context)


def _forget_rows_after(context: Context, arms: tuple[str, ...], reached: int, num_rounds: int) -> None:
  """Drops the rows of metrics.jsonl that the newest checkpoint does not cover: they will be made again, and each must stand once."""

  def is_covered(row: dict[str, Any]) -> bool:
    index = arms.index(row["arm"])
    return index < reached or (index == reached and row["round"] <= num_rounds)

  dropped = files.truncate_rows(context.workdir / "metrics.jsonl", is_covered)
  if dropped:
    context.display.log(f"metrics.jsonl: dropped {dropped} row(s) after the checkpoint; they are made again")


def _machine(config: Config) -> str:
  devices = jax.devices()
  seeds = ", ".join(map(str, config.seeds))
  return f"{len(devices)} {devices[0].device_kind} device(s), {compute_dtype(config).name}, seeds {seeds}"


def _run_hash(config: Config, data: Data) -> str:
  """Returns the hash of everything that decides the numbers of a run: the config but for the keys that are safe to change, and the data."""
  neutral: dict[str, Any] = {}
  for key, value in to_dict(config).items():
    neutral[key] = {inner: x for inner, x in value.items() if f"{key}.{inner}" not in SAFE_TO_CHANGE} if isinstance(value, dict) else value
  neutral = {key: value for key, value in neutral.items() if key not in SAFE_TO_CHANGE}
  return hashlib.sha256((files.json_text(neutral) + data.checksum).encode()).hexdigest()


def _check_same_run(config: Config, data: Data, workdir: Path) -> None:
  """Refuses to continue a run that another config or other data began."""
  if not (workdir / "config.json").exists():
    return
  changes = diff(files.read_json(workdir / "config.json")["config"], to_dict(config), ignore=SAFE_TO_CHANGE)
  if changes:
    raise ConfigError(f"{workdir} holds a run of another config ({'; '.join(changes)}); use that config again or choose another --workdir")
  if (workdir / "environment.json").exists():
    before = files.read_json(workdir / "environment.json").get("data", {}).get("checksum")
    if before != data.checksum:
      raise DataError(
        f"{workdir} holds a run on other data (checksum {before}, now {data.checksum}); restore that data or choose another --workdir"
      )


def _is_complete(config: Config, workdir: Path) -> bool:
  """Returns whether every output stands and is intact."""
  outputs = _OUTPUTS if len(config.arms) > 1 else tuple(name for name in _OUTPUTS if not name.startswith(("scores", "split")))
  return all(files.is_intact(workdir / name) for name in outputs)


def _context(config: Config, data: Data, workdir: Path, display: Display, stop: StopRequest) -> Context:
  """Opens the workdir for writing and puts the data on the devices."""
  if config.compilation_cache:
    environment.use_compilation_cache()
  before = workdir / "environment.json"
  choices = files.read_json(before)["choices"] if files.is_intact(before) else None
  context = Context(
    setup=Setup.make(config, data, choices),
    workdir=workdir,
    run_hash=_run_hash(config, data),
    store=CheckpointStore(workdir / "checkpoints", config.checkpoint.keep, display.log),
    display=display,
    stop=stop,
    timing=Timing.read(workdir / "timing.json"),
  )
  files.write_json(workdir / "config.json", {"config": to_dict(config), "hash": config_hash(config)})
  _write_environment(context)
  return context


def _write_environment(context: Context) -> None:
  data = context.setup.data
  described = {"name": data.name, "variant": data.variant, "checksum": data.checksum, "notes": data.notes}
  files.write_json(context.workdir / "environment.json", {**environment.describe(), "data": described, "choices": context.setup.choices})


def _write_timing(context: Context, start: float) -> None:
  timing = dataclasses.replace(context.timing, wall_secs=context.timing.wall_secs + time.perf_counter() - start)
  files.write_json(context.workdir / "timing.json", timing.to_dict())


def _exit_code(workdir: Path) -> int:
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
    where = f"round {row['round']}, phase {row['phase']}, before step {row['step']}"
    rates = f"learning rate {row['learning_rate']:g}, weight decay {row['weight_decay']:g}"
    lost.append(f"arm {arm}, seed {seed}: {where}, {rates}, last finite loss {f'{losses[-1]:.4g}' if losses else 'none'}")
  if lost:
    what = f"{len(lost)} replica(s) diverged and were frozen, the others finished"
    raise DivergedError(f"{what} ({'; '.join(lost)}); try a lower optim.learning_rate in a new --workdir")
  return 0
