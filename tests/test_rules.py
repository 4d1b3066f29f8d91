"""The rules of the code, read from the source: a broken one is named with its file and line."""

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.places import ROOT

FOLDERS = ("sdt", "configs", "tests", "benchmarks")
FILES = [ROOT / "run.py", *(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))]
FILES = sorted(path for path in FILES if "__pycache__" not in path.parts)
SOURCE = [path for path in FILES if (ROOT / "sdt") in path.parents]

MOST_LINES, MOST_LINES_OF_FUNCTION, MOST_PARAMETERS, MOST_POSITIONAL, MOST_BARE_ANY = (
  400,
  50,
  6,
  3,
  60,
)


@functools.cache
def parsed(text: str) -> ast.Module:
  return ast.parse(text)


def functions_in(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
  return [
    node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
  ]


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
  arguments = function.args
  every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
  return [one.arg for one in every if one.arg not in ("self", "cls")]


def broken_lengths(text: str) -> list[str]:
  """Returns a line for each function that is too long or has too many parameters."""
  lines = []
  for node in functions_in(parsed(text)):
    length, count = node.end_lineno - node.lineno + 1, len(parameters_of(node))
    if length > MOST_LINES_OF_FUNCTION:
      lines.append(f"line {node.lineno}: {node.name} has {length} lines")
    if count > MOST_PARAMETERS:
      lines.append(f"line {node.lineno}: {node.name} has {count} parameters")
  return lines


def in_files(paths: Iterable[Path], broken: Callable[[str, Path], list[str]]) -> list[str]:
  """Returns what is broken in the text of each file, with the file's name before it."""
  return [
    f"{path.relative_to(ROOT)}: {line}"
    for path in paths
    for line in broken(path.read_text(encoding="utf-8"), path)
  ]


def test_files_stay_short():
  long = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
  assert {path: length for path, length in long.items() if length > MOST_LINES} == {}


def test_functions_and_parameter_lists_stay_short():
  assert in_files(FILES, lambda text, _: broken_lengths(text)) == []


def test_long_functions_and_long_parameter_lists_are_found():
  text = "def f(a, b, c, *, d, e, g, h):\n" + "  pass\n" * 50
  assert broken_lengths(text) == ["line 1: f has 51 lines", "line 1: f has 7 parameters"]
  assert broken_lengths("class A:\n  def f(self, a, b, c, *, d, e, g): pass\n") == []


def called_by(module: ModuleType, call: ast.Call) -> object:
  """Returns the function or class of sdt that a call names; None for all others, and methods."""
  names = ast.unparse(call.func).split(".")
  called: object = module
  for name in names:
    called = getattr(called, name, None)
  return called if (getattr(called, "__module__", None) or "").startswith("sdt") else None


def positional_calls(module: ModuleType, text: str) -> list[str]:
  """Returns a line for each call of our own code that gives a fourth argument by position.

  Functions that take any number of arguments are left out.
  """
  lines = []
  for node in ast.walk(parsed(text)):
    if isinstance(node, ast.Call) and len(node.args) > MOST_POSITIONAL:
      called, has_star = called_by(module, node), any(isinstance(a, ast.Starred) for a in node.args)
      if not callable(called) or has_star:
        continue
      kinds = {one.kind for one in inspect.signature(called).parameters.values()}
      if inspect.Parameter.VAR_POSITIONAL not in kinds:
        lines.append(f"line {node.lineno}: {ast.unparse(node.func)} gets {len(node.args)}")
  return lines


def test_calls_give_arguments_by_keyword_from_the_fourth_on():
  def broken(text: str, path: Path) -> list[str]:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return positional_calls(importlib.import_module(name), text)

  assert in_files((path for path in SOURCE if path.stem != "__main__"), broken) == []


def test_a_fourth_argument_by_position_is_found():
  module = importlib.import_module("sdt.stages.outline")
  text = "sizes(1, 2, 3, 4)\nnp.split(1, 2, 3, 4)\nselection.choose(1, 2, 3, 4, 5)\nsizes(1, *a)\n"
  assert positional_calls(module, text) == [
    "line 1: sizes gets 4",
    "line 3: selection.choose gets 5",
  ]


def bare_any(text: str) -> int:
  """Returns how many annotations are `Any` alone."""
  annotations = []
  for node in ast.walk(parsed(text)):
    if isinstance(node, ast.FunctionDef):
      every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
      every += [one for one in (node.args.vararg, node.args.kwarg) if one]
      annotations += [*(one.annotation for one in every), node.returns]
    elif isinstance(node, ast.AnnAssign):
      annotations.append(node.annotation)
    elif isinstance(node, ast.TypeAlias):
      annotations.append(node.value)
  return sum(isinstance(one, ast.Name) and one.id == "Any" for one in annotations)


def test_bare_any_stays_rare():
  assert bare_any("def f(a: Any, *b: Any, **c: int) -> Any:\n  d: Any = 1\ntype E = Any\n") == 5
  assert sum(bare_any(path.read_text(encoding="utf-8")) for path in SOURCE) < MOST_BARE_ANY


def symbols_of_the_paper(text: str) -> list[str]:
  """Returns the dotted names in the table "from the paper to the code"."""
  _, _, table = text.partition("rom the paper to the code")
  rows = [line for line in table.split("\n\n#")[0].splitlines() if "sdt." in line]
  return [name for row in rows for name in re.findall(r"\bsdt(?:\.\w+)+", row)]


@pytest.mark.parametrize("page", ["sdt/__init__.py", "docs/method.md"])
def test_every_symbol_of_the_table_from_the_paper_to_the_code_exists(page):
  names = symbols_of_the_paper((ROOT / page).read_text(encoding="utf-8"))
  assert len(names) >= 9
  for name in names:
    module, _, symbol = name.rpartition(".")
    assert hasattr(importlib.import_module(module), symbol), name


def test_both_tables_from_the_paper_to_the_code_have_the_same_symbols():
  pages = (ROOT / "sdt/__init__.py", ROOT / "docs/method.md")
  tables = [set(symbols_of_the_paper(page.read_text(encoding="utf-8"))) for page in pages]
  assert tables[0] == tables[1]
