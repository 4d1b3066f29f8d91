"""What `--help` prints: the flags, the keys that people use, and where the others are described."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdt.config import shipped
from sdt.config.command_line import usage
from sdt.config.resolve import describe_keys, key_names
from sdt.errors import ConfigError, nearest

# The first page of the help describes these; `--help=SECTION` has the others.
MOST_USED = (
  "data.name",
  "data.path",
  "data.test_fraction",
  "data.image_size",
  "model.name",
  "model.pretrained",
  "seeds",
  "rounds",
  "batch_size",
  "arms",
  "precision",
  "augment.flip",
  "augment.pad_crop",
  "optim.learning_rate",
  "optim.milestones",
  "optim.weight_decay",
  "method.lambda_A",
  "method.lambda_B",
  "method.fraction",
  "score.name",
)
# The keys that are in no section, and all keys.
TOP, ALL = "run", "all"

_FLAGS = """\
Flags:
  --config=FILE         a config file: Python whose get_config() returns what differs from the
                        defaults; or the name of one that sdt ships (they are listed at the end).
                        FILE:TEXT calls get_config("TEXT")
  --workdir=DIR         the folder of the run, by default runs/NAME; the same command again
                        continues the run
  --config.KEY=VALUE    replaces one key, such as --config.optim.learning_rate=0.05 or
                        --config.seeds=0,1,2
  --dry_run             checks config and data, shows what would run, writes nothing; --dry_run=full
                        shows every key too, not only those that differ from the defaults
  --sheet=FILE.png      with --dry_run: draws training images under each operation of the
                        augmentation; --overwrite replaces a file that is there
  --profile             writes a trace of one dispatch to WORKDIR/profile, for Perfetto or
                        TensorBoard
  --coordinator=HOST:PORT --num_processes=N --process_id=I
                        this is process I of N of one run, see docs/clusters.md; not needed under
                        SLURM and on TPU slices
  --help=SECTION        describes the keys of a section
  --version             prints the version"""

# Of a folder with more config files than this the help lists only the names.
_LISTED_WITH_TITLES = 8


def sections() -> list[str]:
  """Returns what `--help=` takes: the sections of the keys, and `run` for the keys in none."""
  tops = dict.fromkeys(name.partition(".")[0] if "." in name else TOP for name in key_names())
  return [*tops, ALL]


def help_text(
  asked: str, commands: Mapping[str, str] | None = None, configs: Path | None = None
) -> str:
  """Returns the help: of the program where `asked` is empty, else of a section's keys, or a key.

  Args:
    asked: what stands behind `--help=`.
    commands: what each command word does.
    configs: the folder of the config files; that of sdt by default.

  Raises:
    ConfigError: no such section or key.
  """
  if asked:
    return describe_keys(_keys_of(asked))
  others = ", ".join(f"{name} ({_count(name)})" for name in sections())
  lines = [f"usage: {usage()}", ""]
  lines += ["The keys that people use, with the defaults that a config file may replace:", ""]
  lines += [describe_keys(MOST_USED), ""]
  lines += textwrap.wrap(f"All keys, by section: --help=SECTION, with SECTION one of {others}", 100)
  lines += ["", _FLAGS, ""]
  if commands:
    width = max(map(len, commands))
    rows = [f"  {name:<{width}}  {line}" for name, line in commands.items()]
    lines += ["Commands (NAME --help has more; without one it is train):", *rows, ""]
  lines += ["Config files, by name (--config=NAME):", *_listed(configs)]
  return "\n".join(lines)


def _count(section: str) -> str:
  count = len(_keys_of(section))
  return f"{count} key" if count == 1 else f"{count} keys"


def _keys_of(asked: str) -> Sequence[str]:
  """Returns the keys of a section, or the key that is asked for.

  Raises:
    ConfigError: there is neither.
  """
  every = key_names()
  if asked == ALL:
    return every
  if asked == TOP:
    return [name for name in every if "." not in name]
  found = [name for name in every if name == asked or name.startswith(f"{asked}.")]
  if not found:
    close = nearest(asked, [*sections(), *every])
    meant = f"did you mean --help={close}? " if close else ""
    raise ConfigError(
      f"--help={asked}: no such section or key; {meant}The sections are {', '.join(sections())}"
    )
  return found


def _listed(configs: Path | None) -> list[str]:
  """Returns a line for each config file: its name and the first line of its docstring.

  Of a folder below the top one with many files it lists only the names.
  """
  groups: dict[str, dict[str, Path]] = {}
  for name, path in shipped.files_by_name(configs).items():
    groups.setdefault(name.rpartition("/")[0], {})[name] = path
  lines = []
  for group, files in groups.items():
    if group and len(files) > _LISTED_WITH_TITLES:
      names = ", ".join(name.removeprefix(f"{group}/") for name in files)
      lines.append(f"  {group}/NAME, with NAME one of")
      lines += [f"      {line}" for line in textwrap.wrap(names, 94)]
    else:
      width = max(map(len, files))
      lines += [f"  {name:<{width}}  {shipped.title(path)}" for name, path in files.items()]
  return lines
