"""What the pages say is there: every file and symbol that they name, and all that can be chosen."""

import dataclasses
import fnmatch
import importlib
import re
from pathlib import Path

import pytest

from sdt.arms.catalogue import ARM_NAMES
from sdt.config.schema import DataConfig
from sdt.config.score_names import SCORES
from sdt.models.registry import MODEL_NAMES
from tests.support.places import ROOT

METHOD = ROOT / "docs/method.md"
PAGES = [
  *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING")),
  *sorted((ROOT / "docs").rglob("*.md")),
]
# The pages write paths from the root, from sdt/ or from tests/. NAME stands for any name.
BASES = (ROOT, ROOT / "sdt", ROOT / "tests")


def text_of(page: Path) -> str:
  return page.read_text(encoding="utf-8")


def section_of(page: Path, heading: str) -> str:
  """Returns what stands below a heading of level 2, up to the next."""
  (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", text_of(page), re.DOTALL | re.M)
  return section


def named_in_tables(text: str) -> set[str]:
  """Returns the code words in the first cells of the rows of tables."""
  cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
  return {word for cell in cells for word in re.findall(r"`([\w.]+)`", cell)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_source_file_that_a_page_names_exists(page):
  paths = re.findall(r"(?<![\w/.])(?:[\w]+/)+\w+\.py", text_of(page))
  lost = [path for path in paths if not any((base / path).is_file() for base in BASES)]
  assert [path for path in lost if "NAME" not in path] == []


def test_every_symbol_of_the_table_from_the_paper_to_the_code_exists():
  symbols = re.findall(r"\| `(sdt\.[\w.]+)` \|", section_of(METHOD, "From the paper to the code"))
  assert len(symbols) > 15
  for symbol in symbols:
    module, _, name = symbol.rpartition(".")
    assert hasattr(importlib.import_module(module), name), symbol


def test_the_pages_list_every_arm_score_network_and_data_set():
  arms = section_of(METHOD, "Controls")
  assert set(ARM_NAMES) - named_in_tables(arms) == set()
  scores = set(SCORES) - {"confidence_in_sample"}  # of out-of-fold runs; it does not rank
  assert scores - named_in_tables(section_of(METHOD, "Scores")) == set()
  assert set(MODEL_NAMES) - set(re.findall(r"`(\w+)`", text_of(ROOT / "docs/networks.md"))) == set()
  (name,) = (field for field in dataclasses.fields(DataConfig) if field.name == "name")
  sets = set(name.metadata["choices"]) - {"curve"}  # the toy, on the method's page
  assert sets - named_in_tables(text_of(ROOT / "docs/data.md").split("\n## ")[0]) == set()


def test_every_row_of_results_in_the_readme_is_one_of_the_page_of_all_results():
  rows = re.findall(r"^(\| \[.*\]\(docs/results/.*) \|$", text_of(ROOT / "README.md"), re.MULTILINE)
  assert len(rows) > 5
  page = text_of(ROOT / "docs/results/README.md").splitlines()
  known = [line.rpartition(" | ")[0] for line in page if line.startswith("| [")]
  assert [row for row in rows if row.replace("docs/results/", "") not in known] == []


def test_the_architecture_names_every_module():
  layers = section_of(ROOT / "docs/architecture.md", "Layers")
  rows = dict(re.findall(r"^\| \d+ \| ([^|]+) \| ([^|]*) \|$", layers, re.MULTILINE))
  lost = []
  for path in sorted((ROOT / "sdt").rglob("[!_]*.py")):
    package, *inner = path.relative_to(ROOT / "sdt").with_suffix("").parts
    cell = f"`{package}/`" if inner else f"`{package}.py`"
    jobs = " ".join(job for packages, job in rows.items() if cell in packages)
    names = re.findall(r"`([\w*/]+)`", jobs)
    name = f"{inner[0]}/" if len(inner) > 1 else "".join(inner)
    is_named = any(fnmatch.fnmatch(name, pattern) for pattern in names) if inner else bool(jobs)
    lost += [] if is_named else [str(path.relative_to(ROOT))]
  assert lost == []
