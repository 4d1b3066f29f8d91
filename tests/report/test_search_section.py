"""What the report shows of a search: its trials in order of what they reached, and its figures."""

import pytest

from sdt.report import search_figures, selection_section

SPACE = [
  {"key": "optim.learning_rate", "kind": "log", "low": 1e-3, "high": 1.0, "values": []},
  {"key": "model.widths", "kind": "choice", "values": ["(8, 16)", "(16,)"]},
]


def candidate(rate, widths, mean, *, number=4, diverged=()):
  accuracy = {"0": None if diverged else mean - 0.01, "1": None if diverged else mean + 0.01}
  return {
    "values": {"optim.learning_rate": rate, "model.widths": widths},
    "folder": "baseline_001",
    "arm": "baseline",
    "accuracy": accuracy,
    "mean": None if diverged else mean,
    "sd": None if diverged else 0.014,
    "n": 0 if diverged else 2,
    "loss": accuracy,
    "diverged": list(diverged),
    "round": number,
  }


TRIALS = [
  candidate(0.1, [8, 16], 0.7, number=2),
  candidate(0.3, [16], 0.8),
  candidate(1.0, [8, 16], 0.0, number=2, diverged=(0, 1)),
  candidate(0.03, [16], 0.9),
]
CONTENT = {
  "validation": {"num_train": 56, "num_validation": 14, "checksum": "0"},
  "seeds": [0, 1],
  "rounds": 4,
  "chosen": TRIALS[3]["values"],
  "choices": {
    "baseline": {
      "num_trials": 4,
      "chosen": TRIALS[3]["values"],
      "at_edge": [],
      "best_of": {
        "num_values": 2,
        "expected_gain_sds": 0.56,
        "expected_gain": None,
        "gain": 0.05,
      },
      "candidates": TRIALS,
    }
  },
  "search": {
    "method": "halving",
    "parts": {
      "baseline": {
        "space": SPACE,
        "rungs": [{"num_trials": 4, "round": 2}, {"num_trials": 2, "round": 4}],
      }
    },
  },
}


def test_trials_stand_in_order_of_round_and_accuracy_with_the_chosen_one_first():
  found = selection_section.describe(CONTENT)
  rows = found["choices"][0]["candidates"]
  assert [row["name"] for row in rows] == [
    "learning_rate = 0.03, widths = 16",
    "learning_rate = 0.3, widths = 16",
    "learning_rate = 0.1, widths = 8,16",
    "learning_rate = 1, widths = 8,16",
  ]
  assert [row["round"] for row in rows] == [4, 4, 2, 2]
  assert [row["is_chosen"] for row in rows] == [True, False, False, False]
  assert "4 up to round 2, 2 up to round 4" in found["search"]
  # What was dropped on the way was chosen among, too.
  assert found["choices"][0]["luck"].endswith(
    "Nor does it know of the 2 others that were dropped before by the same images, so luck may "
    "give more."
  )


def test_a_selection_of_listed_candidates_keeps_their_order_and_tells_of_no_search():
  listed = {key: value for key, value in CONTENT.items() if key != "search"}
  plain = [{k: v for k, v in one.items() if k != "round"} for one in TRIALS]
  choice = CONTENT["choices"]["baseline"] | {"candidates": plain}
  found = selection_section.describe(listed | {"choices": {"baseline": choice}})
  assert found["search"] == ""
  assert not found["choices"][0]["has_rounds"]
  assert "dropped" not in found["choices"][0]["luck"]
  names = [row["name"].split(",")[0] for row in found["choices"][0]["candidates"]]
  assert names == [f"learning_rate = {rate}" for rate in ("0.1", "0.3", "1", "0.03")]


def test_the_figure_has_the_trials_that_did_not_diverge_at_their_values():
  figure = search_figures.search(TRIALS, SPACE, TRIALS[3]["values"])
  first, rates, widths = (axes for axes in figure.axes if axes.get_visible())
  dots = [
    [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines] for axes in (rates, widths)
  ]
  assert sorted(dots[0]) == [(0.03, 0.9), (0.1, 0.7), (0.3, 0.8)]
  assert rates.get_xscale() == "log"
  assert [label.get_text() for label in widths.get_xticklabels()] == ["16", "8,16"]
  assert sorted(dots[1]) == [(0, 0.8), (0, 0.9), (1, 0.7)]
  # Of halving by the last round.
  of_first = [(*line.get_xdata(), *line.get_ydata()) for line in first.lines]
  assert sorted(of_first) == [(2, 0.7), (4, 0.8), (4, 0.9)]


def test_the_best_so_far_rises_from_trial_to_trial():
  trials = [candidate(0.1, [16], mean) for mean in (0.7, 0.6, 0.9, 0.8)]
  figure = search_figures.search(trials, SPACE[:1], trials[2]["values"])
  (best,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
  assert list(best.get_xdata()) == [1, 2, 3, 4]
  assert list(best.get_ydata()) == pytest.approx([0.7, 0.7, 0.9, 0.9])
