"""Where things lie: the root of the checkout, the golden files, and the data beside the
checkout.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
SUPPORT = ROOT / "tests/support"
SHARED_DATA = (
  ROOT.parent / "shared/data"
)  # real images for development; tests that need them skip without
