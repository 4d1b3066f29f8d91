"""The end of an arm is its own last round, not the baseline's; how often a training is saved."""

import types

import pytest

from sdt.errors import CheckpointError
from sdt.run import saved_states
from sdt.stages import train_arm


@pytest.mark.parametrize(("round_number", "is_end"), [(8, True), (4, False)])
def test_the_end_of_an_arm_with_twice_the_rounds_is_its_own_last(monkeypatch, round_number, is_end):
  monkeypatch.setattr(saved_states, "saved_like", lambda *_: None)
  meta = {"arm": "long_baseline", "round": round_number, "rounds": 8}
  store = types.SimpleNamespace(steps=list, restore=lambda *_: ({"state": "the state"}, meta))
  context = types.SimpleNamespace(
    store=store, setup=types.SimpleNamespace(config=types.SimpleNamespace(rounds=4))
  )
  if is_end:
    assert saved_states.restore_final(context, 1) == "the state"
  else:
    with pytest.raises(
      CheckpointError,
      match=r"the last checkpoint of arm long_baseline is missing, .* is of round 4",
    ):
      saved_states.restore_final(context, 1)


@pytest.mark.parametrize("secs", [0.001, 0.2, 5.0])
def test_saves_take_at_most_two_per_cent_of_the_time(secs):
  saver = object.__new__(train_arm._Saver)
  config = types.SimpleNamespace(checkpoint=types.SimpleNamespace(every_secs=None))
  saver._context = types.SimpleNamespace(
    setup=types.SimpleNamespace(config=config), store=types.SimpleNamespace(last_save_secs=secs)
  )
  assert secs / (saver._interval() + secs) <= 0.02
  config.checkpoint.every_secs = 3.0
  assert saver._interval() == 3.0
