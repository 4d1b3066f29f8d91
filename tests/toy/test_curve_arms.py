"""The toy's arms: whose points are whose, and which decay each phase has."""

import dataclasses

import numpy as np
import pytest

from sdt.config import resolve
from sdt.data.sources import load
from sdt.errors import ConfigError
from sdt.toy.curve_arms import ARM_NAMES, arm_specs, candidate, decays, find_points, make_plan

CONFIG = resolve(
  {
    "data": {"name": "curve"},
    "model": {"name": "mlp"},
    "seeds": (4, 7, 1),
    "batch_size": 8,
    "rounds": 2,
    "optim": {"name": "adam"},
    "toy": {"lambdas": (1e-2, 1e-3, 1e-1)},
  }
)
DATA = load(CONFIG.data, seeds=CONFIG.seeds)
POINTS = find_points(CONFIG, DATA)


def test_the_subset_is_the_points_with_the_largest_noise_of_each_seed():
  for replica in range(3):
    own = np.arange(80 * replica, 80 * replica + 40)
    noise = np.abs(DATA.train.labels[own, 0] - DATA.train.inputs[own, 0].astype(np.float64) ** 2)
    assert set(POINTS.subsets["A"][replica]) == set(own[np.argsort(noise)[-8:]])
    assert sorted([*POINTS.subsets["A"][replica], *POINTS.subsets["B"][replica]]) == own.tolist()
    assert POINTS.subsets["all"][replica].tolist() == own.tolist()


def test_the_random_subset_is_of_the_seeds_own_points_and_another_one_for_each_seed():
  random, own = POINTS.subsets["random_A"], POINTS.subsets["all"]
  assert random.shape == (3, 8)
  assert all(np.isin(random[replica], own[replica]).all() for replica in range(3))
  assert len({tuple(random[replica] - own[replica, 0]) for replica in range(3)}) == 3
  assert all(
    len(np.intersect1d(random[replica], POINTS.subsets["A"][replica])) < 8 for replica in range(3)
  )


def test_no_arm_ever_sees_a_validation_point():
  plans = [make_plan(arm, CONFIG, POINTS, chosen=1e-2) for arm in arm_specs(CONFIG)]
  seen = np.unique(
    np.concatenate([phase.example_ids.ravel() for plan in plans for phase in plan.phases])
  )
  assert not np.isin(POINTS.validation, seen).any()
  assert POINTS.validation.shape == (3, 40)


def test_fifty_times_the_decay_on_a_fifth_of_the_steps_is_a_mean_of_10_8_times():
  named = decays(CONFIG, POINTS, 1e-2)
  assert named == pytest.approx({"lambda_A": 0.5, "lambda_B": 1e-2, "mean": 0.108})


def test_every_arm_has_its_phases_its_decays_and_five_steps_a_round():
  def shape(arm):
    plan = make_plan(arm, CONFIG, POINTS, chosen=1e-2)
    return [
      (
        phase.name,
        phase.num_steps,
        phase.example_ids.shape[1],
        pytest.approx(float(phase.weight_decay[0])),
      )
      for phase in plan.phases
    ]

  assert shape("no_decay") == [("all", 5, 40, 0.0)]
  assert shape(candidate(1e-3)) == [("all", 5, 40, 1e-3)]
  assert shape("differentiated") == [("A", 1, 8, 0.5), ("B", 4, 32, 1e-2)]
  assert shape("uniform_mean") == [("all", 5, 40, 0.108)]
  assert shape("alternate_mean") == [("A", 1, 8, 0.108), ("B", 4, 32, 0.108)]
  assert shape("alternate_equal") == [("A", 1, 8, 1e-2), ("B", 4, 32, 1e-2)]
  assert shape("random_subset") == [("A", 1, 8, 0.5), ("B", 4, 32, 1e-2)]
  assert shape("drop_subset") == [("B", 5, 32, 1e-2)]


def test_the_candidates_come_in_ascending_order_after_the_arm_without_decay():
  grid = ["uniform_0.001", "uniform_0.01", "uniform_0.1"]
  assert list(arm_specs(CONFIG)) == [
    "no_decay",
    *grid,
    *(arm for arm in ARM_NAMES if arm not in ("no_decay", "uniform")),
  ]


def test_a_subset_that_leaves_no_rest_is_refused():
  config = dataclasses.replace(CONFIG, toy=dataclasses.replace(CONFIG.toy, num_noisy=40))
  with pytest.raises(
    ConfigError, match=r"toy.num_noisy=40: expected less than data.curve.num_points=40"
  ):
    find_points(config, DATA)


@pytest.mark.parametrize(
  ("changes", "key"),
  [
    ({"data": {"name": "curve"}, "method": {"lambda_A": 1e-2}}, "method.lambda_A"),
    ({"data": {"name": "curve"}, "arms": ("baseline",)}, "arms"),
    ({"data": {"name": "curve"}, "sweep": {"key": "batch_size", "values": (4, 8)}}, "sweep.key"),
    ({"data": {"name": "digits"}, "toy": {"num_noisy": 3}}, "toy.num_noisy"),
    ({"data": {"name": "digits", "curve": {"noise": 0.1}}}, "data.curve.noise"),
  ],
)
def test_keys_that_nothing_would_read_are_refused(changes, key):
  with pytest.raises(ConfigError, match=rf"^{key} = .* has no meaning with data.name = "):
    resolve(changes)


def test_keys_of_files_are_refused_for_points_that_are_drawn():
  config = dataclasses.replace(CONFIG.data, num_train=10)
  with pytest.raises(ConfigError, match=r"data.num_train=10 has no meaning for data.name=curve"):
    load(config)
