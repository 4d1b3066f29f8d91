"""Flags and config files: what is read from them, and how a mistake is told."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from sdt.arms.checks import check
from sdt.config import resolve, values
from sdt.config.command_line import help_asked, parse_arguments
from sdt.config.config_file import load_config_file
from sdt.config.resolve import _keys
from sdt.errors import ConfigError
from tests.support.places import ROOT


def test_the_workdir_is_named_after_the_config_file():
  request = parse_arguments(["--config=configs/digits.py"])
  assert (str(request.workdir), request.name, request.dry_run, request.overrides) == (
    "runs/digits",
    "digits",
    False,
    (),
  )
  assert str(parse_arguments(["--config=x/mine.py", "--workdir", "a dir"]).workdir) == "a dir"
  assert parse_arguments(["--config=x.py", "--workdir=~/runs"]).workdir == Path.home() / "runs"


@pytest.mark.parametrize(
  ("path", "name"),
  [
    ("configs/paper/svhn_resnet20.py", "paper/svhn_resnet20"),
    ("/a/configs/b/configs/c/d/e.f.py", "c/d/e.f"),
    ("configs/../mine/x.py", "x"),
    ("configs/../../x.py", "x"),
    ("elsewhere/paper/x.py", "x"),
    ("configs/x.py", "x"),
    ("configs", "configs"),
    ("configs.py", "configs"),
  ],
)
def test_a_run_is_named_after_the_path_below_configs_and_never_leaves_runs(path, name):
  request = parse_arguments([f"--config={path}"])
  assert (request.name, request.workdir) == (name, Path("runs") / name)


@pytest.mark.parametrize("path", [".", "..", "/", ""])
def test_a_path_without_a_name_is_no_crash(path):
  with pytest.raises(ConfigError, match="--config"):
    load_config_file(parse_arguments([f"--config={path}"]).config_path)


def test_flags_take_their_value_after_a_space_or_an_equals_sign():
  one = parse_arguments(
    [
      "--config=x.py",
      "--config.seeds=1,2",
      "--config.data.path=a=b",
      "--config.optim.momentum=-1",
      "--dry_run",
    ]
  )
  two = parse_arguments(
    [
      "--config",
      "x.py",
      "--config.seeds",
      "1,2",
      "--config.data.path",
      "a=b",
      "--config.optim.momentum",
      "-1",
      "--dry_run",
    ]
  )
  assert one == two
  assert one.overrides == (("seeds", "1,2"), ("data.path", "a=b"), ("optim.momentum", "-1"))
  assert one.dry_run


def test_help_is_asked_for_anywhere_with_a_section_or_without():
  assert help_asked(["nonsense", "--help"]) == ""
  assert help_asked(["-h"]) == ""
  assert help_asked(["--config=x.py", "--help=optim"]) == "optim"
  assert help_asked(["--config=x.py", "--helper", "--config.x=--help"]) is None


@pytest.mark.parametrize(
  ("arguments", "part"),
  [
    (["--config"], "--config needs a value: --config=VALUE"),
    (["--config="], "--config needs a value: --config=VALUE"),
    (["--config=x.py", "--workdir="], "--workdir needs a value"),
    (["--config", "--dry_run"], "--config needs a value"),
    (["--config=x.py", "--config.rounds"], "--config.rounds needs a value"),
    (["--config=x.py", "--config=y.py"], "--config is given twice: 'x.py' and 'y.py'"),
    (["--config=x.py", "--dry_run=True"], "--dry_run takes no value, or 'full'; usage"),
    (["--config=x.py", "--profile=True"], "--profile takes no value; usage"),
    (["digits"], "unexpected argument 'digits'; did you mean --config=digits?; usage"),
    (["--config=x.py", "--dryrun"], "unknown flag --dryrun; did you mean --dry_run?"),
    (["--config=x.py", "--dry-run"], "unknown flag --dry-run; did you mean --dry_run?"),
    (
      ["--config=x.py", "--optim.momentum=0"],
      "unknown flag --optim.momentum; did you mean --config.optim.momentum?",
    ),
    (["--config=x.py", "--config.=1"], "unknown flag --config."),
    (["--config=x.py", "-v"], "unknown flag -v"),
    (["--config=x.py", ""], "unexpected argument ''"),
    (["--config=x.py", "--sheet=a.png"], "--sheet=a.png is drawn by --dry_run alone"),
    (["--config=x.py", "--dry_run", "--sheet=a.jpg"], "expected the name of a PNG file"),
    (["--config=x.py", "--dry_run", "--overwrite"], "--overwrite is for the file of --sheet"),
    (
      ["--config=x.py", "--config.augment.ops=rotate", "15"],
      "quote the value: --config.augment.ops='rotate ...'; usage",
    ),
  ],
)
def test_a_wrong_flag_is_refused_with_the_usage(arguments, part):
  with pytest.raises(ConfigError) as caught:
    parse_arguments(arguments)
  assert part in str(caught.value)
  assert "usage: python run.py" in str(caught.value)


@pytest.mark.parametrize(
  ("flag", "advice"),
  [
    ("--noconfig.augment.flip", "--config.augment.flip=False"),
    ("--no-config.augment.flip", "--config.augment.flip=False"),
    ("--noaugment.flip", "--config.augment.flip=False"),
    ("--noconfig.augment.flipp", "--config.augment.flip=False"),
    ("--noconfig.data.num_train", "--config.data.num_train=None"),
    ("--noconfig.optim.momentum", "--config.optim.momentum=VALUE"),
    ("-config.rounds=3", "--config.rounds"),
    ("--optim.momentm=0.5", "--config.optim.momentum"),
  ],
)
def test_the_advice_on_a_wrong_flag_works(flag, advice):
  with pytest.raises(ConfigError, match=f"unknown flag .*; did you mean {advice}.; usage") as seen:
    parse_arguments(["--config=x.py", flag])
  given = flag.partition("=")[2] or "0.5"
  meant = str(seen.value).partition("did you mean ")[2].partition("?; usage")[0]
  words = meant.replace("VALUE", "0.5") if "=" in meant else f"{meant}={given}"
  resolve({}, parse_arguments(["--config=x.py", words]).overrides)


@pytest.mark.parametrize(
  ("source", "part"),
  [
    ("def get_config():\n  return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
    ("x = 1\ndef get_config(:\n", "line 2: SyntaxError: "),
    ("import no_such_module\n", "line 1: ModuleNotFoundError"),
    ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
    ("x = 1\n", "expected a function get_config()"),
    ("get_config = 3\n", "expected a function get_config()"),
    (
      "def get_config():\n  return {'rounds': 3}\n",
      "get_config() returns dict, expected an ml_collections.ConfigDict",
    ),
    ("def get_config(name):\n  return name\n", "needs an argument"),
    ("x = '\0'\n", "null bytes"),
  ],
)
def test_a_mistake_in_a_config_file_is_told_with_its_line(tmp_path, source, part):
  path = tmp_path / "mine.py"
  path.write_text(source)
  with pytest.raises(ConfigError) as caught:
    load_config_file(path)
  assert f"--config={path}" in str(caught.value)
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)
  assert os.listdir(tmp_path) == ["mine.py"]


def test_an_edited_config_file_is_read_anew(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "dont_write_bytecode", False)
  path = tmp_path / "mine.py"
  for rounds in (3, 4):
    path.write_text(
      f"from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict({{'rounds': "
      f"{rounds}}})\n"
    )
    os.utime(path, (1, 1))
    assert load_config_file(path).rounds == rounds
  assert os.listdir(tmp_path) == ["mine.py"]


def test_a_missing_config_file_suggests_one_of_a_subfolder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in (
    "same.py",
    "paper/same.py",
    "paper/deeper/same.py",
    "paper/svhn_resnet20.py",
    "alone/svhn.py",
  ):
    (tmp_path / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "configs" / name).touch()
  for given_path, part in [
    ("configs/svhn_resnet20.py", "did you mean configs/paper/svhn_resnet20.py?"),
    ("configs/paper/svhn_resnet2.py", "did you mean configs/paper/svhn_resnet20.py?"),
    ("paper/svhn_resnet2", "did you mean paper/svhn_resnet20?"),  # a name, of one that sdt ships
    ("configs/sam.py", "did you mean configs/same.py?"),
    ("configs/paper/sam.py", "did you mean configs/paper/same.py?"),
    ("configs/zzzzzz.py", "configs/ has same.py, alone/, paper/"),
    ("configs/paper", "not a file; configs/paper/ has same.py, svhn_resnet20.py"),
  ]:
    with pytest.raises(ConfigError, match="--config") as caught:
      load_config_file(Path(given_path))
    assert str(caught.value).endswith(part)


def test_a_missing_config_file_suggests_the_nearest(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  for given_path, part in [
    ("configs/digit.py", "no such file; did you mean configs/digits.py?"),
    ("digit", "no such file; did you mean digits?"),
    ("folder/digits.py", "no such file; did you mean configs/digits.py?"),
    ("configs", "not a file; configs/ has cifar10.py,"),
    ("configs/zzzzzz.py", "no such file; configs/ has cifar10.py,"),
  ]:
    with pytest.raises(ConfigError, match="--config") as caught:
      load_config_file(Path(given_path))
    assert part in str(caught.value)
  monkeypatch.chdir(tmp_path)
  for given_path, part in [
    ("zzzzzz.py", "no such file; expected a config file, or a name: cifar10, "),
    ("configs/digits.py", "no such file; did you mean digits?"),
    ("controls/digit", "no such file; did you mean controls/digits?"),
    ("x" * 300, "too long; expected a config file, or a name: "),
  ]:
    with pytest.raises(ConfigError, match="--config") as caught:
      load_config_file(Path(given_path))
    assert part in str(caught.value)


@pytest.mark.parametrize("page", ["README.md", "docs/usage.md", "docs/method.md"])
def test_what_a_page_says_to_type_is_accepted(page):
  text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
  commands = [
    match.strip("`")
    for match in re.findall(
      r"`(?:python run\.py|sdt train)[^`]*`|^ {4}(?:python run\.py|sdt train) .*$",
      text,
      re.MULTILINE,
    )
  ]
  whole = [
    command
    for command in map(str.strip, commands)
    if not re.search(
      r"NAME|DIR|FILE|\[--| (predict|export|compare|doctor|completion) |run.py$", command
    )
  ]
  assert whole
  for command in whole:
    request = parse_arguments(shlex.split(command)[2:])
    check(resolve(load_config_file(ROOT / request.config_path), request.overrides))
  flags = re.findall(r"--config\.([a-z][\w.]*)=(\"[^\"]*\"|[^\s`\]]+)", text)
  assert flags
  for key, value in flags:
    values.parse(_keys()[key], value.strip('"'))
