"""What two finished runs have of one test set, or why they cannot be compared."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from sdt import files
from sdt.errors import ConfigError
from sdt.trained import run_tables
from sdt.trained.load import Run, check_arm

# Of both runs: the one before, and the one after.
type Two[T] = tuple[T, T]
_TEST_KEY = "data.corrections_test"


@dataclasses.dataclass(frozen=True)
class Matched:
  """What two runs have in common.

  Attributes:
    runs: the one before, and the one after.
    arms, seeds: those that both have, in the order of the first.
    example_ids: [n], the test examples that both have.
    labels: [n] of each run.
    predicted: by arm, [R, n] of each run; -1 of a seed that diverged.
    same_networks: the arms whose networks are the same to the last bit.
    num_only: how many test examples one run alone has.
  """

  runs: Two[Run]
  arms: tuple[str, ...]
  seeds: tuple[int, ...]
  example_ids: Int[np.ndarray, "n"]
  labels: Two[Int[np.ndarray, "n"]]
  predicted: Mapping[str, Two[Int[np.ndarray, "R n"]]]
  same_networks: tuple[str, ...]
  num_only: Two[int]

  @property
  def num_relabelled(self) -> int:
    """How many test examples have another label in the second run."""
    return int((self.labels[0] != self.labels[1]).sum())


def match(runs: Two[Run], arms: Sequence[str] | None = None) -> Matched:
  """Returns what two runs have in common.

  Args:
    runs: the one before, and the one after.
    arms: to compare; all that both have by default.

  Raises:
    ConfigError: one run twice, other classes, test examples or test labels, no arm or no seed that
      both have. DataError: a file of a run is damaged.
  """
  before, after = runs
  if before.workdir.resolve() == after.workdir.resolve():
    raise ConfigError(f"{after.workdir}: one run twice; name the run before and the one after")
  if before.class_names != after.class_names:
    raise ConfigError(f"{_names(runs)}: their classes differ; name two runs on the same data")
  chosen = _arms(runs, arms)
  seeds = tuple(seed for seed in before.config.seeds if seed in after.config.seeds)
  if not seeds:
    has = " and ".join(", ".join(map(str, run.config.seeds)) for run in runs)
    raise ConfigError(
      f"{_names(runs)}: no seed in common ({has}), and nothing can be paired; train "
      "one of them with the seeds of the other, --config.seeds="
      f"{','.join(map(str, before.config.seeds))}"
    )
  stored = (_stored(before), _stored(after))
  ids, *places = np.intersect1d(
    stored[0]["example_id"], stored[1]["example_id"], return_indices=True
  )
  num_only = (len(stored[0]["label"]) - len(ids), len(stored[1]["label"]) - len(ids))
  labels = (stored[0]["label"][places[0]], stored[1]["label"][places[1]])
  _refuse_other_test_set(runs, ids, labels, num_only=num_only)
  predicted = {
    arm: (
      _predicted(stored[0], arm, seeds, places=places[0]),
      _predicted(stored[1], arm, seeds, places=places[1]),
    )
    for arm in chosen
  }
  same = tuple(arm for arm in chosen if _weights(stored[0], arm) == _weights(stored[1], arm))
  return Matched(
    runs,
    chosen,
    seeds,
    example_ids=ids,
    labels=labels,
    predicted=predicted,
    same_networks=same,
    num_only=num_only,
  )


def _names(runs: Two[Run]) -> str:
  return f"{runs[0].workdir} and {runs[1].workdir}"


def _arms(runs: Two[Run], arms: Sequence[str] | None) -> tuple[str, ...]:
  """Returns the arms to compare, each once."""
  common = tuple(arm for arm in runs[0].arms if arm in runs[1].arms)
  if not common:
    raise ConfigError(f"{_names(runs)}: no arm in common; train one of them with --config.arms too")
  for arm in arms or ():
    for run in runs:
      check_arm(arm, run.arms, str(run.workdir))
  return common if arms is None else tuple(dict.fromkeys(arms))


def _stored(run: Run) -> files.Arrays:
  return files.map_npz(run.workdir / run.results["predictions"]["file"])


def _predicted(
  stored: files.Arrays,
  arm: str,
  seeds: Sequence[int],
  *,
  places: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "R n"]:
  there = stored["seeds"].tolist()
  of_arm = stored["predicted"][stored["arms"].tolist().index(arm)]
  return of_arm[[there.index(seed) for seed in seeds]][:, places]


def _weights(stored: files.Arrays, arm: str) -> str:
  return str(stored["weights"][stored["arms"].tolist().index(arm)])


def _refuse_other_test_set(
  runs: Two[Run],
  ids: Shaped[np.ndarray, "n"],
  labels: Two[Int[np.ndarray, "n"]],
  *,
  num_only: Two[int],
) -> None:
  """Refuses two test sets that differ in more than `data.corrections_test` has changed."""
  advice = f"name two runs with the same test set ({_TEST_KEY} alone may differ)"
  dropped = [_changed(run, "dropped") for run in runs]
  if not len(ids) or num_only[0] > dropped[1] or num_only[1] > dropped[0]:
    raise ConfigError(
      f"{_names(runs)}: other test examples: {len(ids):,} are in both, {num_only[0]:,} in the "
      f"first alone, {num_only[1]:,} in the second alone; {advice}"
    )
  num_other = int((labels[0] != labels[1]).sum())
  if num_other > sum(_changed(run, "relabelled") for run in runs):
    raise ConfigError(
      f"{_names(runs)}: {num_other:,} of {len(ids):,} test examples have another label, which "
      f"{_TEST_KEY} does not explain; {advice}"
    )
  sources = [_test_files(run) for run in runs]
  for number in ids.tolist():
    first, second = (of_run.get(number, "") for of_run in sources)
    if first != second:
      raise ConfigError(
        f"{_names(runs)}: test example {number} is {first!r} in the first and {second!r} in the "
        f"second; {advice}"
      )


def _changed(run: Run, how: str) -> int:
  """Returns how many test examples the files of `data.corrections_test` relabelled or dropped."""
  changes = run.results["data"].get("label_changes", ())
  return sum(change[how] for change in changes if change["key"] == _TEST_KEY)


def _test_files(run: Run) -> dict[int, str]:
  """Returns the source file of every test example; "" where examples are no files."""
  path: Path = run.workdir / run.results["predictions"]["table"]["file"]
  rows = run_tables.texts(
    files.read_bytes_verified(path), str(path), columns=("example_id", "source_file")
  )
  return {int(number): file for number, file in rows}
