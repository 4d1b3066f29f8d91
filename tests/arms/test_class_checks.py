"""What makes up for rare classes is refused where there are none."""

import numpy as np
import pytest

from sdt.arms.class_checks import check_is_imbalanced
from sdt.errors import ConfigError
from tests.support import tiny

EQUAL = np.repeat(np.arange(3), 4)
UNEQUAL = np.append(EQUAL, 0)


def own(phase):
  return tiny.config(own_arms=(f"mine = {phase}",), arms=("baseline", "mine"))


@pytest.mark.parametrize(
  ("config", "said"),
  [
    (own("all@0[class_balance]"), "arms: 'mine' has class_balance: all classes have equally"),
    (own("all@0[class_weight=0.5]"), "arms: 'mine' has class_weight"),
    (tiny.config(everywhere=("logit_adjustment=1",)), "arms: 'baseline' has logit_adjustment"),
    (own("over_all@0"), "arms: 'mine' has over_all"),
    (own("under_all@0:all"), "arms: 'mine' has under_all"),
    (tiny.config(evaluate__prior_shift=2.0), "evaluate.prior_shift = 2.0: all classes have"),
  ],
)
def test_a_remedy_against_imbalance_is_refused_where_all_classes_are_equal(config, said):
  with pytest.raises(ConfigError, match=said):
    check_is_imbalanced(config, EQUAL)
  check_is_imbalanced(config, UNEQUAL)


def test_what_may_act_on_equal_classes_is_accepted():
  check_is_imbalanced(own("A@0[class_weight=0.5] + B@0"), EQUAL)
  check_is_imbalanced(own("cluster_all@0"), EQUAL)
  check_is_imbalanced(own("all@0[class_weight=0]"), EQUAL)
  check_is_imbalanced(tiny.config(evaluate__prior_shift=2.0), np.zeros((4, 1), np.float32))
