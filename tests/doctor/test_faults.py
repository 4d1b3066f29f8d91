"""Planted faults: each is named, and a sound network has none."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from sdt.config import Config
from sdt.config.config_file import load_config_file
from sdt.config.resolve import resolve
from sdt.config.shipped import files_by_name
from sdt.data.dataset import Data
from sdt.data.sources import load
from tests.support import tiny
from tests.support.examined import examined, with_labels

SETS = {"num_train": 400, "num_test": 200, "num_classes": 3, "image_size": 8}


def config(**changes: Any) -> Config:
  """Returns a config whose network learns; all of these share their programs."""
  return tiny.config(data__shapes=SETS, model__hidden_sizes=(32,), seeds=(0,), **changes)


def unnormalised(data: Data) -> Data:
  return dataclasses.replace(data, mean=0 * data.mean, std=0 * data.std + np.float32(1 / 255))


def shuffled(data: Data) -> Data:
  rng = np.random.default_rng(0)
  return with_labels(
    data, train=rng.permutation(data.train.labels), test=rng.permutation(data.test.labels)
  )


def off_by_one(data: Data) -> Data:
  return with_labels(data, test=(data.test.labels + 1) % len(data.class_names))


def as_it_is(data: Data) -> Data:
  return data


# What is planted -> changes of the config, of the data; the steps that are taken; what they find.
Planted = tuple[dict[str, Any], Callable[[Data], Data], dict[str, list[str]]]
FAULTS: dict[str, Planted] = {
  "nothing": ({}, as_it_is, {"gradient": [], "before": [], "overfit": [], "rates": []}),
  "rate x 1000": (
    {"optim__learning_rate": 50.0},
    as_it_is,
    {"overfit": ["RATE_TOO_HIGH"], "rates": ["RATE_TOO_HIGH"]},
  ),
  "rate / 10,000": ({"optim__learning_rate": 5e-6}, as_it_is, {"rates": ["RATE_TOO_LOW"]}),
  "zero weights": (
    {"model__initialisation": "constant(0)"},
    as_it_is,
    {"gradient": [], "before": ["CONSTANT_WEIGHTS"], "overfit": ["CANNOT_OVERFIT"]},
  ),
  "dead ReLU": (
    {"model__bias_start": -100.0},
    as_it_is,
    {"before": ["DEAD_UNITS"], "overfit": ["CANNOT_OVERFIT"]},
  ),
  "unnormalised inputs": (
    {},
    unnormalised,
    {"before": ["INITIAL_LOSS_HIGH", "UNNORMALISED"]},
  ),
  "shuffled labels": (
    {},
    shuffled,
    {"before": ["labels_unrelated"], "rates": ["SHUFFLED_LABELS"]},
  ),
  "labels off by one": (
    {},
    off_by_one,
    {"before": ["LABELS_OFF_BY_ONE"], "rates": ["TEST_LABELS"]},
  ),
}


@pytest.mark.slow_rows("labels off by one", "shuffled labels", "zero weights")
@pytest.mark.parametrize("planted", FAULTS)
def test_a_planted_fault_is_named_and_a_sound_network_has_none(planted):
  changes, spoil, expected = FAULTS[planted]
  of = config(**changes)
  assert examined(of, spoil(tiny.data(of)), tuple(expected)) == expected


DIGITS: dict[str, tuple[list[str], Callable[[Data], Data], str]] = {
  "rate x 1000": (["optim.learning_rate=100"], as_it_is, "RATE_TOO_HIGH"),
  "zero weights": (["model.initialisation=constant(0)"], as_it_is, "CONSTANT_WEIGHTS"),
  "dead ReLU": (["model.norm=none", "model.bias_start=-100"], as_it_is, "DEAD_UNITS"),
  "unnormalised inputs": ([], unnormalised, "UNNORMALISED"),
  "shuffled labels": ([], shuffled, "SHUFFLED_LABELS"),
  "labels off by one": ([], off_by_one, "LABELS_OFF_BY_ONE"),
}


@pytest.mark.slow
@pytest.mark.parametrize("planted", DIGITS)
def test_faults_planted_into_the_demo_are_named(planted):
  words, spoil, code = DIGITS[planted]
  overrides = [tuple(word.split("=", 1)) for word in words]
  of = resolve(load_config_file(files_by_name()["digits"]), overrides)
  found = examined(of, spoil(load(of.data)))
  assert code in [one for codes in found.values() for one in codes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "digits_cait"])
def test_the_shipped_configs_have_no_fault(name):
  of = resolve(load_config_file(files_by_name()[name]))
  with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer
    found = examined(of, load(of.data))
  assert [one for codes in found.values() for one in codes if one.isupper()] == []
