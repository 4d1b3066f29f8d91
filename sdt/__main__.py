"""`python -m sdt` is the program `sdt`."""

import sys

from sdt.commands.program import run

if __name__ == "__main__":
  sys.exit(run())
