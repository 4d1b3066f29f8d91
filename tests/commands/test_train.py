"""What the command refuses before it looks at anything else."""

import os

import pytest

from sdt.commands.run_config import run_config
from sdt.config import resolve
from sdt.config.command_line import parse_arguments
from sdt.config.config_file import load_config_file
from sdt.errors import ConfigError
from tests.support import image_files
from tests.support.places import ROOT


@pytest.mark.parametrize("more", [[], ["--dry_run"], ["--workdir=cat/run"]])
def test_a_run_inside_its_own_image_folder_is_refused_before_it_writes(tmp_path, monkeypatch, more):
  """After `cd DIR`, with `data.path=.`: the default workdir, and one inside a class."""
  for name in ("cat", "dog"):
    (tmp_path / name).mkdir()
    image_files.noise().save(tmp_path / name / "0.png")
  monkeypatch.chdir(tmp_path)
  command = [f"--config={ROOT}/configs/folder.py", "--config.data.path=.", *more]
  request = parse_arguments(command)
  config = resolve(load_config_file(request.config_path), request.overrides)
  with pytest.raises(ConfigError, match=f"{request.workdir} lies inside data.path=., where every"):
    run_config(config, [], request)
  assert sorted(os.listdir(tmp_path)) == ["cat", "dog"]
  assert os.listdir(tmp_path / "cat") == ["0.png"]
