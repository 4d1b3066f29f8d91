"""The example of the README runs as it is printed there."""

import re

from tests.support import whole
from tests.support.places import ROOT


def test_the_example_in_the_readme_runs(tmp_path, monkeypatch, capsys):
  (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
  assert len(example.splitlines()) <= 15
  monkeypatch.chdir(tmp_path)
  whole.quick_report(monkeypatch)
  exec(example, {})
  right, hardest = capsys.readouterr().out.splitlines()
  assert int(right.split("%")[0]) > 60
  assert hardest.endswith("in B")
