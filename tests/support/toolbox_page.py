"""Writes docs/toolbox.md from the tables: `python -m tests.support.toolbox_page`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sdt.config.toolbox.block import Table
from sdt.config.toolbox.not_built import NOT_BUILT
from sdt.config.toolbox.tables import CHAPTERS
from sdt.config.toolbox.techniques import TECHNIQUES, Technique

PAGE = Path(__file__).parents[2] / "docs" / "toolbox.md"
HEAD = """\
# Toolbox

The building blocks that a config can name. Every table is made from `sdt/config/toolbox/`; a wrong
name is refused with the nearest one. Documents 002, 003 and 004 are the teaching documents on which
the toolbox is built; the paper, 000 below, is the one that [method.md](method.md) describes. What
the documents name and no table holds is under [Further techniques](#further-techniques), and what
is not there, with the reason, under [Not built](#not-built).
"""
FURTHER = """\
## Further techniques

What the documents name besides: a config key, a phase of an arm, or a command chooses it.
"""
ABSENT = """\
## Not built

What the documents name and sdt has not, why, and what to do instead. A key exists when it does
something ([0007](decisions/0007-what-is-not-there-yet.md)), so a config that asks for one of these
is refused.

| technique | documents | why not | instead |
|---|---|---|---|
"""


def _cell(text: str) -> str:
  return text.replace("|", "\\|")


def _rows(table: Table) -> Iterator[str]:
  yield "| block | what it does | source | further keys |"
  yield "|---|---|---|---|"
  for name, block in table.items():
    numbers = "; ".join(map(str, block.numbers))
    meaning = block.meaning + (f" ({numbers})." if numbers else ".")
    meaning += f" Differs: {block.differs}." if block.differs else ""
    keys = ", ".join(f"`{key}`" for key in block.keys)
    cells = (f"`{block.form(name)}`", _cell(meaning), _cell(block.source), keys)
    yield f"| {' | '.join(cells)} |"


def _named(texts: Iterable[str]) -> str:
  return ", ".join(f"`{text}`" for text in texts)


def _technique(name: str, row: Technique) -> str:
  chosen = "; ".join(part for part in (_named(row.chosen_by), row.note) if part)
  return f"| {name} | {row.documents} | {_cell(chosen)} | `{row.test}` |"


def _absent() -> Iterator[str]:
  for name, row in NOT_BUILT.items():
    yield f"| {name} | {row.documents} | {_cell(row.reason)} | {_cell(row.way_out) or 'nothing'} |"


def page() -> str:
  """Returns the text of docs/toolbox.md."""
  lines = [HEAD]
  for title, chapter in CHAPTERS.items():
    about = f"`{chapter.key}`. {chapter.about} Shown by {_named(chapter.tests)}."
    lines += [f"## {title}", "", about, "", *_rows(chapter.table), ""]
  lines.append(FURTHER)
  for group, rows in TECHNIQUES.items():
    lines += [
      f"### {group}",
      "",
      "| technique | documents | chosen by | shown by |",
      "|---|---|---|---|",
    ]
    lines += [*(_technique(name, row) for name, row in rows.items()), ""]
  lines.append(ABSENT + "\n".join(_absent()))
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  PAGE.write_text(page(), encoding="utf-8")
