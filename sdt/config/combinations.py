"""Checks values together: each may be right alone, and wrong or meaningless beside another."""

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from sdt.config.conflicts import check_conflicts
from sdt.config.score_names import DYNAMICS, SCORES, direction_of_column, is_column_of_file
from sdt.config.selection_rules import check_selection
from sdt.config.toolbox.parse import parse_call
from sdt.config.toolbox.training_blocks import OPTIMISERS, SCHEDULES
from sdt.errors import ConfigError

# Every key by its dotted name; the type of a value depends on its key.
type Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Needs:
  """A choice that means nothing without the value of another key.

  Attributes:
    key, choice: the choice.
    other: the key that it needs, which is None by default.
    such_as: an example of the other key's value.
  """

  key: str
  choice: str
  other: str
  such_as: str


# Not read beside a threshold, which itself sets the size of A.
_OF_SIZE = ("split.class_balanced", "method.fraction", "method.num_easy", "select.fraction")
_NEEDS = (
  _Needs("score.name", "file", "score.path", such_as="scores.csv"),
  _Needs("score.name", "confidence_in_sample", "score.folds", such_as="5"),
  _Needs("split.policy", "window", "split.window_start", such_as="0.1"),
  _Needs("split.policy", "threshold", "split.threshold", such_as="3.5"),
  _Needs("split.policy", "mislabel_cut", "split.cut", such_as="0.05"),
)


@dataclasses.dataclass(frozen=True)
class _Idle:
  """Keys that nothing reads because of the value of another key.

  The user who gave such a key meant something by it, so it is refused and not ignored.

  Attributes:
    keys: the keys that would be ignored.
    other: the key whose value makes them idle.
    when: whether a value of `other` makes them idle.
    remedy: what else the user can do.
  """

  keys: tuple[str, ...]
  other: str
  when: Callable[[Any], bool]
  remedy: str


# The toy knows its A without scores, has its own arms, and chooses its decays itself.
_NOT_IN_THE_TOY = (
  *("everywhere", "stop.patience"),
  *("arms", "own_arms", "optim.weight_decay", "sweep.key", "baseline_from"),
  *("stats.margin", "stats.looks"),
  *("score.name", "score.path", "score.at_round", "score.folds", "score.dynamics", "score.grand"),
  *("score.probabilities", "score.cleanlab", "score.course"),
  *("evaluate.views", "evaluate.dropout_samples", "evaluate.snapshots", "evaluate.ensemble"),
  "evaluate.prior_shift",
  *("data.corrections", "data.corrections_test", "data.labels_file"),
  *("data.wrong_label_fraction", "method.fraction", "method.num_easy", "method.lambda_A"),
  *("method.lambda_B", "method.init", "method.order"),
  *("split.policy", "split.source", "split.class_balanced", "model.pretrained"),
  *("select.lambda_A", "select.fraction", "select.weight_decay", "method.lambda_tuned"),
  "select.space",
)
_ONLY_IN_THE_TOY = (
  *("data.curve.num_points", "data.curve.num_validation", "data.curve.noise"),
  *("toy.lambdas", "toy.lambda_ratio", "toy.num_noisy"),
)

# The arms for which method.init changes nothing.
OWN_START = frozenset({"baseline", "less_data", "long_baseline", "warm_start"})

# Without method.*: --config.arms=baseline must work on a config file that has these keys. Without
# the rest of score.*: the baseline may depend on it, or a later run that copies the baseline.
_OF_THE_SPLIT = (
  *("split.policy", "split.window_start", "split.threshold", "split.cut", "split.source"),
  *("split.class_balanced", "score.path"),
)


def _of_optimiser(key: str) -> _Idle:
  """Returns the rule that a key stands only beside the optimisers that read it."""
  readers = [name for name, block in OPTIMISERS.items() if key in block.keys]
  remedy = f"choose another optim.name, such as {readers[0]!r}"
  return _Idle((key,), "optim.name", lambda name: name not in readers, remedy=remedy)


# optim.milestones is absent: --config.optim.schedule=cosine must work on a config file that has
# milestones.
_IDLE = (
  *(
    _of_optimiser(key)
    for key in ("optim.momentum", "optim.nesterov", "optim.betas", "optim.epsilon")
  ),
  _Idle(
    ("augment.resized_crop_aspect",),
    "augment.resized_crop_area",
    lambda area: area is None,
    remedy="give augment.resized_crop_area too",
  ),
  _Idle(
    ("augment.pad_crop",),
    "augment.resized_crop_area",
    lambda area: area is not None,
    remedy="leave augment.resized_crop_area out",
  ),
  _Idle(
    ("model.pretrained_head",),
    "model.pretrained",
    lambda path: path is None,
    remedy="give model.pretrained too",
  ),
  _Idle(
    ("optim.decay_factor",),
    "optim.schedule",
    lambda text: parse_call(text, SCHEDULES).name != "step",
    remedy="choose optim.schedule='step'",
  ),
  _Idle(
    ("method.fraction",),
    "method.num_easy",
    lambda size: size is not None,
    remedy="leave method.num_easy out",
  ),
  _Idle(
    ("score.column", "score.higher_is"),
    "score.path",
    lambda path: path is None,
    remedy="give score.path too",
  ),
  _Idle(("score.course",), "score.dynamics", lambda on: not on, remedy="give score.dynamics=True"),
  _Idle(
    ("data.labels_key",),
    "data.labels_file",
    lambda path: path is None,
    remedy="give data.labels_file too",
  ),
  _Idle(
    ("acquire.start", "acquire.add", "acquire.times", "acquire.arm"),
    "acquire.strategies",
    lambda names: not names,
    remedy="give acquire.strategies, such as ('margin', 'random')",
  ),
  _Idle(
    _NOT_IN_THE_TOY, "data.name", lambda name: name == "curve", remedy="choose another data.name"
  ),
  _Idle(
    _ONLY_IN_THE_TOY, "data.name", lambda name: name != "curve", remedy="choose data.name='curve'"
  ),
  _Idle(("method.num_easy",), "select.fraction", bool, remedy="leave select.fraction out"),
  _Idle(
    ("method.lambda_tuned",), "select.weight_decay", bool, remedy="leave select.weight_decay out"
  ),
  _Idle(
    ("select.lambda_A", "select.fraction"),
    "arms",
    lambda arms: "method" not in arms,
    remedy="add the arm 'method'",
  ),
  _Idle(
    ("method.init",), "arms", lambda arms: set(arms) <= OWN_START, remedy="add the arm 'method'"
  ),
  _Idle(
    _OF_THE_SPLIT, "arms", lambda arms: set(arms) <= {"baseline"}, remedy="add the arm 'method'"
  ),
  _Idle(
    ("split.window_start",),
    "split.policy",
    lambda name: name != "window",
    remedy="choose split.policy='window'",
  ),
  _Idle(
    ("split.threshold",),
    "split.policy",
    lambda name: name != "threshold",
    remedy="choose split.policy='threshold'",
  ),
  _Idle(
    ("split.cut",),
    "split.policy",
    lambda name: name != "mislabel_cut",
    remedy="choose split.policy='mislabel_cut'",
  ),
  _Idle(
    _OF_SIZE, "split.policy", lambda name: name == "threshold", remedy="choose another split.policy"
  ),
)


def check_combinations(values: Values, defaults: Values) -> None:
  """Refuses values that are right alone and wrong together.

  Args:
    values: of every key, by its dotted name.
    defaults: of every key, likewise.

  Raises:
    ConfigError: names the keys, what was expected, and what to do.
  """
  if values["eval_every_rounds"] > values["rounds"]:
    raise ConfigError(
      f"eval_every_rounds = {values['eval_every_rounds']}: expected at most rounds = "
      f"{values['rounds']}"
    )
  _check_idle(values, defaults)
  check_conflicts(values)
  _check_training(values)
  for rule in _NEEDS:
    if values[rule.key] == rule.choice and values[rule.other] is None:
      raise ConfigError(
        f"{rule.key} = {rule.choice!r}: expected {rule.other} too, such as "
        f"--config.{rule.other}={rule.such_as}"
      )
  if (
    values["split.policy"] == "threshold"
    and values["split.source"] == "seed"
    and len(values["seeds"]) > 1
  ):
    raise ConfigError(
      "split.policy = 'threshold': with its own scores each seed would get an A of another size: "
      "the seeds could not be compared; choose split.source='mean', or one seed"
    )
  _check_scores(values)
  check_selection(values, defaults)
  _check_sweep(values)
  _check_size_of_A(values)


def _check_training(values: Values) -> None:
  """Raises a ConfigError where the milestones, the momentum or the widths make no sense."""
  for key, what in (("optim.milestones", "rounds"), ("stats.looks", "numbers of seeds")):
    if list(values[key]) != (ascending := sorted(values[key])):
      raise ConfigError(
        f"{key} = {values[key]}: expected {what} in increasing order, {tuple(ascending)}"
      )
  if values["optim.nesterov"] and values["optim.momentum"] == 0.0:
    raise ConfigError(
      "optim.nesterov = True: expected optim.momentum above 0, not optim.momentum = 0.0; it is a "
      "form of momentum"
    )
  blocks, widths = values["model.blocks"], values["model.widths"]
  if blocks is not None and widths is not None and len(blocks) != len(widths):
    raise ConfigError(
      f"model.widths = {widths}: expected one width for each of the stages in model.blocks = "
      f"{blocks}"
    )


def _check_idle(values: Values, defaults: Values) -> None:
  """Raises a ConfigError where a key is given that nothing would read."""
  for rule in _IDLE:
    for key in rule.keys:
      if values[key] != defaults[key] and rule.when(values[rule.other]):
        raise ConfigError(
          f"{key} = {values[key]!r} has no meaning with {rule.other} = {values[rule.other]!r}; "
          f"leave it at its default, {defaults[key]!r}, or {rule.remedy}"
        )


def _check_scores(values: Values) -> None:
  """Raises a ConfigError where the score that ranks would not be computed."""
  if values["score.at_round"] is not None and values["score.at_round"] > values["rounds"]:
    raise ConfigError(
      f"score.at_round = {values['score.at_round']}: expected at most rounds = {values['rounds']}"
    )
  if SCORES[values["score.name"]].source == DYNAMICS and not values["score.dynamics"]:
    raise ConfigError(
      f"score.name = {values['score.name']!r} with score.dynamics = False: expected "
      "score.dynamics = True, as the score comes from the training dynamics; or choose another "
      "score.name"
    )
  if values["score.name"] == "grand" and not values["score.grand"]:
    raise ConfigError(
      "score.name = 'grand' with score.grand = False: expected score.grand = True, or score.name "
      "= 'grand_last_layer'"
    )
  if values["score.path"] is not None:
    _check_direction(values["score.column"], values["score.higher_is"])


def _check_direction(column: str, higher_is: str | None) -> None:
  """Raises a ConfigError where the hard end of a known score would be taken for the easy one."""
  known = direction_of_column(column)
  if known is not None and higher_is not in (None, known):
    raise ConfigError(
      f"score.higher_is = {higher_is!r}: expected {known!r}, or the key left out, as in "
      f"score.column = {column!r} of sdt's tables higher is {known}; rename the column if it holds "
      "another score"
    )
  if is_column_of_file(column) and higher_is is None:
    raise ConfigError(
      f"score.column = {column!r}: expected score.higher_is too, easier or harder, as in the run "
      "that wrote this column"
    )


def _check_sweep(values: Values) -> None:
  """Raises a ConfigError where the keys and the values of a sweep do not match."""
  key, also_key = values["sweep.key"], values["sweep.also_key"]
  for name in ("", "also_"):
    swept, points = values[f"sweep.{name}key"], values[f"sweep.{name}values"]
    if points and swept is None:
      raise ConfigError(
        f"sweep.{name}values = {points}: expected sweep.{name}key too, the key that takes these "
        "values"
      )
    if swept is not None and not points:
      raise ConfigError(
        f"sweep.{name}key = {swept!r}: expected sweep.{name}values too, such as "
        f"--config.sweep.{name}values=1e-3,2e-3"
      )
  if also_key is not None and key is None:
    raise ConfigError(
      f"sweep.also_key = {also_key!r}: expected sweep.key too; the second key changes with the "
      "first"
    )
  if also_key is not None and also_key == key:
    raise ConfigError(f"sweep.also_key = {also_key!r}: expected another key than sweep.key")
  if also_key is not None and len(values["sweep.also_values"]) != len(values["sweep.values"]):
    counts = f"{len(values['sweep.also_values'])} for {len(values['sweep.values'])} sweep.values"
    raise ConfigError(
      f"sweep.also_values: expected one for each of sweep.values, there are {counts}"
    )


def _check_size_of_A(values: Values) -> None:  # noqa: N802 - A is the paper's name
  """Raises a ConfigError where A or B would be empty, if the config tells the size of the set."""
  where = "data.num_train"
  if values[where] is None and values["data.name"] == "shapes":
    where = "data.shapes.num_train"
  num_train, num_easy = values[where], values["method.num_easy"]
  fraction = values["method.fraction"]
  if num_train is None:
    return
  if num_easy is not None:
    if num_easy >= num_train:
      raise ConfigError(
        f"method.num_easy = {num_easy}: expected less than {where} = {num_train}; B would be empty"
      )
  # The exact decimal that the user wrote: in floats floor(0.29 * 100) is 28.
  elif Decimal(repr(fraction)) * num_train < 1:
    least = 1 / Decimal(num_train)
    raise ConfigError(
      f"method.fraction = {fraction!r}: expected at least {least:.6g} with {where} = {num_train}; "
      "A would be empty"
    )
