"""What a run does beside a training: the programs of later arms, compiled for shapes alone."""

import threading

import numpy as np
import pytest

import sdt.devices.compile as compiler
from sdt.config.schema import ParallelConfig
from sdt.devices.layout import make_layout, place
from sdt.run import ahead
from sdt.run.programs import Setup
from sdt.run.rehearsal import rehearsal
from sdt.stages import outline
from tests.support import tiny, whole
from tests.support.quick import only


def doubled(program, x):
  return x + x


def test_tasks_are_done_in_order_in_one_other_thread():
  done, last = [], threading.Event()

  def task(number):
    done.append((number, threading.current_thread().name))
    if number == 2:
      last.set()

  with ahead.beside([lambda: task(0), lambda: task(1), lambda: task(2)]):
    assert last.wait(10)
  assert done == [(0, "sdt-ahead"), (1, "sdt-ahead"), (2, "sdt-ahead")]


def test_a_body_that_ends_waits_for_the_task_under_way_and_leaves_out_the_others():
  begun, may_end, done = threading.Event(), threading.Event(), []

  def first():
    begun.set()
    assert may_end.wait(10)
    done.append(0)

  def body():
    with ahead.beside([first, lambda: done.append(1)]):
      assert begun.wait(10)
      threading.Timer(0.05, may_end.set).start()
      raise KeyError("the body fails")

  with pytest.raises(KeyError):
    body()
  assert done == [0]


def test_a_task_that_fails_says_nothing_and_ends_the_thread():
  def fail():
    raise ValueError("no such thing")

  done = []
  with ahead.beside([fail, lambda: done.append(1)]):
    pass
  assert not done


@pytest.mark.slow
@pytest.mark.parametrize("mode", only(["jit"], ["jit", "pmap"]))
def test_a_program_that_is_compiled_ahead_is_the_one_that_trains(mode, monkeypatch):
  compiler._slot.cache_clear()  # whatever earlier tests compiled
  config = whole.config(
    own_arms=("taught = all@mean[distil_mean]",),
    arms=("baseline", "method", "taught"),
    parallel__mode=mode,
    parallel__num_devices=2,
  )
  data = tiny.data(config)
  setup = Setup.make(config, data)
  _, plans = outline.plans(config, data)
  before = dict(setup.choices["dispatches"])
  for task in ahead.programs(setup, plans):
    task()
  assert setup.choices["dispatches"] == before  # what a run has chosen is its own

  def refuse(key, args):
    raise AssertionError(f"compiles again: {key.function.__name__}")

  monkeypatch.setattr(compiler, "_compiled", refuse)
  for plan in plans:
    trainer = rehearsal(setup, plan)
    trainer.set_state(setup.fresh_start)
    trainer.compile()
  first = next(trainer.run(setup.fresh_start.position))
  assert np.isfinite(first.seconds)


def test_two_threads_that_want_a_program_compile_it_once(monkeypatch):
  layout = make_layout(ParallelConfig(num_devices=1))
  x = place(layout, np.arange(17, dtype=np.float32))
  both, calls, found = threading.Barrier(2), [], []
  compiled = compiler._compiled

  def count(key, args):
    calls.append(key)
    return compiled(key, args)

  def want():
    both.wait(10)
    found.append(compiler.compile_program(layout, doubled, None, args=(x,)))

  monkeypatch.setattr(compiler, "_compiled", count)
  threads = [threading.Thread(target=want) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(calls) == 1
  assert found[0] is found[1]
