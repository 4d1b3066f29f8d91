"""A training that is cut anywhere goes on with the same bits; one that meets a number that is none
is frozen before it.
"""

import dataclasses
import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt import experiment
from sdt.data import sources
from sdt.engine import scan
from sdt.engine.state import Position, Snapshot
from sdt.engine.trainer import Trainer
from sdt.errors import DivergedError
from sdt.run.checkpoints import CheckpointStore
from sdt.run.programs import Setup
from sdt.run.saved_states import saved_like, saved_tree
from tests.support import tiny, whole


def test_a_training_cut_after_any_dispatch_and_saved_to_disk_ends_with_the_same_bits(tmp_path):
  """Every cut of two rounds of A and B: within a phase, at its edge, before and after the
  evaluation, at the edge of a round.
  """
  of = tiny.config(
    rounds=2,
    seeds=(0,),
    optim__milestones=(1,),
    parallel__steps_per_dispatch=1,
    augment__pad_crop=2,
    augment__flip=True,
  )
  data = tiny.data(of)
  plan = tiny.alternating(of, len(data.train), 20)
  store = CheckpointStore(tmp_path / "c", keep=100)
  made, places = tiny.trainer(of, plan, data), []
  for progress in made.run(Position()):
    places.append(progress.position)
    store.save(len(places), saved_tree(made.get_state()), {})
  end = made.get_state()
  assert [(at.round_index, at.step, at.eval_index) for at in places[:7]] == [
    *((0, step, 0) for step in range(1, 7)),
    (1, 0, 0),
  ]
  again = tiny.trainer(of, plan, data)
  for number, at in enumerate(places[:-1], start=1):
    tree, _ = store.restore(number, saved_tree(end))
    again.set_state(Snapshot(**tree))
    for _ in again.run(at):
      pass
    tiny.assert_equal(again.get_state().state, end.state)


@pytest.mark.usefixtures("compiles_anew")
@pytest.mark.parametrize("where", ["SIGTERM", "SIGINT"])
def test_a_signal_during_a_compilation_stops_the_run_before_the_arm(
  tmp_path, monkeypatch, capsys, where
):
  """It is told before the compilation ends."""
  compiling, said = Trainer.compile, []

  def signalled(self):
    os.kill(os.getpid(), signal.Signals[where])
    secs = compiling(self)
    said.append(capsys.readouterr().err)
    return secs

  monkeypatch.setattr(Trainer, "compile", signalled)
  assert whole.run(whole.CONFIG, tmp_path / "run") == 75
  assert f"{where} received: " in said[0]
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def bad_loss(state, measured):
  return state, measured._replace(loss=jnp.full_like(measured.loss, jnp.inf))


def bad_weight(state, measured):
  leaves, structure = jax.tree.flatten(state.params)
  leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(jnp.nan)
  return dataclasses.replace(state, params=jax.tree.unflatten(structure, leaves)), measured


def bad_momentum(state, measured):
  leaves, structure = jax.tree.flatten(state.opt_state)
  leaves[-1] = jnp.full_like(leaves[-1], -jnp.inf)
  return dataclasses.replace(state, opt_state=jax.tree.unflatten(structure, leaves)), measured


@pytest.mark.usefixtures("compiles_anew")
def test_one_number_that_is_none_freezes_the_replica_as_it_was_before(monkeypatch):
  """One program strikes each replica, known by its decay, in another place."""
  harms = {1e-4: bad_loss, 2e-4: bad_weight, 3e-4: bad_momentum}
  of = tiny.config(
    rounds=2, seeds=(0, 1, 2), optim__milestones=(1,), parallel__steps_per_dispatch=1
  )
  data = tiny.data(of)
  plan = tiny.everything(of, len(data.train), rounds=2)
  phase = dataclasses.replace(plan.phases[0], weight_decay=np.array(list(harms)))
  plan = dataclasses.replace(plan, phases=(phase,))
  sound, after = tiny.trainer(of, plan, data), {}
  for _ in sound.run(Position()):
    state = sound.get_state().state
    after[int(state.step[0])] = state
  step = scan.train_step

  def struck(state, batch, now, **kwargs):
    sound = end = step(state, batch, now, **kwargs)
    for decay, harm in harms.items():
      is_struck = (state.step == 7) & (now.weight_decays[0] == np.float32(decay))
      select = functools.partial(jnp.where, is_struck)
      end = jax.tree.map(select, harm(*sound), end)
    return end

  monkeypatch.setattr(scan, "train_step", struck)
  made = tiny.trainer(of, plan, data)
  for _ in made.run(Position()):
    state = made.get_state().state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
  tiny.assert_equal(state, after[7])


def test_a_number_that_slips_past_the_check_of_the_data_ends_with_4_though_its_round_has_no_row(
  tmp_path, monkeypatch
):
  """One of 40 vectors is no number any more: the message names what is known, and every checkpoint
  is finite.
  """
  rng = np.random.default_rng(0)
  arrays = {
    f"{split}_x": rng.normal(size=(num, 6)).astype(np.float32)
    for split, num in (("train", 40), ("test", 10))
  }
  np.savez(tmp_path / "set.npz", **arrays, train_y=np.arange(40) % 2, test_y=np.arange(10) % 2)
  where = {"data__name": "npz", "data__path": str(tmp_path / "set.npz")}
  config = tiny.config(
    **where,
    rounds=3,
    log_every_rounds=3,
    eval_every_rounds=3,
    arms=("baseline",),
    compilation_cache=False,
  )
  data = sources.load(config.data)
  inputs = data.train.inputs.copy()
  inputs[5, 2] = np.nan
  data = dataclasses.replace(data, train=dataclasses.replace(data.train, inputs=inputs))
  whole.without_report(monkeypatch)
  with pytest.raises(DivergedError) as caught:
    experiment.run(config, tmp_path / "run", "tiny", loaded=data)
  said = str(caught.value)
  for part in (
    "arm baseline, seed 0: rounds 1 to 3, after step ",
    "seed 1: ",
    "weight decay 0.0001",
    "last finite loss",
  ):
    assert part in said
  assert "nan" not in said
  store = CheckpointStore(tmp_path / "run" / "checkpoints", 2)
  setup = Setup.make(config, data)
  for step in store.steps():
    state = store.restore(step, saved_like(setup, 0))[0]["state"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert state.step.max() < 3
