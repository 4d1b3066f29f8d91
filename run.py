"""Runs one experiment from a config file; the program `sdt` of a checkout.

    python run.py --config=configs/digits.py
    python run.py predict runs/digits IMAGES

`--help` lists the flags, the keys and the config files; docs/usage.md has the exit codes.
"""

import sys

try:
  from sdt.commands.program import run
except ModuleNotFoundError as error:
  if error.name is None or error.name.partition(".")[0] == "sdt":
    raise
  print(
    f"sdt: error: this Python ({sys.executable}) has no {error.name}; `make demo` builds .venv "
    "with all that is needed; then give `. .venv/bin/activate`, or use .venv/bin/python",
    file=sys.stderr,
  )
  sys.exit(2)

if __name__ == "__main__":
  sys.exit(run())
