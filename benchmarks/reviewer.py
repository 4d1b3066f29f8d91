"""A perfect reviewer, simulated: what looking at the most suspicious examples mends.

    .venv/bin/python benchmarks/reviewer.py runs/noise/cifar10n-random1 --looks=250,500,1000
    [--draws=5] [--train] [--set=cifar-10-binary.tar.gz] [--folder=reviews] [--out=FILE]

The run must have suspects.csv, and labels whose truth is known: data.labels_file, or
data.wrong_label_fraction. The reviewer sees the right class of every example that he looks at: of
the first k of suspects.csv, or of k random ones (of --draws draws, with their sd). For each k the
script prints how many labels he mends, in all and per hundred looked at, and what share of the
labels stays wrong; and it writes corrections.csv into the folder, RUN-reviews by default. Two more
rows need no person: every suspect (another class is far more probable) gets the suggested class, or
is dropped.

It trains nothing by itself: `python run.py ... --config.data.corrections=FILE` does. With --train
it trains the baseline of the run's config on each file, of random examples on the first draw, and
prints the test accuracy beside that of the run, at which nobody has looked. --set says where the
data set lies, if it has moved.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sdt
from sdt import files
from sdt.config import Config
from sdt.data import corrections, seeded, sources
from sdt.data.corrections import DROP, KEEP, RELABEL, Row
from sdt.errors import DataError, SdtError
from sdt.stats import paired

SUSPECTS = "suspects.csv"


class Example(NamedTuple):
  """A training example of a run.

  Attributes:
    row: keeps its label.
    suggested: the class that the run suggests.
    is_suspect: whether another class is far more probable, see sdt/scores/suspects.py.
  """

  row: Row
  suggested: str
  is_suspect: bool


def examples_of(workdir: Path) -> list[Example]:
  """Returns every training example of a run, the most suspicious first."""
  path = workdir / SUSPECTS
  if not files.is_intact(path):
    raise DataError(f"{path}: missing or damaged; name a finished run that scored its examples")
  with path.open(encoding="utf-8", newline="") as file:
    return [
      Example(
        Row(int(row["example_id"]), row["source_file"], row["given"], KEEP),
        row["suggested"],
        row["suspect"] == "1",
      )
      for row in csv.DictReader(file)
    ]


def truth_of(config: Config) -> dict[int, str]:
  """Returns the right class of every training example by its id: the label of the set itself."""
  if config.data.labels_file is None and not config.data.wrong_label_fraction:
    raise DataError(
      "the run's labels are those of the set, so nobody knows which are wrong; name a run with "
      "data.labels_file or data.wrong_label_fraction"
    )
  own = {"labels_file": None, "labels_key": None, "wrong_label_fraction": 0.0}
  changes = own | {"corrections": (), "corrections_test": ()}
  data = sources.load(dataclasses.replace(config.data, **changes))
  names = [data.class_names[label] for label in data.train.labels]
  return dict(zip(data.train.example_ids.tolist(), names, strict=True))


def reviewed(examples: Sequence[Example], truth: Mapping[int, str]) -> list[Row]:
  """Returns what a perfect reviewer writes of these examples: keep, or relabel to the truth."""
  return [
    row
    if row.given == truth[row.example_id]
    else row._replace(action=RELABEL, label=truth[row.example_id])
    for row, _, _ in examples
  ]


def unseen(examples: Sequence[Example]) -> dict[str, list[Row]]:
  """Returns what a program could write without a person, of every suspect."""
  suspects = [one for one in examples if one.is_suspect]
  return {
    "nobody, relabelled": [
      one.row._replace(action=RELABEL, label=one.suggested) for one in suspects
    ],
    "nobody, dropped": [one.row._replace(action=DROP) for one in suspects],
  }


def num_mended(rows: Sequence[Row], truth: Mapping[int, str]) -> int:
  """Returns how many wrong labels the rows make right."""
  return sum(row.action == RELABEL and row.label == truth[row.example_id] for row in rows)


def share_wrong(rows: Sequence[Row], truth: Mapping[int, str], num_wrong: int, num: int) -> float:
  """Returns the share of wrong labels after the rows, of `num` examples with `num_wrong` before."""
  was_right = [row.given == truth[row.example_id] for row in rows]
  dropped = [row.action == DROP for row in rows]
  spoiled = sum(right and row.action == RELABEL for row, right in zip(rows, was_right, strict=True))
  gone = sum(drop and not right for drop, right in zip(dropped, was_right, strict=True))
  return (num_wrong - num_mended(rows, truth) - gone + spoiled) / (num - sum(dropped))


def drawn(examples: Sequence[Example], seed: int) -> list[Example]:
  """Returns the examples in a random order, a pure function of (seed, their ids)."""
  ids = np.array([one.row.example_id for one in examples])
  return [examples[place] for place in np.argsort(seeded.bits(seed, "reviewer", ids))]


def reviews(
  examples: Sequence[Example], truth: Mapping[int, str], looks: Sequence[int], draws: int
) -> Iterator[tuple[str, int, list[list[Row]]]]:
  """Yields (who looks at what, k, the rows of each draw).

  Of the suspects there is one draw, of random examples many; k is 0 where nobody looks.
  """
  orders = {
    "suspects": [list(examples)],
    "random": [drawn(examples, seed) for seed in range(draws)],
  }
  for look in looks:
    for order, rankings in orders.items():
      yield order, look, [reviewed(ranking[:look], truth) for ranking in rankings]
  for way, rows in unseen(examples).items():
    yield way, 0, [rows]


def summary(
  order: str, look: int, of_draws: Sequence[Sequence[Row]], truth: Mapping[int, str], *, wrong: int
) -> dict[str, Any]:
  """Returns the figures of one order and one k; `wrong` of all labels are wrong before."""
  mended = [num_mended(rows, truth) for rows in of_draws]
  left = [share_wrong(rows, truth, wrong, len(truth)) for rows in of_draws]
  return {
    "order": order,
    "looked_at": look,
    "changed": statistics.fmean(sum(row.action != KEEP for row in rows) for rows in of_draws),
    "mended": statistics.fmean(mended),
    "mended_sd": statistics.stdev(mended) if len(mended) > 1 else None,
    "per_hundred": 100 * statistics.fmean(mended) / look if look else None,
    "left_wrong": statistics.fmean(left),
  }


def corrected(config: Config, path: Path) -> Config:
  """Returns the config of the run's baseline alone, trained on the labels as the file mends them.

  Nothing is scored or split after it, so the keys of that are at their defaults.
  """
  data = dataclasses.replace(
    config.data, corrections=(*config.data.corrections, str(path.absolute()))
  )
  later = {name: getattr(Config(), name) for name in ("method", "own_arms", "score", "split")}
  return dataclasses.replace(config, data=data, arms=("baseline",), **later)


def trained(config: Config, path: Path, workdir: Path) -> dict[int, float | None]:
  """Returns the test accuracy by seed of the baseline, trained on the corrected labels."""
  return accuracy_of(sdt.run(corrected(config, path), workdir).results)


def accuracy_of(results: Mapping[str, Any]) -> dict[int, float | None]:
  """Returns the test accuracy of the baseline by seed."""
  return {int(seed): value for seed, value in results["arms"]["baseline"]["accuracy"].items()}


def line(entry: Mapping[str, Any]) -> str:
  """Returns a row of the table."""
  spread = "" if entry["mended_sd"] is None else f" +- {entry['mended_sd']:.1f}"
  share = "" if entry["per_hundred"] is None else f"{entry['per_hundred']:.1f}"
  text = (
    f"| {entry['order']} | {entry['looked_at']} | {entry['changed']:.1f} | "
    f"{entry['mended']:.1f}{spread} | {share} | {100 * entry['left_wrong']:.2f} % |"
  )
  if "against_nobody" in entry:
    contrast = entry["against_nobody"]
    low, high = (100 * value for value in contrast["interval"] or (float("nan"),) * 2)
    text += (
      f" {100 * entry['accuracy']['mean']:.2f} | {100 * contrast['mean']:+.2f} "
      f"({low:+.2f} to {high:+.2f}), {contrast['verdict']} |"
    )
  return text


def with_training(
  entries: list[dict[str, Any]], paths: Sequence[Path], config: Config, nobody: Mapping[str, Any]
) -> None:
  """Trains on each file, and adds accuracies and their differences from the run to the entries."""
  before = accuracy_of(nobody)
  pairs = {}
  for entry, path in zip(entries, paths, strict=True):
    accuracy = trained(config, path, path.with_suffix(""))
    entry["accuracy"] = paired.per_seed(accuracy)
    pairs[path.stem] = paired.Pair(path.stem, "nobody", accuracy, before)
  contrasts = paired.contrasts(pairs)
  for entry, path in zip(entries, paths, strict=True):
    entry["against_nobody"] = contrasts[path.stem]


def review(arguments: argparse.Namespace) -> dict[str, Any]:
  """Writes the corrections, trains on them if asked, and returns all figures."""
  workdir: Path = arguments.run
  run = sdt.load(workdir)
  config, folder = run.config, arguments.folder or workdir.with_name(f"{workdir.name}-reviews")
  if arguments.set is not None:
    data = dataclasses.replace(config.data, path=arguments.set)
    config = dataclasses.replace(config, data=data)
  examples, truth = examples_of(workdir), truth_of(config)
  num_wrong = num_mended(reviewed(examples, truth), truth)
  folder.mkdir(parents=True, exist_ok=True)
  entries, paths = [], []
  for order, look, of_draws in reviews(examples, truth, arguments.looks, arguments.draws):
    if look > len(examples):
      raise DataError(f"--looks={look}: the run has {len(examples)} training examples")
    path = folder / f"{order.replace(', ', '-')}-{look}.csv"
    path.write_text(corrections.csv_text(of_draws[0]), encoding="utf-8", newline="")
    paths.append(path)
    entries.append(summary(order, look, of_draws, truth, wrong=num_wrong))
  if arguments.train:
    with_training(entries, paths, config, run.results)
  return {
    "run": workdir.name,
    "examples": len(examples),
    "wrong": num_wrong,
    "nobody": paired.per_seed(accuracy_of(run.results)),
    "reviews": entries,
    "folder": str(folder),
  }


def main(words: Sequence[str]) -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("run", type=Path)
  parser.add_argument("--looks", type=lambda text: [int(k) for k in text.split(",")], required=True)
  parser.add_argument("--draws", type=int, default=5)
  parser.add_argument("--train", action="store_true")
  parser.add_argument("--set")
  parser.add_argument("--folder", type=Path)
  parser.add_argument("--out", type=Path)
  arguments = parser.parse_args(words)
  found = review(arguments)
  share = 100 * found["wrong"] / found["examples"]
  nobody = found["nobody"]["mean"]
  print(f"{found['wrong']} of {found['examples']} labels are wrong ({share:.2f} %).")
  print(f"Nobody looks: test accuracy {100 * nobody:.2f} %, n = {found['nobody']['n']} seeds.\n")
  more = " accuracy, % | minus nobody, points (95 %, joint) |" if arguments.train else ""
  print(f"| who is looked at | looks | changed | mended | per hundred looks | left wrong |{more}")
  print("|---|---|---|---|---|---|" + "---|---|" * arguments.train)
  print("\n".join(map(line, found["reviews"])))
  print(f"\ncorrections: {found['folder']}/*.csv")
  if arguments.out is not None:
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
  return 0


if __name__ == "__main__":
  try:
    sys.exit(main(sys.argv[1:]))
  except SdtError as error:
    sys.exit(f"sdt: error: {error}")
