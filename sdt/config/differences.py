"""How two configs differ, and whether that matters to a resumed run, a baseline or a sweep."""

import types
from collections.abc import Container, Iterator, Mapping
from typing import Any

from sdt.config.values import Value, shown

# A config as `to_dict` returns it, or a section of it.
type Plain = Mapping[str, Any]

# Keys that may change when a run is resumed, and why that cannot change its results. A change of
# any other key is refused.
SAFE_TO_CHANGE: Mapping[str, str] = types.MappingProxyType(
  {
    "baseline_from": (
      "a copied baseline is the one that would be trained; environment.json names its run"
    ),
    "checkpoint.every_secs": "when the state is saved does not change the state",
    "checkpoint.keep": "how many old steps stay does not change the newest",
    "compilation_cache": "a program from the cache is the program that would be compiled",
    "distributed.join": (
      "how processes meet changes no result; the number of devices is compared separately"
    ),
    "distributed.connect_timeout_secs": "it says how long to wait, not for what",
    "distributed.heartbeat_timeout_secs": "it says how long to wait, not for what",
    "log.tensorboard": "it says who else is shown the rows, not which they are",
    "log.wandb": "it says who else is shown the rows, not which they are",
    "log.mlflow": "it says who else is shown the rows, not which they are",
    "data.path": "the data's checksum is compared separately",
    "model.pretrained": "the file's checksum is compared separately",
    "score.path": "the file's checksum is compared separately",
    "data.corrections": "the files' checksums are compared separately",
    "data.corrections_test": "the files' checksums are compared separately",
    "data.labels_file": "the file's checksum is compared separately",
    "data.cache": "the data's checksum is compared separately",
    "data.download": "the data's checksum is compared separately",
    "data.download_timeout_secs": "the data's checksum is compared separately",
    "data.placement": "streamed inputs are the same numbers, and the rest is the same program",
  }
)

# Further keys and sections that neither the baseline nor any score reads, and why. Runs that differ
# only in these have the same baseline.
NOT_READ_BY_BASELINE: Mapping[str, str] = types.MappingProxyType(
  {
    "data.validation_fraction": (
      "a selection trains its own baseline; the run's is trained on the whole training set"
    ),
    "data.near_duplicates": "it lists images that look alike, and trains on the same ones",
    "select": "a selection trains its own baseline, and chooses only what the method uses",
    "arms": "the baseline is trained first, whatever follows",
    "augment.strong": "no phase of the baseline sees unlabelled examples",
    "evaluate.views": "the networks are asked when they are trained",
    "evaluate.dropout_samples": "the networks are asked when they are trained",
    "evaluate.ensemble": "the networks are asked when they are trained",
    "own_arms": "the baseline is one of the shipped arms",
    "method": "the second training begins when the baseline has ended",
    "regularise": "no phase of the baseline names a regulariser",
    "semi": "no phase of the baseline sees unlabelled examples",
    "distil": "the baseline is the teacher",
    "score.name": "all scores are computed; the name says which one ranks",
    "score.column": "scores from a file are read after the baseline",
    "score.higher_is": "scores from a file are read after the baseline",
    "split": "the split is made from the baseline's scores",
    "stats": "the statistics come last",
    "sweep": "the runs of a sweep have no sweep of their own",
  }
)

# Keys and sections that cannot be swept, and why.
NOT_SWEPT: Mapping[str, str] = types.MappingProxyType(
  {
    "acquire": "every acquisition is a whole run; give several acquire.strategies to compare them",
    "baseline_from": "it changes no result",
    "checkpoint": "it changes no result",
    "compilation_cache": "it changes no result",
    "data.cache": "it changes no result",
    "data.download": "it changes no result",
    "data.download_timeout_secs": "it changes no result",
    "data.near_duplicates": "it changes no result",
    "data.placement": "it changes no result",
    "data.path": (
      "it says where the data are, not which; choose them by data.name, or make a run for each path"
    ),
    "distributed": "it changes no result",
    "data.verify": "it says which variants of the data are accepted, not which they are",
    "evaluate": "it chooses no accuracy of an arm, it only adds answers",
    "eval_every_rounds": "it changes no result of the last round",
    "log": "it changes no result",
    "log_every_rounds": "it changes no result of the last round",
    "model.pretrained": "it says where the weights are, not which; make a run for each file",
    "own_arms": "it defines arms, `arms` names them",
    "parallel": (
      "it changes only the last bits of a result; make a separate run for each parallel.batch_norm"
    ),
    "score.batch_size": "it changes only the last bits of a result",
    "score.grand": "it only adds a score",
    "score.probabilities": "it only adds to the scores",
    "score.cleanlab": "it only adds to the suspects",
    "score.course": "it only adds to the scores",
    "score.path": "it says where the scores are, not which; make a run for each file",
    "data.corrections": "it says where the files are, not which; make a run for each file",
    "data.corrections_test": "it says where the files are, not which; make a run for each file",
    "data.labels_file": "it says where the labels are, not which; make a run for each file",
    "seeds": "every value runs with all seeds; give them in seeds",
    "select": "a selection tries its candidates itself",
    "stats": "it changes no accuracy, only what a difference is called",
    "sweep": "a sweep has no sweep of its own",
  }
)

# Further keys and sections that a search cannot try, and why.
NOT_SEARCHED: Mapping[str, str] = types.MappingProxyType(
  {
    "arms": "it says what is compared, not how it is trained",
    "data": "every trial is judged on the same validation split",
    "method.num_easy": "a trial has fewer examples than the run; search method.fraction",
    "monitor": "it changes no result",
    "precision": "it changes only the last bits of a result",
    "regularise": "no phase of the method reads it; everywhere='dropout=0.3' reaches every phase",
    "rounds": "all trials train equally long",
    "score.at_round": "it changes the scores alone; make a run for each value",
    "score.dynamics": "it only adds scores",
    "score.folds": "it only adds scores",
    "semi": "no phase of the method sees unlabelled examples",
    "distil": "no phase of the method has a teacher",
    "augment.strong": "no phase of the method sees unlabelled examples",
    "stop": "early stopping has the validation split for itself",
    "toy": "the toy chooses its decays itself",
  }
)

# Further keys and sections that cannot be why an arm is more accurate in one run than in another,
# and why.
NO_CAUSE: Mapping[str, str] = types.MappingProxyType(
  {
    "arms": "only the arms that both runs have are compared",
    "data.near_duplicates": "it lists images that look alike, and trains on the same ones",
    "data.verify": "it says which variants of the data are accepted, not which they are",
    "eval_every_rounds": "it changes no result of the last round",
    "evaluate.views": "it changes no accuracy of an arm, it only adds answers",
    "evaluate.dropout_samples": "it changes no accuracy of an arm, it only adds answers",
    "evaluate.snapshots": "it changes no accuracy of an arm, it only adds answers",
    "evaluate.ensemble": "it changes no accuracy of an arm, it only adds answers",
    "log_every_rounds": "it changes no result of the last round",
    "monitor": "it changes no result",
    "score.cleanlab": "it only adds to the suspects",
    "score.course": "it only adds to the scores",
    "score.grand": "it only adds a score",
    "score.probabilities": "it only adds to the scores",
    "seeds": "only the seeds that both runs have are compared",
    "stats": "it changes no accuracy, only what a difference is called",
  }
)
# Keys that say which labels a run has.
ABOUT_LABELS = (
  *("data.corrections", "data.corrections_test"),
  *("data.labels_file", "data.labels_key", "data.wrong_label_fraction"),
)


def entry(table: Mapping[str, str], name: str) -> str | None:
  """Returns what `table` says of the key `name` or of a section around it; None if nothing."""
  parts = name.split(".")
  return next(
    (table[part] for end in range(len(parts), 0, -1) if (part := ".".join(parts[:end])) in table),
    None,
  )


def changes_baseline(name: str) -> bool:
  """Returns whether another value of the key `name` may give another baseline, or other scores."""
  return entry(SAFE_TO_CHANGE, name) is None and entry(NOT_READ_BY_BASELINE, name) is None


def may_be_cause(name: str) -> bool:
  """Returns whether the key `name` may be why an arm is more accurate in one run than in another.

  Of keys that name files the files' checksums decide.
  """
  return entry(SAFE_TO_CHANGE, name) is None and entry(NO_CAUSE, name) is None


def diff(old: Plain, new: Plain, *, ignore: Container[str] = ()) -> list[str]:
  """Returns a line "key: old -> new" for each key that differs, sorted by key.

  A key that only one config has is shown as "(absent)" in the other.

  Args:
    old, new: configs as `to_dict` returns them.
    ignore: keys to leave out; with `SAFE_TO_CHANGE` those are left that forbid a resume.
  """
  return [line for name, line in differences(old, new) if name not in ignore]


def differences(old: Plain, new: Plain) -> list[tuple[str, str]]:
  """Returns (key, "key: old -> new") for each key that differs, see `diff`."""
  left, right = dict(leaves(old)), dict(leaves(new))
  lines = []
  for name in sorted(left.keys() | right.keys()):
    before, after = (shown(side[name]) if name in side else "(absent)" for side in (left, right))
    if before != after:
      lines.append((name, f"{name}: {before} -> {after}"))
  return lines


def leaves(section: Plain, prefix: str = "") -> Iterator[tuple[str, Value]]:
  """Yields (dotted key, value) of every key in nested dicts."""
  for part, value in section.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f"{prefix}{part}.")
    else:
      yield f"{prefix}{part}", value
