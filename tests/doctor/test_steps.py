"""The table of the steps, what the words of --steps mean, and what is advised."""

import pytest

from sdt import files
from sdt.config import to_dict
from sdt.doctor import grids
from sdt.doctor.curves import config_of_run
from sdt.doctor.plan import CHEAP, PLAN, parse_steps
from sdt.doctor.steps import STEPS, advise, lines_of
from sdt.doctor.visit import Outcome
from sdt.errors import ConfigError
from sdt.stats.finding import Finding, fault, note, ok
from tests.support import tiny

EVERY = tuple(PLAN)


def test_a_grid_names_each_number_once():
  assert grids._choice((0.0, 1e-5, 1e-4, 1.001e-4)) == "choice(0.0, 1e-05, 0.0001)"


def test_every_step_has_its_code_and_its_row():
  assert tuple(STEPS) == EVERY
  assert len(EVERY) == 7
  assert all(all(row) for row in PLAN.values())


@pytest.mark.parametrize(
  ("text", "names"),
  [
    ("1-4", CHEAP),
    ("1-7", EVERY),
    ("3", ("overfit",)),
    ("rates", ("rates",)),
    ("7, 1", ("gradient", "curves")),
    ("coarse-fine", ("coarse", "fine")),
    ("2-before", ("before",)),
  ],
)
def test_steps_are_named_by_number_name_and_range(text, names):
  assert parse_steps(text) == names


@pytest.mark.parametrize("text", ["0", "8", "4-1", "", "1-", "rate", "1--2", "1 4"])
def test_what_is_no_step_is_refused(text):
  with pytest.raises(ConfigError, match="is no step; expected numbers from 1 to 7"):
    parse_steps(text)


def outcomes(**found: Finding) -> dict[str, Outcome]:
  """Returns outcomes of the cheap steps, all ok but for these; other steps only if given."""
  sound = {name: ok(name, "fine") for name in CHEAP}
  return {name: Outcome((one,)) for name, one in (sound | found).items()}


def test_a_fault_is_mended_first_and_only_its_keys_change():
  high = fault("rate_too_high", "x", "y", optim__learning_rate=0.1)
  found = outcomes(before=fault("unnormalised", "x", "y", data__normalise="channel"), rates=high)
  advice = advise(found)
  assert (advice.command, dict(advice.changes)) == ("doctor", {"data.normalise": "channel"})
  assert "unnormalised" in advice.why


def test_shuffled_labels_are_mended_before_what_they_explain_and_after_what_came_before():
  heart, labels = fault("cannot_overfit", "x", "y"), fault("shuffled_labels", "x", "y")
  found = outcomes(overfit=heart, rates=labels)
  assert advise(found).why.startswith("mend the fault that explains the first (shuffled_labels); ")
  zero = fault("constant_weights", "x", "y")
  assert "first fault (constant_weights)" in advise(found | {"before": Outcome((zero,))}).why


def test_after_the_cheap_steps_the_others_follow_and_after_all_the_training():
  faster = note("other_rate", "x", "y", optim__learning_rate=1.0)
  advice = advise(outcomes(rates=faster))
  assert (advice.command, advice.steps, dict(advice.changes)) == ("doctor", "5-7", {})
  chosen = {"optim__learning_rate": 0.3, "optim__weight_decay": 1e-5}
  coarse, fine = note("at_edge", "x", "y", **chosen), Finding("ok", "fine", "x")
  advice = advise(outcomes(coarse=coarse, fine=fine))
  assert (advice.command, advice.steps) == ("doctor", "7")
  curves = note("still_rising", "x", "y", rounds=24)
  advice = advise(outcomes(coarse=coarse, fine=fine, curves=curves))
  assert advice.command == "train"
  assert dict(advice.changes) == {
    "optim.learning_rate": 0.3,
    "optim.weight_decay": 1e-5,
    "rounds": 24,
  }
  assert advise({"curves": Outcome((ok("curves", "x"),))}).steps == ""


def test_a_step_is_told_with_its_number_once_and_with_what_to_do():
  lines = lines_of("rates", [ok("rates", "good"), fault("test_labels", "bad", "compare")])
  assert lines == [
    "4 learning rates  ok     good",
    "                  FAULT  bad",
    "                  do:    compare",
  ]


def test_the_rate_of_a_run_with_a_selection_is_the_one_that_it_chose(tmp_path):
  own = tiny.config(optim__learning_rate=0.1)
  files.write_json(tmp_path / "config.json", {"config": to_dict(own)})
  assert config_of_run(tmp_path).optim.learning_rate == 0.1
  choices = {"selected": {"optim.learning_rate": 0.03}}
  files.write_json(tmp_path / "environment.json", {"choices": choices})
  assert config_of_run(tmp_path).optim.learning_rate == 0.03
