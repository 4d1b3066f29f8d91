"""What the tables and the page say of several looks."""

from sdt import files
from sdt.report import tables
from tests.support.report_page import Page, page_alone, small_run


def test_exploratory_verdicts_are_labelled_in_both_tables_and_the_looks_are_told(tmp_path):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3), arms=("baseline", "method", "random_subset"))
  results = files.read_json(workdir / "results.json")
  before = page_alone(workdir) + tables.result_table_text(results)
  assert "xploratory" not in before
  assert "Looks:" not in before
  results["contrasts"]["random_subset"]["planned"] = False
  results["looks"] = {
    "planned": [4, 8],
    "number": 1,
    "nominal_level": 0.00305,
    "made": [
      {"seeds": [0, 1], "arms": ["baseline"], "verdicts": {"method - baseline": "<worse>"}},
      {"seeds": [0, 1, 2, 3], "arms": ["baseline"], "verdicts": {}},
    ],
    "exploratory": ["method - random_subset"],
    "sentence": "Exploratory: so it is.",
  }
  files.write_json(workdir / "results.json", results)
  text = page_alone(workdir)
  found = [row[0] for row in Page(text).rows if row]
  assert found.count("method - random_subset (exploratory)") == 3
  assert found.count("method - baseline") == 3
  assert (
    "<li>Looks: Exploratory: so it is. A single test at this look has the level 0.3 %.</li>" in text
  )
  assert "<li>Seen before, at 2 seeds: method - baseline: &lt;worse&gt;.</li>" in text
  table = tables.result_table_text(results)
  assert [line.split()[0] for line in table.split("\n") if line.endswith(" ~")] == ["random_subset"]
  assert "\n~ exploratory\n" in table.replace("\n\n", "\n")
  assert "Exploratory: so it is." in table
