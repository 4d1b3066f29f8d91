r"""The command `completion`: prints a script that completes words of `sdt` in a shell.

    sdt completion bash > ~/.local/share/bash-completion/completions/sdt
    sdt completion zsh > DIR/_sdt            # DIR is in fpath
    sdt completion fish > ~/.config/fish/completions/sdt.fish

All words come from the tables of the program: commands, flags, keys with their choices, sections of
the help, and names of config files. Paths are completed where no word fits.
"""

import importlib
import shlex
from collections.abc import Sequence

from sdt.commands.help import sections
from sdt.commands.program import COMMANDS
from sdt.config import shipped
from sdt.config.command_line import help_asked
from sdt.config.resolve import choices_of, key_names
from sdt.errors import ConfigError, did_you_mean

_BASH = """\
# Completion of sdt for bash: source it, or put it into your folder of completions.
_sdt() {
  local words=@WORDS@ values=@VALUES@
  local word="${COMP_LINE:0:COMP_POINT}"
  word="${word##* }"
  local IFS=$'\\n'
  case "$word" in
    *=*) COMPREPLY=($(compgen -W "$values" -- "$word")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
  esac
  # bash breaks words at "=", and replaces only what follows the last one.
  local before="${word%"${word##*=}"}"
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -o nospace -F _sdt sdt
"""
_ZSH = """\
#compdef sdt
# Completion of sdt for zsh: put it as _sdt into a folder of your fpath.
_sdt() {
  local -a words values
  words=(${(f)"$(<<<@WORDS@)"})
  values=(${(f)"$(<<<@VALUES@)"})
  if [[ $PREFIX == *=* ]]; then
    compadd -- $values || { compset -P '*=' && _files; }
  else
    compadd -S '' -- $words || _files
  fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _sdt "$@"; else compdef _sdt sdt; fi
"""
_FISH = """\
# Completion of sdt for fish: put it into your folder of completions as sdt.fish.
set -g __sdt_words @WORDS@
set -g __sdt_values @VALUES@
function __sdt_complete
  if string match -q -- '*=*' (commandline -ct)
    printf '%s\\n' $__sdt_values
  else
    printf '%s\\n' $__sdt_words
  end
end
complete -c sdt -a '(__sdt_complete)'
"""
# Shell -> its script, and what separates the words in it.
_SHELLS = {"bash": (_BASH, "\n"), "zsh": (_ZSH, "\n"), "fish": (_FISH, " ")}
FLAGS = tuple(_SHELLS)


def words() -> list[str]:
  """Returns what a word may be that has no value yet: commands, flags, `--config.KEY=`."""
  keys = [f"--config.{name}=" for name in key_names()]
  return [*COMMANDS, *(flag for flag in _flags() if "=" not in flag[:-1]), *keys]


def values() -> list[str]:
  """Returns the words with a value that is one of few: `--config=digits`, `--help=optim`, ..."""
  known = {
    "--config": shipped.files_by_name(),
    "--help": sections(),
    **{f"--config.{name}": choices_of(name) for name in key_names()},
  }
  whole = [flag for flag in _flags() if "=" in flag[:-1]]
  return [*whole, *(f"{flag}={value}" for flag, choices in known.items() for value in choices)]


def _flags() -> list[str]:
  """Returns the flags of all commands, once each."""
  modules = [importlib.import_module(module) for module, _ in COMMANDS.values()]
  flags = [flag for module in modules for flag in getattr(module, "FLAGS", ())]
  return list(dict.fromkeys([*flags, "--help", "--version"]))


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
  script, separator = _SHELLS[arguments[0]]
  for name, some in (("@WORDS@", words()), ("@VALUES@", values())):
    text = " ".join(map(shlex.quote, some)) if separator == " " else shlex.quote("\n".join(some))
    script = script.replace(name, text)
  print(script, end="")
  return 0
