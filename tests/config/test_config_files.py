"""Which config file `--config` means: a path or a name, with an argument or without."""

from pathlib import Path

import pytest

from sdt.config import resolve, shipped
from sdt.config.command_line import parse_arguments
from sdt.config.config_file import load_config_file
from sdt.errors import ConfigError
from tests.support.places import ROOT

TAKES = """
from ml_collections import ConfigDict
def get_config(size):
  return ConfigDict({"rounds": {"small": 2, "large": 200}[size]})
"""
MAY_TAKE = TAKES.replace("size)", 'size="small")')
TAKES_NONE = "from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict()\n"


def load(*words):
  request = parse_arguments(words)
  return request, load_config_file(request.config_path, request.argument)


def test_every_shipped_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  paths = {
    path.relative_to(ROOT / "configs").with_suffix("").as_posix(): path
    for path in (ROOT / "configs").rglob("*.py")
  }
  assert shipped.files_by_name() == paths
  for name, path in paths.items():
    request = parse_arguments(["--config", name])
    assert (request.config_path, request.name) == (path, name)
    assert request.workdir == Path("runs") / name


@pytest.mark.parametrize("name", ["digits", "./digits"])
def test_a_file_at_hand_comes_before_a_shipped_one(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "digits").write_text(MAY_TAKE)
  request, config = load(f"--config={name}:large")
  assert (request.config_path, request.name, config.rounds) == (
    Path("digits"),
    "digits-large",
    200,
  )


def test_a_folder_at_hand_does_not_hide_a_shipped_config(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "digits").mkdir()
  assert load("--config=digits")[1].data.name == "digits"
  with pytest.raises(ConfigError, match="--config=paper: no such file; expected a config file, or"):
    load("--config=paper")


def test_what_follows_a_colon_is_given_to_get_config_and_names_the_run(tmp_path):
  for source in (TAKES, MAY_TAKE):
    (tmp_path / "mine.py").write_text(source)
    for form in ([f"--config={tmp_path}/mine.py:large"], ["--config", f"{tmp_path}/mine.py:large"]):
      request, config = load(*form)
      assert (request.name, str(request.workdir)) == ("mine-large", "runs/mine-large")
      assert config.rounds == 200
  assert load(f"--config={tmp_path}/mine.py")[1].rounds == 2
  request, config = load(f"--config={tmp_path}/mine.py:large", "--config.rounds=3")
  assert resolve(config, request.overrides).rounds == 3


def test_an_argument_cannot_lead_the_workdir_elsewhere(tmp_path):
  (tmp_path / "mine.py").write_text(TAKES.replace('{"small": 2, "large": 200}[size]', "2"))
  request, _ = load(f"--config={tmp_path}/mine.py:../a b:c,d=1")
  assert request.argument == "../a b:c,d=1"
  assert str(request.workdir) == "runs/mine-..%2Fa%20b%3Ac,d=1"


@pytest.mark.parametrize(
  ("argument", "part"),
  [
    ("", "mine.py:: nothing stands behind the colon; leave it out, or give the text"),
    ("x" * 300, "301 characters of its name, at most 120 are taken; shorten it"),
    ("\u00e4" * 30, "181 characters of its name"),  # six for each, so that any system takes it
  ],
)
def test_an_argument_that_names_no_run_is_refused_at_once(argument, part, tmp_path):
  (tmp_path / "mine.py").write_text(TAKES)
  for more in ([], ["--workdir=short"]):
    with pytest.raises(ConfigError) as caught:
      parse_arguments([f"--config={tmp_path}/mine.py:{argument}", *more])
    assert part in str(caught.value)
  assert len(parse_arguments(["--config=mine.py:" + "x" * 119]).workdir.name) == 124


def test_a_broken_file_that_hides_a_shipped_config_is_told_as_such(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "controls").mkdir()
  for name in ("digits", "controls/digits", "other"):
    (tmp_path / name).write_text("some notes\n")
    with pytest.raises(ConfigError, match=f"--config={name}: line 1: SyntaxError") as caught:
      load(f"--config={name}")
    hint = f"this is the file {name} of the working folder, which comes before the config {name} "
    assert (hint in str(caught.value)) == (name != "other")


def test_a_file_whose_own_name_has_a_colon_is_meant_whole(tmp_path):
  (tmp_path / "a:b.py").write_text(MAY_TAKE)
  request, config = load(f"--config={tmp_path}/a:b.py")
  assert (request.argument, request.name, config.rounds) == (None, "a:b", 2)


@pytest.mark.parametrize(
  ("source", "argument", "part"),
  [
    (TAKES, None, "get_config(size) needs an argument; give it behind a colon: --config="),
    (TAKES_NONE, "x", "get_config() takes no single argument, and 'x' is given; leave out"),
    (TAKES_NONE, "", "get_config() takes no single argument, and '' is given; leave out"),
    (TAKES.replace("size)", "a, b)"), "x", "get_config(a, b) takes no single argument"),
    (TAKES, "tiny", "line 4: KeyError: 'tiny'"),
    (TAKES_NONE.replace("ConfigDict()", "{}"), None, "get_config() returns dict"),
  ],
)
def test_an_argument_too_many_too_few_or_wrong_is_told_in_one_line(
  source, argument, part, tmp_path
):
  path = tmp_path / "mine.py"
  path.write_text(source)
  with pytest.raises(ConfigError) as caught:
    load_config_file(path, argument)
  assert str(caught.value).startswith(f"--config={path}: ")
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("words", "part"),
  [
    (["--config=digit:x"], "--config=digit: no such file; did you mean digits?"),
    (["--config=digits:x"], "get_config() -> ml_collections"),
    (["--config=:x"], "--config=.: not a file"),
  ],
)
def test_a_mistake_in_front_of_the_colon_is_told_as_without_one(words, part, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ConfigError) as caught:
    load(*words)
  assert part in str(caught.value)
