"""`python -m sdt.report WORKDIR` builds the report of a finished run again."""

import argparse
import sys
from pathlib import Path

from sdt.errors import SdtError
from sdt.output import endure
from sdt.report import build_report


def main(arguments: list[str] | None = None) -> int:
  """Returns the exit code of docs/usage.md: 0, or that of the error, whose message goes
  to stderr.
  """
  parser = argparse.ArgumentParser(
    prog="python -m sdt.report",
    description="Build figures/ and report.html of a finished run again.",
  )
  parser.add_argument(
    "workdir", type=Path, help="the run's workdir, the folder that holds results.json"
  )
  try:
    print(build_report(parser.parse_args(arguments).workdir))
  except SdtError as error:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
  return 0


if __name__ == "__main__":
  endure()
  sys.exit(main())
