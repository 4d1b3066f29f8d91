"""Seeds that are divided over two devices: each is trained, scored and recalibrated to the bits that it has alone on one device."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tiny
import whole

from sdt import dispatch, dry_run, experiment
from sdt.dispatch import Position, state_shapes
from sdt.errors import ConfigError
from sdt.keys import ParallelConfig
from sdt.parallel import bytes_per_device, check_replicas, fetch, make_layout, padded_batch_size, place, place_replicas
from sdt.setup import Setup, check

TRAINED = {"augment__pad_crop": 1, "augment__flip": True, "rounds": 2, "parallel__steps_per_dispatch": 4, "batch_size": 12}


def divided(of, **changes):
  """Returns the config with its seeds over two devices."""
  return dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, **{"num_devices": 2, "divide": "seeds"} | changes))


def plan_of(of):
  """Returns a plan of A and B whose subsets differ by seed; named baseline, so that its dynamics are recorded."""
  plan = tiny.alternating(of, 70, 20)
  order = [np.random.default_rng(seed).permutation(70).astype(np.int32) for seed in of.seeds]
  ids = [np.sort(np.stack([one[part] for one in order])) for part in (slice(20), slice(20, None))]
  return dataclasses.replace(tiny.with_plan_ids(plan, ids), arm="baseline")


def trained(of):
  """Returns (state, sums, dynamics) and the sums of every round, [R, ...] each."""
  setup = Setup.make(of, tiny.data(of))
  made = setup.trainer(plan_of(of))
  made.set_state(setup.fresh_start.state)
  finished = [ended.sums for progress in made.run(Position()) for ended in progress.finished]
  return (*made.get_state(), finished)


@pytest.mark.parametrize("placement", ["device", "stream"])
@pytest.mark.parametrize(("seeds", "replicas"), [((0, 1), "unroll"), ((0, 1), "loop"), ((3, 0, 2, 1), "loop"), ((3, 0, 2, 1), "unroll")])
def test_every_seed_trains_to_the_bits_that_it_has_alone(seeds, replicas, placement):
  together = divided(tiny.resnet(seeds=seeds, data__placement=placement, **TRAINED), replicas=replicas)
  ours = trained(together)
  for index, seed in enumerate(seeds):
    tiny.assert_equal(tiny.replica(ours, index), trained(tiny.resnet(seeds=(seed,), data__placement="device", **TRAINED)))
