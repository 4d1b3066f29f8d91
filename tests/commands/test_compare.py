"""The command `compare`: its table, its file, and its exit codes."""

import json

import numpy as np
import pytest

import sdt
from sdt.commands import program
from sdt.commands.compare import main, text_of
from tests.support.fake_pair import answers, write


@pytest.fixture
def runs(tmp_path):
  two = [{"baseline": answers(some), "method": answers(some)} for some in ((9, 8, 9), (19, 19, 20))]
  names = ("before", "after")
  return [str(write(tmp_path / name, said)) for name, said in zip(names, two, strict=True)]


def test_the_table_has_both_runs_and_the_file_all_that_python_gets(runs, tmp_path, capsys):
  output = tmp_path / "found.json"
  assert main([*runs, f"--output={output}"]) == 0
  printed = capsys.readouterr().out
  assert json.loads(output.read_text()) == sdt.compare(*runs)
  (row,) = [line.split() for line in printed.splitlines() if line.startswith("method ")]
  assert row[:4] == ["method", "28.89", "64.44", "+35.56"]
  assert row[-2:] == ["3", "better"]
  assert "Test images, baseline: 10.7 from wrong to right and 0.0 from right to wrong" in printed
  assert "In every seed the same 10 became right, and 0 wrong." in " ".join(printed.split())
  assert "30 test images of shapes: one is 3.33 points" in " ".join(printed.split())
  assert max(map(len, printed.splitlines())) <= max(100, len(f"before: {runs[0]};"))
  main([*runs, "--arms=method"])
  assert "baseline" not in capsys.readouterr().out


@pytest.mark.parametrize(
  ("words", "code", "told"),
  [
    (["{before}"], 2, "arguments are required: RUN_AFTER"),
    (["{before}", "{after}", "--output={before}/results.json"], 2, "exists already"),
    (["{before}", "{after}", "--output={before}"], 7, "a folder"),
    (["{before}", "{after}x"], 2, "no finished run there"),
    (["{before}", "{before}"], 2, "one run twice"),
    (["{before}", "{after}", "--arms="], 2, "names no arm"),
    (["{before}", ""], 2, "RUN_AFTER is an empty text"),
    (["{before}", "{after}", "--arm=method"], 2, "unrecognized arguments: --arm=method"),
  ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, code, told, runs, capsys):
  given = [word.format(before=runs[0], after=runs[1]) for word in words]
  assert program.main(["compare", *given]) == code
  said = capsys.readouterr()
  assert said.out == ""
  assert said.err.count("\n") == 1
  assert told in said.err


def test_two_gradings_are_two_tables_and_notes_stand_at_the_end(runs):
  content = sdt.compare(*runs)
  of_arms = content["graded"]["both"]
  content |= {"graded": {"before": of_arms, "after": of_arms}, "notes": ["Mind this."]}
  content["training_labels"] = {
    "num": [1438, 1433],
    **{"relabelled": 3, "only_before": 5, "only_after": 0, "known_wrong": [0.15, 0.1]},
    "pairs": [{"before": "3", "after": "8", "num": 2}, {"before": "1", "after": "7", "num": 1}],
  }
  text = " ".join(text_of(content).split())
  assert text.index("By the test labels of the run before:") < text.index("of the run after:")
  assert "of 1,438, 3 are relabelled (3 to 8: 2, 1 to 7: 1), 5 dropped, 0 only in the" in text
  assert "Known to be wrong: 15.0 % before, 10.0 % after." in text
  assert text.endswith("! Mind this.")


def test_what_is_not_resolved_says_how_large_a_difference_these_seeds_would_have_found(runs):
  content = sdt.compare(*runs)
  arm, entry = next(iter(content["graded"]["both"].items()))
  found = {**entry["difference"], "verdict": "not resolved", "smallest_detectable": 0.0312, "n": 3}
  content["graded"] = {"both": {arm: {**entry, "difference": found}}}
  text = " ".join(text_of(content).split())
  assert f"would be found four times out of five: {arm} 3.12 (n = 3). More" in text
  content["graded"]["both"][arm]["difference"] = {**found, "verdict": "better"}
  assert "Not resolved" not in text_of(content)


def test_an_arm_that_diverged_everywhere_has_no_numbers(tmp_path):
  lost = np.full((3, 30), -1)
  pair = [write(tmp_path / name, {"baseline": lost}) for name in ("one", "two")]
  text = text_of(sdt.compare(*pair))
  assert "no pair of seeds: no verdict" in text
