"""The learning curve of active learning: its axis is that of the numbers of labels."""

import pytest

from sdt.report import acquire_figure


@pytest.mark.parametrize(
  ("labels", "ticks"),
  [([20, 40, 60], [20, 40, 60]), (list(range(20, 620, 20)), list(range(20, 620, 60)))],
)
def test_the_ticks_are_the_numbers_of_labels_fewer_where_they_are_many(labels, ticks):
  entry = {"mean": 0.9, "interval": None, "n": 1, "per_seed": {"0": 0.9}}
  content = {
    "labels": labels,
    "strategies": ["margin", "random"],
    "primary": {"margin": {}},
    "curves": {name: [entry] * len(labels) for name in ("margin", "random")},
    "at_labels": {"margin": [entry] * (len(labels) - 1)},
  }
  figure = acquire_figure.curves(content)
  for axes in figure.axes:
    assert axes.xaxis.get_major_locator()().tolist() == ticks
