"""The order of an experiment: select, train, score, split, train again, evaluate, report. The only
room that knows it.

Every stage leaves its artifacts behind before the next begins; a stage whose artifacts are intact
is not done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import files
from sdt.arms.catalogue import arm_order, fold_arms, num_rounds_of, scoring_arms, trainings
from sdt.arms.planning import Setting, check_equal_work, make_plan
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine import activation_maps
from sdt.engine.optim import is_body_frozen
from sdt.engine.plan import Plan
from sdt.errors import ConfigError
from sdt.models import count_params, make_model
from sdt.report.tables import result_table_text
from sdt.run import lifecycle, reused_baseline, selection
from sdt.run.context import Context, write_config, write_environment
from sdt.run.lifecycle import Order
from sdt.run.progress import Display
from sdt.run.saved_states import restore_final
from sdt.run.signals import StopRequest
from sdt.run.timing import Timing
from sdt.scores.split import Partition, Sizes, sizes
from sdt.stages import results
from sdt.stages.score_and_split import score_and_split
from sdt.stages.train import resume, train_or_skip

_OF_SCORES = ("scores.npz", "scores.csv", "scores.json", "split.csv")
_UNEQUAL = 1.1  # optimiser steps of arms that differ by more than this factor are worth a warning


def run(
  config: Config,
  workdir: Path,
  name: str,
  loaded: Data | None = None,
  stop: StopRequest | None = None,
) -> int:
  """Runs the experiment, or what is left of it, in `workdir`; see `frame.run`."""
  return lifecycle.run(ORDER, config, workdir, name=name, loaded=loaded, stop=stop)


def _check(config: Config, data: Data) -> None:
  """Refuses what these data show to be wrong, before anything is written."""
  if selection.is_on(config):
    selection.prepare(config, data)
  else:
    _sizes(config, data)


def outputs(config: Config, data: Data) -> list[str]:
  """Returns the names of the files that the experiment leaves beside those of every run."""
  names = [selection.FILE] if selection.is_on(config) else []
  if len(config.arms) > 1:
    names += [*_OF_SCORES, *(f"arms/{arm}.npz" for arm in config.arms if arm != "baseline")]
    names += ["figures/mosaics.npz"] if data.train.inputs.ndim == 4 else []
  return names


def _sizes(config: Config, data: Data) -> Sizes | None:
  """Returns the sizes of the split, None where no arm has one; raises a ConfigError where A or B
  would be empty.
  """
  return sizes(config.method, config.split, len(data.train)) if len(config.arms) > 1 else None


def plans_of(config: Config, data: Data) -> tuple[int, list[Plan]]:
  """Returns the size of A, 0 where no arm has one, and every arm's plan in the order of training;
  which examples are A is not known yet.

  Where a selection is to choose, the sizes are those of its first candidates.

  Raises:
    ConfigError, DataError: A or B would be empty.
  """
  config = selection.provisional(config)
  size = sizes(config.method, config.split, len(data.train)) if len(config.arms) > 1 else Sizes(0)
  easy, rest, out = np.split(
    np.arange(len(data.train), dtype=np.int32), (size.easy, len(data.train) - size.left_out)
  )
  parts = Partition(easy, rest, 0, left_out=out)
  setting = Setting(
    config,
    data.train.labels,
    data.train.example_ids,
    scores=None,
    partitions=(parts,) * len(config.seeds),
  )
  return size.easy, [make_plan(arm, setting) for arm in trainings(config)]


def _select(
  config: Config,
  data: Data,
  workdir: Path,
  choices: Mapping[str, Any] | None,
  timing: Timing,
  display: Display,
  stop: StopRequest,
) -> dict[str, float]:
  """Returns what the selection chose, by dotted key, nothing where there is none; runs what is left
  of it.

  Raises:
    ConfigError: the run began with other values; its selection was lost, and this machine chooses
      differently.
  """
  if not selection.is_on(config):
    return {}
  if not files.is_intact(workdir / "config.json"):
    write_config(workdir, config)  # the selection belongs to this config from its start

  def run_trials(own: Config, folder: Path, name: str, cut: Data) -> None:
    lifecycle.complete(ORDER, own, folder, name=name, loaded=cut, stop=stop)

  try:
    with timing.stage("select"):
      chosen: dict[str, float] = selection.choose(
        config, data, workdir, run=run_trials, log=display.log
      )["chosen"]
  finally:
    files.write_json(workdir / "timing.json", timing.to_dict())
  before = (choices or {}).get("selected", chosen)
  if before != chosen:
    raise ConfigError(
      f"{workdir / selection.FILE}: the selection comes to {chosen}, and the run there began with "
      f"{before}; restore the file from a copy, "
      "or choose another --workdir"
    )
  return chosen


def _stages(context: Context, found: reused_baseline.Finished | None) -> None:
  """Runs the stages that are not done yet: what scores (or takes `found`), scores and split, the
  other arms, the results.
  """
  config, data = context.setup.config, context.setup.data
  order, scoring, arms = trainings(config), scoring_arms(config), arm_order(config.arms)
  size = _sizes(config, data)
  reached, newest = resume(context, {arm: num_rounds_of(arm, config) for arm in order})
  setting = Setting(config, data.train.labels, data.train.example_ids)
  plans = {arm: make_plan(arm, setting) for arm in scoring}
  if found is not None and newest is None:
    with context.timing.stage("take over baseline"):
      newest = reused_baseline.take_over(context, found, plans)
      reached = order.index(newest[0])
      write_environment(context)
  was_trained_before = newest is not None and (
    reached >= len(scoring)
    or (reached == len(scoring) - 1 and newest[1].position.round_index >= config.rounds)
  )
  chosen, final = "method" if "method" in arms else "baseline", None
  for index, arm in enumerate(scoring):
    state = train_or_skip(context, plans[arm], index, reached=reached, newest=newest)
    final = state if arm == chosen else final
  if size is not None:
    setting = score_and_split(context, setting, size, may_read=was_trained_before)
    plans |= {arm: make_plan(arm, setting) for arm in arms[1:]}
    check_equal_work((plans[arm] for arm in arms), config)
    _write_plans(context, plans)
  for arm in arms[1:]:
    state = train_or_skip(context, plans[arm], order.index(arm), reached=reached, newest=newest)
    final = state if arm == chosen else final
  with context.timing.stage("class activation maps"):
    _write_activation_maps(context)
  with context.timing.stage("results"):
    final = restore_final(context, order.index(chosen)) if final is None else final
    checksum = None if context.setup.pretrained is None else context.setup.pretrained.checksum
    results.write_model(
      context.workdir,
      data,
      config,
      arm=chosen,
      params=final.params,
      batch_stats=final.batch_stats,
      pretrained_checksum=checksum,
    )
    network = {
      "num_params": count_params(context.setup.model, context.setup.input_shape),
      "layers": context.setup.layer_names,
    }
    accuracy, selected = _recalibrated(context, arms), context.setup.choices.get("selected")
    compared = {arm: plans[arm] for arm in arms}
    results.write_results(
      context.workdir,
      data,
      config,
      network=network,
      num_easy=setting.num_easy,
      plans=compared,
      recalibrated=accuracy,
      selected=selected,
    )


def _write_activation_maps(context: Context) -> None:
  """Writes figures/cam.npz from the final networks of baseline and method, of the first seed that
  diverged in neither; none of an MLP.
  """
  config, data = context.setup.config, context.setup.data
  shown = [arm for arm in ("baseline", "method") if arm in config.arms]
  rows = files.read_rows(context.workdir / "metrics.jsonl")
  lost = {seed for arm in shown for seed in results.diverged_seeds(rows, arm)}
  replica = next((index for index, seed in enumerate(config.seeds) if seed not in lost), None)
  if replica is None or data.test.inputs.ndim != 4:
    return
  networks: dict[str, Any] = {}
  for arm in shown:
    state = restore_final(context, trainings(config).index(arm))
    networks[arm] = jax.tree.map(
      lambda leaf: leaf[replica], {"params": state.params, "batch_stats": state.batch_stats}
    )
  content = activation_maps.maps_of_test_images(
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


def _recalibrated(context: Context, arms: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns each arm's test accuracy [R] at its end with BatchNorm's statistics taken over the
  whole training set; {} without BatchNorm.

  Every arm ends on some part of the set, whose statistics its network has: with those of the whole
  set they are compared like with like.
  """
  setup = context.setup
  if not jax.tree.leaves(setup.fresh_start.state.batch_stats) or is_body_frozen(setup.config.optim):
    return {}
  accuracy = {}
  with context.display.task("recalibrated evaluation", len(arms), "arm") as task:

    def after_dispatch() -> None:
      context.raise_if_stopped("before the results")

    for index, arm in enumerate(arms):
      params = restore_final(context, trainings(setup.config).index(arm)).params
      statistics = setup.recalibrator.statistics(
        params, setup.fresh_start.state.batch_stats, after_dispatch
      )
      accuracy[arm] = setup.recalibrator.evaluate(params, statistics, after_dispatch)[1]
      task.advance(index + 1)
  return accuracy


def _write_plans(context: Context, plans: dict[str, Plan]) -> None:
  """Writes every arm's ids, and says how many optimiser steps a round of each has."""
  for arm, plan in plans.items():
    if arm != "baseline":
      results.write_arm_ids(context.workdir, context.setup.data, context.setup.config, plan=plan)
  compared = {
    arm: plan for arm, plan in plans.items() if arm not in fold_arms(context.setup.config)
  }
  counts = ", ".join(
    f"{arm} {' + '.join(f'{phase.num_steps}{phase.note}' for phase in plan.phases)}"
    for arm, plan in compared.items()
  )
  context.display.log(f"optimiser steps a round: {counts}")
  totals = {arm: plan.steps_per_round for arm, plan in compared.items()}
  if max(totals.values()) > _UNEQUAL * min(totals.values()):
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    context.display.log(
      f"note: a round of {most} has {totals[most]} optimiser steps and one of {least} "
      f"{totals[least]}: not an equal comparison; a smaller "
      "batch_size brings them together"
    )
  write_environment(context)


ORDER = Order(
  check=_check,
  outputs=outputs,
  plans=plans_of,
  stages=_stages,
  table=result_table_text,
  select=_select,
)
