"""What a run will take: the memory of a device, and the time, from a program compiled and tried."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax

from sdt import experiment
from sdt.arms.catalogue import fold_arms, scoring_arms
from sdt.arms.kept_rounds import kept_rounds
from sdt.commands.forecast import (
  SECS_AROUND,
  Pace,
  forecast,
  guess_pace,
  measure_pace,
  training_passes,
)
from sdt.data.dataset import Data
from sdt.devices.layout import bytes_per_device
from sdt.devices.memory import device_memory_errors, is_out_of_memory
from sdt.engine.plan import Plan
from sdt.engine.state import Snapshot
from sdt.engine.trainer import Trainer
from sdt.models import count_params
from sdt.models.pretrained import Pretrained
from sdt.run import recorded
from sdt.run.environment import use_compilation_cache
from sdt.run.programs import Setup
from sdt.run.rehearsal import rehearsal, teacher_bytes
from sdt.run.search.trials import on_the_rest, rounds_of
from sdt.run.selection import is_on, prepare, provisional
from sdt.run.step_work import rows_of_step
from sdt.stages import prediction_files
from sdt.stages.ways import further_ways

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Compiled:
  """The largest training program of a run, compiled for the shapes of its arguments."""

  plan: Plan
  trainer: Trainer
  seconds: float


def compile_largest(setup: Setup, plans: list[Plan], log: Log) -> Compiled:
  """Returns the training program of the largest steps, of equal ones that of the most phases."""
  config = setup.config
  plan = max(plans, key=lambda plan: (rows_of_step(plan, config), len(plan.phases)))
  trainer = rehearsal(setup, plan)
  trainer.set_state(Snapshot(setup.state_shapes, setup.no_sums()))
  log(
    "compiling the largest training program, to see the memory it needs (seconds for small "
    "networks, a minute or two for deep ones)"
  )
  if config.compilation_cache:  # the run that follows finds it there, unless it calls oneDNN
    use_compilation_cache()
  with device_memory_errors():
    seconds = trainer.compile()
  log(f"compiled in {seconds:.0f} s")
  return Compiled(plan, trainer, seconds)


def try_pace(
  setup: Setup, compiled: Compiled, *, pretrained: Pretrained | None, log: Log
) -> Pace | None:
  """Returns how fast the compiled program runs here; None if the device has no memory for it now.

  `setup` is abstract: its arrays are made here, for a few dispatches.
  """
  log("running a few dispatches of it, to see how long they take")
  try:
    real = Setup.make(setup.config, setup.data, setup.choices, pretrained=pretrained)
    return measure_pace(real, compiled.plan, compiled.trainer, compile_secs=compiled.seconds)
  except jax.errors.JaxRuntimeError as error:
    if not is_out_of_memory(error):
      raise
    log(
      "the device has no memory for them now (does another program use it?); the time cannot be "
      "told"
    )
    return None


def memory_parts(
  setup: Setup, plans: list[Plan], compiled: Compiled | None
) -> list[tuple[int, str]]:
  """Returns bytes and names of what lies on a device.

  That is the data, the scores, the weights with gradient, momentum and the copy under way, and the
  program if it is compiled.
  """
  replicas = setup.replicas_per_device
  weights = 4 * count_params(setup.model, setup.input_shape) * replicas
  parts = [
    (bytes_per_device(setup.source.data), setup.source.device_name),
    (4 * len(setup.data.train) * replicas, "scores"),
  ]
  dynamics = recorded.nothing_yet(setup.config, setup.data, "baseline")
  if dynamics is not None:
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(dynamics))
    parts.append((total // setup.layout.replica_parts, "training dynamics"))
  parts.append((4 * weights, "weights, gradients, momentum"))
  if taught := teacher_bytes(setup, plans):
    parts.append((taught, "teacher"))
  if not setup.source.runs_whole_rounds:
    parts.append((setup.trainer(plans[0]).streamed_bytes(), "streamed inputs"))
  return parts if compiled is None else [*parts, (compiled.trainer.memory_bytes(), "program")]


def memory_line(parts: list[tuple[int, str]], compiled: Compiled | None) -> str:
  """Returns the line on the memory of a device."""
  about = f"about {sum(count for count, _ in parts) / 1e6:.0f} MB"
  if compiled is None:
    about += " and what the program needs, not known yet"
  beside = (
    "; a CPU's process takes about 0.8 GB more, for libraries and compiler"
    if jax.default_backend() == "cpu"
    else ""
  )
  return (
    f"device memory {about}: "
    f"{', '.join(f'{count / 1e6:.1f} {name}' for count, name in parts)}{beside}"
  )


def disk_line(setup: Setup, plans: list[Plan], outputs: Sequence[str]) -> str:
  """Returns the line on the disk: the files of weights, the checkpoints that stay, predictions.

  Checkpoints may be smaller, as they are compressed.

  Args:
    setup: of the run.
    plans: of all its trainings.
    outputs: the names of the files that it leaves.
  """
  config, state = setup.config, setup.state_shapes
  weights, whole = (
    sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    for tree in (state.variables, state)
  )
  num_models = 1 + sum(name.endswith(".safetensors") for name in outputs)
  models = weights // len(config.seeds) * num_models
  # The end of every training, the networks that are needed later, and the newest steps.
  kept = sum(1 + len(kept_rounds(plan.arm, config)) for plan in plans) + config.checkpoint.keep
  parts = {
    f"for the weights of {num_models} network(s)": models,
    "for checkpoints": kept * whole,
  }
  course = recorded.course_bytes(config, setup.data)
  if course:  # in scores.npz and, with early stopping twice, in checkpoints of the baseline alone
    copies = 1 + (config.score.at_round is not None) + config.checkpoint.keep
    parts["for the course of the examples"] = course * (
      1 + copies * (1 + bool(config.stop.patience))
    )
  if prediction_files.FILE in outputs:
    count = 1 + len(further_ways(config))
    parts["for predictions"] = count * prediction_files.num_bytes(config, setup.data)
    temporary = prediction_files.temporary_bytes(config, setup.data)
    if temporary:
      parts["for a temporary file while they are written"] = temporary
  named = ", ".join(f"{count / 1e6:.1f} {what}" for what, count in parts.items())
  return (
    f"disk      about {sum(parts.values()) / 1e6:.1f} MB: {named}; scores and figures come on top"
  )


def time_lines(
  setup: Setup,
  plans: list[Plan],
  pace: Pace | None,
  *,
  has_baseline: bool,
  since: str,
  num_runs: int,
) -> Iterator[str]:
  """Yields how long the run takes: at a measured pace or, on CPUs, at a guessed one.

  Args:
    setup: of the run.
    plans: of all its trainings.
    pace: measured; None if it was not.
    has_baseline: the baseline is taken over and not trained.
    since: what to say of a run that has begun.
    num_runs: of how many runs this is the first; later ones train no less, by the same programs.
  """
  config, is_measured = setup.config, pace is not None
  if pace is None:
    if jax.default_backend() != "cpu":
      return  # the guess has never been compared with a measurement
    pace = guess_pace(setup)
  expected = forecast(setup, plans, pace, has_baseline=has_baseline)
  num_arms = len(plans) - 1 - len(fold_arms(config)) if has_baseline else len(plans)
  training = (
    f"{_rounded(expected.training)} to train {num_arms} arm(s) with {len(config.seeds)} seed(s)"
  )
  if is_measured:
    yield (
      f"time      roughly {_rounded(expected.total)}{since} on this machine, by dispatches that "
      f"ran just now: {training}, {_rounded(expected.compiling)} to compile "
      f"{expected.num_programs} "
      f"training program(s) and those that score, {_rounded(SECS_AROUND)} for start and report"
    )
  else:
    yield (
      f"time      roughly {training}{since} on this machine, a guess from the multiply-adds, "
      "without compiling and scoring"
    )
  if num_runs > 1:
    secs = num_runs * expected.training + (expected.total - expected.training) * is_measured
    yield f"          for one of {num_runs} runs; all together at least roughly {_rounded(secs)}"
  if is_on(config):
    secs = _selection_passes(setup) * pace.pass_secs
    yield (f"          and before it roughly {_rounded(secs)} for the trainings of the selection")


def _selection_passes(setup: Setup) -> float:
  """Returns the passes of all trainings of a selection, in those of the run's seeds."""
  cut, runs = prepare(setup.config, setup.data)
  if not runs:
    return _search_passes(setup, cut)
  num_shared = len(scoring_arms(runs[0].config))
  passes = 0.0
  for index, trial_run in enumerate(runs):
    trial_setup = Setup.make(trial_run.config, cut, is_abstract=True)
    _, plans = experiment.EXPERIMENT.plans(trial_run.config, cut)
    num = training_passes(trial_setup, plans[0 if index == 0 else num_shared :])
    passes += num * trial_setup.replicas_per_device / setup.replicas_per_device
  return passes


def _search_passes(setup: Setup, cut: Data) -> float:
  """Returns the same of a search: each of its rounds as one in the middle of its space."""
  config, share = provisional(setup.config), len(cut.train) / len(setup.data.train)
  passes = 0.0
  for arm, rounds in rounds_of(setup.config).items():
    own = on_the_rest(dataclasses.replace(config, select=setup.config.select), arm, share)
    trial_setup = Setup.make(own, cut, is_abstract=True)
    _, plans = experiment.EXPERIMENT.plans(own, cut)
    num = training_passes(trial_setup, plans[-1:]) * rounds / config.rounds
    passes += num * trial_setup.replicas_per_device / setup.replicas_per_device
  return passes


def _rounded(seconds: float) -> str:
  """Returns the time in the largest unit of which it has two or more: "90 s", "3 minutes"."""
  units = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "s"))
  size, name = next(((size, name) for size, name in units if seconds >= 2 * size), units[-1])
  return f"{max(1.0, seconds / size):.0f} {name}"
