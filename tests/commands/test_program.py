"""The program: its commands, its help by section, and the completion for shells."""

import importlib
import shutil
import subprocess
import sys

import pytest

from sdt.commands import completion, program
from sdt.commands.help import MOST_USED, help_text, sections
from sdt.config.command_line import usage
from sdt.config.resolve import key_names
from tests.support.places import ROOT


def test_every_command_is_a_module_with_main_and_answers_help(capsys):
  for name, (module, line) in program.COMMANDS.items():
    assert callable(importlib.import_module(module).main), name
    assert len(f"  {name}  {line}") <= 100
    assert program.main([name, "--help"]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize(
  ("words", "part"),
  [
    (["trian"], "unexpected argument 'trian'; did you mean 'train'? The commands are train, "),
    (["completions", "bash"], "did you mean 'completion'?"),
    (["train", "digits"], "unexpected argument 'digits'; did you mean --config=digits?; usage: "),
    (["digits", "train"], "unexpected argument 'digits'; did you mean --config=digits?; usage: "),
    (["--config=digits", "train"], "unexpected argument 'train'; usage: "),
    (["completion"], "expected one of bash, zsh, fish"),
    (["completion", "bsh"], "expected one of bash, zsh, fish; did you mean 'bash'?"),
    (["completion", "bash", "zsh"], "expected one of bash, zsh, fish"),
    (["--help=optin"], "--help=optin: no such section or key; did you mean --help=optim? "),
    (["--help=batchsize"], "did you mean --help=batch_size? "),
    (["--help=zzzzzz"], "no such section or key; The sections are run, data, "),
  ],
)
def test_a_wrong_command_is_told_in_one_line_with_what_is_meant(words, part, capsys):
  assert program.main(words) == 2
  said = capsys.readouterr()
  assert (said.out, said.err.count("\n")) == ("", 1)
  assert said.err.startswith("sdt: error: ")
  assert part in said.err


def test_the_usage_names_the_program_as_it_was_called(monkeypatch):
  for called, start in (
    ("/usr/bin/sdt", "sdt train --config=NAME "),
    ("/lib/site-packages/sdt/__main__.py", "python -m sdt train --config=NAME "),
    ("run.py", "python run.py --config=configs/NAME.py "),
    ("/lib/pytest/__main__.py", "python run.py "),
  ):
    monkeypatch.setattr(sys, "argv", [called])
    assert usage().startswith(start)


def test_the_module_is_the_program_and_run_py_takes_the_command_too(tmp_path):
  for start in (["-m", "sdt"], [str(ROOT / "run.py")], [str(ROOT / "run.py"), "train"]):
    done = subprocess.run(
      [sys.executable, *start, "--version"],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "sdt 0.2.0\n", "")


def test_the_help_of_every_command_names_the_program_as_it_was_called(monkeypatch, capsys):
  for called, start in (("/usr/bin/sdt", "sdt"), ("run.py", "python run.py")):
    monkeypatch.setattr(sys, "argv", [called])
    for name in ("doctor", "predict", "probe", "export", "compare"):
      assert program.main([name, "--help"]) == 0
      assert capsys.readouterr().out.startswith(f"usage: {start} {name} ")
      assert program.main([name, "--zzz"]) == 2
      assert f"usage: {start} {name} " in capsys.readouterr().err


def described(text):
  """Returns the keys that a page of the help describes, in its order."""
  lines = [line.split(" = ")[0].strip() for line in text.splitlines() if line.startswith("  ")]
  return [name for name in lines if name in key_names()]


def test_the_help_starts_with_twenty_keys_and_its_sections_have_every_key_once():
  first = help_text("")
  assert len(MOST_USED) == 20
  assert described(first) == list(MOST_USED)
  assert first.index("\n  data.name = ") < first.index("\nFlags:")
  *some, every = sections()
  assert described(help_text(every)) == key_names()
  assert [name for section in some for name in described(help_text(section))] != []
  assert sorted(name for section in some for name in described(help_text(section))) == sorted(
    key_names()
  )
  for section in sections():
    assert f"{section} (" in first.replace("\n", " ")
  assert described(help_text("data.shapes"))[0].startswith("data.shapes.")
  assert described(help_text("optim.learning_rate")) == ["optim.learning_rate"]


def test_the_help_lists_config_files_of_subfolders_with_their_titles_or_if_many_by_name(tmp_path):
  for name in (
    "top.py",
    "few/a.py",
    "few/long_name.py",
    *(f"many/config_of_a_long_row_{index}.py" for index in range(19)),
  ):
    (tmp_path / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "configs" / name).write_text(f'"""About {name}\n\nMore."""\n')
  lines = help_text("", configs=tmp_path / "configs").splitlines()
  there = lines[lines.index("Config files, by name (--config=NAME):") + 1 :]
  assert there[:4] == [
    "  top  About top.py",
    "  few/a          About few/a.py",
    "  few/long_name  About few/long_name.py",
    "  many/NAME, with NAME one of",
  ]
  assert " ".join(line.strip() for line in there[4:]).split(", ") == sorted(
    f"config_of_a_long_row_{index}" for index in range(19)
  )
  assert all(line.startswith("      ") and len(line) <= 100 for line in there[4:])


def script_of(shell, tmp_path, capsys):
  assert program.main(["completion", shell]) == 0
  path = tmp_path / f"sdt.{shell}"
  path.write_text(capsys.readouterr().out)
  return path


# What stands before the cursor -> what the word may become.
COMPLETIONS = {
  "sdt tr": ["train"],
  "sdt --config=shape": ["--config=shapes"],
  "sdt train --config=controls/cifar100": ["--config=controls/cifar100"],
  "sdt train --config.optim.le": ["--config.optim.learning_rate="],
  "sdt train --config.precision=b": ["--config.precision=bfloat16"],
  "sdt --dry_run=": ["--dry_run=full"],
  "sdt --help=sc": ["--help=score"],
  "sdt --wo": ["--workdir="],
  "sdt zzz": [],
  # Only what the command takes.
  "sdt predict --ou": ["--output="],
  "sdt predict --wo": [],
  "sdt predict --config.r": [],
  "sdt train --ou": [],
  "sdt train pre": [],
  "sdt probe --scr": ["--scratch="],
  "sdt probe --config.optim.le": ["--config.optim.learning_rate="],
  "sdt probe --config shap": ["shapes"],
  "sdt probe --help=": [],
  "sdt doctor --st": ["--steps="],
  "sdt doctor --config.optim.le": ["--config.optim.learning_rate="],
  "sdt doctor --wo": ["--workdir="],
  "sdt export --fo": ["--format="],
  "sdt export --format=on": ["--format=onnx"],
  "sdt export --dr": [],
  "sdt completion z": ["zsh"],
  "sdt --vers": ["--version"],
  # A value may follow after a blank, where the flag needs one.
  "sdt train --config shape": ["shapes"],
  "sdt --config paper/cub_r": ["paper/cub_resnet50"],
  "sdt --config.precision b": ["bfloat16"],
  "sdt export runs/x --format st": ["stablehlo"],
  "sdt export --format onnx --ov": ["--overwrite"],
  "sdt --dry_run f": [],
  "sdt --config=digits --workdir digit": [],
}
BASH = """
source "$1"
COMP_LINE="$2" COMP_POINT=${#2}
_sdt
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands_flags_keys_values_and_config_names(tmp_path, capsys):
  script = script_of("bash", tmp_path, capsys)
  for line, expected in COMPLETIONS.items():
    done = subprocess.run(
      ["bash", "-c", BASH, "bash", str(script), line], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    # bash replaces only what follows the last "=".
    assert done.stdout.split() == [word.rpartition("=")[2] or word for word in expected], line


ZSH = """
compdef() { :; }
compset() { false; }
_files() { :; }
compadd() {  # prints what fits, as zsh would offer it
  while [[ $1 != -- ]]; do shift; done
  shift
  print -rl -- "${(@M)@:#$PREFIX*}"
}
source "$1"
words=("${(@s: :)2}") CURRENT=${#words} PREFIX="$words[-1]"
_sdt
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_the_same(tmp_path, capsys):
  script = script_of("zsh", tmp_path, capsys)
  for line, expected in COMPLETIONS.items():
    done = subprocess.run(
      ["zsh", "-fc", ZSH, "zsh", str(script), line], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.split(), done.stderr) == (expected, ""), line


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_the_same(tmp_path, capsys):
  script = script_of("fish", tmp_path, capsys)
  (tmp_path / "empty").mkdir()  # fish offers files beside the words
  for line, expected in COMPLETIONS.items():
    done = subprocess.run(
      ["fish", "-c", f"source {script}; complete -C {line!r}"],
      cwd=tmp_path / "empty",
      capture_output=True,
      text=True,
      timeout=60,
    )
    # fish also offers words that only hold the letters in their order.
    start = line.rpartition(" ")[2]
    assert [word for word in done.stdout.split() if word.startswith(start)] == expected, line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_word_of_the_tables_is_in_every_script(shell, tmp_path, capsys):
  text = script_of(shell, tmp_path, capsys).read_text()
  for word in (
    *(word for name in program.COMMANDS for some in completion.words_of(name) for word in some),
    *program.COMMANDS,
    *(f"--config.{name}=" for name in key_names()),
    "--config=paper/cub_resnet50",
    "--num_processes=",
    "--profile",
  ):
    assert word in text
  if shutil.which(shell):
    assert subprocess.run([shell, "-n", str(tmp_path / f"sdt.{shell}")], timeout=60).returncode == 0
