"""The packages that a key needs are asked for before anything else."""

import tomllib

import pytest

from sdt import experiment, packages
from sdt.commands import train
from sdt.errors import ConfigError
from tests.support import whole
from tests.support.places import ROOT

MESSAGE = (
  "score.cleanlab = True needs the package cleanlab 2.9 or newer, which is not installed: "
  "pip install 'cleanlab>=2.9', or leave score.cleanlab out"
)


def test_cleanlab_is_told_to_be_missing_before_anything_is_loaded_or_written(tmp_path, monkeypatch):
  def version(package: str) -> str:
    raise packages.importlib.metadata.PackageNotFoundError

  monkeypatch.setattr(packages.importlib.metadata, "version", version)
  monkeypatch.setattr(train, "load_jax", lambda: pytest.fail("JAX is loaded"))
  workdir = tmp_path / "run"
  asked = ["--config.score.cleanlab=True", "--config.score.folds=4"]
  with pytest.raises(ConfigError) as caught:
    train.main([f"--config={ROOT}/configs/digits.py", f"--workdir={workdir}", *asked])
  assert str(caught.value) == MESSAGE
  with pytest.raises(ConfigError) as caught:
    experiment.run(whole.config(score__cleanlab=True, score__folds=4), workdir, "tiny")
  assert str(caught.value) == MESSAGE
  assert not workdir.exists()


def test_its_extra_is_the_version_that_is_asked_for():
  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  assert extras["cleanlab"] == ["cleanlab>=2.9"]
  assert extras["cleanlab"][0] in extras["dev"]
