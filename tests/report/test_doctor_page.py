"""The page of an examination: what stands in doctor.json stands on it, escaped; its figures."""

import matplotlib.colors
import numpy as np

from sdt.report import doctor_figures, doctor_page, figures

LAYERS = [
  {"layer": "1", "dead": 0.25, "saturated": None, "mean": 0.4, "sd": 0.5},
  {"layer": "2 block", "dead": 0.0, "saturated": None, "mean": 0.3, "sd": 0.05},
]
COURSES = [
  {
    "rate": 0.1,
    "losses": [2.3, 1.0, 0.5],
    "accuracy": 0.9,
    "test_accuracy": 0.8,
    "diverged": False,
  },
  {
    "rate": 10.0,
    "losses": [2.3, None],
    "accuracy": 0.0,
    "test_accuracy": None,
    "diverged": True,
  },
]
CURVES = {
  "what": "the run in the workdir",
  "held_out": "test examples",
  "train_loss": [2.0, 1.0],
  "train_accuracy": [0.3, 0.7],
  "test_loss": [2.1, None],
  "test_accuracy": [0.2, 0.6],
}


def step(number, title, measured, level="ok", advice=""):
  finding = {"level": level, "code": "x", "text": "<b> & so", "advice": advice, "changes": {}}
  return {
    "number": number,
    "title": title,
    "what": f"what {title} does",
    "findings": [finding],
    "measured": measured,
    "seconds": 1.5,
  }


def content(**steps):
  every = {
    "gradient": step(1, "gradient check", {"slopes": [[1.0, 1.1]], "errors": [0.09]}),
    "before": step(2, "before training", {"layers": LAYERS}),
    "rates": step(
      4, "learning rates", {"courses": COURSES, "layers": LAYERS}, "fault", "mend <it>"
    ),
    "curves": step(7, "curves", CURVES, "note", "train longer"),
  }
  return {
    "of": {"config_hash": "abc"},
    "data": {"name": "<digits>", "num_train": 1438, "num_test": 359, "num_classes": 10},
    "model": {"name": "mlp", "num_params": 5018},
    "seed": 0,
    "batch_size": 64,
    "steps": every | steps,
    "next": {"why": "mend it", "command": "sdt doctor --config='a b'", "takes": ""},
    "config": {"optim": {"learning_rate": 0.1}},
  }


def test_every_finding_stands_on_the_page_with_what_to_do_and_is_escaped():
  html = doctor_page.html(content(), {})
  assert html.count("&lt;b&gt; &amp; so") == 4
  assert "<strong>Fault:</strong>" in html
  assert "mend &lt;it&gt;" in html
  assert "1 fault and 1 note in 4 findings." in html
  assert "<digits>" not in html
  assert "sdt doctor --config=&#39;a b&#39;" in html
  for name in ("gradient", "before", "rates", "curves"):
    assert f'<section id="{name}">' in html
    assert f'<a href="#{name}">' in html
  assert "No fault was found." in doctor_page.html(
    content(rates=step(4, "r", {}), curves=step(7, "c", {})), {}
  )


def test_the_tables_have_the_numbers_of_the_file():
  tables = doctor_page.tables(content())
  assert tables["gradient"][1] == [["1", "1", "1.1", "9.0e-02"]]
  assert tables["before"][1] == [
    ["1", "25.0", "-", "0.4", "0.5"],
    ["2 block", "0.0", "-", "0.3", "0.05"],
  ]
  assert tables["rates"][1] == [
    ["0.1", "3", "0.5", "90.0", "80.0"],
    ["10", "1", "not finite", "0.0", "-"],
  ]


def test_numbers_that_are_not_finite_are_said_so_and_stop_no_page():
  lost = {"layer": "2", "dead": 0.0, "saturated": None, "mean": None, "sd": None}
  steps = {
    "gradient": step(1, "gradient check", {"slopes": [[None, 1.1]], "errors": [None]}),
    "before": step(2, "before training", {"layers": [LAYERS[0], lost]}),
    "rates": step(4, "learning rates", {"courses": COURSES, "layers": [lost]}),
  }
  tables = doctor_page.tables(content(**steps))
  assert tables["gradient"][1] == [["1", "not finite", "1.1", "not finite"]]
  assert tables["before"][1][1] == ["2", "0.0", "-", "not finite", "not finite"]
  assert set(doctor_page.pictures(content(**steps))) == {"before", "rates", "curves"}


def test_each_of_many_rates_has_a_colour_of_its_own():
  courses = [{**COURSES[0], "rate": 10.0**power} for power in range(-6, 4)]
  lines = doctor_figures.losses(courses, 2.3, 0.1).axes[0].lines
  colours = {matplotlib.colors.to_hex(line.get_color()) for line in lines}
  assert len(colours) == len(lines) == 11  # ten rates, and chance


def test_figures_are_drawn_of_the_steps_that_have_one_and_show_their_numbers():
  losses = doctor_figures.losses(COURSES, 2.3, 0.1)
  ends = {line.get_label(): len(line.get_xdata()) for line in losses.axes[0].lines}
  assert ends["0.1 (config)"] == 3
  assert ends["10, not finite"] == 1
  left, right = doctor_figures.layers({"before training": LAYERS}).axes
  np.testing.assert_array_equal(left.lines[0].get_ydata(), [0.5, 0.05])
  np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.25, 0.0])
  drawn = doctor_page.pictures(content())
  assert set(drawn) == {"before", "rates", "curves"}
  assert "the run in the workdir, seed 0" in drawn["curves"].caption
  assert figures.render(doctor_figures.curves, CURVES) == drawn["curves"].content
