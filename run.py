"""Runs one experiment from a config file; the program `sdt` of a checkout.

    python run.py --config=configs/digits.py
    python run.py predict runs/digits IMAGES

`--help` lists the flags, the keys and the config files; docs/usage.md has the exit codes.
"""

import sys

from sdt.commands.program import run

if __name__ == "__main__":
  sys.exit(run())
