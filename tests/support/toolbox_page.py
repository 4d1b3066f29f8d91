"""Writes docs/toolbox.md from the tables: `python -m tests.support.toolbox_page`."""

from collections.abc import Iterator
from pathlib import Path

from sdt.config.toolbox.block import Table
from sdt.config.toolbox.tables import CHAPTERS

PAGE = Path(__file__).parents[2] / "docs" / "toolbox.md"
HEAD = """\
# Toolbox

The building blocks that a config can name. Every table is made from `sdt/config/toolbox/`; a wrong
name is refused with the nearest one. Documents 002, 003 and 004 are the teaching documents on which
the toolbox is built; the paper is the one that [method.md](method.md) describes.
"""


def _cell(text: str) -> str:
  return text.replace("|", "\\|")


def _rows(table: Table) -> Iterator[str]:
  yield "| block | what it does | source | further keys |"
  yield "|---|---|---|---|"
  for name, block in table.items():
    meaning = f"{block.meaning}." + (f" Differs: {block.differs}." if block.differs else "")
    keys = ", ".join(f"`{key}`" for key in block.keys)
    cells = (f"`{block.form(name)}`", _cell(meaning), _cell(block.source), keys)
    yield f"| {' | '.join(cells)} |"


def page() -> str:
  """Returns the text of docs/toolbox.md."""
  lines = [HEAD]
  for title, chapter in CHAPTERS.items():
    lines += [f"## {title}", "", f"`{chapter.key}`. {chapter.about}", "", *_rows(chapter.table), ""]
  return "\n".join(lines)


if __name__ == "__main__":
  PAGE.write_text(page(), encoding="utf-8")
