"""Over-, under- and cluster-based sampling as subsets: how often each example is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdt.arms import resampling
from sdt.arms.language import EQUAL
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.data.sources import load
from tests.support import tiny
from tests.support.places import GOLDEN


@pytest.mark.parametrize("name", ["over", "under"])
def test_the_counts_are_those_of_imbalanced_learn(name):
  golden = np.load(GOLDEN / "imbalance.npz")
  labels = golden["labels"]
  sample = {"over": resampling.over_sampled, "under": resampling.under_sampled}[name]
  positions = sample(labels, np.arange(len(labels)), 0)
  np.testing.assert_array_equal(np.bincount(labels[positions]), golden[name])


labels_of = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)


@settings(max_examples=40, deadline=None)
@given(labels_of, st.integers(0, 5))
def test_over_sampling_keeps_every_example_and_repeats_those_of_a_class_evenly(labels, seed):
  ids = np.arange(len(labels)) * 3
  times = np.bincount(resampling.over_sampled(labels, ids, seed), minlength=len(labels))
  assert times.min() >= 1
  for one in np.unique(labels):
    assert np.ptp(times[labels == one]) <= 1
    assert times[labels == one].sum() == np.bincount(labels).max()


@settings(max_examples=40, deadline=None)
@given(labels_of, st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_under_sampling_repeats_nothing_and_does_not_depend_on_the_order(labels, seed, order_seed):
  ids = np.arange(len(labels)) * 3
  positions = resampling.under_sampled(labels, ids, seed)
  counts = np.bincount(labels)
  assert (
    len(set(positions.tolist())) == len(positions) == (counts > 0).sum() * counts[counts > 0].min()
  )
  order = np.random.default_rng(order_seed).permutation(len(labels))
  again = resampling.under_sampled(labels[order], ids[order], seed)
  assert set(ids[order][again]) == set(ids[positions])


def test_cluster_based_sampling_equals_the_clusters_of_each_class_and_then_the_classes():
  """By hand: class 0 has clusters of 7 and 2, class 1 of 2, 1 and 1: both classes get 14."""
  labels = np.array([0] * 9 + [1] * 4)
  clusters = np.array([0] * 7 + [1] * 2 + [2] * 2 + [3, 4])
  positions = resampling.cluster_sampled(labels, clusters, np.arange(13), seed=0)
  assert np.bincount(clusters[positions]).tolist() == [7, 7, 5, 5, 4]
  assert set(positions.tolist()) == set(range(13))


def test_k_means_finds_groups_that_are_far_apart_whatever_their_order():
  rng = np.random.default_rng(0)
  middles = np.array([[0, 0], [40, 0], [0, 40], [40, 40]])
  of = np.repeat(np.arange(4), 25)
  points = (middles[of] + rng.normal(size=(100, 2))).astype(np.float32)
  labels, ids = of // 2, np.arange(100)
  found = resampling.clusters_of(points, labels, ids, seed=0)
  assert found.max() + 1 <= 8
  for one in np.unique(found):
    assert len(np.unique(of[found == one])) == 1  # no cluster has examples of two groups
  order = rng.permutation(100)
  again = resampling.clusters_of(points[order], labels[order], ids[order], seed=0)
  assert len({*zip(again, found[order], strict=True)}) == found.max() + 1


def test_large_images_are_averaged_before_they_are_compared():
  images = np.zeros((12, 40, 33, 1), np.uint8)
  images[:6, :20] = 200
  found = resampling.clusters_of(images, np.zeros(12, np.int64), np.arange(12), seed=0)
  assert len(np.unique(found[:6])) == len(np.unique(found[6:])) == 1
  assert found[0] != found[6]


@pytest.fixture(scope="module")
def run():
  lines = tuple(f"{subset} = {subset}@baseline:all" for subset in EQUAL)
  arms = ("baseline", "method", *EQUAL)
  return tiny.config(
    data__imbalance="longtail(8)", seeds=(0, 1, 2), arms=arms, own_arms=lines, rounds=1
  )


def test_the_subsets_of_a_run_have_equal_classes_the_work_of_a_pass_and_draws_of_their_own(run):
  data = load(run.data)
  setting = Setting.of(run, data)
  steps = make_plan("baseline", setting).steps_per_round
  for subset in EQUAL:
    (phase,) = make_plan(subset, setting).phases
    assert (phase.name, phase.num_steps) == ("all", steps)
    counts = np.stack([np.bincount(data.train.labels[row]) for row in phase.example_ids])
    assert (counts == counts[0, 0]).all()
  # Every seed is a network of its own under-sampled set: together an ensemble of such sets.
  rows = [set(row.tolist()) for row in make_plan("under_all", setting).phases[0].example_ids]
  assert len({frozenset(row) for row in rows}) == len(rows)
  rare = np.flatnonzero(data.train.labels == np.bincount(data.train.labels).argmin())
  assert all(set(rare.tolist()) <= row for row in rows)
