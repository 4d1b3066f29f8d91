"""What environment.json says of the program and the machine."""

import subprocess

import pytest

from sdt.run import environment
from tests.support.places import ROOT


def test_the_commit_is_that_of_the_checkout():
  command = ["git", "rev-parse", "HEAD"]
  head = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  if head.returncode or not (ROOT / ".git").exists():
    pytest.skip("this is no git checkout")
  assert environment.describe()["commit"].removesuffix("+") == head.stdout.strip()
