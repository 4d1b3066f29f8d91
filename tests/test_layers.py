"""The layers of docs/architecture.md and the rules of the code, read from the source: a broken one
is named with its file and line.
"""

import ast
import functools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "sdt").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))
EVERYTHING = [ROOT / "run.py", *PACKAGE, *CONFIGS, *sorted((ROOT / "tests").rglob("*.py"))]
PAGES = [
  *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
  *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAM = [ROOT / "run.py", *PACKAGE, *CONFIGS]

# A package imports only from the lines below its own.
LAYERS = """
run __main__
commands api
experiment toy doctor
stages
trained
run/
arms
engine
models scores inputs
data devices report
config files
losses stats named_files packages
errors types arrays output
"""
LEVELS = {
  name: level for level, line in enumerate(reversed(LAYERS.split("\n"))) for name in line.split()
}
WITHOUT_JAX = ("config", "files", "data", "report")
FRAMEWORKS = ("jax", "jaxlib", "flax", "optax", "orbax")


def module_of(path: Path) -> str:
  """Returns the dotted module of a file: sdt/data/table.py is sdt.data.table, a package is its
  folder.
  """
  return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in PACKAGE}


def imports_in(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
  """Yields (line, dotted module) of every import in `source`, lazy ones too; `from sdt import x` is
  sdt.x.
  """
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield node.lineno, alias.name
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ""
      if node.level:
        parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
        base = ".".join([*parents, *([base] if base else [])])
      for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield node.lineno, inner if inner in MODULES or base in ("sdt", "flax", "orbax") else base


@functools.cache  # most tests here ask for the imports of every file
def imports_of(path: Path) -> list[tuple[int, str]]:
  return list(
    imports_in(
      path.read_text(encoding="utf-8"), module_of(path), is_package=path.name == "__init__.py"
    )
  )


def layer_of(module: str) -> str:
  """Returns the line of LAYERS that a module stands in: sdt.run.context is run/, run.py is run,
  sdt.losses is losses, sdt.__main__ is __main__.
  """
  if not module.startswith("sdt."):
    return module
  name = module.split(".")[1]
  return "run/" if name == "run" else name


def within(module: str, parents: tuple[str, ...]) -> bool:
  return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def importers(paths: list[Path], *banned: str) -> list[str]:
  return [
    f"{path.relative_to(ROOT)}:{line}: imports {name}"
    for path in paths
    for line, name in imports_of(path)
    if within(name, banned)
  ]


def reached_from(*packages: str) -> list[Path]:
  """Returns the files of these packages and of all that they import, however indirectly."""
  paths = {module_of(path): path for path in PACKAGE}
  reached, waiting = (
    set(),
    [module for module in MODULES if within(module, tuple(f"sdt.{name}" for name in packages))],
  )
  while waiting:
    module = waiting.pop()
    if module in paths and module not in reached:
      reached.add(module)
      waiting += [name for _, name in imports_of(paths[module])]
      waiting.append(
        module.rpartition(".")[0]
      )  # the import of a module runs its package's __init__
  return [paths[module] for module in sorted(reached)]


def upward(importer: str, imported: list[tuple[int, str]]) -> list[str]:
  """Returns a line for each import that does not point to a lower layer, or into the same
  package.
  """
  here = layer_of(importer)
  others = [(line, name, layer_of(name)) for line, name in imported if name.startswith("sdt.")]
  return [
    f"line {line}: {importer} ({here}) imports {name}: {there} is no layer below {here}"
    for line, name, there in others
    if there != here and LEVELS[there] >= LEVELS[here]
  ]


def test_every_package_has_a_layer():
  assert sorted({layer_of(module) for module in MODULES - {"sdt"}} - LEVELS.keys()) == []


def test_imports_point_to_lower_layers_only():
  paths = [path for path in (*PACKAGE, ROOT / "run.py") if module_of(path) != "sdt"]
  assert [line for path in paths for line in upward(module_of(path), imports_of(path))] == []


def test_an_upward_import_is_found():
  found = list(
    imports_in(
      "import numpy\ndef late():\n  from sdt import experiment\n  from .conv import conv2d\n",
      "sdt.models.vgg",
    )
  )
  assert upward("sdt.models.vgg", found) == [
    "line 3: sdt.models.vgg (models) imports sdt.experiment: experiment is no layer below models"
  ]
  assert upward("sdt.config.schema", [(7, "sdt.files.sealed")]) == [
    "line 7: sdt.config.schema (config) imports sdt.files.sealed: files is no layer below config"
  ]


def test_imports_make_no_cycle():
  graph = {
    module_of(path): {name for _, name in imports_of(path) if name in MODULES} for path in PACKAGE
  }
  while leaves := [
    module for module, inner in graph.items() if not inner & (graph.keys() - {module})
  ]:
    for module in leaves:
      del graph[module]
  assert not graph, f"these import each other: {sorted(graph)}"


def test_configs_import_nothing_but_ml_collections():
  found = [
    f"{path.name}:{line}: {name}"
    for path in CONFIGS
    for line, name in imports_of(path)
    if not within(name, ("ml_collections",))
  ]
  assert found == []


def test_only_models_import_linen():
  others = [path for path in PROGRAM if (ROOT / "sdt/models") not in path.parents]
  assert importers(others, "flax.linen", "flax.nnx") == []


def test_only_the_checkpoints_import_orbax():
  assert (
    importers([path for path in PROGRAM if path != ROOT / "sdt/run/checkpoints.py"], "orbax") == []
  )


@pytest.mark.parametrize("package", WITHOUT_JAX)
def test_this_package_reaches_no_jax(package):
  assert importers(reached_from(package), *FRAMEWORKS) == []


def test_the_engine_reaches_no_files():
  engine = [path for path in PACKAGE if (ROOT / "sdt/engine") in path.parents]
  assert importers(reached_from("engine"), "sdt.files.formats", "sdt.files.sealed") == []
  assert importers(engine, "sdt.files", "pathlib", "os", "json", "shutil", "tempfile") == []


def test_what_a_mistake_in_a_command_needs_is_light():
  assert importers(reached_from("config"), *FRAMEWORKS, "numpy") == []


def test_nothing_is_unpickled_or_evaluated():
  assert (
    importers(
      PROGRAM,
      "pickle",
      "cPickle",
      "dill",
      "cloudpickle",
      "joblib",
      "shelve",
      "marshal",
      "torch",
      "tensorflow",
    )
    == []
  )
  found = []
  for path in PROGRAM:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      if isinstance(node, ast.Call):
        # Names first: to write out every call takes seconds.
        last = getattr(node.func, "attr", getattr(node.func, "id", ""))
        name = ast.unparse(node.func) if last in ("eval", "exec", "load", "unsafe_load") else ""
        pickled = [
          word
          for word in node.keywords
          if word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
        ]
        if name in ("eval", "exec", "yaml.load", "yaml.unsafe_load") or pickled:
          found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
  assert found == []


def test_no_file_is_a_grab_bag():
  assert [
    str(path.relative_to(ROOT))
    for path in EVERYTHING
    if path.stem in ("utils", "util", "helpers", "misc", "common")
  ] == []


def test_the_lock_holds_every_dependency_with_hashes_and_names_no_index():
  lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
  project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  extras = project["optional-dependencies"]
  wanted = [*project["dependencies"], *extras["dev"], *extras["docs"]]
  names = {re.split(r"[<>=\[]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
  entries = re.findall(
    r"^([a-z0-9.-]+)==\S+(?: ;[^\n]*?)? \\\n    --hash=sha256:", lock, re.MULTILINE
  )
  assert names <= set(entries)
  assert len(entries) == len(re.findall(r"^[^\s#]", lock, re.MULTILINE))
  assert "://" not in lock


def prose_of(page: Path) -> str:
  """Returns a page without its code, in which nothing is a link or a heading."""
  text = re.sub(
    r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
  )
  return re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
  """Returns the anchors that GitHub gives a page's headings: "What is *refused*, `x.y`" is
  what-is-refused-xy; a second one gets -1.
  """
  anchors: set[str] = set()
  seen: list[str] = []
  for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", prose_of(page), re.MULTILINE):
    words = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).lower().replace(" ", "-")
    anchors.add(f"{words}-{seen.count(words)}" if words in seen else words)
    seen.append(words)
  return anchors


def dead_links(page: Path) -> list[str]:
  """Returns the relative links of a page that lead to no file, to an empty folder, or to no
  heading.
  """
  text = re.sub(r"`[^`\n]*`", "", prose_of(page))
  targets = re.findall(
    r"\]\(<?([^)>\s]+)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", text, re.MULTILINE
  )
  dead = []
  for target in map("".join, targets):
    if re.match(r"[a-z]+:", target):
      continue
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    exists = any(inner.is_file() for inner in path.rglob("*")) if path.is_dir() else path.is_file()
    if not exists or (anchor and anchor not in anchors_of(path)):
      dead.append(target)
  return dead


def test_every_relative_link_of_a_page_leads_somewhere():
  dead = {str(page.relative_to(ROOT)): dead_links(page) for page in PAGES}
  assert {page: links for page, links in dead.items() if links} == {}


def test_dead_links_are_found(tmp_path):
  (tmp_path / "empty").mkdir()
  (tmp_path / "other.md").write_text(
    "# One `a.b`, two\n\n## Twice\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
  )
  fine = (
    "[a](other.md) [b](other.md#one-ab-two) [c](other.md#twice-2) [d](#here) "
    "[e](https://example.org/x) `[f](none.md)` ![g](<page.md>)"
  )
  page = tmp_path / "page.md"
  page.write_text(f"# Here\n\n{fine}\n\n    [code](none.md)\n\n```\n[code](none.md)\n```\n")
  assert dead_links(page) == []
  bad = ["none.md", "other.md#no-heading", "other.md#twice-3", "#there", "empty", "x.png"]
  page.write_text(
    "# Here\n\n"
    + " ".join(f"[a]({target})" for target in bad[:-1])
    + '\n\n[r]: gone.md\n\n<img src="x.png">\n'
  )
  assert sorted(dead_links(page)) == sorted([*bad, "gone.md"])


def test_no_placeholder_is_left_in_a_tracked_text_file():
  listed = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
  )
  if listed.returncode:
    pytest.skip("this is no git checkout")
  contents = {
    name: (ROOT / name).read_bytes()
    for name in listed.stdout.split("\0")
    if (ROOT / name).is_file()
  }
  texts = {name: content for name, content in contents.items() if b"\0" not in content}
  assert "README.md" in texts
  assert [name for name, content in texts.items() if b"@" * 2 in content] == []
