"""The cases of compare_checkouts.py: which commands are run in both checkouts."""

import dataclasses
import fcntl
import inspect
import os
import shutil
import socket
from collections.abc import Callable, Mapping

from checkout_places import INPUTS, Commands, Place, exit_line

DIGITS = "--config=configs/digits.py"
FOLDER = "--config=configs/folder.py"
FIGURES = "--config=configs/shapes.py"
FEW = ("--config.rounds=3", "--config.optim.milestones=2")
TINY = ("--config.model.blocks=1,", "--config.model.widths=8,")
PIECES = ("--config.rounds=6", "--config.parallel.steps_per_dispatch=5")
SMALL_FIGURES = (
  *("--config.data.shapes.num_train=300", "--config.data.shapes.num_test=100"),
  *("--config.data.shapes.image_size=8", "--config.batch_size=32"),
)
FEW_IMAGES = (
  *("--config.rounds=3", "--config.optim.milestones=2", "--config.batch_size=16"),
  *("--config.augment.pad_crop=2", "--config.method.fraction=0.3"),
)
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
OWN_ARMS = (
  "gentle = A@5e-4 + B@lambda_B, smoother = "
  "A@baseline[label_smoothing=0.2] + B@baseline against alternate_only"
)
ARMS = (
  "baseline,method,alternate_mean,uniform_mean,random_subset,alternate_only,uniform_tuned,"
  "class_matched_random,hardest_subset,decay_steps_only,drop_subset,random_batches,swap_order,"
  "warm_start,long_baseline,smooth_easy,augment_easy,mixup_easy,depth_easy,weight_easy,floor_easy,"
  "less_data,gentle,smoother"
)


@dataclasses.dataclass(frozen=True)
class Case:
  """What is run in a checkout.

  Attributes:
    do: does it.
    flags, environment: of a case that is one run.
    commands: label -> (exit code, flags), of a case that is many commands.
    needs: cases of OLD from which it takes something.
    is_default: whether it runs where no cases are named.
  """

  do: Callable[[Place, "Case"], None]
  flags: tuple[str, ...] = ()
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  commands: Commands = dataclasses.field(default_factory=dict)
  needs: tuple[str, ...] = ()
  is_default: bool = True

  def recipe(self) -> str:
    """Returns a text that is another one where the case is, or one that it needs."""
    parts = (self.flags, dict(self.environment), dict(self.commands), INPUTS)
    needed = "".join(CASES[name].recipe() for name in self.needs)
    return f"{inspect.getsource(self.do)}{parts}{needed}"


def do_run(place: Place, case: Case) -> None:
  """One run to its end."""
  place.run("run", (*case.flags, "--workdir=WORK/run"), environment=case.environment)


def do_diverged(place: Place, case: Case) -> None:
  """A run whose replicas diverge."""
  place.run("run", (*case.flags, "--workdir=WORK/run"), code=4)


def do_profile(place: Place, case: Case) -> None:
  """A run in pieces that is traced; of the trace it is compared whether there is one."""
  place.run("run", (*case.flags, "--workdir=WORK/run", "--profile"))
  traces = list((place.work / "run/profile").rglob("perfetto_trace.json.gz"))
  (place.work / "profile.out").write_text(f"{len(traces)} trace(s)\n")


def do_from_digits(place: Place, case: Case) -> None:
  """One run that starts from something of OLD's digits, which it finds in WORK/source."""
  shutil.copytree(place.shelf / "digits/run", place.work / "source")
  do_run(place, case)
  shutil.rmtree(place.work / "source")


def do_resumed(place: Place, case: Case) -> None:
  """A run that is stopped in the baseline and goes on, which must equal OLD's without a stop."""
  flags = (*case.flags, "--workdir=WORK/run")
  if place.is_old:
    stand_in(place, "digits")
    return
  place.stop("baseline  round 1/", flags)
  place.run("run", flags)
  (place.work / "run.err").unlink()


def do_handover(place: Place, case: Case) -> None:
  """A run that OLD begins and NEW finishes, from the middle of the method's training."""
  flags = (*case.flags, "--workdir=WORK/run")
  if place.is_old:
    place.stop("method  round 2/", flags)
    shutil.move(place.work / "run", place.work / "begun")
    stand_in(place, "profile")
    return
  (place.work / "stop.out").write_text(exit_line(75))
  shutil.copytree(place.shelf / "handover/begun", place.work / "run")
  place.run("run", flags)
  (place.work / "run.err").unlink()


def stand_in(place: Place, case: str) -> None:
  """Puts a run of OLD without a stop in the place of one with it."""
  shutil.copytree(place.shelf / case / "run", place.work / "run")
  shutil.copy(place.shelf / case / "run.out", place.work / "run.out")
  (place.work / "stop.out").write_text(exit_line(75))


def with_workdir(flags: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the flags of a run with a workdir, where they name none."""
  is_given = any(flag.startswith("--workdir") for flag in flags)
  return flags if is_given else (*flags, "--workdir=WORK/run")


def do_processes(place: Place, case: Case) -> None:
  """Two processes of one run, side by side; their network's library says things of its own."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
  common = (*case.flags, "--workdir=WORK/run", f"--coordinator=127.0.0.1:{port}")
  ids = [("--num_processes=2", f"--process_id={index}") for index in range(2)]
  started = [place.start((*common, *own), {}) for own in ids]
  errors = []
  for index, process in enumerate(started):
    out, err = process.communicate()
    errors.append(err)
    (place.work / f"{index}.out").write_text(exit_line(process.returncode) + place.named(out))
  for index, process in enumerate(started):
    place.check(f"process {index}", process.returncode, 0, errors[index])


def do_dry_runs(place: Place, case: Case) -> None:
  """What dry runs, and the help, print."""
  shutil.copytree(place.shelf / "digits/run", place.work / "source")
  for label, (code, flags) in case.commands.items():
    place.run(label, (*with_workdir(flags), "--dry_run"), code)
  place.run("help", ("--help",))
  shutil.rmtree(place.work / "source")


def do_errors(place: Place, case: Case) -> None:
  """Wrong commands: exit codes and messages; nothing may be left behind."""
  for name in ("source", "damaged", "locked"):
    shutil.copytree(place.shelf / "digits/run", place.work / name)
  for path in (place.work / "damaged/checkpoints").rglob("*"):
    if path.is_file():
      path.write_bytes(b"")
  (place.work / "damaged/results.json").unlink()
  with open(place.work / "locked/.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write(f"pid {os.getpid()} on host {socket.gethostname()}")
    lock.flush()
    for label, (code, flags) in case.commands.items():
      place.run(label, with_workdir(flags), code)
  for name in ("source", "damaged", "locked"):
    shutil.rmtree(place.work / name)


DRY_RUNS: Commands = {
  "digits": (0, (DIGITS,)),
  "complete": (0, (DIGITS, "--workdir=WORK/source")),
  "taken_over": (
    0,
    (DIGITS, "--config.method.lambda_A=2e-3", "--config.baseline_from=WORK/source"),
  ),
  "selection": (0, ("--config=configs/controls/digits_tuned.py", "--config.seeds=0,1,2", *TINY)),
  "sweep": (
    0,
    (DIGITS, *TINY, "--config.sweep.key=method.fraction", "--config.sweep.values=0.1,0.2"),
  ),
  "folds": (0, (DIGITS, *TINY, "--config.score.folds=3", "--config.data.placement=stream")),
  "toy": (0, ("--config=configs/toy.py",)),
  "folder": (0, (FOLDER, "--config.data.path=INPUTS/split", "--config.model.name=resnet", *TINY)),
  "missing": (3, ("--config=configs/paper/cifar100_densenet_bc100.py",)),
  "missing_own_form": (3, ("--config=configs/paper/cub_resnet50.py",)),
}
ERRORS: Commands = {
  "no_config": (2, ()),
  "unknown_flag": (2, (DIGITS, "--wrkdir=x")),
  "unknown_key": (2, (DIGITS, "--config.optim.lr=0.1")),
  "wrong_type": (2, (DIGITS, "--config.rounds=many")),
  "out_of_range": (2, (DIGITS, "--config.optim.momentum=1.5")),
  "section_as_value": (2, (DIGITS, "--config.optim=1")),
  "combination": (2, (DIGITS, "--config.optim.nesterov=True", "--config.optim.momentum=0.0")),
  "no_such_config_file": (2, ("--config=configs/digit.py",)),
  "broken_config_file": (2, ("--config=INPUTS/broken.py",)),
  "bad_sweep": (2, (DIGITS, "--config.sweep.key=seeds", "--config.sweep.values=1,2")),
  "bad_arm": (2, (DIGITS, "--config.arms=baseline,methd")),
  "bad_own_arm": (2, (DIGITS, "--config.own_arms=mine = A@lambda_C + B@lambda_B")),
  "bad_network": (2, (DIGITS, "--config.model.name=resnet21")),
  "no_baseline": (2, (DIGITS, "--config.baseline_from=WORK/nowhere")),
  "other_baseline": (2, (DIGITS, "--config.batch_size=32", "--config.baseline_from=WORK/source")),
  "other_config": (2, (DIGITS, "--config.rounds=29", "--workdir=WORK/source")),
  "no_folder": (3, (FOLDER, "--config.data.path=INPUTS/nowhere")),
  "no_test_split": (3, (FOLDER, "--config.data.path=INPUTS/folder")),
  "bad_image": (
    3,
    (FOLDER, "--config.data.path=INPUTS/folder", "--config.data.test_fraction=0.2"),
  ),
  "bad_table": (3, (FOLDER, "--config.data.name=csv", "--config.data.path=INPUTS/bad.csv")),
  "bad_npz": (3, ("--config=configs/npz.py", "--config.data.path=INPUTS/bad.npz")),
  "missing_set": (3, ("--config=configs/cifar10.py", "--config.data.download=False")),
  "no_scores": (3, (DIGITS, "--config.score.name=file", "--config.score.path=INPUTS/no.csv")),
  "no_checkpoint": (5, (DIGITS, "--workdir=WORK/damaged")),
  "locked": (6, (DIGITS, "--workdir=WORK/locked")),
  "workdir_is_a_file": (7, (DIGITS, "--workdir=INPUTS/bad.csv")),
}
CASES: Mapping[str, Case] = {
  "digits": Case(do_run, (DIGITS,)),
  "toy": Case(
    do_run,
    (
      *("--config=configs/toy.py", "--config.seeds=0,1,2,3,4", "--config.rounds=300"),
      *("--config.optim.milestones=200,250", "--config.toy.lambdas=3e-4,3e-3,3e-2"),
    ),
  ),
  "toy_full": Case(do_run, ("--config=configs/toy.py",), is_default=False),
  "sweep": Case(
    do_run,
    (
      *(DIGITS, *FEW, *TINY, "--config.sweep.key=method.lambda_A"),
      "--config.sweep.values=5e-4,2e-3",
    ),
  ),
  "selection": Case(
    do_run,
    (
      *("--config=configs/controls/digits_tuned.py", *FEW, *TINY, "--config.seeds=0,1,2"),
      *("--config.select.lambda_A=1e-3,2e-3", "--config.select.weight_decay=1e-4,5e-4"),
      *("--config.select.num_seeds=2", "--config.arms=baseline,method,uniform_tuned,less_data"),
    ),
  ),
  "folder": Case(
    do_run,
    (
      *(
        FOLDER,
        *FEW_IMAGES,
        "--config.data.path=INPUTS/folder",
        "--config.data.test_fraction=0.25",
      ),
      *("--config.data.on_bad_image=skip", "--config.data.image_size=16"),
      *("--config.model.name=resnet", "--config.model.blocks=1,1", "--config.model.widths=8,16"),
    ),
  ),
  "csv": Case(
    do_run,
    (
      *(FOLDER, *FEW_IMAGES, "--config.data.name=csv", "--config.data.path=INPUTS/table.csv"),
      *("--config.data.image_size=16", "--config.data.resize=short_side"),
      *("--config.data.crop_size=12", "--config.model.name=preresnet", *TINY),
      *("--config.split.class_balanced=True", "--config.method.init=warm"),
    ),
  ),
  "npz": Case(
    do_run,
    (
      *("--config=configs/npz.py", "--config.data.path=INPUTS/set.npz", "--config.rounds=3"),
      *("--config.optim.milestones=2", "--config.batch_size=16", "--config.model.name=mlp"),
      *("--config.augment.pad_crop=0", "--config.augment.flip=False"),
      *("--config.method.fraction=0.3", "--config.split.policy=bottom"),
      "--config.precision=bfloat16",
    ),
  ),
  "streamed": Case(do_run, (DIGITS, *FEW, *TINY, "--config.data.placement=stream")),
  "shapes": Case(
    do_run,
    (
      *(FIGURES, *FEW, *SMALL_FIGURES, *TINY, "--config.optim.name=adam"),
      *("--config.optim.learning_rate=0.01", "--config.optim.decay_form=decoupled"),
      *("--config.score.name=forgetting", "--config.score.at_round=2", "--config.split.cut=0.05"),
      *("--config.split.policy=mislabel_cut", "--config.split.source=mean"),
      "--config.method.order=hard_first",
    ),
  ),
  "densenet": Case(
    do_run,
    (
      *(FIGURES, *FEW, *SMALL_FIGURES, "--config.model.blocks=None", "--config.model.widths=None"),
      *("--config.model.shortcut=None", "--config.model.name=densenet", "--config.model.depth=10"),
      *("--config.model.growth_rate=4", "--config.optim.schedule=cosine"),
      *("--config.optim.nesterov=True", "--config.arms=baseline"),
      *("--config.augment.resized_crop_area=0.5", "--config.parallel.replicas=vmap"),
    ),
  ),
  "wide_resnet": Case(
    do_run,
    (
      *(DIGITS, *FEW, "--config.model.blocks=None", "--config.model.widths=None"),
      *("--config.model.shortcut=None", "--config.model.name=wrn", "--config.model.depth=10"),
      *("--config.model.widen_factor=1", "--config.data.num_train=300"),
      *("--config.model.dropout=0.1", "--config.arms=baseline,dropout_easy"),
    ),
  ),
  "arms": Case(
    do_run,
    (
      *(DIGITS, *FEW, *TINY, "--config.score.folds=2", "--config.score.grand=True"),
      *(f"--config.arms={ARMS}", f"--config.own_arms={OWN_ARMS}"),
      *("--config.method.lambda_tuned=3e-4", "--config.data.wrong_label_fraction=0.1"),
    ),
  ),
  "devices_jit": Case(do_run, (DIGITS, *FEW, *TINY), TWO_DEVICES),
  "devices_pmap": Case(do_run, (DIGITS, *FEW, *TINY, "--config.parallel.mode=pmap"), TWO_DEVICES),
  "devices_seeds": Case(
    do_run, (DIGITS, *FEW, *TINY, "--config.parallel.divide=seeds"), TWO_DEVICES
  ),
  "processes": Case(do_processes, (DIGITS, *FEW, *TINY, "--config.batch_size=256")),
  "baseline_from": Case(
    do_from_digits,
    (DIGITS, "--config.method.lambda_A=2e-3", "--config.baseline_from=WORK/source"),
    needs=("digits",),
  ),
  "score_file": Case(
    do_from_digits,
    (
      *(
        DIGITS,
        *FEW,
        *TINY,
        "--config.score.name=file",
        "--config.score.path=WORK/source/scores.csv",
      ),
      *("--config.score.column=aum", "--config.split.policy=window"),
      "--config.split.window_start=0.1",
    ),
    needs=("digits",),
  ),
  "pretrained": Case(
    do_from_digits,
    (
      *(DIGITS, *FEW, "--config.model.pretrained=WORK/source/model.safetensors"),
      *("--config.optim.body_rate_factor=0.1", "--config.eval_every_rounds=2"),
    ),
    needs=("digits",),
  ),
  "diverged": Case(do_diverged, (DIGITS, *FEW, *TINY, "--config.optim.learning_rate=1e6")),
  "profile": Case(do_profile, (DIGITS, *PIECES)),
  "resumed": Case(do_resumed, (DIGITS,), needs=("digits",)),
  "handover": Case(do_handover, (DIGITS, *PIECES), needs=("profile",)),
  "dry_run": Case(do_dry_runs, commands=DRY_RUNS, needs=("digits",)),
  "errors": Case(do_errors, commands=ERRORS, needs=("digits",)),
}


# ---- what the cases read
