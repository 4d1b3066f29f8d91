"""What makes up for rare classes is told to be idle where there are none."""

import dataclasses

import numpy as np
import pytest

from sdt.arms.class_checks import idle_remedies
from sdt.run import load_inputs
from tests.support import tiny

EQUAL = np.repeat(np.arange(3), 4)
UNEQUAL = np.append(EQUAL, 0)
WHY = ": all classes have equally many training examples, so it changes next to nothing"


def own(phase):
  return tiny.config(own_arms=(f"mine = {phase}",), arms=("baseline", "mine"))


@pytest.mark.parametrize(
  ("config", "said"),
  [
    (own("all@0[class_weight=0.5]"), ["arm mine, class_weight"]),
    (tiny.config(everywhere=("logit_adjustment=1",)), ["arm baseline, logit_adjustment"]),
    (own("over_all@0"), ["arm mine, over_all"]),
    (own("under_all@0:all"), ["arm mine, under_all"]),
    (tiny.config(evaluate__prior_shift=2.0), ["evaluate.prior_shift"]),
    (own("all@0[class_balance]"), []),  # draws with replacement
    (own("A@0[class_weight=0.5] + B@0"), []),
    (own("cluster_all@0"), []),
    (own("all@0[class_weight=0]"), []),
  ],
)
def test_a_remedy_against_imbalance_is_told_to_be_idle_where_all_classes_are_equal(config, said):
  assert idle_remedies(config, EQUAL) == [f"{one}{WHY}" for one in said]
  assert idle_remedies(config, UNEQUAL) == []
  assert idle_remedies(config, np.zeros((4, 1), np.float32)) == []


def test_it_is_among_the_notes_of_a_run_and_not_of_a_stand_in():
  config = own("all@0[class_weight=1]")
  data = tiny.data(config)
  per_class = int(np.bincount(data.train.labels).min())
  places = [np.flatnonzero(data.train.labels == one)[:per_class] for one in range(3)]
  equal = dataclasses.replace(data, train=data.train.take(np.sort(np.concatenate(places))))
  found = [note for note in load_inputs.notes(config, equal) if WHY in note]
  assert found == [f"arm mine, class_weight{WHY}"]
  nowhere = dataclasses.replace(equal, checksum="")
  assert not any(WHY in note for note in load_inputs.notes(config, nowhere))
