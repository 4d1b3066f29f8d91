"""The stages of a network by name, from the first layers to the head."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.module import InterceptorContext
from jaxtyping import Array, Float, Shaped

from sdt.arrays import AnyArray
from sdt.errors import ConfigError, did_you_mean
from sdt.losses import accumulator_dtype
from sdt.models.family import HEAD
from sdt.types import Model, Variables

# A stage, whose {} is its number, and the modules of the network that are in it; in the order of
# the forward pass. Every network has some of them. A family of other modules adds a row.
STAGES = (
  ("stem", r"stem_\w+|patch_embedding|positions|class_token"),
  ("stage{}", r"stage(\d+)_\w+"),
  ("block{}", r"(?:block|transition)(\d+)(?:_layer\d+)?"),
  ("conv{}", r"(?:conv|norm|act|pool)(\d+)(?:_shift)?"),
  ("hidden{}", r"(?:hidden|dropout)(\d+)(?:_norm|_act)?"),
  ("class_block{}", r"class_block(\d+)"),
  ("final", rf"final_\w+|dropout|{HEAD}_shift"),
  (HEAD, HEAD),
)

# (row of `STAGES`, number): orders the modules of a network.
type Place = tuple[int, int]


@functools.cache
def _place(name: str, *, of_stage: bool = False) -> Place:
  """Returns where a module of a network stands, or with `of_stage` where a stage begins.

  Raises:
    ValueError: `STAGES` has no such module, or no such stage.
  """
  for row, (stage, modules) in enumerate(STAGES):
    if match := re.fullmatch(stage.format(r"(\d+)") if of_stage else modules, name):
      return row, int((match.groups() or ("0",))[0])
  raise ValueError(f"{name!r} is in no row of STAGES")


def stage_of(module: str) -> str:
  """Returns the stage that a module of a network, such as `stage2_block1`, is in."""
  row, number = _place(module)
  return STAGES[row][0].format(number)


def stages_of(modules: Iterable[str]) -> tuple[str, ...]:
  """Returns the stages that have these modules, in the order of the forward pass."""
  return tuple(dict.fromkeys(stage_of(module) for module in sorted(modules, key=_place)))


def check_stage(stage: str, modules: Iterable[str], network: str) -> None:
  """Raises a ConfigError where a network of these modules has no such stage to train from."""
  there = stages_of(modules)
  if stage not in there:
    raise ConfigError(
      f"optim.train_from={stage!r} is no stage of model.name={network!r}"
      f"{did_you_mean(stage, there)}; it has {', '.join(there)}"
    )


def frozen_modules(modules: Iterable[str], first: str | None) -> frozenset[str]:
  """Returns those of a network's modules that come before the stage `first`; none for None.

  Args:
    modules: of the network, the names in the tree of its parameters.
    first: the first stage that is trained. Before the head is everything else.
  """
  if first is None:
    return frozenset()
  if first == HEAD:
    return frozenset(modules) - {HEAD}
  start = _place(first, of_stage=True)
  return frozenset(module for module in modules if _place(module) < start)


@contextlib.contextmanager
def in_evaluation_mode(first: str | None) -> Iterator[None]:
  """Within the block a network is applied with all before the stage `first` in evaluation mode.

  There BatchNorm uses its running statistics and keeps them, and nothing drops out.
  """
  if first is None:
    yield
    return

  def call_of(call: Callable[..., Any], args: Any, kwargs: Any, context: InterceptorContext) -> Any:
    path = context.module.path
    if len(path) == 1 and "train" in kwargs and path[0] in frozen_modules([path[0]], first):
      kwargs = {**kwargs, "train": False}
    return call(*args, **kwargs)

  with nn.intercept_methods(call_of):
    yield


def stage_features(
  model: Model, variables: Variables, inputs: Shaped[AnyArray, "B ..."]
) -> dict[str, Float[Array, "B D"]]:
  """Returns what every stage but the head hands to the next, in one pass in evaluation mode.

  A stage's features are the mean over the positions of what the next stage reads, float32 at least;
  where it reads several arrays, those of each side by side. Those of the last one are the inputs of
  the head. A network that lays its maps out as one vector (LeNet, AlexNet) has no positions there.

  Args:
    model: of the registry.
    variables: {"params": ..., "batch_stats": ...}.
    inputs: [B, ...], prepared.
  Returns:
    stage -> [B, D], in the order of the forward pass.
  """
  found: dict[str, Float[Array, "B D"]] = {}
  begun: list[str] = []

  def keep(call: Callable[..., Any], args: Any, kwargs: Any, context: InterceptorContext) -> Any:
    path = context.module.path
    # Not of modules without parameters: a dropout that does nothing begins no stage.
    if len(path) == 1 and path[0] in variables["params"] and stage_of(path[0]) not in begun:
      if begun:
        found[begun[-1]] = jnp.concatenate([_over_positions(one) for one in args], axis=-1)
      begun.append(stage_of(path[0]))
    return call(*args, **kwargs)

  with nn.intercept_methods(keep):
    model.apply(variables, inputs, train=False)
  return found


def _over_positions(x: Float[Array, "B *N D"]) -> Float[Array, "B D"]:
  """Returns the mean over all axes between the first and the last, [B, D], float32 at least."""
  return jnp.mean(x.astype(accumulator_dtype(x.dtype)), tuple(range(1, x.ndim - 1)))
