"""What L-BFGS and Newton's method refuse once data, arms and network are known, and that they
train.
"""

import numpy as np
import pytest

from sdt.errors import ConfigError
from sdt.experiment import EXPERIMENT
from sdt.run import full_batch
from tests.support import tiny

FULL = {"optim__decay_form": "decoupled", "batch_size": 70, "arms": ("baseline",)}
REFUSED = {
  "a batch of a part": (
    {"optim__name": "lbfgs", "batch_size": 69},
    "expected a batch of all 70 examples, not batch_size = 69",
  ),
  "two phases": (
    {"optim__name": "lbfgs", "arms": ("baseline", "method")},
    "'method' alternates between 2 losses",
  ),
  "a drawn loss": (
    {
      "optim__name": "newton",
      "arms": ("baseline", "mixed"),
      "own_arms": ("mixed = all@baseline[mixup_alpha=0.2]",),
      "model__hidden_sizes": (4,),
    },
    "'mixed' draws its loss anew in every step (mixup_alpha)",
  ),
  "BatchNorm": (
    {"optim__name": "lbfgs", "model__name": "resnet8", "model__hidden_sizes": None},
    "'resnet8' has BatchNorm",
  ),
  "many parameters": (
    {"optim__name": "newton"},
    "the network has 3,139 parameters, expected less than 2,000",
  ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_curvature_is_refused_before_anything_compiles(name):
  changes, message = REFUSED[name]
  of = tiny.config(**(FULL | changes))
  with pytest.raises(ConfigError) as refused:
    full_batch.check(of, tiny.data(of), EXPERIMENT.plans(of, tiny.data(of))[1])
  assert message in str(refused.value)


def test_other_optimisers_are_not_asked_for_their_plans():
  of = tiny.config()
  full_batch.check(of, tiny.data(of), [])


@pytest.mark.parametrize(
  ("name", "hidden", "rounds"),
  [("lbfgs", (8,), 15), pytest.param("newton", (4,), 8, marks=pytest.mark.slow)],
)
def test_a_training_in_one_batch_fits_its_examples(name, hidden, rounds):
  of = tiny.config(
    **FULL,
    optim__name=name,
    optim__learning_rate=1.0,
    optim__schedule="constant",
    model__hidden_sizes=hidden,
    model__activation="tanh",
    rounds=rounds,
    eval_every_rounds=rounds,
    seeds=(0,),
  )
  data = tiny.data(of)
  full_batch.check(of, data, EXPERIMENT.plans(of, data)[1])
  end, finished = tiny.train(of, tiny.everything(of, 70, decay=0.0), data)
  losses = [float(ended.sums.train_loss[0, 0]) / 70 for ended in finished]
  assert np.all(end.step == rounds)
  assert losses[-1] < 0.1 * losses[0]
