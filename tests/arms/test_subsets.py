"""Subsets that arms of one's own may train on."""

import dataclasses

import numpy as np
import pytest

from sdt.arms.checks import check_arms
from sdt.arms.planning import make_plan
from sdt.errors import ConfigError
from tests.support import tiny
from tests.support.planned import phases, setting


def test_a_balanced_subset_has_the_easiest_of_every_class_where_the_split_has_not():
  own = ("even = balanced_A@lambda_A + balanced_B@lambda_B",)
  of = setting(split__class_balanced=False, own_arms=own, arms=("baseline", "method", "even"))
  even = phases("even", of)
  for replica, scores in enumerate(of.scores):
    easy = even["A"].example_ids[replica]
    counts = np.bincount(of.labels[easy], minlength=3)
    shares = np.bincount(of.labels, minlength=3) * 20 / 70
    assert np.all(np.abs(counts - shares) < 1)
    for label, count in enumerate(counts):
      members = np.flatnonzero(of.labels == label)
      best = members[np.argsort(-scores[members])][:count]
      assert set(best) <= set(easy)
    assert sorted((*easy, *even["B"].example_ids[replica])) == list(range(70))


def test_a_balanced_subset_beside_a_cut_is_of_full_size_and_takes_the_easiest_that_are_left():
  of = setting(
    left_out=16,
    size=20,
    split__policy="mislabel_cut",
    split__cut=0.2,
    split__class_balanced=False,
    own_arms=("even = balanced_A@lambda_A + balanced_B@lambda_B",),
    arms=("baseline", "method", "even"),
  )
  # All that is left out is of class 0, so that this class has fewer than its share of A.
  out = np.flatnonzero(of.labels == 0)[:16].astype(np.int32)
  assert (of.labels == 0).sum() - 16 < 20 / 3
  rest = [np.setdiff1d(np.arange(70), [*out, *part.easy]) for part in of.partitions]
  parts = [
    dataclasses.replace(part, easy=np.setdiff1d(part.easy, out), rest=other, left_out=out)
    for part, other in zip(of.partitions, rest, strict=True)
  ]
  parts = [dataclasses.replace(part, easy=parts[0].easy) for part in parts]
  size = len(parts[0].easy)
  even = phases("even", dataclasses.replace(of, partitions=tuple(parts)))
  for replica, scores in enumerate(of.scores):
    easy = even["A"].example_ids[replica]
    assert len(easy) == size
    assert set(easy).isdisjoint(out)
    for label in range(3):
      members = np.setdiff1d(np.flatnonzero(of.labels == label), out)
      best = members[np.argsort(-scores[members])][: np.sum(of.labels[easy] == label)]
      assert set(best) == set(easy[of.labels[easy] == label])


def test_kept_is_both_parts_in_one_phase():
  of = setting(
    left_out=9,
    split__policy="mislabel_cut",
    split__cut=0.1,
    own_arms=("cleaned = kept@baseline:all",),
    arms=("baseline", "method", "cleaned"),
  )
  kept = phases("cleaned", of)["kept"]
  assert kept.num_steps == make_plan("baseline", of).steps_per_round
  for replica, part in enumerate(of.partitions):
    np.testing.assert_array_equal(
      kept.example_ids[replica], np.setdiff1d(np.arange(70), part.left_out)
    )


def test_clean_leaves_out_the_wrong_labels_and_is_refused_where_nobody_knows_them():
  of = setting(own_arms=("oracle = clean@baseline:all",), arms=("baseline", "method", "oracle"))
  clean = phases("oracle", of)["clean"]
  np.testing.assert_array_equal(clean.example_ids, [np.flatnonzero(np.arange(70) % 7 != 2)] * 2)
  with pytest.raises(ConfigError, match="do not say which labels are right"):
    make_plan("oracle", dataclasses.replace(of, wrong_label=None))
  with pytest.raises(ConfigError, match="no label of these data is right"):
    make_plan("oracle", dataclasses.replace(of, wrong_label=np.ones(70, bool)))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"own_arms": ("mine = balanced_A@1e-3 + balanced_B@1e-3",), "split__class_balanced": True},
      "balanced_A, which is the method's own A with split.class_balanced = True; write A",
    ),
    (
      {"own_arms": ("mine = kept@1e-3:all",)},
      "kept, which is all examples with split.policy = 'top'",
    ),
  ],
)
def test_a_subset_that_is_another_one_by_another_name_is_refused(changes, message):
  config = tiny.config(arms=("baseline", "method", "mine"), **changes)
  with pytest.raises(ConfigError, match=message):
    check_arms(config)
