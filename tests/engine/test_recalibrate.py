"""BatchNorm's statistics taken anew over the whole training set."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from sdt import files
from sdt.engine.evaluate import predict
from sdt.inputs.preprocess import prepare
from sdt.run.programs import Setup
from tests.support import tiny, whole


@pytest.fixture(scope="module")
def trained():
  """A config, its setup and the state of two seeds, with statistics as of a training; 70 examples
  in batches of 16, the last one of 6.
  """
  of = tiny.resnet(rounds=2)
  setup = Setup.make(of, tiny.data(of))
  return of, setup, tiny.with_statistics(setup.fresh_start.state)


def inputs_of(setup, split):
  data = setup.source.data
  return np.asarray(jax.jit(prepare)(getattr(data, split).inputs.inputs, data.preparation))


def one(tree, replica):
  return jax.tree.map(lambda leaf: leaf[replica], tree)


def test_the_statistics_are_the_mean_over_the_batches_of_the_whole_training_set(trained):
  _, setup, state = trained
  fresh = setup.recalibrator.statistics(state.params, state.batch_stats)
  order = np.random.default_rng(0x5AC).permutation(70)  # the one order of the room
  images = inputs_of(setup, "train")
  apply = jax.jit(functools.partial(setup.model.apply, train=True, mutable=["batch_stats"]))
  for replica in range(2):
    mine = one(state, replica)
    expected = jax.tree.map(np.zeros_like, mine.batch_stats)
    for first in range(0, 70, 16):
      batch = images[order[first : first + 16]]
      _, updated = apply(mine.variables, batch, mask=np.ones(len(batch), bool))
      # What the running statistics moved to tells the batch's: new = 0.9 old + 0.1 batch.
      of_batch = jax.tree.map(
        lambda new, old: (np.float64(new) - 0.9 * np.float64(old)) / 0.1,
        updated["batch_stats"],
        mine.batch_stats,
      )
      share = len(batch) / 70
      expected = jax.tree.map(
        lambda total, part, share=share: total + share * part, expected, of_batch
      )
    for name, leaf in tiny.leaves(one(fresh, replica)).items():
      np.testing.assert_allclose(
        leaf, tiny.leaves(expected)[name], rtol=1e-4, atol=1e-5, err_msg=name
      )


def test_of_streamed_inputs_they_have_the_same_bits(trained):
  of, setup, state = trained
  streamed = Setup.make(
    dataclasses.replace(of, data=dataclasses.replace(of.data, placement="stream")), tiny.data(of)
  )
  found = [
    one.recalibrator.statistics(state.params, state.batch_stats) for one in (setup, streamed)
  ]
  tiny.assert_equal(found[1], found[0])
  results = [
    one.recalibrator.evaluate(state.params, statistics)
    for one, statistics in zip((setup, streamed), found, strict=True)
  ]
  tiny.assert_equal(results[1], results[0])


def test_they_do_not_depend_on_the_statistics_before(trained):
  _, setup, state = trained
  others = jax.tree.map(lambda leaf: leaf + 7, state.batch_stats)
  tiny.assert_equal(
    setup.recalibrator.statistics(state.params, others),
    setup.recalibrator.statistics(state.params, state.batch_stats),
  )


def test_the_evaluation_counts_every_test_example_once(trained):
  _, setup, state = trained
  loss, accuracy = setup.recalibrator.evaluate(state.params, state.batch_stats)
  labels, apply = setup.data.test.labels, jax.jit(functools.partial(predict, setup.model))
  for replica in range(2):
    mine = one(state, replica)
    logits = np.asarray(apply(mine.variables, inputs_of(setup, "test")), np.float64)
    assert accuracy[replica] == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
    own = logits[np.arange(len(labels)), labels]
    assert loss[replica] == pytest.approx(
      np.mean(np.log(np.exp(logits).sum(axis=1)) - own), rel=1e-4
    )


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_two_devices_give_what_one_gives(trained, mode):
  of, setup, state = trained
  other = dataclasses.replace(
    of, parallel=dataclasses.replace(of.parallel, mode=mode, num_devices=2)
  )
  two = Setup.make(other, setup.data).recalibrator
  fresh = setup.recalibrator.statistics(state.params, state.batch_stats)
  for name, leaf in tiny.leaves(two.statistics(state.params, state.batch_stats)).items():
    np.testing.assert_allclose(leaf, tiny.leaves(fresh)[name], rtol=1e-4, atol=1e-5, err_msg=name)
  for ours, theirs in zip(
    two.evaluate(state.params, fresh), setup.recalibrator.evaluate(state.params, fresh), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.slow
def test_a_run_reports_the_recalibrated_accuracy_of_every_arm(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  of = whole.resnet()
  assert whole.run(of, tmp_path) == 0
  results = files.read_json(tmp_path / "results.json")
  setup = Setup.make(of, tiny.data(of))
  assert setup.layer_names == tuple(results["model"]["layers"])
  state = tiny.train(of, tiny.everything(of, 70))[0]
  expected = setup.recalibrator.evaluate(
    state.params, setup.recalibrator.statistics(state.params, state.batch_stats)
  )[1]
  assert list(results["arms"]["baseline"]["recalibrated"]["per_seed"].values()) == pytest.approx(
    expected.tolist()
  )
  assert results["arms"]["method"]["recalibrated"]["n"] == 2


def test_a_network_without_batchnorm_has_no_such_figure(reference_run):
  arms = files.read_json(reference_run / "results.json")["arms"]
  assert all("recalibrated" not in entry for entry in arms.values())
