"""Subsets that arms of one's own may train on."""

import dataclasses

import numpy as np
import pytest

from sdt.arms.planning import make_plan
from sdt.errors import ConfigError
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
