"""Seeds that are divided over two devices: each is trained, scored and recalibrated to the bits
that it has alone on one device.
"""

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
import pytest

from sdt import experiment
from sdt.arms.checks import check
from sdt.commands import dry_run
from sdt.config.schema import ParallelConfig
from sdt.devices import compile as compiler
from sdt.devices.layout import (
  bytes_per_device,
  check_replicas,
  fetch,
  make_layout,
  padded_batch_size,
  place,
  place_replicas,
  shard_batch,
)
from sdt.engine.state import Position, Snapshot
from sdt.errors import ConfigError
from sdt.run.programs import Setup
from sdt.stages.model_file import file_of
from tests.support import one_of_several, several, tiny, whole

TRAINED = {
  "augment__pad_crop": 1,
  "augment__flip": True,
  "rounds": 2,
  "parallel__steps_per_dispatch": 4,
  "batch_size": 12,
  "score__course": True,
}


def divided(of, **changes):
  """Returns the config with its seeds over two devices."""
  return dataclasses.replace(
    of, parallel=dataclasses.replace(of.parallel, **{"num_devices": 2, "divide": "seeds"} | changes)
  )


def plan_of(of):
  """Returns a plan of A and B whose subsets differ by seed; named baseline, so that its dynamics
  are recorded.
  """
  plan = tiny.alternating(of, 70, 20)
  order = [np.random.default_rng(seed).permutation(70).astype(np.int32) for seed in of.seeds]
  ids = [np.sort(np.stack([one[part] for one in order])) for part in (slice(20), slice(20, None))]
  return dataclasses.replace(tiny.with_plan_ids(plan, ids), arm="baseline")


def trained(of):
  """Returns (state, sums, dynamics) and the sums of every round, [R, ...] each."""
  setup = Setup.make(of, tiny.data(of))
  made = setup.trainer(plan_of(of))
  made.set_state(setup.fresh_start)
  finished = [ended.sums for progress in made.run(Position()) for ended in progress.finished]
  snapshot = made.get_state()
  return snapshot.state, snapshot.sums, snapshot.dynamics, finished


CASES = [
  (tiny.config, (0, 1), "unroll", "device"),
  pytest.param(tiny.resnet, (0, 1), "unroll", "device", marks=pytest.mark.slow),
  pytest.param(tiny.config, (3, 0, 2, 1), "loop", "device", marks=pytest.mark.slow),
  pytest.param(tiny.resnet, (1, 0), "unroll", "stream", marks=pytest.mark.slow),
  pytest.param(tiny.config, (3, 0, 2, 1), "loop", "stream", marks=pytest.mark.slow),
  pytest.param(tiny.config, (3, 0, 2, 1), "unroll", "stream", marks=pytest.mark.slow),
]


@functools.cache
def trained_alone(network, seed):
  return trained(network(seeds=(seed,), data__placement="device", **TRAINED))


@pytest.mark.parametrize(("network", "seeds", "replicas", "placement"), CASES)
def test_every_seed_trains_to_the_bits_that_it_has_alone(network, seeds, replicas, placement):
  together = divided(network(seeds=seeds, data__placement=placement, **TRAINED), replicas=replicas)
  *ours, rounds = trained(together)
  for index, seed in ((0, seeds[0]), (len(seeds) - 1, seeds[-1])):
    *alone, alone_rounds = trained_alone(network, seed)
    tiny.assert_equal(tiny.replica(ours, index), alone)
    tiny.assert_equal([tiny.replica(one, index) for one in rounds], alone_rounds)


def scored(of):
  """Returns all scores, the statistics that are taken anew, and the test loss and accuracy with
  them, [R, ...] each.
  """
  setup = Setup.make(of, tiny.data(of))
  state = setup.fresh_start.state
  scores = setup.scorer().scores(state.variables)
  statistics = setup.recalibrator.statistics(state.params, state.batch_stats)
  return scores, statistics, setup.recalibrator.evaluate(state.params, statistics)


@pytest.mark.parametrize(
  ("placement", "grand"),
  [
    ("device", False),
    pytest.param("device", True, marks=pytest.mark.slow),
    pytest.param("stream", True, marks=pytest.mark.slow),
  ],
)
def test_scores_and_recalibrated_networks_are_those_that_a_seed_has_alone(placement, grand):
  of = tiny.resnet(seeds=(0, 1), score__grand=grand, score__batch_size=13)
  ours = scored(
    divided(dataclasses.replace(of, data=dataclasses.replace(of.data, placement=placement)))
  )
  tiny.assert_equal(tiny.replica(ours, 1), scored(dataclasses.replace(of, seeds=(1,))))


@pytest.mark.slow
def test_several_seeds_of_a_device_are_scored_and_recalibrated_as_on_one_device():
  of = tiny.resnet(
    seeds=(0, 1, 2, 3), score__grand=True, score__batch_size=13, parallel__replicas="loop"
  )
  tiny.assert_equal(scored(divided(of)), scored(of))


@pytest.mark.slow
def test_seeds_that_share_a_device_may_run_side_by_side():
  (state, *_), (expected, *_) = (
    trained(of)
    for of in (
      divided(tiny.config(seeds=(0, 1, 2, 3), **TRAINED), replicas="vmap"),
      tiny.config(seeds=(0, 1, 2, 3), **TRAINED),
    )
  )
  for name, leaf in tiny.leaves(expected).items():
    np.testing.assert_allclose(tiny.leaves(state)[name], leaf, rtol=0, atol=1e-4, err_msg=name)


def test_each_device_holds_its_own_seeds_alone_and_the_host_gets_all():
  layout = make_layout(ParallelConfig(num_devices=2, divide="seeds"))
  tree = {"a": np.arange(12, dtype=np.int32).reshape(4, 3)}
  placed = place_replicas(layout, tree)
  assert [shard.data.tolist() for shard in placed["a"].addressable_shards] == [
    tree["a"][:2].tolist(),
    tree["a"][2:].tolist(),
  ]
  tiny.assert_equal(fetch(layout, placed), tree)
  assert (bytes_per_device(placed), bytes_per_device(place(layout, tree))) == (24, 48)
  abstract = dataclasses.replace(layout, is_abstract=True)
  assert bytes_per_device(place_replicas(abstract, tree)) == 24
  assert padded_batch_size(7, layout) == 7


COLLECTIVE = re.compile(
  r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|partition-id)(-start)?\("
)


def test_a_program_compiled_from_shapes_is_the_one_that_runs_and_waits_for_no_other_device():
  compiler._slot.cache_clear()  # whatever earlier tests compiled
  of = divided(tiny.config(seeds=(0, 1), data__placement="device", **TRAINED), replicas="unroll")
  data, plan = tiny.data(of), plan_of(of)
  abstract, real = Setup.make(of, data, is_abstract=True), Setup.make(of, data)
  from_shapes, trainer = abstract.trainer(plan), real.trainer(plan)
  from_shapes.set_state(Snapshot(abstract.state_shapes, abstract.no_sums()))
  from_shapes.compile()
  (program,) = from_shapes._executables.values()
  assert [COLLECTIVE.findall(one.as_text()) for one in program._executables] == [[], []]
  # What the search finds in a program that does wait:
  batch = make_layout(ParallelConfig(num_devices=2))
  waits = compiler.compile_program(
    batch,
    lambda layout, x: shard_batch(layout, x).sum(),
    batch,
    args=(place(batch, np.ones(4, np.float32)),),
  )
  assert COLLECTIVE.search(waits.as_text())
  trainer.set_state(real.fresh_start)
  trainer.take_programs(from_shapes)
  for _ in trainer.run(Position()):
    pass
  tiny.assert_equal(trainer.get_state().state, tiny.train(of, plan, data)[0])


def test_seeds_that_do_not_divide_equally_are_refused_before_anything_is_compiled():
  with pytest.raises(
    ConfigError,
    match=r"3 seed\(s\) \(seeds\) do not divide equally over 2 devices; .* parallel\.num_devices=1",
  ):
    check(divided(tiny.config(seeds=(0, 1, 2))))
  selecting = divided(tiny.config(select__lambda_A=(1e-3,), select__num_seeds=1))
  with pytest.raises(ConfigError, match=r"1 seed\(s\) \(select\.num_seeds\)"):
    check(selecting)
  check(divided(tiny.config(seeds=(0, 1, 2, 3))))
  check_replicas(make_layout(ParallelConfig(num_devices=2)), {"seeds": 3})
  with pytest.raises(ConfigError, match=r"it goes with parallel\.mode=jit, not pmap"):
    check(divided(tiny.config(), mode="pmap"))
  with pytest.raises(ConfigError, match=r"batch_norm=device would do nothing"):
    check(divided(tiny.config(), batch_norm="device"))


@pytest.mark.slow
def test_a_whole_run_leaves_what_it_leaves_on_one_device(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  one = dataclasses.replace(whole.CONFIG, seeds=(0, 1, 2, 3))
  for name, of in (("one", one), ("two", divided(one))):
    assert whole.run(of, tmp_path / name) == 0
  ours, theirs = (whole.outputs(tmp_path / name, report=False) for name in ("two", "one"))
  assert ours.keys() == theirs.keys()
  # Files of weights have the config in their headers.
  models = {file_of(arm, seed) for arm in one.arms for seed in one.seeds}
  of_config = {"config.json", "model.safetensors"} | models
  seals = {f"{place.parent}/.sha256/{place.name}" for place in map(Path, of_config)}
  differ = {name for name in ours if ours[name] != theirs[name]}
  assert differ == of_config | {seal.removeprefix("./") for seal in seals}
  for left, right in zip(
    whole.final_states(one, tmp_path / "one"),
    whole.final_states(one, tmp_path / "two"),
    strict=True,
  ):
    tiny.assert_equal(left, right)
  with pytest.raises(ConfigError, match=r"parallel\.divide: 'seeds' -> 'batch'"):
    experiment.run(divided(one, divide="batch"), tmp_path / "two", "tiny")
  assert any("device memory" in line for line in dry_run.describe(divided(one)))


@pytest.mark.slow
def test_two_processes_of_one_seed_each_end_with_the_bytes_of_one_process(tmp_path, monkeypatch):
  ended = several.run(tmp_path / "said", tmp_path / "several", [["--divide=seeds"]] * 2)
  assert [one.code for one in ended] == [0, 0], "\n".join(one.err for one in ended)
  whole.without_report(monkeypatch)
  own = one_of_several.config(divide="seeds", checkpoint__every_secs=0.05)
  assert whole.run(own, tmp_path / "one") == 0
  whole.assert_same(own, tmp_path / "several", tmp_path / "one", report=False)
