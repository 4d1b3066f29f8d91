"""Training from a stage on: what moves, what does not, and in which mode each part runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config import config_hash, to_dict
from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.optim import PhaseRates, apply_phase_chain, init_opt_state, stop_frozen_gradients
from sdt.engine.program import Network
from sdt.errors import ConfigError
from sdt.models import make_model
from sdt.run import load_inputs
from sdt.run.programs import Setup
from tests.models.test_stages import drawn, normalised
from tests.support import one_step, tiny

FROZEN = "['hidden1"


@pytest.fixture(scope="module")
def stepped():
  """A network, a batch, and what a step from hidden2 on makes of it."""
  model = make_model(ModelConfig("mlp", hidden_sizes=(6, 5), norm="batch"), 3)
  rng = np.random.default_rng(2)
  variables = drawn(model, shape=(7,))
  optim = OptimConfig(train_from="hidden2", body_rate_factor=0.5)
  labels, mask = rng.integers(0, 3, 6).astype(np.int32), np.arange(6) < 5
  batch = one_step.batch(rng.normal(size=(6, 7)).astype(np.float32), labels, mask)
  now = one_step.now(np.float32(0.1), np.full(1, 0.01, np.float32))
  state = one_step.first_state(variables, optim)
  after, measures = one_step.step(state, batch, now, network=Network(model, optim))
  return variables, batch, after, measures


def test_frozen_stages_keep_every_bit_and_the_others_move(stepped):
  variables, _, after, _ = stepped
  for kind in ("params", "batch_stats"):
    old, new = tiny.leaves(variables[kind]), tiny.leaves(getattr(after, kind))
    for path, leaf in old.items():
      # BatchNorm takes away what a bias before it adds.
      if path != "['hidden2']['bias']":
        assert np.array_equal(leaf, new[path]) == path.startswith(FROZEN), path


def test_frozen_stages_run_in_evaluation_mode_and_the_others_in_training_mode(stepped):
  """The loss of the step is that of the network by hand, and so are the running statistics."""
  variables, batch, after, measures = stepped
  params, kept = variables["params"], variables["batch_stats"]
  x = np.asarray(batch.inputs)[:5].astype(np.float64)
  for name in ("hidden1", "hidden2"):
    x, statistics = x @ params[name]["kernel"] + params[name]["bias"], kept[f"{name}_norm"]
    if name == "hidden2":
      statistics = {"mean": x.mean(0), "var": x.var(0)}
      for kind, value in statistics.items():
        moved = 0.9 * kept["hidden2_norm"][kind] + 0.1 * value
        np.testing.assert_allclose(after.batch_stats["hidden2_norm"][kind], moved, rtol=1e-4)
    x = np.maximum(normalised(x, params[f"{name}_norm"], statistics), 0)
  logits = x @ params["head"]["kernel"] + params["head"]["bias"]
  own = logits[np.arange(5), np.asarray(batch.labels)[:5]]
  expected = (np.log(np.exp(logits).sum(1)) - own).sum()
  np.testing.assert_allclose(measures.loss, expected, rtol=1e-4)


def rates_of(rate, decay):
  return PhaseRates(jnp.int32(0), jnp.float32(rate), jnp.full(1, decay, jnp.float32))


def test_each_part_has_its_rate_and_no_gradient_flows_to_what_is_frozen():
  """SGD with momentum by hand, over two steps: the head, the trained body at half the rate."""
  modules, rng = ("stem_conv", "stage1_block1", "stage2_block1", "head"), np.random.default_rng(0)
  config = OptimConfig(train_from="stage2", body_rate_factor=0.5)
  start = {name: {"kernel": rng.normal(size=(2, 3)).astype(np.float32)} for name in modules}
  params, state = start, init_opt_state(config, start)
  rates = rates_of(0.1, 0.01)
  expected = {name: start[name]["kernel"].astype(np.float64) for name in modules}
  momentum = dict.fromkeys(modules, 0.0)
  for _ in range(2):
    grads = {name: {"kernel": rng.normal(size=(2, 3)).astype(np.float32)} for name in modules}
    params, state = apply_phase_chain(config, rates, grads, state, params=params)
    for name, rate in (("stage2_block1", 0.05), ("head", 0.1)):
      momentum[name] = 0.9 * momentum[name] + grads[name]["kernel"] + 0.01 * expected[name]
      expected[name] = expected[name] - rate * momentum[name]
  for name in modules:
    np.testing.assert_allclose(params[name]["kernel"], expected[name], rtol=1e-5, atol=1e-6)
  assert len(jax.tree.leaves(state)) == 2  # the momentum of what is trained

  @jax.grad
  def gradient(params):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(stop_frozen_gradients(config, params)))

  grads = gradient(start)
  assert [bool(grads[name]["kernel"].any()) for name in modules] == [False, False, True, True]


def test_training_from_the_head_is_a_frozen_body_and_from_the_first_stage_is_everything():
  params = {name: {"kernel": np.ones((2, 3), np.float32)} for name in ("stem_conv", "head")}
  for one, other in (
    ({"train_from": "head"}, {"body_rate_factor": 0.0}),
    ({"train_from": "stem"}, {}),
  ):
    after = []
    for changes in (one, other):
      config = OptimConfig(**changes)
      state = init_opt_state(config, params)
      rates = rates_of(0.1, 0.01)
      after.append(apply_phase_chain(config, rates, params, state, params=params)[0])
    tiny.assert_equal(*after)


def test_statistics_taken_anew_leave_those_of_frozen_stages():
  of = tiny.config(
    model__norm="batch", model__hidden_sizes=(4, 4), optim__train_from="hidden2", seeds=(0,)
  )
  setup = Setup.make(of, tiny.data(of))
  state = setup.fresh_start.state
  given = jax.tree.map(lambda leaf: leaf + np.float32(0.5), state.batch_stats)
  fresh = setup.recalibrator.statistics(state.params, given)
  for path, leaf in tiny.leaves(fresh).items():
    assert np.array_equal(leaf, tiny.leaves(given)[path]) == path.startswith(FROZEN), path


@pytest.mark.parametrize(
  ("changes", "part"),
  [
    ({"train_from": "stage2", "body_rate_factor": 0.0}, "a factor of 0 freezes all but the head"),
    ({"train_from": "head", "body_rate_factor": 0.1}, "trained beside the head, and nothing is"),
    ({"train_from": "stage2", "name": "lbfgs", "decay_form": "decoupled"}, "all parameters togeth"),
  ],
)
def test_two_ways_to_say_what_is_frozen_are_refused_before_jax_is_needed(changes, part):
  with pytest.raises(ConfigError, match=part):
    tiny.config(**{f"optim__{key}": value for key, value in changes.items()})


def test_a_config_without_the_key_has_the_hash_that_it_had_before_there_was_one():
  assert "train_from" not in to_dict(tiny.config())["optim"]
  assert config_hash(tiny.config(optim__train_from=None)) == config_hash(tiny.config())
  assert config_hash(tiny.config(optim__train_from="head")) != config_hash(tiny.config())


def test_a_stage_that_is_not_there_is_refused_and_drawn_weights_that_are_frozen_are_told():
  of = tiny.config(optim__train_from="stage2")
  with pytest.raises(ConfigError, match=r"stage2' is no stage of .*it has hidden1, head"):
    load_inputs.load_data(of, print, tiny.data(of))
  of = tiny.config(optim__train_from="head")
  assert any("all before head is frozen" in note for note in load_inputs.notes(of, tiny.data(of)))
  own = {"arms": ("baseline", "dropped"), "own_arms": ("dropped = all@baseline[dropout]",)}
  of = tiny.config(optim__train_from="head", **own)
  with pytest.raises(ConfigError, match=r"choose an earlier optim\.train_from, or leave the arm"):
    load_inputs.load_data(of, print, tiny.data(of))
