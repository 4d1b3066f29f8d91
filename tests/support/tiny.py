"""A tiny training problem, small enough that a program compiles in seconds: 8x8 images, a
two-convolution ResNet or an MLP.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from sdt.config import Config, from_dict, to_dict
from sdt.config.schema import DataConfig, ModelConfig
from sdt.data.dataset import Data
from sdt.data.sources import load
from sdt.engine.plan import Phase, Plan
from sdt.engine.state import Position, TrainState
from sdt.engine.trainer import Trainer
from sdt.run.programs import Setup


def config(**changes: Any) -> Config:
  """Returns a config on the procedural set; `changes` by dotted key, dots written as two
  underscores.
  """
  base = Config(
    data=DataConfig(name="shapes"),
    model=ModelConfig(name="mlp", hidden_sizes=(16,)),
    seeds=(0, 1),
    rounds=4,
    batch_size=16,
    arms=("baseline", "method"),
  )
  plain = to_dict(base)
  plain["data"]["shapes"] |= {"num_train": 70, "num_test": 30, "num_classes": 3, "image_size": 8}
  plain["optim"] |= {"milestones": [2, 3], "learning_rate": 0.05}
  plain["score"]["batch_size"] = 32
  plain["split"]["class_balanced"] = False  # the paper's A
  plain["parallel"]["num_devices"] = 1
  for key, value in changes.items():
    section = plain
    *path, last = key.split("__")
    for name in path:
      section = section.setdefault(name, {})  # keys that came later are not there by default
    section[last] = list(value) if isinstance(value, tuple) else value
  return from_dict(plain)


def resnet(**changes: Any) -> Config:
  return config(
    model__name="resnet",
    model__hidden_sizes=None,
    model__blocks=(1,),
    model__widths=(4,),
    **changes,
  )


def data(of: Config) -> Data:
  return load(of.data)


def everything(
  of: Config,
  num_examples: int,
  decay: float = 1e-4,
  *,
  steps: int | None = None,
  rounds: int | None = None,
) -> Plan:
  """Returns the baseline's plan."""
  ids = np.tile(np.arange(num_examples, dtype=np.int32), (len(of.seeds), 1))
  phase = Phase(
    "all",
    ids,
    steps or -(-num_examples // of.batch_size),
    weight_decay=np.full(len(of.seeds), decay),
  )
  return Plan("baseline", (phase,), rounds or of.rounds)


def alternating(
  of: Config,
  num_examples: int,
  num_easy: int,
  decays: tuple[float, float] = (1e-2, 1e-4),
  offset: int = 0,
) -> Plan:
  """Returns a plan of A (`num_easy` ids from `offset`) and B (the rest)."""
  ids = np.roll(np.arange(num_examples, dtype=np.int32), -offset)
  phases = []
  for name, part, decay in (("A", ids[:num_easy], decays[0]), ("B", ids[num_easy:], decays[1])):
    replicas = len(of.seeds)
    phases.append(
      Phase(
        name,
        np.tile(np.sort(part), (replicas, 1)),
        -(-len(part) // of.batch_size),
        weight_decay=np.full(replicas, decay),
      )
    )
  return Plan("method", tuple(phases), of.rounds)


def trainer(of: Config, plan: Plan, dataset: Data | None = None) -> Trainer:
  """Returns a trainer at its fresh start."""
  setup = Setup.make(of, dataset or data(of))
  made = setup.trainer(plan)
  made.set_state(setup.fresh_start)
  return made


def first_state(of: Config) -> TrainState:
  """Returns the state of the first replica before its first step."""
  start = Setup.make(of, data(of)).fresh_start.state
  state: TrainState = jax.tree.map(lambda leaf: leaf[0], start)
  return state


def with_statistics(state: TrainState) -> TrainState:
  """Returns a state whose running statistics are others in every seed, as after a training."""
  rng = np.random.default_rng(0)

  def drawn(leaf: np.ndarray) -> np.ndarray:
    return rng.uniform(0.5, 2.0, leaf.shape).astype(leaf.dtype)

  return dataclasses.replace(state, batch_stats=jax.tree.map(drawn, state.batch_stats))


def train(of: Config, plan: Plan, dataset: Data | None = None) -> tuple[TrainState, list[Any]]:
  """Trains to the end; returns the final state on the host and the finished rounds."""
  made = trainer(of, plan, dataset)
  finished = [ended for progress in made.run(Position()) for ended in progress.finished]
  return made.get_state().state, finished


def leaves(tree: Any) -> dict[str, np.ndarray]:
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def assert_equal(left: Any, right: Any) -> None:
  """Asserts that two trees have the same bits."""
  ours, theirs = leaves(left), leaves(right)
  assert ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def replica(tree: Any, index: int) -> Any:
  return jax.tree.map(lambda leaf: np.asarray(leaf)[index : index + 1], tree)


def with_plan_ids(plan: Plan, ids: list[np.ndarray]) -> Plan:
  phases = tuple(
    dataclasses.replace(phase, example_ids=part)
    for phase, part in zip(plan.phases, ids, strict=True)
  )
  return dataclasses.replace(plan, phases=phases)
