"""Equal programs for equal shapes are compiled once in a process."""

import dataclasses
from unittest import mock

import jax
import numpy as np
import pytest

from sdt.config.schema import ParallelConfig
from sdt.devices.compile import compile_program
from sdt.devices.layout import fetch, make_layout, place
from tests.support import tiny


def scaled(by, x):
  return by * x


@pytest.fixture
def compilations():
  """The calls of the compiler."""
  with mock.patch.object(
    jax.stages.Lowered, "compile", autospec=True, side_effect=jax.stages.Lowered.compile
  ) as calls:
    yield calls


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_only_another_program_shape_or_layout_compiles_again(mode, compilations):
  layout = make_layout(ParallelConfig(mode=mode, num_devices=1))
  x = place(layout, np.arange(5, dtype=np.float32))
  first = compile_program(layout, scaled, 3.0, args=(x,))
  same = make_layout(ParallelConfig(mode=mode, num_devices=1))
  again = place(same, np.ones(5, np.float32))
  assert compile_program(same, scaled, 3.0, args=(again,)) is first
  assert compilations.call_count == 1
  np.testing.assert_array_equal(fetch(layout, first(again)), np.full(5, 3.0))
  two = make_layout(ParallelConfig(mode=mode, num_devices=2))
  for of, by, argument in (
    (layout, 4.0, x),
    (layout, 3.0, place(layout, np.arange(6, dtype=np.float32))),
    (layout, 3.0, place(layout, np.arange(5, dtype=np.float16))),
    (two, 3.0, place(two, np.arange(5, dtype=np.float32))),
  ):
    assert compile_program(of, scaled, by, args=(argument,)) is not first
  assert compilations.call_count == 5


def test_settings_of_jax_and_the_types_of_a_program_count(compilations):
  layout = make_layout(ParallelConfig(num_devices=1))
  x = place(layout, np.arange(7, dtype=np.int32))
  whole = compile_program(layout, scaled, 2, args=(x,))
  with jax.numpy_dtype_promotion("standard"):
    assert compile_program(layout, scaled, 2.0, args=(x,))(x).dtype == np.float32
  assert whole(x).dtype == np.int32
  with jax.default_prng_impl("rbg"):
    assert compile_program(layout, scaled, 2, args=(x,)) is not whole
  assert compile_program(layout, scaled, 2, args=(x,)) is whole
  assert compilations.call_count == 3


def test_trainings_that_differ_in_numbers_share_a_program_also_between_runs(compilations):
  of = tiny.config(rounds=1, optim__milestones=(), seeds=(0,), batch_size=13)
  data = tiny.data(of)
  first, _ = tiny.train(of, tiny.everything(of, 70, 1e-4), data)
  count = compilations.call_count
  second, _ = tiny.train(of, tiny.everything(of, 70, 1e-1), data)
  assert compilations.call_count == count > 0
  name = next(iter(tiny.leaves(first.params)))
  assert (tiny.leaves(first.params)[name] != tiny.leaves(second.params)[name]).any()
  narrow = dataclasses.replace(of, model=dataclasses.replace(of.model, hidden_sizes=(15,)))
  tiny.train(narrow, tiny.everything(narrow, 70), data)
  assert compilations.call_count > count
