"""The experiment: Algorithm 1 of the paper, then the comparison of the arms.

Every stage leaves its files behind before the next begins, so a stopped run goes on where it was.
"""

import dataclasses
from pathlib import Path

from sdt.arms import catalogue
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.report.tables import result_table_text
from sdt.run import ahead, lifecycle
from sdt.run.context import Context
from sdt.run.signals import StopRequest
from sdt.run.taken_over import Taken
from sdt.stages import designs, outline
from sdt.stages.contact_sheet import write_contact_sheet
from sdt.stages.final_networks import write_networks
from sdt.stages.results import write_arms, write_results
from sdt.stages.score_and_split import score, split
from sdt.stages.train import Trainings


def train_and_judge(context: Context, finished: Taken | None) -> None:
  """Runs the stages of an experiment up to results.json, or what is left of them.

  `finished` has trainings of other runs that are taken over; None if all are trained here.

  Source: the paper, Algorithm 1. Differs from source: the controls, paired over seeds.
  """
  config = context.config
  setting = Setting.of(config, context.data)
  scoring, arms = catalogue.scoring_arms(config), catalogue.arm_order(config.arms)
  after_split = arms[1:]  # all but the baseline
  plans = {arm: make_plan(arm, setting) for arm in scoring}
  rounds = {arm: catalogue.num_rounds_of(arm, config) for arm in catalogue.trainings(config)}
  trainings = Trainings.resume(context, rounds, keep=outline.kept_arm(config))
  trainings.take_over(finished, plans)

  shapes = outline.plans(config, context.data)[1]
  left = [plan for plan in shapes if not trainings.was_done(plan.arm)]
  with ahead.beside(ahead.programs(context.setup, left[1:])):
    write_contact_sheet(context)
    is_sized = config.split.policy != "threshold"  # which gives A its size after the scores
    if left and is_sized:
      designs.tell(context, shapes)
    # Train on all examples. Stored scores are read only if no network that scores trains now.
    may_read_scores = all(trainings.was_done(arm) for arm in scoring)
    for arm in scoring:
      trainings.train(plans[arm])

    # Score every example; the easiest are A, the rest B. Every arm is then a plan over A and B.
    if outline.has_split(config):
      scores = score(context, may_read_scores)
      setting = split(context, setting, scores)
      plans |= {arm: make_plan(arm, setting) for arm in after_split}
      write_arms(context, plans)
      if not all(trainings.was_done(arm) for arm in after_split):
        designs.tell_of_baseline(context)
        if not is_sized:
          designs.tell(context, list(plans.values()))

    # Train again, on A and B in alternation; then the controls.
    for arm in after_split:
      trainings.train(plans[arm])

  # Judge: what each arm comes to, and whether the method is better.
  write_results(context, trainings, {arm: plans[arm] for arm in arms}, num_easy=setting.num_easy)


def train_networks(context: Context, finished: Taken | None) -> None:
  """Trains the baseline and writes its networks, and nothing else: what an ensemble needs."""
  del finished
  plan = make_plan("baseline", Setting.of(context.config, context.data))
  trainings = Trainings.resume(context, {plan.arm: plan.rounds}, keep=plan.arm)
  write_networks(context, plan, trainings.train(plan).state)


def run_stages(context: Context, finished: Taken | None) -> None:
  """Runs all stages of an experiment, or what is left of them; see `train_and_judge`."""
  with ahead.beside(ahead.imports("sdt.report.run_page")):  # it takes seconds
    train_and_judge(context, finished)
  lifecycle.write_report(context)


EXPERIMENT: lifecycle.Experiment = lifecycle.Experiment(
  check=outline.check,
  outputs=outline.outputs,
  plans=outline.plans,
  stages=run_stages,
  table=result_table_text,
  part=train_and_judge,
)
# A training alone; `outline.outputs` are those of a run that is judged.
NETWORKS: lifecycle.Experiment = dataclasses.replace(
  EXPERIMENT, outputs=lambda config, data: [], stages=train_networks, part=None
)
# The same as `EXPERIMENT` where nobody looks at a report.
WITHOUT_REPORT: lifecycle.Experiment = dataclasses.replace(EXPERIMENT, stages=train_and_judge)


def run(
  config: Config,
  workdir: Path,
  name: str,
  *,
  loaded: Data | None = None,
  stop: StopRequest | None = None,
) -> int:
  """Runs the experiment, or what is left of it, in `workdir`; see `lifecycle.run`."""
  return lifecycle.run(EXPERIMENT, lifecycle.Job(config, workdir, name, loaded=loaded, stop=stop))
