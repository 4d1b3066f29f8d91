"""Paths of the checkout, its golden files and the data beside it; variables of child processes."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
SUPPORT = ROOT / "tests/support"
# Real images for development; tests that need them skip without.
SHARED_DATA = ROOT.parent / "shared/data"
# Variables for a process that is killed: it reads the tests' cache of compiled programs and never
# writes, so that it cannot leave half a program there.
READS_CACHE_ONLY = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
