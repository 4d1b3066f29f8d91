"""The learning rate of every round, or of every step."""

import types
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from sdt.config.schema import Config, OptimConfig
from sdt.config.toolbox.parse import parse_call
from sdt.config.toolbox.training_blocks import SCHEDULES as TABLE


class Times(NamedTuple):
  """The times at which a schedule is asked, in rounds.

  Attributes:
    since_warmup: [T] rounds since the end of the warm-up.
    length: rounds from the end of the warm-up to that of the training.
    warmup: rounds of the warm-up.
  """

  since_warmup: Float64[np.ndarray, "T"]
  length: int
  warmup: int


# What a schedule is: (config, times, its numbers) -> the share of the rate, [T] in [0, 1].
type Shape = Callable[..., Float64[np.ndarray, "T"]]


def _step(config: OptimConfig, times: Times) -> Float64[np.ndarray, "T"]:
  milestones = np.sort(np.asarray(config.milestones))
  drops = np.searchsorted(milestones, times.since_warmup + times.warmup, side="right")
  return np.power(config.decay_factor, drops)


def _cosine(config: OptimConfig, times: Times) -> Float64[np.ndarray, "T"]:
  return 0.5 * (1.0 + np.cos(np.pi * times.since_warmup / times.length))


def _inverse_sqrt(config: OptimConfig, times: Times) -> Float64[np.ndarray, "T"]:
  """Returns sqrt(W / (W + t)) with W warm-up rounds; without any 1 / sqrt(1 + t)."""
  return 1.0 / np.sqrt(1.0 + times.since_warmup / max(1, times.warmup))


def _in_cycle(config: OptimConfig, times: Times) -> Float64[np.ndarray, "T"]:
  """Returns which share of its cycle has passed at each time, [T] in [0, 1)."""
  cycle = config.cycle_rounds or times.length
  return times.since_warmup % cycle / cycle


# By the names of the table in sdt/config/toolbox/training_blocks.py, which has the sources.
SCHEDULES: Mapping[str, Shape] = types.MappingProxyType(
  {
    "step": _step,
    "constant": lambda config, times: np.ones_like(times.since_warmup),
    "cosine": _cosine,
    "linear": lambda config, times: 1.0 - times.since_warmup / times.length,
    "inverse_sqrt": _inverse_sqrt,
    "inverse_time": lambda config, times, k: 1.0 / (1.0 + k * times.since_warmup),
    "exponential": lambda config, times, factor: np.power(factor, times.since_warmup),
    "natural_exponential": lambda config, times, k: np.exp(-k * times.since_warmup),
    "triangular": lambda config, times: 1.0 - np.abs(1.0 - 2.0 * _in_cycle(config, times)),
    "warm_restarts": lambda config, times: 0.5 * (1.0 + np.cos(np.pi * _in_cycle(config, times))),
  }
)


def learning_rates(
  config: OptimConfig,
  rounds: int,
  *,
  batch_size: int | None = None,
  steps: int = 1,
  stretch: int = 1,
) -> Float64[np.ndarray, "..."]:
  """Returns the learning rate of every round, float64 [rounds], or of every step, [rounds, steps].

  All phases of a round share it: the paper trains each subset for E epochs "with the learning rate
  as above", so the clock counts rounds, not passes over a subset.

  Args:
    config: names the schedule; its `clock` says whether steps have rates of their own.
    rounds: of the schedule.
    batch_size: of the training, which the linear scaling rule reads.
    steps: optimiser steps of a round.
    stretch: the training has so many times as many rounds, at which the schedule runs so many times
      slower.

  Source: Goyal et al. 2017, "Accurate, Large Minibatch SGD", sections 2.1 and 2.2: the linear
  scaling rule and gradual warm-up. Differs from source: the warm-up begins one step above 0.
  """
  ticks = steps * stretch if config.clock == "step" else 1  # of a round of the schedule
  clock, warmup = np.arange(rounds * ticks) / ticks, config.warmup_rounds
  peak = config.learning_rate * _scale(config, batch_size)
  schedule = parse_call(config.schedule, TABLE)
  times = Times(np.maximum(clock - warmup, 0.0), rounds - warmup, warmup)
  share = SCHEDULES[schedule.name](config, times, *schedule.numbers)
  after = config.floor + (peak - config.floor) * share
  rising = peak * (clock + 1.0 / ticks) / max(1, warmup)
  rates = np.where(clock < warmup, rising, after)
  if config.clock == "step":
    return rates.reshape(rounds * stretch, steps)
  return np.repeat(rates, stretch)


def rates_of_arm(config: Config, rounds: int, steps: int) -> Float64[np.ndarray, "rounds ..."]:
  """Returns the rates of an arm of so many rounds of so many steps, as `learning_rates` does.

  An arm of twice the rounds of the config has a schedule that is twice as slow.
  """
  stretch = max(1, rounds // config.rounds)
  return learning_rates(
    config.optim,
    rounds // stretch,
    batch_size=config.batch_size,
    steps=steps,
    stretch=stretch,
  )


def falling(rates: Float[np.ndarray, "rounds ..."]) -> Float64[np.ndarray, "rounds"]:
  """Returns factors of a decay that falls from 2 to 0, in the clock of the learning rate.

  That clock is the share of the sum of all rates that has passed. The sum of rate x factor is that
  of the rates: as much decay in all, but earlier. 2 minus it rises.
  """
  of_rounds = np.asarray(rates, np.float64).reshape(len(rates), -1).mean(axis=1)
  passed = (np.cumsum(of_rounds) - 0.5 * of_rounds) / of_rounds.sum()
  return 2.0 * (1.0 - passed)


def _scale(config: OptimConfig, batch_size: int | None) -> float:
  """Returns the factor of the linear scaling rule; 1.0 where it is not asked for."""
  if config.reference_batch is None:
    return 1.0
  if batch_size is None:
    raise ValueError("optim.reference_batch needs the batch size")
  return batch_size / config.reference_batch


def rates_of_rounds(rates: Float[np.ndarray, "rounds ..."]) -> Float[np.ndarray, "rounds"]:
  """Returns the rate at the first step of every round, of what `learning_rates` returns."""
  return rates.reshape(len(rates), -1)[:, 0]
