r"""The command `completion`: prints a script that completes words of `sdt` in a shell.

    sdt completion bash > ~/.local/share/bash-completion/completions/sdt
    sdt completion zsh > DIR/_sdt            # DIR is in fpath
    sdt completion fish > ~/.config/fish/completions/sdt.fish

All words come from the tables of the program: commands, the flags of the command that is given,
keys with their choices, sections of the help, and names of config files. Paths are completed where
no word fits.
"""

import importlib
import shlex
from collections.abc import Sequence

from sdt.commands.help import sections
from sdt.commands.program import COMMANDS, DEFAULT
from sdt.config import shipped
from sdt.config.command_line import help_asked
from sdt.config.resolve import choices_of, key_names
from sdt.errors import ConfigError, did_you_mean

# In each script `plain` are the words that have no value yet and `whole` those with one. A word
# after a flag that needs a value, as in `--config digits`, is completed as behind "=".
_BASH = """\
# Completion of sdt for bash: source it, or put it into your folder of completions.
_sdt() {
  local line="${COMP_LINE:0:COMP_POINT}" plain whole word given
  word="${line##* }"
  read -ra given <<< "${line%"$word"}"
  case "${given[1]-}" in
@CASES@
  esac
  local IFS=$'\\n' some="$plain" before="" flag="${given[${#given[@]}-1]}="
  case "$word" in
    *=*) some="$whole" ;;
    *)
      case "$IFS$plain$IFS" in
        *"$IFS$flag$IFS"*) some="$whole" before="$flag" ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$some" -- "$before$word"))
  # bash breaks words at "=", and replaces only what follows the last one.
  before="$before$word"
  before="${before%"${before##*=}"}"
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -o nospace -F _sdt sdt
"""
_ZSH = """\
#compdef sdt
# Completion of sdt for zsh: put it as _sdt into a folder of your fpath.
_sdt() {
  local plain whole name=""
  (( CURRENT > 2 )) && name="$words[2]"
  case "$name" in
@CASES@
  esac
  local -a bare=("${(f)plain}") valued=("${(f)whole}")
  local flag="$words[CURRENT-1]="
  if [[ $PREFIX == *=* ]]; then
    compadd -- $valued || { compset -P '*=' && _files; }
  elif (( ${bare[(Ie)$flag]} )); then
    compadd -- "${(@)${(@M)valued:#$flag*}#$flag}" || _files
  else
    compadd -S '' -- $bare || _files
  fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _sdt "$@"; else compdef _sdt sdt; fi
"""
_FISH = """\
# Completion of sdt for fish: put it into your folder of completions as sdt.fish.
function __sdt_complete
  set -l given (commandline -opc)
  set -l plain
  set -l whole
  switch "$given[2]"
@CASES@
  end
  if string match -q -- '*=*' (commandline -ct)
    printf '%s\\n' $whole
  else if contains -- "$given[-1]=" $plain
    string replace -f -- "$given[-1]=" '' $whole
  else
    printf '%s\\n' $plain
  end
end
complete -c sdt -a '(__sdt_complete)'
"""


def _lines(words: Sequence[str]) -> str:
  return shlex.quote("\n".join(words))


def _posix_case(name: str, plain: Sequence[str], whole: Sequence[str]) -> str:
  return f"    {name}) plain={_lines(plain)} whole={_lines(whole)} ;;"


def _fish_case(name: str, plain: Sequence[str], whole: Sequence[str]) -> str:
  words = [" ".join(map(shlex.quote, some)) for some in (plain, whole)]
  return f"    case {shlex.quote(name)}\n      set plain {words[0]}\n      set whole {words[1]}"


# Shell -> its script, and how it chooses the words of a command.
_SHELLS = {
  "bash": (_BASH, _posix_case),
  "zsh": (_ZSH, _posix_case),
  "fish": (_FISH, _fish_case),
}
FLAGS = tuple(_SHELLS)


def words_of(command: str) -> tuple[list[str], list[str]]:
  """Returns what a word after a command may be: (without a value yet, with one of few values).

  The first are flags, `--config.KEY=` and what else the command takes; the second are such as
  `--config=digits` and `--help=optim`.
  """
  module = importlib.import_module(COMMANDS[command][0])
  flags = list(dict.fromkeys([*module.FLAGS, "--help"]))
  whole = [flag for flag in flags if "=" in flag[:-1]]
  plain = [flag for flag in flags if flag not in whole]
  # A flag whose values all stand there needs one, unless it may also stand alone.
  names = dict.fromkeys(flag.partition("=")[0] for flag in whole)
  plain += [f"{name}=" for name in names if not {name, f"{name}="} & set(plain)]
  if "--config=" in flags:  # the command takes keys too
    known = {
      "--config": shipped.files_by_name(),
      **({"--help": sections()} if command == DEFAULT else {}),
      **{f"--config.{name}": choices_of(name) for name in key_names()},
    }
    plain += [f"--config.{name}=" for name in key_names()]
    whole += [f"{flag}={value}" for flag, choices in known.items() for value in choices]
  return plain, whole


def main(arguments: Sequence[str]) -> int:
  """Prints the script for the shell that the arguments name.

  Raises:
    ConfigError: they name none, or one that sdt has no script for.
  """
  if help_asked(arguments) is not None:
    print(__doc__)
    return 0
  if len(arguments) != 1 or arguments[0] not in _SHELLS:
    given = " ".join(arguments)
    raise ConfigError(
      f"completion {given}: expected one of {', '.join(_SHELLS)}{did_you_mean(given, _SHELLS)}"
    )
  script, case = _SHELLS[arguments[0]]
  plain, whole = words_of(DEFAULT)
  cases = [case(name, *words_of(name)) for name in COMMANDS]
  cases.append(case("*", [*COMMANDS, *plain, "--version"], whole))  # no command yet, or none
  print(script.replace("@CASES@", "\n".join(cases)), end="")
  return 0
