"""The command `probe`: a linear classifier on every stage of a network, and what to train of it."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdt import named_files
from sdt.commands import output_file, words
from sdt.config import Config, resolve
from sdt.config.command_line import Request, parse_arguments, program
from sdt.config.config_file import load_config_file
from sdt.devices.start import find_devices, load_jax
from sdt.errors import ConfigError
from sdt.files.formats import json_text
from sdt.stats.linear_probe import interval
from sdt.stats.transfer import RATE_FACTOR, Advice, advise

if TYPE_CHECKING:
  from sdt.trained.load import Run
  from sdt.trained.probing import Probed, Task

USAGE = (
  "probe --config=FILE --config.model.pretrained=FILE [--config.KEY=VALUE ...] "
  "[--scratch=WORKDIR] [--output=FILE.json] [--overwrite]"
)
HELP = """\
Fits a linear classifier to what every stage of a trained network hands on of the images of a
config, prints how many test images each gets right, and says what to train of the network.

  --config=FILE         a config file, for its data and its network; a name, as of train
  --config.KEY=VALUE    replaces a key; model.pretrained, the file of weights, must be given
  --scratch=WORKDIR     a finished run that trained on the same data from scratch, to compare with
  --output=FILE.json    the table and the advice, as a file too
  --overwrite           replaces FILE.json where it exists

No network is trained. docs/finetuning.md has the rules."""
_OWN = ("--scratch=", "--output=", "--overwrite")
FLAGS = ("--config=", *_OWN, "--help")


@dataclasses.dataclass(frozen=True)
class Asked:
  """What the command line asks for; see `HELP`. `given` is what stands behind --config."""

  request: Request
  given: str
  scratch: Path | None = None
  output: Path | None = None
  overwrite: bool = False


def parse(arguments: Sequence[str]) -> Asked:
  """Returns what the arguments ask for.

  Raises:
    ConfigError: an unknown or repeated flag, a value that is missing, no --config.
  """
  own, of_config = words.read(arguments, FLAGS, USAGE)
  paths = {name: named_files.expanded(own[name]) for name in ("scratch", "output") if name in own}
  given = words.given_config(of_config) or ""
  return Asked(parse_arguments(of_config), given, **paths, overwrite="overwrite" in own)


def main(arguments: Sequence[str]) -> int:
  """Runs the command and returns 0.

  Raises:
    SdtError: see sdt/errors.py.
  """
  if "--help" in arguments or "-h" in arguments:
    print(f"usage: {program()} {USAGE}\n\n{HELP}")
    return 0
  asked = parse(arguments)
  request = asked.request
  config = resolve(load_config_file(request.config_path, request.argument), request.overrides)
  _refuse(config)
  if asked.output is not None:
    output_file.refuse(asked.output, overwrite=asked.overwrite)
  load_jax()
  from sdt.run.progress import Display
  from sdt.trained.load import load
  from sdt.trained.probing import load_task, probe_stages

  run, log = None if asked.scratch is None else load(asked.scratch), Display().log
  find_devices()
  task = load_task(config, log)
  data, scratch = task.data, None if run is None else _reached(run, task)
  stages = probe_stages(task, log)
  probes = {stage: one.probe for stage, one in stages.items()}
  advice = advise(probes, len(data.train), len(data.class_names), scratch=scratch)
  command = next_command(asked, config, advice)
  lines = [*advice.reasons, *caution(config, advice), f"{advice.action}:", f"  {command}"]
  print(*table(task, stages), "", *lines, sep="\n")
  if asked.output is not None:
    said = {"scratch": scratch, "advice": {**dataclasses.asdict(advice), "command": command}}
    text = json_text(_content(task, stages) | said).encode()
    output_file.write(asked.output, text, overwrite=asked.overwrite)
  return 0


def _refuse(config: Config) -> None:
  """Refuses a config without weights or without classes."""
  if config.data.name == "curve":
    raise ConfigError("data.name='curve': the toy has no classes to tell apart; give other data")
  if config.model.pretrained is None:
    raise ConfigError(
      "model.pretrained is None: probe asks what the weights of a file are good for; give "
      "--config.model.pretrained=FILE, such as the model.safetensors of a run"
    )


def _reached(run: "Run", task: "Task") -> float:
  """Returns the mean test accuracy of a run's baseline, which trained from scratch.

  Raises:
    ConfigError: the run is of other data, or started from weights.
  """
  where = f"--scratch={run.workdir}"
  if run.config.model.pretrained is not None:
    raise ConfigError(f"{where}: that run started from weights; name one from scratch")
  if run.results["data"]["checksum"] != task.data.checksum:
    raise ConfigError(f"{where}: a run on other data; name one with the same data keys")
  mean: float | None = run.results["arms"][run.arms[0]]["mean"]
  if mean is None:
    raise ConfigError(f"{where}: every seed of its {run.arms[0]} diverged; name another run")
  return mean


def table(task: "Task", stages: Mapping[str, "Probed"]) -> list[str]:
  """Returns the lines of the table "accuracy by stage"."""
  data = task.data
  lines = [
    f"linear classifiers, {len(data.train):,} training and {len(data.test):,} test images",
    f"{'stage':<14}{'features':>9}{'held out':>10}{'test':>9}  {'95 % interval':<15}{'penalty':>8}",
  ]
  for stage, each in stages.items():
    one = each.probe
    low, high = interval(one.test)
    lines.append(
      f"{stage:<14}{each.num_features:>9,}{one.held_out.mean():>10.1%}{one.test.mean():>9.1%}  "
      f"{f'{low:.1%} - {high:.1%}':<15}{one.strength:>8g}"
    )
  return lines


def caution(config: Config, advice: Advice) -> list[str]:
  """Returns what keeps the training of a head alone from what the table has of it, in a line."""
  if advice.train_from != "head":
    return []
  return [
    "The classifiers of the table are fitted to their optimum, without augmentation: "
    f"rounds={config.rounds} at optim.learning_rate={config.optim.learning_rate:g} may not reach "
    "that. The run's last training accuracy tells: where it is low, raise both."
  ]


def next_command(asked: Asked, config: Config, advice: Advice) -> str:
  """Returns the command of a training that does as advised, in a workdir that is not there yet."""
  changes: dict[str, Any] = {}
  if advice.train_from != config.optim.train_from:
    changes["optim.train_from"] = advice.train_from
  if config.optim.body_rate_factor != 1.0:
    changes["optim.body_rate_factor"] = 1.0
  if advice.is_slow:
    changes["optim.learning_rate"] = float(f"{RATE_FACTOR * config.optim.learning_rate:g}")
  place = f"{asked.request.workdir}-{advice.train_from or 'all'}"
  names = itertools.chain([place], (f"{place}-{number}" for number in itertools.count(2)))
  flag = f"--workdir={next(name for name in names if not os.path.lexists(name))}"
  return words.written("train", asked.given, asked.request.overrides, changes=changes, flags=[flag])


def _content(task: "Task", stages: Mapping[str, "Probed"]) -> dict[str, Any]:
  """Returns the content of --output, without the advice."""
  data = task.data
  return {
    "network": task.config.model.name,
    "weights": task.weights.checksum,
    "data": {"name": data.name, "checksum": data.checksum},
    "num_train": len(data.train),
    "num_test": len(data.test),
    "num_classes": len(data.class_names),
    "seed": task.config.seeds[0],
    "stages": [
      {
        "stage": stage,
        "num_features": one.num_features,
        "strength": one.probe.strength,
        "num_held_out": len(one.probe.held_out),
        "held_out_accuracy": float(one.probe.held_out.mean()),
        "accuracy": float(one.probe.test.mean()),
        "interval": interval(one.probe.test),
      }
      for stage, one in stages.items()
    ],
  }
