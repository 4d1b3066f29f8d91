"""The tests check the shapes that sdt's annotations name, at every call."""

import beartype
import jax.numpy as jnp
import jaxtyping
import pytest
from jaxtyping import Array, Float, Int

import sdt.losses
from tests.support.typechecker import jaxtyped

type Logits = Float[Array, "B K"]


@jaxtyped(typechecker=beartype.beartype)
def of_label(logits: Logits, labels: Int[Array, "B"], *, scale: int = 1) -> Float[Array, "B"]:
  return scale * jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


@jaxtyped(typechecker=beartype.beartype)
def wrong(logits: Logits) -> Float[Array, "K"]:
  return logits[:, 0]


@jaxtyped(typechecker=beartype.beartype)
def name_of(network: jaxtyping.PyTree | int, name: str) -> str:
  return name


def test_shapes_types_and_results_that_belie_their_annotations_fail():
  logits, labels = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)
  assert of_label(logits, labels).shape == (2,)
  for arguments in (
    (logits, labels[:1]),
    (logits[0], labels),
    (logits, labels > 0),
    (None, labels),
  ):
    with pytest.raises(jaxtyping.TypeCheckError):
      of_label(*arguments)
  with pytest.raises(jaxtyping.TypeCheckError):
    of_label(logits, labels, scale="1")
  with pytest.raises(jaxtyping.TypeCheckError):
    wrong(logits)


def test_functions_without_arrays_take_the_stand_ins_of_the_tests():
  stand_in = object()
  assert name_of("a network", stand_in) is stand_in


def test_the_modules_of_sdt_are_checked():
  assert type(sdt.losses.__spec__.loader).__module__.startswith("jaxtyping")
