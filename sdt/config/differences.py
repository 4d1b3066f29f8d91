"""The keys in which two configs differ, and which differences matter: to a run that goes on, to a
baseline, to a sweep.
"""

from __future__ import annotations

import types
from collections.abc import Container, Iterator, Mapping
from typing import Any

from sdt.config.values import shown

# Keys that may differ when a run is resumed, and why that cannot change its results. Everything
# else is refused.
SAFE_TO_CHANGE: Mapping[str, str] = types.MappingProxyType(
  {
    "baseline_from": (
      "a "
      "baseline that is taken over is the one that would be trained; "
      "environment.json tells "
      "where it came from"
    ),
    "checkpoint.every_secs": "when the state is saved does not change the state",
    "checkpoint.keep": "how many old steps stay does not change the newest",
    "compilation_cache": "a program from the cache is the program that would be compiled",
    "distributed.join": (
      "how "
      "processes find each other changes no result; the number of devices is "
      "compared on its "
      "own"
    ),
    "distributed.connect_timeout_secs": "it says how long to wait, not for what",
    "distributed.heartbeat_timeout_secs": "it says how long to wait, not for what",
    "data.path": "the data's checksum is compared on its own",
    "model.pretrained": "the file's checksum is compared on its own",
    "score.path": "the file's checksum is compared on its own",
    "data.cache": "the data's checksum is compared on its own",
    "data.download": "the data's checksum is compared on its own",
    "data.download_timeout_secs": "the data's checksum is compared on its own",
    "data.placement": (
      "streamed inputs are the same numbers, and everything after them is the same program"
    ),
  }
)

# Further keys and sections that neither the baseline nor any score reads, and why: runs that differ
# in no others have one baseline.
NOT_READ_BY_BASELINE: Mapping[str, str] = types.MappingProxyType(
  {
    "data.validation_fraction": (
      "a selection has a baseline of its own; the run's is trained on the whole training set"
    ),
    "select": "a selection has a baseline of its own; what it chooses is the method's",
    "arms": "the baseline is trained first, whatever follows",
    "own_arms": "the baseline is one of the shipped arms",
    "method": "the second training begins when the baseline has ended",
    "regularise": "no phase of the baseline names a regulariser",
    "score.name": "all scores are computed; the name says which one ranks",
    "score.column": "scores from a file are read after the baseline",
    "score.higher_is": "scores from a file are read after the baseline",
    "split": "the split is made from the baseline's scores",
    "stats": "the statistics come last",
    "sweep": "the runs of a sweep have no sweep of their own",
  }
)

# Keys and sections that no sweep may go through, and why.
NOT_SWEPT: Mapping[str, str] = types.MappingProxyType(
  {
    "baseline_from": "it changes no result",
    "checkpoint": "it changes no result",
    "compilation_cache": "it changes no result",
    "data.cache": "it changes no result",
    "data.download": "it changes no result",
    "data.download_timeout_secs": "it changes no result",
    "data.placement": "it changes no result",
    "data.path": (
      "it "
      "says where the data lie, not which they are; choose them by data.name, or make "
      "a run "
      "for each path"
    ),
    "distributed": "it changes no result",
    "data.verify": "it says which variants of the data are accepted, not which they are",
    "eval_every_rounds": "it changes no result of the last round",
    "log_every_rounds": "it changes no result of the last round",
    "model.pretrained": (
      "it says where the weights lie, not which they are; make a run for each file"
    ),
    "own_arms": "it defines arms, `arms` names them",
    "parallel": (
      "it changes no result but its last bits; for each parallel.batch_norm make a run of its own"
    ),
    "score.batch_size": "it changes no result but its last bits",
    "score.grand": "it only says whether there is one more score",
    "score.path": "it says where the scores lie, not which they are; make a run for each file",
    "seeds": "every value is run with all seeds; give them in seeds",
    "select": "a selection goes through its candidates itself",
    "stats": "it changes no accuracy, only what a difference is called",
    "sweep": "a sweep has no sweep of its own",
  }
)


def entry(table: Mapping[str, str], name: str) -> str | None:
  """Returns what `table` says of the key `name`, or of a section that it is in; None if nothing."""
  parts = name.split(".")
  return next(
    (table[part] for end in range(len(parts), 0, -1) if (part := ".".join(parts[:end])) in table),
    None,
  )


def changes_baseline(name: str) -> bool:
  """Returns whether another value of the key `name` may give another baseline, or other scores."""
  return entry(SAFE_TO_CHANGE, name) is None and entry(NOT_READ_BY_BASELINE, name) is None


def diff(
  old: Mapping[str, Any], new: Mapping[str, Any], *, ignore: Container[str] = ()
) -> list[str]:
  """Returns a line "key: old -> new" for each key that differs between two `to_dict`s of configs,
  sorted by key.

  `ignore=SAFE_TO_CHANGE` leaves what forbids a resume. A key that only one of them has is shown as
  "(absent)".
  """
  return [line for name, line in differences(old, new) if name not in ignore]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Returns (key, "key: old -> new") for each key that differs, see `diff`."""
  left, right = dict(leaves(old)), dict(leaves(new))
  found = []
  for name in sorted(left.keys() | right.keys()):
    before, after = (shown(side[name]) if name in side else "(absent)" for side in (left, right))
    if before != after:
      found.append((name, f"{name}: {before} -> {after}"))
  return found


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields the (dotted key, value) pairs of nested dicts."""
  for part, value in section.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f"{prefix}{part}.")
    else:
      yield f"{prefix}{part}", value
